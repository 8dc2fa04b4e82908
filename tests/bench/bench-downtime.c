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
 */

#include "options.h"
#include "report.h"

#include <string.h>

static const unsigned limits_ms[] = { 50, 300, 1000 };
#define NR_LIMITS G_N_ELEMENTS(limits_ms)

typedef struct Count {
    unsigned runs, within, completed;
    double worst_ms, worst_total_s;
} Count;

typedef struct Campaign {
    const Options *options;
    char **policies;            /* "none": do not set one */
    unsigned nr_policies;
    Count *counts;              /* NR_LIMITS of each policy */
} Campaign;

static void count(Count *c, const MigrateSpec *spec,
                  const MigrateResult *result)
{
    c->runs++;
    c->worst_total_s = MAX(c->worst_total_s, result->total_ms / 1e3);
    if (result->outcome == MIGRATE_COMPLETED) {
        c->completed++;
        c->within += result->downtime_ms <= spec->downtime_limit_ms;
        c->worst_ms = MAX(c->worst_ms, result->downtime_ms);
    }
}

static gboolean run_one(Campaign *campaign, unsigned number, GError **errp)
{
    unsigned limit = number % NR_LIMITS;
    unsigned policy = number / NR_LIMITS % campaign->nr_policies;
    MigrateSpec spec = options_to_spec(campaign->options);
    g_autoptr(MigrateResult) result = NULL;
    g_autofree char *json = NULL;

    spec.downtime_limit_ms = limits_ms[limit];
    if (!g_str_equal(campaign->policies[policy], "none")) {
        spec.policy = campaign->policies[policy];
    }
    result = migrate_run(&spec, errp);
    if (!result) {
        return FALSE;
    }
    count(&campaign->counts[policy * NR_LIMITS + limit], &spec, result);
    printf("%4u  %-11s limit %4u ms: %s, downtime %" G_GINT64_FORMAT " ms%s\n",
           number + 1, campaign->policies[policy], spec.downtime_limit_ms,
           report_outcome(result), result->downtime_ms,
           result->outcome != MIGRATE_COMPLETED ||
           result->downtime_ms > spec.downtime_limit_ms ? "  <-- over" : "");
    fflush(stdout);
    json = report_json(&spec, "downtime", number + 1, NULL, result);
    return !campaign->options->out ||
           options_append_line(campaign->options->out, json, errp);
}

static void tell(const Campaign *campaign)
{
    unsigned runs = 0, within = 0;

    printf("\n%-11s %8s %6s %6s %6s %8s %8s\n", "policy", "limit ms", "runs",
           "done", "within", "worst ms", "longest s");
    for (unsigned p = 0; p < campaign->nr_policies; p++) {
        for (unsigned l = 0; l < NR_LIMITS; l++) {
            const Count *c = &campaign->counts[p * NR_LIMITS + l];

            printf("%-11s %8u %6u %6u %6u %8.0f %8.1f\n",
                   campaign->policies[p], limits_ms[l], c->runs,
                   c->completed, c->within, c->worst_ms, c->worst_total_s);
            runs += c->runs;
            within += c->within;
        }
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

int main(int argc, char **argv)
{
    static const char *const takes[] = {
        "qemu", "load", "mem", "smp", "accel", "bandwidth", "cap", "runs",
        "baseline", "set", "pin", "json", NULL
    };
    g_auto(GStrv) policies = NULL;
    const GOptionEntry own[] = {
        { "policy", 0, 0, G_OPTION_ARG_STRING_ARRAY, &policies,
          "policies in turn (repeatable); none sets none", "P" },
        { NULL },
    };
    Options o = OPTIONS_DEFAULT;
    Campaign campaign = { .options = &o };
    g_autoptr(GError) error = NULL;
    int status = 0;

    o.mem_mib = 192;
    o.cap_s = 30;
    o.runs = 102;
    o.baseline_ms = 500;
    o.load = g_strdup("write:64:100,compute");
    if (!options_parse(&o, takes, own,
            "Counts migrations whose downtime kept to its limit (50, 300 and "
            "1000 ms\nin turn). Exit status 1 if one could not be run.",
            argc, argv, &error)) {
        fprintf(stderr, "bench-downtime: error: %s\n", error->message);
        options_clear(&o);
        return 2;
    }
    if (!policies) {
        policies = g_strsplit("predictive,dirty-limit", ",", -1);
    }
    campaign.policies = policies;
    campaign.nr_policies = g_strv_length(policies);
    campaign.counts = g_new0(Count, campaign.nr_policies * NR_LIMITS);
    if (!run_campaign(&campaign, &error)) {
        fprintf(stderr, "bench-downtime: error: %s\n", error->message);
        status = 1;
    }
    g_free(campaign.counts);
    options_clear(&o);
    return status;
}
