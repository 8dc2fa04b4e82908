/*
 * convergectl watch: follow a migration that somebody else started
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "commands.h"
#include "connection.h"
#include "message.h"

static ExitStatus run(const CommonOptions *common, int wait_s,
                      const char *record)
{
    g_autofree char *title = g_strdup_printf("migration of %s", common->qmp);
    FollowOptions how = { .title = title, .wait_s = wait_s,
                          .interval_ms = common->interval_ms,
                          .output = commands_output(common) };
    g_autoptr(Recording) recording = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(QmpClient) qmp =
        connection_open(common->qmp, common->connect_timeout_s, &error);

    if (!qmp) {
        message_error("%s", error->message);
        return EXIT_LOST;
    }
    if (record) {
        recording = recording_create(record, recording_format_of(record),
                                     &error);
        if (!recording) {
            message_error("%s", error->message);
            return EXIT_FAILED;
        }
    }
    how.recording = recording;
    return follow(qmp, &how);
}

ExitStatus cmd_watch(int argc, char **argv)
{
    g_autofree char *record = NULL;
    CommonOptions common = { 0 };
    int wait_s = 0;
    const GOptionEntry entries[] = {
        { "wait", 0, 0, G_OPTION_ARG_INT, &wait_s,
          "wait so long for a migration to begin; -1: for ever", "SECONDS" },
        { "record", 0, 0, G_OPTION_ARG_FILENAME, &record,
          "write what is seen to FILE (.csv, .json)", "FILE" },
        { NULL }
    };
    ExitStatus status;

    if (commands_parse(&argc, &argv, "",
            "Follow a migration that somebody else started.  Ctrl-C ends the "
            "watch, not the migration.", entries, &common, &status)) {
        status = argc == 1 ? run(&common, wait_s, record)
                 : commands_usage("watch", "'%s' is one too many", argv[1]);
    }
    g_free(common.qmp);
    return status;
}
