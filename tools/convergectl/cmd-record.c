/*
 * convergectl record: write down a migration, for plots and spreadsheets
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "commands.h"
#include "connection.h"
#include "message.h"

static ExitStatus run(const CommonOptions *common, int wait_s,
                      const char *output)
{
    FollowOptions how = { .title = "", .guest = commands_guest(common),
                          .wait_s = wait_s,
                          .interval_ms = common->interval_ms,
                          .silence_s = common->silence_s,
                          .output = FOLLOW_SILENT };
    RecordFormat format = common->json ? RECORD_JSON
                                       : recording_format_of(output);
    g_autoptr(Recording) recording = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(QmpClient) qmp = commands_connect(common);

    if (!qmp) {
        return EXIT_LOST;
    }
    recording = recording_create(output, format, &error);
    if (!recording) {
        message_error("%s", error->message);
        return EXIT_FAILED;
    }
    if (wait_s != 0) {
        message_note("waiting for a migration to begin");
    }
    how.recording = recording;
    return follow(qmp, &how);
}

ExitStatus cmd_record(int argc, char **argv)
{
    g_autofree char *output = NULL;
    CommonOptions common = { 0 };
    int wait_s = -1;
    const GOptionEntry entries[] = {
        { "output", 'o', 0, G_OPTION_ARG_FILENAME, &output,
          "CSV, or JSON lines if called .json; default: stdout", "FILE" },
        { "wait", 0, 0, G_OPTION_ARG_INT, &wait_s,
          "wait so long for a migration to begin (-1: for ever)",
          "SECONDS" },
        { NULL }
    };
    ExitStatus status;

    if (commands_parse(&argc, &argv, "",
            "Write down a migration, as CSV or JSON lines, from its begin to "
            "its end.", entries, &common, &status)) {
        status = argc == 1 ? run(&common, wait_s, output ?: "-")
                 : commands_usage("record", "'%s' is one too many", argv[1]);
    }
    commands_free(&common);
    return status;
}
