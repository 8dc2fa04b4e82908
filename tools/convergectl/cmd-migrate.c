/*
 * convergectl migrate: start a migration and follow it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "before.h"
#include "commands.h"
#include "connection.h"
#include "follow.h"
#include "look.h"
#include "message.h"
#include "settings.h"

#include <string.h>

/* QEMU may take that long to reach the destination */
#define BEGIN_LIMIT_S 60
#define BEGIN_POLL_MS 50

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
          "start it, wait until it has begun, and leave", NULL },
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

/*
 * What a QEMU that waits was set to is restored only if it has not been told
 * to listen: from then on it takes no capabilities.
 */
static gboolean prepare_destination(const MigrateOptions *options,
                                    QmpClient *source, const char *uri,
                                    GError **errp)
{
    g_autoptr(QmpClient) qmp = NULL;
    JsonObject *before = NULL;
    gboolean ok;

    if (!options->destination) {
        return TRUE;
    }
    qmp = connection_open(options->destination,
                          options->common.connect_timeout_s, errp);
    ok = qmp &&
         settings_apply_destination(options->settings, qmp, &before, errp) &&
         settings_check_sides(source, qmp, errp) &&
         run_with_uri(qmp, "migrate-incoming", uri, errp);
    if (!ok) {
        g_prefix_error(errp, "destination: ");
        if (before) {
            before_restore(qmp, before, NULL);
        }
    }
    g_clear_pointer(&before, json_object_unref);
    return ok;
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

static void show_in_force(const MigrateOptions *options)
{
    g_autofree char *text = settings_in_force(options->settings);

    if (text) {
        message_note("set in this QEMU before, and in force: %s", text);
    }
}

/* @before is set as soon as there is something to restore */
static gboolean start(QmpClient *qmp, const MigrateOptions *options,
                      const char *uri, Guard *guard, JsonObject **before,
                      GError **errp)
{
    g_autofree char *note = NULL;

    if (!check_idle(qmp, options->common.qmp, errp)) {
        return FALSE;
    }
    guard_take_place(guard);
    if (!settings_prepare(options->settings, qmp, &note, errp)) {
        return FALSE;
    }
    if (note) {
        message_note("%s", note);
    }
    show_in_force(options);
    *before = settings_before(options->settings);
    guard_tell(guard, qmp, *before);
    return settings_apply(options->settings, qmp, errp) &&
           prepare_destination(options, qmp, uri, errp) &&
           run_with_uri(qmp, "migrate", uri, errp);
}

/* A hand-over that is refused at once is no migration that was left behind */
static ExitStatus await_begin(QmpClient *qmp)
{
    gint64 deadline_us = g_get_monotonic_time() +
                         BEGIN_LIMIT_S * G_USEC_PER_SEC;
    g_autoptr(GError) error = NULL;

    while (g_get_monotonic_time() < deadline_us) {
        JsonObject *info = qmp_query(qmp, "query-migrate", &error);
        g_autoptr(Look) look = NULL;

        if (!info) {
            return commands_tell_error(error);
        }
        look = look_from_info(info);
        json_object_unref(info);
        if (g_str_equal(look->status, "failed") ||
            g_str_equal(look->status, "cancelled")) {
            message_error("the migration has not begun: %s: %s",
                          look->status, *look->error ? look->error :
                          "QEMU gives no reason");
            return EXIT_FAILED;
        }
        if (!g_str_equal(look->status, "setup")) {
            return EXIT_COMPLETED;
        }
        g_usleep(BEGIN_POLL_MS * 1000);
    }
    message_error("QEMU is still setting the migration up after %d s; it "
                  "goes on with that", BEGIN_LIMIT_S);
    return EXIT_DETACHED;
}

static ExitStatus start_and_follow(QmpClient *qmp,
                                   const MigrateOptions *options,
                                   const char *uri, Recording *recording,
                                   Guard *guard)
{
    g_autofree char *title = g_strdup_printf("migrating to %s", uri);
    FollowOptions how = { .title = title, .owner = TRUE,
                          .guest = commands_guest(&options->common),
                          .interval_ms = options->common.interval_ms,
                          .silence_s = options->common.silence_s,
                          .output = commands_output(&options->common),
                          .recording = recording };
    g_autoptr(GError) error = NULL;
    g_autofree char *shared = NULL;
    JsonObject *before = NULL;
    ExitStatus status;

    if (!start(qmp, options, uri, guard, &before, &error)) {
        status = commands_tell_error(error);
    } else if (options->no_follow) {
        status = await_begin(qmp);
    } else {
        if (!options->destination) {
            shared = settings_shared_capabilities(qmp);
        }
        how.shared_capabilities = shared;
        status = follow(qmp, &how);
    }
    guard_take_back(guard, qmp, before);
    return status;
}

static ExitStatus run(const MigrateOptions *options, const char *uri)
{
    g_autoptr(Recording) recording = NULL;
    g_autoptr(GError) error = NULL;
    Guard *guard;
    g_autoptr(QmpClient) qmp = NULL;

    guard_await_others(options->common.qmp);
    guard = guard_start(options->common.qmp);
    qmp = commands_connect(&options->common);
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
    return start_and_follow(qmp, options, uri, recording, guard);
}

ExitStatus cmd_migrate(int argc, char **argv)
{
    MigrateOptions options = { .settings = settings_new() };
    ExitStatus status;

    if (parse(&argc, &argv, &options, &status)) {
        status = options.common.domain ?
            commands_usage("migrate", "--domain: libvirt has to migrate its "
                           "guests itself, with 'virsh migrate'; watch, "
                           "record and check take --domain") :
            argc == 2 ? run(&options, argv[1])
                 : commands_usage("migrate", argc < 2 ? "the URI to migrate "
                                  "to is missing" : "more than one URI");
    }
    settings_free(options.settings);
    g_free(options.destination);
    g_free(options.record);
    commands_free(&options.common);
    return status;
}
