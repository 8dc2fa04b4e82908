/*
 * convergectl check: would this guest converge over that link?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "commands.h"
#include "connection.h"
#include "format.h"
#include "message.h"
#include "report-check.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_SECONDS 3

/* calc-dirty-rate takes whole seconds, and this many at most */
#define MAX_SECONDS 60

typedef struct CheckOptions {
    CommonOptions common;
    char *bandwidth;
    int downtime_ms;
    int seconds;
    char *mode;
} CheckOptions;

static gboolean take_ram(QmpClient *qmp, CheckFacts *facts, GError **errp)
{
    JsonObject *reply = qmp_query(qmp, "query-memory-size-summary", errp);

    if (!reply) {
        return FALSE;
    }
    facts->ram_bytes =
        json_object_get_int_member_with_default(reply, "base-memory", 0) +
        json_object_get_int_member_with_default(reply, "plugged-memory", 0);
    json_object_unref(reply);
    if (facts->ram_bytes <= 0) {
        g_set_error_literal(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                            "QEMU does not tell how much RAM the guest has");
        return FALSE;
    }
    return TRUE;
}

/* What is not given is what the QEMU is set to */
static gboolean take_link(QmpClient *qmp, const CheckOptions *options,
                          guint64 bandwidth, CheckFacts *facts,
                          GError **errp)
{
    JsonObject *reply = qmp_query(qmp, "query-migrate-parameters", errp);

    if (!reply) {
        return FALSE;
    }
    facts->bandwidth_bytes_per_s = bandwidth ?:
        json_object_get_int_member_with_default(reply, "max-bandwidth", 0);
    facts->downtime_s = (options->downtime_ms >= 0 ? options->downtime_ms :
        json_object_get_int_member_with_default(reply, "downtime-limit",
                                                300)) / 1e3;
    json_object_unref(reply);
    /* libvirt sets about 2^63 for "no limit": that says nothing of a link */
    if (facts->bandwidth_bytes_per_s <= 0 ||
        facts->bandwidth_bytes_per_s > 1e15) {
        g_set_error_literal(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                            "no max-bandwidth is set; say what the link "
                            "carries with --bandwidth");
        return FALSE;
    }
    return TRUE;
}

static void tell(const CheckOptions *options, const CheckFacts *facts,
                 const CheckResult *result)
{
    g_autofree char *text = options->common.json
                            ? check_report_json(facts, result)
                            : check_report(facts, result);

    printf("%s%s", text, options->common.json ? "\n" : "");
}

static gboolean measure(QmpClient *qmp, const CheckOptions *options,
                        guint64 bandwidth, CheckResult *result,
                        GError **errp)
{
    g_autoptr(DirtyRate) first = NULL, second = NULL, vcpus = NULL;
    CheckFacts facts = { 0 };

    if (!take_ram(qmp, &facts, errp) ||
        !take_link(qmp, options, bandwidth, &facts, errp)) {
        return FALSE;
    }
    if (!options->common.json) {
        message_note("measuring for some %d s", 2 + options->seconds);
    }
    first = dirty_rate_measure(qmp, options->mode, 1, errp);
    second = first ? dirty_rate_measure(qmp, first->mode, options->seconds,
                                        errp) : NULL;
    if (!second) {
        return FALSE;
    }
    /* What the vCPUs write by themselves is good to know, and no must */
    vcpus = dirty_rate_measure(qmp, "dirty-ring", 1, NULL);
    facts.first = first;
    facts.second = second;
    facts.vcpus = vcpus && vcpus->vcpus->len ? vcpus : NULL;
    facts.model = write_model_fit(first->bytes_per_s * first->seconds,
                                  first->seconds,
                                  second->bytes_per_s * second->seconds,
                                  second->seconds, facts.ram_bytes);
    *result = check_result(&facts);
    tell(options, &facts, result);
    return TRUE;
}

static ExitStatus run(const CheckOptions *options, guint64 bandwidth)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(QmpClient) qmp =
        connection_open(options->common.qmp,
                        options->common.connect_timeout_s, &error);
    CheckResult result;

    if (!qmp) {
        message_error("%s", error->message);
        return EXIT_LOST;
    }
    if (!measure(qmp, options, bandwidth, &result, &error)) {
        message_error("%s", error->message);
        return connection_is_lost(error) ? EXIT_LOST : EXIT_FAILED;
    }
    return result.throttle_pct > 99 ? EXIT_NO_CONVERGENCE : EXIT_COMPLETED;
}

static ExitStatus check_and_run(int argc, char **argv,
                                const CheckOptions *options)
{
    static const char *const modes[] = { "dirty-bitmap", "dirty-ring",
                                         "page-sampling", NULL };
    guint64 bandwidth = 0;

    if (argc != 1) {
        return commands_usage("check", "'%s' is one too many", argv[1]);
    }
    if (options->bandwidth && !parse_rate(options->bandwidth, &bandwidth)) {
        return commands_usage("check", "--bandwidth %s: is no rate; write 64 "
                              "(MB/s), 500M (bytes/s) or 10Gbit",
                              options->bandwidth);
    }
    if (options->seconds < 2 || options->seconds > MAX_SECONDS) {
        return commands_usage("check", "--seconds %d: 2 to %d",
                              options->seconds, MAX_SECONDS);
    }
    if (options->mode && !g_strv_contains(modes, options->mode)) {
        return commands_usage("check", "--mode %s: there are dirty-bitmap, "
                              "dirty-ring and page-sampling",
                              options->mode);
    }
    return run(options, bandwidth);
}

ExitStatus cmd_check(int argc, char **argv)
{
    CheckOptions options = { .downtime_ms = -1, .seconds = DEFAULT_SECONDS };
    const GOptionEntry entries[] = {
        { "bandwidth", 0, 0, G_OPTION_ARG_STRING, &options.bandwidth,
          "what the link carries: MB/s, or 10Gbit (QEMU's max-bandwidth)",
          "RATE" },
        { "downtime", 0, 0, G_OPTION_ARG_INT, &options.downtime_ms,
          "longest downtime aimed at (QEMU's downtime-limit)", "MS" },
        { "seconds", 0, 0, G_OPTION_ARG_INT, &options.seconds,
          "how long the longer of two measurements takes (3)", "SECONDS" },
        { "mode", 0, 0, G_OPTION_ARG_STRING, &options.mode,
          "dirty-bitmap, dirty-ring, page-sampling (the first that QEMU "
          "takes)", "MODE" },
        { NULL }
    };
    ExitStatus status;

    if (commands_parse(&argc, &argv, "",
            "Measure what the guest dirties, and say whether a migration "
            "over a given link\nwould converge, what it would cost and how "
            "long it would take.\nExit status: 0 yes (slowed down if need "
            "be), 6 no, 1 failed, 2 usage, 4 lost connection.",
            entries, &options.common, &status)) {
        status = check_and_run(argc, argv, &options);
    }
    g_free(options.bandwidth);
    g_free(options.mode);
    g_free(options.common.qmp);
    return status;
}
