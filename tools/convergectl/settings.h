/*
 * What a migration is set to before it starts
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Options become migration parameters and capabilities.  What this QEMU does
 * not know is found before anything is changed.
 */

#ifndef CONVERGECTL_SETTINGS_H
#define CONVERGECTL_SETTINGS_H

#include "qmp.h"

typedef struct Settings Settings;

Settings *settings_new(void);
void settings_free(Settings *settings);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Settings, settings_free)

/*
 * One option with its value: "downtime", "300".  FALSE if the value is not
 * one; the error says what would be.
 */
gboolean settings_add(Settings *settings, const char *option,
                      const char *value, GError **errp);

/* The options there are, NULL at the end, and what to tell about each */
typedef struct SettingsOption {
    const char *option;
    const char *parameter;      /* NULL: treated by itself */
    const char *unit;
    const char *help;
} SettingsOption;

const SettingsOption *settings_options(void);

/*
 * Sets @qmp's QEMU.  FALSE if it does not know something that was asked for,
 * or refuses a value; then *@note is NULL.  TRUE with *@note set if it goes
 * on with less than was asked for.
 */
gboolean settings_apply(Settings *settings, QmpClient *qmp, char **note,
                        GError **errp);

/* The part of it that the other side must agree on */
gboolean settings_apply_destination(Settings *settings, QmpClient *qmp,
                                    GError **errp);

#endif
