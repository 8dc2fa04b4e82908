/*
 * What a migration is set to before it starts
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Options become migration parameters and capabilities.  What this QEMU does
 * not know is found before anything is changed, and what it had before is kept
 * to be restored.
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
 * Finds out what is to be sent to @qmp's QEMU, and changes nothing yet.  FALSE
 * if it does not know something that was asked for; then *@note is NULL.  TRUE
 * with *@note set if it goes on with less than was asked for.
 */
gboolean settings_prepare(Settings *settings, QmpClient *qmp, char **note,
                          GError **errp);

/* Anything was asked for */
gboolean settings_any(const Settings *settings);

/*
 * As settings_prepare(), for a migration that runs already: parameters alone.
 * FALSE, too, if something was asked for that has to be set before the start.
 */
gboolean settings_fit_running(const Settings *settings, GError **errp);
gboolean settings_prepare_running(Settings *settings, QmpClient *qmp,
                                  GError **errp);

/*
 * Once prepared: what QEMU has now in place of what it is to be sent, for
 * before_restore().
 */
JsonObject *settings_before(const Settings *settings);

/*
 * Once prepared: what else has been set in this QEMU and will act on the
 * migration, as text; NULL if that is nothing.
 */
char *settings_in_force(const Settings *settings);

/* Once prepared: sends it.  FALSE if QEMU refuses a value. */
gboolean settings_apply(Settings *settings, QmpClient *qmp, GError **errp);

/*
 * The part of it that the other side must agree on; what that side has in its
 * place is put into *@before.
 */
gboolean settings_apply_destination(Settings *settings, QmpClient *qmp,
                                    JsonObject **before, GError **errp);

/*
 * Whether both sides agree on the capabilities that they have to; the error
 * says which ones differ.  After settings_apply() and _destination().
 */
gboolean settings_check_sides(QmpClient *source, QmpClient *destination,
                              GError **errp);

/* Those that are on here and have to be there, too, as text; NULL: none. */
char *settings_shared_capabilities(QmpClient *qmp);

#endif
