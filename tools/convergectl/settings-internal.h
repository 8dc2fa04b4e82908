/*
 * Settings of a migration: what the files settings*.c share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_SETTINGS_INTERNAL_H
#define CONVERGECTL_SETTINGS_INTERNAL_H

#include "settings.h"

#define SETTINGS_ERROR G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE

struct Settings {
    char *policy;               /* NULL: auto where it is known */
    JsonObject *parameters;     /* by their QMP names */
    GPtrArray *options;         /* the option of each, to name it in errors */
    JsonObject *capabilities;   /* name: boolean; for both sides */
    JsonObject *implied;        /* those that only the source needs */
    /* As QEMU has them, once it was asked */
    JsonObject *known_parameters;
    JsonObject *known_capabilities;
};

#endif
