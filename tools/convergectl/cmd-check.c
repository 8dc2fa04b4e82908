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
#include "guest-memory.h"
#include "look.h"
#include "message.h"
#include "report-check.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_SECONDS 3

/* What cannot be foretold is no failure, and has a status of its own */
#define CHECK_ERROR check_error_quark()
#define CHECK_UNTOLD 0
static G_DEFINE_QUARK(convergectl-check-error, check_error)

/* calc-dirty-rate takes whole seconds, and this many at most */
#define MAX_SECONDS 60

typedef struct CheckOptions {
    CommonOptions common;
    char *bandwidth;
    int downtime_ms;
    int seconds;
    char *mode;
} CheckOptions;

/*
 * Of a guest that does not run, or is on its way already, nothing can be
 * foretold.  NULL: it runs.
 */
static char *why_untold(QmpClient *qmp)
{
    static const struct { const char *status, *why; } states[] = {
        { "inmigrate", "this QEMU waits for a guest to come in: ask the one "
          "that the guest is to leave" },
        { "postmigrate", "the guest has migrated away from here already" },
        { "finish-migrate", "the guest is just migrating away from here" },
        { "prelaunch", "the guest has not been started" },
        { "shutdown", "the guest has shut down" },
    };
    JsonObject *reply = qmp_query(qmp, "query-status", NULL);
    g_autofree char *status = g_strdup(reply ?
        json_object_get_string_member_with_default(reply, "status", "") : "");
    gboolean running = !reply ||
        json_object_get_boolean_member_with_default(reply, "running", TRUE);

    g_clear_pointer(&reply, json_object_unref);
    for (size_t i = 0; i < G_N_ELEMENTS(states); i++) {
        if (g_str_equal(status, states[i].status)) {
            return g_strdup(states[i].why);
        }
    }
    return running ? NULL :
           g_strdup_printf("the guest does not run (%s): what it would dirty "
                           "cannot be measured; continue it first", status);
}

static char *why_busy(QmpClient *qmp)
{
    JsonObject *info = qmp_query(qmp, "query-migrate", NULL);
    g_autoptr(Look) look = info ? look_from_info(info) : NULL;
    char *why = look && look_is_running(look) ?
        g_strdup_printf("a migration is running there (%s): 'convergectl "
                        "watch' follows it", look->status) : NULL;

    g_clear_pointer(&info, json_object_unref);
    return why;
}

static gboolean is_told(QmpClient *qmp, GError **errp)
{
    g_autofree char *busy = why_busy(qmp);
    g_autofree char *why = busy ? NULL : why_untold(qmp);

    if (!busy && !why) {
        return TRUE;
    }
    g_set_error(errp, CHECK_ERROR, CHECK_UNTOLD, "%s", busy ?: why);
    return FALSE;
}

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
    facts->has_converge = json_object_has_member(reply, "convergence-policy");
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

/*
 * To look at a page that was never touched can cost the host a huge page.  So
 * samples are taken where next to all of RAM is in use, or nothing else tells.
 */
#define IN_USE 0.9

static gboolean may_sample(const CheckFacts *facts)
{
    return facts->touched_bytes >= facts->ram_bytes * IN_USE;
}

static DirtyRate *measure_also(QmpClient *qmp, const DirtyRate *first,
                               const char *mode, const CheckFacts *facts)
{
    /* Good to know, and no must */
    return g_str_equal(first->mode, mode) ? NULL :
           dirty_rate_measure(qmp, mode, 1, facts->ram_bytes, NULL);
}

static gboolean measure(QmpClient *qmp, const CheckOptions *options,
                        guint64 bandwidth, const char *uri,
                        CheckResult *result, GError **errp)
{
    g_autoptr(DirtyRate) first = NULL, second = NULL, vcpus = NULL;
    g_autoptr(DirtyRate) sampled = NULL;
    CheckFacts facts = {
        .qmp = options->common.qmp, .bandwidth = options->bandwidth,
        .downtime_ms = options->downtime_ms, .uri = uri,
    };

    if (!is_told(qmp, errp) || !take_ram(qmp, &facts, errp) ||
        !take_link(qmp, options, bandwidth, &facts, errp)) {
        return FALSE;
    }
    facts.touched_bytes = guest_memory_touched(qmp_peer(qmp),
                                               facts.ram_bytes);
    if (!options->common.json) {
        message_note("measuring for some %d s", 3 + options->seconds);
    }
    first = dirty_rate_measure(qmp, options->mode, 1, facts.ram_bytes, errp);
    second = first ? dirty_rate_measure(qmp, first->mode, options->seconds,
                                        facts.ram_bytes, errp) : NULL;
    if (!second) {
        return FALSE;
    }
    vcpus = measure_also(qmp, first, DIRTY_RATE_BY_VCPU, &facts);
    sampled = may_sample(&facts) ?
              measure_also(qmp, first, DIRTY_RATE_SAMPLED, &facts) : NULL;
    if (!is_told(qmp, errp)) {
        g_prefix_error(errp, "while it was measured: ");
        return FALSE;
    }
    facts.first = first;
    facts.second = second;
    facts.sampled = sampled;
    facts.vcpus = second->vcpus->len ? second :
                  vcpus && vcpus->vcpus->len ? vcpus : NULL;
    *result = check_result(&facts);
    tell(options, &facts, result);
    return TRUE;
}

static ExitStatus run(const CheckOptions *options, guint64 bandwidth,
                      const char *uri)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(QmpClient) qmp = commands_connect(&options->common);
    CheckResult result;

    if (!qmp) {
        return EXIT_LOST;
    }
    if (!measure(qmp, options, bandwidth, uri, &result, &error)) {
        ExitStatus status = commands_tell_error(error);

        return error->domain == CHECK_ERROR ? EXIT_UNTOLD : status;
    }
    return check_converges(&result) ? EXIT_COMPLETED : EXIT_NO_CONVERGENCE;
}

static ExitStatus check_and_run(int argc, char **argv,
                                const CheckOptions *options)
{
    static const char *const modes[] = { "dirty-bitmap", "dirty-ring",
                                         "page-sampling", NULL };
    guint64 bandwidth = 0;

    if (argc > 2) {
        return commands_usage("check", "'%s' is one too many", argv[2]);
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
    return run(options, bandwidth, argv[1]);
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

    if (commands_parse(&argc, &argv, "[URI]",
            "Measure what the guest dirties, and say whether a migration "
            "over a given link\nwould converge, what it would cost and how "
            "long it would take.  With URI, the command\nthat it advises "
            "is complete.\nExit status: 0 yes (slowed down if need be), "
            "6 no, 7 cannot be told (paused, incoming,\nmigrated, "
            "migrating), 1 failed, 2 usage, 4 lost connection.",
            entries, &options.common, &status)) {
        status = check_and_run(argc, argv, &options);
    }
    g_free(options.bandwidth);
    g_free(options.mode);
    commands_free(&options.common);
    return status;
}
