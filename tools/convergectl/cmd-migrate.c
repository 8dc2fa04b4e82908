/*
 * convergectl migrate: start a migration and follow it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "commands.h"
#include "connection.h"
#include "follow.h"
#include "look.h"
#include "message.h"
#include "settings.h"

#include <string.h>

typedef struct MigrateOptions {
    CommonOptions common;
    Settings *settings;
    char *destination;
    char *record;
    gboolean no_follow;
} MigrateOptions;

/* For all options of the settings table; the context passes @opaque */
static gboolean on_setting(const char *name, const char *value, void *opaque,
                           GError **errp)
{
    MigrateOptions *options = opaque;

    return settings_add(options->settings, name + strlen("--"), value, errp);
}

static gboolean parse(int *argc, char ***argv, MigrateOptions *options,
                      ExitStatus *status)
{
    const GOptionEntry entries[] = {
        { "destination", 0, 0, G_OPTION_ARG_FILENAME, &options->destination,
          "QMP socket of the QEMU that waits with -incoming defer: it is "
          "told to listen on URI", "SOCKET" },
        { "record", 0, 0, G_OPTION_ARG_FILENAME, &options->record,
          "write what is seen to FILE (.csv, .json)", "FILE" },
        { "no-follow", 0, 0, G_OPTION_ARG_NONE, &options->no_follow,
          "start it and leave", NULL },
        { NULL }
    };

    return commands_parse_with_settings(argc, argv, "URI",
        "Start a migration of the guest to URI and follow it to its end.\n"
        "Exit status: 0 completed, 1 failed, 2 usage, 3 cancelled, 4 lost "
        "connection, 5 left running.",
        entries, &options->common, on_setting, options, status);
}

static gboolean run_with_uri(QmpClient *qmp, const char *command,
                             const char *uri, GError **errp)
{
    JsonObject *arguments = json_object_new();

    json_object_set_string_member(arguments, "uri", uri);
    return qmp_run(qmp, command, arguments, errp);
}

static gboolean prepare_destination(const MigrateOptions *options,
                                    const char *uri, GError **errp)
{
    g_autoptr(QmpClient) qmp = NULL;

    if (!options->destination) {
        return TRUE;
    }
    qmp = connection_open(options->destination,
                          options->common.connect_timeout_s, errp);
    if (!qmp ||
        !settings_apply_destination(options->settings, qmp, errp) ||
        !run_with_uri(qmp, "migrate-incoming", uri, errp)) {
        g_prefix_error(errp, "destination: ");
        return FALSE;
    }
    return TRUE;
}

static gboolean check_idle(QmpClient *qmp, const char *path, GError **errp)
{
    JsonObject *info = qmp_query(qmp, "query-migrate", errp);
    g_autoptr(Look) look = NULL;

    if (!info) {
        return FALSE;
    }
    look = look_from_info(info);
    json_object_unref(info);
    if (look_is_running(look)) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                    "a migration is running there already (%s); "
                    "'convergectl watch --qmp %s' follows it", look->status,
                    path);
        return FALSE;
    }
    return TRUE;
}

static gboolean start(QmpClient *qmp, const MigrateOptions *options,
                      const char *uri, GError **errp)
{
    g_autofree char *note = NULL;

    if (!check_idle(qmp, options->common.qmp, errp) ||
        !settings_apply(options->settings, qmp, &note, errp)) {
        return FALSE;
    }
    if (note) {
        message_note("%s", note);
    }
    return prepare_destination(options, uri, errp) &&
           run_with_uri(qmp, "migrate", uri, errp);
}

static ExitStatus tell_error(const GError *error, gboolean connected)
{
    message_error("%s", error->message);
    return !connected || connection_is_lost(error) ? EXIT_LOST : EXIT_FAILED;
}

static ExitStatus run(const MigrateOptions *options, const char *uri)
{
    g_autofree char *title = g_strdup_printf("migrating to %s", uri);
    FollowOptions how = { .title = title, .owner = TRUE,
                          .interval_ms = options->common.interval_ms,
                          .output = commands_output(&options->common) };
    g_autoptr(Recording) recording = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(QmpClient) qmp =
        connection_open(options->common.qmp,
                        options->common.connect_timeout_s, &error);

    if (!qmp) {
        return tell_error(error, FALSE);
    }
    if (options->record) {
        recording = recording_create(options->record,
                                     recording_format_of(options->record),
                                     &error);
        if (!recording) {
            return tell_error(error, TRUE);
        }
    }
    if (!start(qmp, options, uri, &error)) {
        return tell_error(error, TRUE);
    }
    if (options->no_follow) {
        return EXIT_COMPLETED;
    }
    how.recording = recording;
    return follow(qmp, &how);
}

ExitStatus cmd_migrate(int argc, char **argv)
{
    MigrateOptions options = { .settings = settings_new() };
    ExitStatus status;

    if (parse(&argc, &argv, &options, &status)) {
        status = argc == 2 ? run(&options, argv[1])
                 : commands_usage("migrate", argc < 2 ? "the URI to migrate "
                                  "to is missing" : "more than one URI");
    }
    settings_free(options.settings);
    g_free(options.destination);
    g_free(options.record);
    g_free(options.common.qmp);
    return status;
}
