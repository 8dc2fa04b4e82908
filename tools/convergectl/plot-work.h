/*
 * What a guest did during a migration, read from a file
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_PLOT_WORK_H
#define CONVERGECTL_PLOT_WORK_H

#include <glib.h>

/* What a guest did meanwhile: time in ms, then a percentage for each name */
typedef struct GuestWorkTable {
    char **names;
    GArray *values;             /* double, rows of 1 + number of names */
} GuestWorkTable;

GuestWorkTable *guest_work_table_parse(const char *text, GError **errp);
void guest_work_table_free(GuestWorkTable *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestWorkTable, guest_work_table_free)

#endif
