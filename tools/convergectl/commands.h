/*
 * The commands: one file each, cmd-NAME.c
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Each gets its own arguments, argv[0] being the command's name.
 */

#ifndef CONVERGECTL_COMMANDS_H
#define CONVERGECTL_COMMANDS_H

#include "exit-status.h"
#include "follow.h"

#include <glib.h>

ExitStatus cmd_migrate(int argc, char **argv);
ExitStatus cmd_watch(int argc, char **argv);
ExitStatus cmd_record(int argc, char **argv);
ExitStatus cmd_plot(int argc, char **argv);
ExitStatus cmd_check(int argc, char **argv);
ExitStatus cmd_evacuate(int argc, char **argv);

/* What every command that talks to QEMU takes */
typedef struct CommonOptions {
    char *qmp;                  /* one of the two is given */
    char *domain;
    int connect_timeout_s;
    int interval_ms;
    int silence_s;
    gboolean json;
    gboolean plain;
} CommonOptions;

/*
 * Parses @argv with @entries and, unless NULL, the common ones.  Afterwards
 * argv[1] and up are the operands.  FALSE with *@status set: --help was
 * given, or the line is wrong, which has been said.
 */
gboolean commands_parse(int *argc, char ***argv, const char *synopsis,
                        const char *summary, const GOptionEntry *entries,
                        CommonOptions *common, ExitStatus *status);

/*
 * As commands_parse(), and an option for each of settings_options(): @func
 * gets it with @opaque.
 */
gboolean commands_parse_with_settings(int *argc, char ***argv,
                                      const char *synopsis,
                                      const char *summary,
                                      const GOptionEntry *entries,
                                      CommonOptions *common,
                                      GOptionArgFunc func, void *opaque,
                                      ExitStatus *status);

/* Says what is wrong, and returns NULL, if there is no way to that QEMU */
QmpClient *commands_connect(const CommonOptions *common);

/* What to call that QEMU */
const char *commands_guest(const CommonOptions *common);

void commands_free(CommonOptions *common);

FollowOutput commands_output(const CommonOptions *common);

/* Says what is wrong with the command line; returns EXIT_USAGE */
ExitStatus commands_usage(const char *command, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

/* Says what has failed; EXIT_LOST if that is the connection, else EXIT_FAILED */
ExitStatus commands_tell_error(const GError *error);

#endif
