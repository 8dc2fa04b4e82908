/*
 * What watching a migration costs: query-migrate ten times a second
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * A migration that cannot end (one guest outruns a slow link, auto-converge
 * has nothing to work with) is watched and left alone in turns.  The price
 * is told as CPU time of QEMU's main thread a query, as the time a query
 * takes, and as the guest's work in watched turns against the others.
 */

#include "migrate-pair.h"
#include "report.h"

#include <stdlib.h>

#define QUERIES_PER_S 10
#define DEFAULT_TURNS 5
#define MAX_TURNS 60
#define SMP 2

typedef struct Observation {
    double latency_us[MAX_TURNS * QUERIES_PER_S];
    unsigned nr_queries;
    guint64 watched_ns, alone_ns;       /* of the main thread */
    double work_pct[MAX_TURNS];         /* watched against alone */
} Observation;

/* One second with a query each tenth */
static gboolean watch(Vm *vm, Observation *o, GError **errp)
{
    gint64 next_us = g_get_monotonic_time();

    for (int i = 0; i < QUERIES_PER_S; i++) {
        gint64 asked_us = g_get_monotonic_time();
        JsonObject *info = qmp_query(vm_qmp(vm), "query-migrate", errp);

        if (!info) {
            return FALSE;
        }
        if (!g_str_equal(migrate_info_status(info), "active")) {
            g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                        "the migration is '%s', not active",
                        migrate_info_status(info));
            json_object_unref(info);
            return FALSE;
        }
        json_object_unref(info);
        o->latency_us[o->nr_queries++] = g_get_monotonic_time() - asked_us;
        next_us += G_USEC_PER_SEC / QUERIES_PER_S;
        g_usleep(MAX(next_us - g_get_monotonic_time(), 0));
    }
    return TRUE;
}

static gboolean take_turn(MigratePair *pair, Observation *o, int turn,
                          GError **errp)
{
    GuestWorkVcpu vcpus[GUEST_WORK_MAX_VCPUS];
    guint64 ns[3];
    gint64 us[3];

    us[0] = g_get_monotonic_time();
    ns[0] = vm_main_thread_ns(pair->source);
    g_usleep(G_USEC_PER_SEC);
    us[1] = g_get_monotonic_time();
    ns[1] = vm_main_thread_ns(pair->source);
    if (!watch(pair->source, o, errp)) {
        return FALSE;
    }
    us[2] = g_get_monotonic_time();
    ns[2] = vm_main_thread_ns(pair->source);
    g_usleep(G_USEC_PER_SEC / 5);   /* the last report comes in */
    if (!guest_work_account(pair->work, us[0], us[1], us[2], us[2], vcpus)) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                    "the guest does not report any work");
        return FALSE;
    }
    o->alone_ns += ns[1] - ns[0];
    o->watched_ns += ns[2] - ns[1];
    o->work_pct[turn] = vcpus[SMP - 1].work_share_pct;
    return TRUE;
}

static void tell(Observation *o, int turns)
{
    double main_us = ((double)o->watched_ns - o->alone_ns) / 1e3 /
                     o->nr_queries;
    double median_us = report_median(o->latency_us, o->nr_queries);

    printf("%u queries, %d a second\n", o->nr_queries, QUERIES_PER_S);
    printf("  main thread: %.0f us of CPU a query, %.3f %% of a core\n",
           main_us, main_us * QUERIES_PER_S / 1e4);
    printf("  a query takes: median %.0f us, longest %.0f us\n", median_us,
           o->latency_us[o->nr_queries - 1]);
    printf("  the computing vCPU's work while watched: %.1f %% of that while "
           "left alone (median of %d turns)\n",
           report_median(o->work_pct, turns), turns);
}

int main(int argc, char **argv)
{
    const char *qemu = argc > 1 ? argv[1] : "build/qemu/qemu-system-x86_64";
    int turns = argc > 2 ? atoi(argv[2]) : DEFAULT_TURNS;
    MigrateSpec spec = {
        .qemu = qemu, .load = "write:64:50,compute", .mem_mib = 256,
        .smp = SMP, .bandwidth_bytes_per_s = 16 * 1000 * 1000,
        .downtime_limit_ms = 1, .no_auto_converge = TRUE,
    };
    g_autofree Observation *o = g_new0(Observation, 1);
    g_autoptr(GError) error = NULL;
    MigratePair pair = { 0 };
    gboolean ok;

    if (argc > 3 || turns < 1 || turns > MAX_TURNS) {
        fprintf(stderr, "usage: bench-observe [QEMU [TURNS (1-%d)]]\n",
                MAX_TURNS);
        return 2;
    }
    ok = migrate_pair_start(&pair, &spec, &error) &&
         migrate_pair_configure(&pair, &spec, &error) &&
         migrate_pair_go(&pair, &error);
    if (ok) {
        g_usleep(G_USEC_PER_SEC);
    }
    for (int turn = 0; ok && turn < turns; turn++) {
        ok = take_turn(&pair, o, turn, &error);
    }
    migrate_pair_clear(&pair);
    if (!ok) {
        fprintf(stderr, "bench-observe: error: %s\n", error->message);
        return 1;
    }
    tell(o, turns);
    return 0;
}
