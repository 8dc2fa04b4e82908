/*
 * convergectl watch: follow a migration that somebody else started
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "before.h"
#include "commands.h"
#include "connection.h"
#include "message.h"
#include "settings.h"

#include <string.h>

typedef struct WatchOptions {
    CommonOptions common;
    Settings *settings;
    char *record;
    int wait_s;
    gboolean cancel;
    gboolean no_follow;
} WatchOptions;

/* For all options of the settings table; the context passes @opaque */
static gboolean on_setting(const char *name, const char *value, void *opaque,
                           GError **errp)
{
    WatchOptions *options = opaque;

    return settings_add(options->settings, name + strlen("--"), value, errp);
}

/* What is asked for is set in the migration that runs, as long as it does. */
static gboolean set(QmpClient *qmp, const WatchOptions *options, Guard *guard,
                    JsonObject **before, GError **errp)
{
    if (!settings_any(options->settings)) {
        return TRUE;
    }
    guard_take_place(guard);
    if (!settings_prepare_running(options->settings, qmp, errp)) {
        return FALSE;
    }
    *before = settings_before(options->settings);
    guard_tell(guard, qmp, *before);
    return settings_apply(options->settings, qmp, errp);
}

static ExitStatus set_and_follow(QmpClient *qmp, const WatchOptions *options,
                                 Recording *recording, Guard *guard)
{
    g_autofree char *title =
        g_strdup_printf("migration of %s", commands_guest(&options->common));
    FollowOptions how = { .title = title,
                          .guest = commands_guest(&options->common),
                          .wait_s = options->wait_s,
                          .interval_ms = options->common.interval_ms,
                          .silence_s = options->common.silence_s,
                          .output = commands_output(&options->common),
                          .cancel = options->cancel,
                          .recording = recording };
    g_autoptr(GError) error = NULL;
    JsonObject *before = NULL;
    ExitStatus status;

    if (!set(qmp, options, guard, &before, &error)) {
        status = commands_tell_error(error);
    } else {
        status = options->no_follow ? EXIT_COMPLETED : follow(qmp, &how);
    }
    guard_take_back(guard, qmp, before);
    return status;
}

static ExitStatus run(const WatchOptions *options)
{
    g_autoptr(Recording) recording = NULL;
    g_autoptr(GError) error = NULL;
    Guard *guard = guard_start(settings_any(options->settings) ?
                               options->common.qmp : NULL);
    g_autoptr(QmpClient) qmp = commands_connect(&options->common);

    if (!qmp) {
        guard_dismiss(guard);
        return EXIT_LOST;
    }
    if (options->record) {
        recording = recording_create(options->record,
                                     recording_format_of(options->record),
                                     &error);
        if (!recording) {
            guard_dismiss(guard);
            return commands_tell_error(error);
        }
    }
    return set_and_follow(qmp, options, recording, guard);
}

static ExitStatus check_and_run(int argc, char **argv,
                                const WatchOptions *options)
{
    g_autoptr(GError) error = NULL;

    if (argc != 1) {
        return commands_usage("watch", "'%s' is one too many", argv[1]);
    }
    if (!settings_fit_running(options->settings, &error)) {
        return commands_usage("watch", "%s", error->message);
    }
    return run(options);
}

ExitStatus cmd_watch(int argc, char **argv)
{
    WatchOptions options = { .settings = settings_new() };
    const GOptionEntry entries[] = {
        { "wait", 0, 0, G_OPTION_ARG_INT, &options.wait_s,
          "wait so long for a migration to begin; -1: for ever", "SECONDS" },
        { "record", 0, 0, G_OPTION_ARG_FILENAME, &options.record,
          "write what is seen to FILE (.csv, .json)", "FILE" },
        { "cancel", 0, 0, G_OPTION_ARG_NONE, &options.cancel,
          "cancel it; the guest stays", NULL },
        { "no-follow", 0, 0, G_OPTION_ARG_NONE, &options.no_follow,
          "set what is to be set, and leave", NULL },
        { NULL }
    };
    ExitStatus status;

    if (commands_parse_with_settings(&argc, &argv, "",
            "Follow a migration that somebody else started.  Ctrl-C ends the "
            "watch, not the migration.\nSettings that are given are set in "
            "the migration that runs, and taken back at its end.",
            entries, &options.common, on_setting, &options, &status)) {
        status = check_and_run(argc, argv, &options);
    }
    settings_free(options.settings);
    g_free(options.record);
    commands_free(&options.common);
    return status;
}
