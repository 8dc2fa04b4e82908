/*
 * Is the downtime within its limit?  Many short migrations, counted
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * A small guest that writes faster than the link carries migrates over and
 * over, with limits and policies in turn.  What counts is QEMU's `downtime`
 * of each against the limit it was given; a migration that did not complete
 * counts as one over it.
 *
 * With --wire it goes over TCP through a shaped wire, with the buffers that the
 * kernel gives a sender, and without a cap.  Then what counts is for how long
 * the guest's own clock stood still, against the limit and 50 ms more.
 */

#include "options.h"
#include "report.h"

#include <string.h>

static const unsigned limits_ms[] = { 50, 300, 1000 };
#define NR_LIMITS G_N_ELEMENTS(limits_ms)

/* What the guest may feel above its limit */
#define FELT_MARGIN_MS 50
/* The default of --bandwidth: with a wire no cap, else this */
#define UNCAPPED_MB 1e6
#define USUAL_MB 64
/* Several guests at once over one wire, at most */
#define MAX_BESIDE 8

typedef struct Count {
    unsigned runs, within, completed;
    double worst_ms, worst_total_s;
} Count;

typedef struct Campaign {
    const Options *options;
    char **policies;            /* "none": do not set one */
    unsigned nr_policies;
    guint64 *wires_bytes_per_s; /* one of 0: no wire */
    unsigned nr_wires;
    int beside;                 /* guests at once */
    Count *counts;              /* of each policy and wire NR_LIMITS */
} Campaign;

/* One migration of those that share a wire */
typedef struct Run {
    MigrateSpec spec;
    MigrateResult *result;
    GError *error;
} Run;

static double counted_ms(const MigrateSpec *spec, const MigrateResult *result)
{
    return spec->wire ? result->felt_downtime_ms : result->downtime_ms;
}

static gboolean is_within(const MigrateSpec *spec,
                          const MigrateResult *result)
{
    return result->outcome == MIGRATE_COMPLETED &&
           counted_ms(spec, result) <= spec->downtime_limit_ms +
                                       (spec->wire ? FELT_MARGIN_MS : 0);
}

static void count(Count *c, const MigrateSpec *spec,
                  const MigrateResult *result)
{
    c->runs++;
    c->worst_total_s = MAX(c->worst_total_s, result->total_ms / 1e3);
    c->within += is_within(spec, result);
    if (result->outcome == MIGRATE_COMPLETED) {
        c->completed++;
        c->worst_ms = MAX(c->worst_ms, counted_ms(spec, result));
    }
}

static void *run_main(void *opaque)
{
    Run *run = opaque;

    run->result = migrate_run(&run->spec, &run->error);
    return NULL;
}

/* All of them at once, each over a wire of its own beside the first one */
static gboolean run_together(Run *runs, int n, guint64 wire_bytes_per_s,
                             GError **errp)
{
    g_autoptr(GPtrArray) wires =
        g_ptr_array_new_with_free_func((GDestroyNotify)wire_free);
    GThread *threads[MAX_BESIDE];
    gboolean ok = TRUE;

    for (int i = 0; wire_bytes_per_s && i < n; i++) {
        Wire *wire = wire_new_tcp(NULL, i ? wires->pdata[0] : NULL, errp);

        if (!wire) {
            return FALSE;
        }
        g_ptr_array_add(wires, wire);
        wire_set_rate(wire, wire_bytes_per_s);
        runs[i].spec.wire = wire;
    }
    for (int i = 0; i < n; i++) {
        threads[i] = g_thread_new("migration", run_main, &runs[i]);
    }
    for (int i = 0; i < n; i++) {
        g_thread_join(threads[i]);
        if (runs[i].error && ok) {
            g_propagate_error(errp, g_steal_pointer(&runs[i].error));
            ok = FALSE;
        }
        g_clear_error(&runs[i].error);
    }
    return ok;
}

static gboolean report_run(Campaign *campaign, int number, const char *policy,
                           guint64 wire_bytes_per_s, const Run *run,
                           GError **errp)
{
    const MigrateSpec *spec = &run->spec;
    const MigrateResult *result = run->result;
    g_autofree char *json = NULL;

    printf("%4u  %-11s ", number, policy);
    if (spec->wire) {
        printf("%4.0f MB/s ", wire_bytes_per_s / 1e6);
    }
    printf("limit %4u ms: %s, downtime %" G_GINT64_FORMAT " ms",
           spec->downtime_limit_ms, report_outcome(result),
           result->downtime_ms);
    if (spec->wire) {
        printf(", felt %.0f ms, throttle %d, %.1f s", result->felt_downtime_ms,
               result->max_throttle_pct, result->total_ms / 1e3);
    }
    printf("%s\n", is_within(spec, result) ? "" : "  <-- over");
    if (result->why) {
        printf("      %s\n", result->why);
    }
    fflush(stdout);
    json = report_json(spec, "downtime", number, NULL, result);
    return !campaign->options->out ||
           options_append_line(campaign->options->out, json, errp);
}

static gboolean run_one(Campaign *campaign, unsigned number, GError **errp)
{
    unsigned limit = number % NR_LIMITS;
    unsigned wire = number / NR_LIMITS % campaign->nr_wires;
    unsigned policy = number / NR_LIMITS / campaign->nr_wires %
                      campaign->nr_policies;
    guint64 wire_bytes_per_s = campaign->wires_bytes_per_s[wire];
    Count *counts = &campaign->counts[(policy * campaign->nr_wires + wire) *
                                      NR_LIMITS + limit];
    Run runs[MAX_BESIDE] = { };
    gboolean ok;

    for (int i = 0; i < campaign->beside; i++) {
        MigrateSpec *spec = &runs[i].spec;

        *spec = options_to_spec(campaign->options);
        spec->downtime_limit_ms = limits_ms[limit];
        if (!g_str_equal(campaign->policies[policy], "none")) {
            spec->policy = campaign->policies[policy];
        }
    }
    ok = run_together(runs, campaign->beside, wire_bytes_per_s, errp);
    for (int i = 0; i < campaign->beside; i++) {
        if (ok) {
            count(counts, &runs[i].spec, runs[i].result);
            ok = report_run(campaign, number + 1, campaign->policies[policy],
                            wire_bytes_per_s, &runs[i], errp);
        }
        g_clear_pointer(&runs[i].result, migrate_result_free);
    }
    return ok;
}

static void tell(const Campaign *campaign)
{
    unsigned runs = 0, within = 0;

    printf("\n%-11s %8s %8s %6s %6s %6s %8s %8s\n", "policy", "wire MB/s",
           "limit ms", "runs", "done", "within", "worst ms", "longest s");
    for (unsigned i = 0; i < campaign->nr_policies * campaign->nr_wires *
                             NR_LIMITS; i++) {
        const Count *c = &campaign->counts[i];
        unsigned wire = i / NR_LIMITS % campaign->nr_wires;

        printf("%-11s %8.0f %8u %6u %6u %6u %8.0f %8.1f\n",
               campaign->policies[i / NR_LIMITS / campaign->nr_wires],
               campaign->wires_bytes_per_s[wire] / 1e6,
               limits_ms[i % NR_LIMITS], c->runs, c->completed, c->within,
               c->worst_ms, c->worst_total_s);
        runs += c->runs;
        within += c->within;
    }
    printf("within the limit: %u of %u\n", within, runs);
}

static gboolean run_campaign(Campaign *campaign, GError **errp)
{
    for (int i = 0; i < campaign->options->runs; i++) {
        if (!run_one(campaign, i, errp)) {
            return FALSE;
        }
    }
    tell(campaign);
    return TRUE;
}

/* Without --wire there is one, of no rate */
static gboolean take_wires(Campaign *campaign, char **wires, GError **errp)
{
    campaign->nr_wires = wires ? g_strv_length(wires) : 1;
    campaign->wires_bytes_per_s = g_new0(guint64, campaign->nr_wires);
    for (unsigned i = 0; wires && i < campaign->nr_wires; i++) {
        double mb = g_ascii_strtod(wires[i], NULL);

        if (!(mb >= 0.1 && mb <= 1e5)) {
            g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "--wire is %s, and must be 0.1 to 100000", wires[i]);
            return FALSE;
        }
        campaign->wires_bytes_per_s[i] = mb * 1e6;
    }
    if (campaign->beside < 1 || campaign->beside > MAX_BESIDE ||
        (campaign->beside > 1 && !wires)) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--beside is %d, and must be 1 to %d, above 1 with --wire",
                    campaign->beside, MAX_BESIDE);
        return FALSE;
    }
    return TRUE;
}

int main(int argc, char **argv)
{
    static const char *const takes[] = {
        "qemu", "load", "mem", "smp", "accel", "bandwidth", "cap", "runs",
        "baseline", "set", "capability", "qemu-arg", "no-auto-converge",
        "pin", "json", NULL
    };
    g_auto(GStrv) policies = NULL;
    g_auto(GStrv) wires = NULL;
    int beside = 1;
    const GOptionEntry own[] = {
        { "policy", 0, 0, G_OPTION_ARG_STRING_ARRAY, &policies,
          "policies in turn (repeatable); none sets none", "P" },
        { "wire", 0, 0, G_OPTION_ARG_STRING_ARRAY, &wires,
          "TCP wires in turn (repeatable), 10^6 bytes a second", "MBPS" },
        { "beside", 0, 0, G_OPTION_ARG_INT, &beside,
          "so many guests at once over one wire", "N" },
        { NULL },
    };
    Options o = OPTIONS_DEFAULT;
    Campaign campaign = { .options = &o };
    g_autoptr(GError) error = NULL;
    int status = 0;

    o.mem_mib = 192;
    o.cap_s = 30;
    o.runs = 102;
    o.bandwidth_mb = UNCAPPED_MB;
    o.baseline_ms = 500;
    o.load = g_strdup("write:64:100,compute");
    if (!options_parse(&o, takes, own,
            "Counts migrations whose downtime kept to its limit (50, 300 and "
            "1000 ms\nin turn); over a wire, that which the guest felt to its "
            "limit and 50 ms.\nExit status 1 if one could not be run.",
            argc, argv, &error) ||
        (campaign.beside = beside, !take_wires(&campaign, wires, &error))) {
        fprintf(stderr, "bench-downtime: error: %s\n", error->message);
        g_free(campaign.wires_bytes_per_s);
        options_clear(&o);
        return 2;
    }
    if (!policies) {
        policies = g_strsplit("predictive,dirty-limit", ",", -1);
    }
    if (!wires && o.bandwidth_mb == UNCAPPED_MB) {
        o.bandwidth_mb = USUAL_MB;
    }
    campaign.policies = policies;
    campaign.nr_policies = g_strv_length(policies);
    campaign.counts = g_new0(Count, campaign.nr_policies *
                                    campaign.nr_wires * NR_LIMITS);
    if (!run_campaign(&campaign, &error)) {
        fprintf(stderr, "bench-downtime: error: %s\n", error->message);
        status = 1;
    }
    g_free(campaign.counts);
    g_free(campaign.wires_bytes_per_s);
    options_clear(&o);
    return status;
}
