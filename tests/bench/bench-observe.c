/*
 * What watching a migration costs: query-migrate ten times a second
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Twice.  As seen from outside: the same guest over the same link migrates in
 * pairs, watched in the one run and left alone in the other, which of them
 * goes first in turns.  And the sharper figure: what a query takes of QEMU's
 * main thread, from a thousand of them in a migration that goes on.
 *
 * On two cores, TCG, 9 pairs: total time -0.2 s (96 %: -0.9 to +0.2) of 8.4,
 * downtime +1 ms (-1 to +2), no less work of any vCPU; a query is 0.14 ms of
 * CPU, of which query-status, too, takes 0.06.
 */

#include "migrate-pair.h"
#include "paired.h"
#include "report.h"

#include <stdlib.h>

/* The least number for an interval of 95 % that an outlier does not widen */
#define DEFAULT_PAIRS 9
#define MAX_PAIRS 60
#define QUERIES 1000
#define SMP 2

/* Left alone: but for the start, and the end, which an event tells */
#define WATCHED_MS 100
#define ALONE_MS 5000

/* A writer that outruns the link: the engine has work to do, too */
static const MigrateSpec base_spec = {
    .load = "write:96:60,compute", .mem_mib = 256, .smp = SMP,
    .bandwidth_bytes_per_s = 32 * 1000 * 1000, .downtime_limit_ms = 300,
    .cap_s = 60, .baseline_ms = 500,
};

typedef struct Figure {
    const char *name, *unit;
    double values[2][MAX_PAIRS];    /* alone, watched */
} Figure;

enum {
    FIGURE_TOTAL, FIGURE_DOWNTIME, FIGURE_WRITER, FIGURE_READER, FIGURE_CPU,
    FIGURE_MAIN, NR_FIGURES
};

static Figure figures[NR_FIGURES] = {
    [FIGURE_TOTAL] = { "total time", "s" },
    [FIGURE_DOWNTIME] = { "downtime", "ms" },
    [FIGURE_WRITER] = { "work of the vCPU that writes", "units per s" },
    [FIGURE_READER] = { "work of the vCPU that computes", "units per s" },
    [FIGURE_CPU] = { "CPU time of QEMU", "s per s" },
    [FIGURE_MAIN] = { "  of its main thread", "ms per s" },
};

/* As it is, and not against a baseline: that has its own noise in each run */
static double work_per_s(const MigrateResult *result, unsigned vcpu)
{
    return result->vcpus[vcpu].rate_before_per_s *
           result->vcpus[vcpu].work_share_pct / 100;
}

static void take_figures(const MigrateResult *result, int arm, unsigned pair)
{
    double total_ms = MAX(result->total_ms, 1);
    const double values[NR_FIGURES] = {
        [FIGURE_TOTAL] = result->total_ms / 1e3,
        [FIGURE_DOWNTIME] = result->downtime_ms,
        [FIGURE_WRITER] = work_per_s(result, 0),
        [FIGURE_READER] = work_per_s(result, SMP - 1),
        [FIGURE_CPU] = result->cpu_ns / total_ms / 1e6,
        [FIGURE_MAIN] = result->main_thread_ns / total_ms / 1e3,
    };

    for (int i = 0; i < NR_FIGURES; i++) {
        figures[i].values[arm][pair] = values[i];
    }
}

static gboolean run_arm(const MigrateSpec *spec, int arm, unsigned pair,
                        GError **errp)
{
    g_autoptr(MigrateResult) result = NULL;
    g_autofree char *verdict = NULL;
    MigrateSpec armed = *spec;

    armed.poll_ms = arm ? WATCHED_MS : ALONE_MS;
    result = migrate_run(&armed, errp);
    if (!result) {
        return FALSE;
    }
    verdict = report_verdict(result);
    if (result->outcome != MIGRATE_COMPLETED || result->nr_vcpus < SMP) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC, "pair %u: %s",
                    pair + 1, verdict);
        return FALSE;
    }
    printf("pair %u, %s: %s\n", pair + 1, arm ? "watched" : "left alone",
           verdict);
    fflush(stdout);
    take_figures(result, arm, pair);
    return TRUE;
}

static gboolean run_pairs(const MigrateSpec *spec, unsigned pairs,
                          GError **errp)
{
    for (unsigned pair = 0; pair < pairs; pair++) {
        int first = pair % 2;

        if (!run_arm(spec, first, pair, errp) ||
            !run_arm(spec, !first, pair, errp)) {
            return FALSE;
        }
    }
    return TRUE;
}

static void tell_pairs(unsigned pairs)
{
    printf("\n%-32s %10s %10s %10s  interval\n", "median of each arm", "alone",
           "watched", "difference");
    for (int i = 0; i < NR_FIGURES; i++) {
        Figure *f = &figures[i];
        PairedDifference d = paired_difference(f->values[1], f->values[0],
                                               pairs);

        gboolean by_chance = d.confidence_pct < 95 ||
                             (d.low <= 0 && d.high >= 0);

        printf("%-32s %10.3f %10.3f %+10.3f  %+.3f to %+.3f %s%s\n", f->name,
               report_median(f->values[0], pairs),
               report_median(f->values[1], pairs), d.median, d.low, d.high,
               f->unit, by_chance ? "" : "  <- not by chance");
        if (i == NR_FIGURES - 1) {
            printf("%u pairs; each interval holds the true difference with "
                   "%.1f %% confidence\n", pairs, d.confidence_pct);
        }
    }
}

/* Per query: CPU of the main thread, and the time until the answer is here */
static gboolean measure_query(Vm *vm, const char *command, double *cpu_us,
                              double *latency_us, GError **errp)
{
    g_autofree double *latencies_us = g_new(double, QUERIES);
    guint64 main_ns = vm_main_thread_ns(vm);

    for (int i = 0; i < QUERIES; i++) {
        gint64 asked_us = g_get_monotonic_time();
        JsonObject *info = qmp_query(vm_qmp(vm), command, errp);

        if (!info) {
            return FALSE;
        }
        json_object_unref(info);
        latencies_us[i] = g_get_monotonic_time() - asked_us;
    }
    *cpu_us = (vm_main_thread_ns(vm) - main_ns) / 1e3 / QUERIES;
    *latency_us = report_median(latencies_us, QUERIES);
    return TRUE;
}

/* In a migration that cannot end; query-status is what any query costs */
static gboolean measure_queries(const MigrateSpec *spec, GError **errp)
{
    static const char *const commands[] = { "query-migrate", "query-status" };
    MigrateSpec slow = *spec;
    MigratePair pair = { 0 };
    gboolean ok;

    slow.bandwidth_bytes_per_s = 1000 * 1000;
    ok = migrate_pair_start(&pair, &slow, errp) &&
         migrate_pair_configure(&pair, &slow, errp) &&
         migrate_pair_go(&pair, NULL, errp);
    if (ok) {
        /* Several decisions have been taken: nothing is missing in a reply */
        g_usleep(3 * G_USEC_PER_SEC);
    }
    for (size_t i = 0; ok && i < G_N_ELEMENTS(commands); i++) {
        double cpu_us, latency_us;

        ok = measure_query(pair.source, commands[i], &cpu_us, &latency_us,
                           errp);
        if (ok) {
            printf("%s: %.0f us of CPU of the main thread, answered within "
                   "%.0f us (median of %d); ten a second take %.3f %% of a "
                   "core\n", commands[i], cpu_us, latency_us, QUERIES,
                   cpu_us * 10 / 1e4);
        }
    }
    migrate_pair_clear(&pair);
    return ok;
}

int main(int argc, char **argv)
{
    int pairs = argc > 2 ? atoi(argv[2]) : DEFAULT_PAIRS;
    MigrateSpec spec = base_spec;
    g_autoptr(GError) error = NULL;

    if (argc > 3 || pairs < 1 || pairs > MAX_PAIRS) {
        fprintf(stderr, "usage: bench-observe [QEMU [PAIRS (1-%d)]]\n",
                MAX_PAIRS);
        return 2;
    }
    spec.qemu = argc > 1 ? argv[1] : "build/qemu/qemu-system-x86_64";
    spec.policy = migrate_has_policy(spec.qemu, "auto") ? "auto" : NULL;
    if (!measure_queries(&spec, &error) ||
        !run_pairs(&spec, pairs, &error)) {
        fprintf(stderr, "bench-observe: error: %s\n", error->message);
        return 1;
    }
    tell_pairs(pairs);
    return 0;
}
