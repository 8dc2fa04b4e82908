/*
 * What a migration costs the vCPU that does not write
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * In pairs: the guest migrates under a policy, and as long with auto-converge
 * off, which of them goes first in turns.  What the reader loses more in the
 * first is the policy's doing; the rest is the migration's, whoever steers it.
 */

#include "options.h"
#include "paired.h"
#include "report.h"

#include <stdlib.h>

#define DEFAULT_PAIRS 5
#define MAX_PAIRS 60
/* As long as the last run under the policy; this, before there is one */
#define FIRST_CAP_S 8

typedef struct Shares {
    double pct[2][MAX_PAIRS];       /* auto-converge off, under the policy */
} Shares;

/* Under the policy it has to end; without it is cut after as long */
static gboolean run_arm(const MigrateSpec *spec, int arm, unsigned pair,
                        unsigned *length_s, Shares *shares, GError **errp)
{
    g_autoptr(MigrateResult) result = NULL;
    g_autofree char *verdict = NULL;
    MigrateSpec armed = *spec;
    unsigned reader = spec->smp - 1;

    if (!arm) {
        armed.policy = NULL;
        armed.no_auto_converge = TRUE;
        armed.cap_s = *length_s;
    }
    result = migrate_run(&armed, errp);
    if (!result) {
        return FALSE;
    }
    verdict = report_verdict(result);
    if (result->outcome == MIGRATE_FAILED || result->nr_vcpus <= reader ||
        (arm && result->outcome != MIGRATE_COMPLETED)) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC, "pair %u: %s",
                    pair + 1, verdict);
        return FALSE;
    }
    if (arm) {
        *length_s = MAX(1, (result->total_ms + 500) / 1000);
    }
    shares->pct[arm][pair] = result->vcpus[reader].work_share_pct;
    printf("pair %u, %s: %s; vCPU %u did %.1f %% of its work; others took "
           "%.0f %% of the host\n", pair + 1,
           arm ? spec->policy : "auto-converge off", verdict, reader,
           shares->pct[arm][pair], result->host_others_pct);
    fflush(stdout);
    return TRUE;
}

static gboolean run_pairs(const MigrateSpec *spec, unsigned pairs,
                          Shares *shares, GError **errp)
{
    unsigned length_s = FIRST_CAP_S;

    for (unsigned pair = 0; pair < pairs; pair++) {
        int first = !(pair % 2);

        if (!run_arm(spec, first, pair, &length_s, shares, errp) ||
            !run_arm(spec, !first, pair, &length_s, shares, errp)) {
            return FALSE;
        }
    }
    return TRUE;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {
        "qemu", "policy", "load", "mem", "smp", "accel", "bandwidth",
        "downtime", "cap", "runs", "baseline", "set", "pin", NULL
    };
    Options options = OPTIONS_DEFAULT;
    g_autoptr(GError) error = NULL;
    PairedDifference d;
    MigrateSpec spec;
    Shares shares;

    options.runs = DEFAULT_PAIRS;
    if (!options_parse(&options, names, NULL, "Compares in pairs what the "
                       "last vCPU gets done under a policy and without.",
                       argc, argv, &error) || options.runs > MAX_PAIRS) {
        fprintf(stderr, "bench-readers: error: %s\n",
                error ? error->message : "--runs is 1 to 60");
        return 2;
    }
    spec = options_to_spec(&options);
    if (!spec.policy) {
        spec.policy = "dirty-limit";
    }
    if (!run_pairs(&spec, options.runs, &shares, &error)) {
        fprintf(stderr, "bench-readers: error: %s\n", error->message);
        options_clear(&options);
        return 1;
    }
    d = paired_difference(shares.pct[1], shares.pct[0], options.runs);
    printf("%d pairs, medians: %s %.1f %%, auto-converge off %.1f %%; "
           "difference %+.1f points (%.1f %%: %+.1f to %+.1f)\n",
           options.runs, spec.policy,
           report_median(shares.pct[1], options.runs),
           report_median(shares.pct[0], options.runs), d.median,
           d.confidence_pct, d.low, d.high);
    options_clear(&options);
    return 0;
}
