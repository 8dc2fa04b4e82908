/*
 * Simulator: the evacuation of a host
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <time.h>
#include "sim-fleet.h"
#include "sim-migration.h"

#define GIB (1024.0 * 1024 * 1024)
#define LINK_GBIT_PER_S 100
/* As many as libvirt or a scheduler would run side by side. */
#define AT_ONCE 8
#define GUEST_LIMIT_S 600

typedef struct Guest {
    SimGuestSpec spec;
    SimMigration migration;
} Guest;

typedef struct Fleet {
    SimLinkSpec link;
    SimLogSpec log;
    const char *policy;
    unsigned n, started, arrived, given_up, over_limit;
    double *totals_s, *downtimes_ms;
    double lost_vcpu_s;
    uint64_t random;
} Fleet;

SimGuestSpec sim_draw_guest(uint64_t *random)
{
    double ram = GIB * (1 << (unsigned)(sim_random(random) * 6));
    double busy = sim_random(random);
    SimGuestSpec spec = {
        .ram_bytes = ram,
        .zero_bytes = ram * 0.5 * sim_random(random),
        .n_vcpus = 1 + (unsigned)(sim_random(random) * 8),
    };

    if (busy > 0.25) {
        spec.sets[0] = (SimSetSpec) {
            .bytes = ram * (0.02 + 0.3 * sim_random(random)),
            .rate_bytes_per_s = (busy > 0.75 ? 4e9 : 2e8) * sim_random(random),
            .n_vcpus = 1 + (unsigned)(sim_random(random) * spec.n_vcpus),
        };
        if (busy < 0.5) {
            spec.sets[0].on_s = 2;
            spec.sets[0].off_s = 5 * sim_random(random);
        }
    }
    return spec;
}

static void start(Fleet *fleet, Guest *guest)
{
    SimSpec spec = {
        .guest = &guest->spec, .link = &fleet->link, .log = fleet->log,
        .downtime_limit_ms = 300, .limit_s = GUEST_LIMIT_S,
        .seed = ++fleet->started,
    };

    guest->spec = sim_draw_guest(&fleet->random);
    sim_migration_init(&guest->migration, &spec, fleet->policy);
}

static void account(Fleet *fleet, const SimResult *r)
{
    if (r->completed) {
        fleet->totals_s[fleet->arrived] = r->total_s;
        fleet->downtimes_ms[fleet->arrived] = r->downtime_ms;
        fleet->over_limit += r->downtime_ms > 300;
        fleet->arrived++;
    } else {
        fleet->given_up++;
    }
    fleet->lost_vcpu_s += r->lost_vcpu_s;
}

/*
 * Each has its own clock; the one that is behind goes next, so that they stay
 * within a slice of each other.
 */
static double evacuate(Fleet *fleet)
{
    g_autofree Guest *guests = g_new0(Guest, AT_ONCE);
    int64_t offset_ns[AT_ONCE] = { 0 }, at_ns = 0;
    unsigned running = 0;
    bool on[AT_ONCE] = { false };

    for (;;) {
        unsigned next = AT_ONCE;
        int64_t least_ns = INT64_MAX;

        for (unsigned i = 0; i < AT_ONCE; i++) {
            if (!on[i] && fleet->started < fleet->n) {
                start(fleet, &guests[i]);
                offset_ns[i] = at_ns - guests[i].migration.start_ns;
                on[i] = true;
                running++;
            }
            if (on[i] && guests[i].migration.now_ns + offset_ns[i] <
                         least_ns) {
                least_ns = guests[i].migration.now_ns + offset_ns[i];
                next = i;
            }
        }
        if (next == AT_ONCE) {
            return at_ns / 1e9;
        }
        at_ns = least_ns;
        sim_migration_slice(&guests[next].migration, 1.0 / running);
        if (guests[next].migration.done) {
            account(fleet, &guests[next].migration.result);
            sim_migration_free(&guests[next].migration);
            on[next] = false;
            running--;
        }
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double percentile(double *values, unsigned n, unsigned pct)
{
    qsort(values, n, sizeof(*values), compare_doubles);
    return n ? values[(uint64_t)(n - 1) * pct / 100] : 0;
}

int sim_fleet(unsigned n, const char *policy, SimLogSpec log)
{
    g_autofree double *totals_s = g_new0(double, n);
    g_autofree double *downtimes_ms = g_new0(double, n);
    Fleet fleet = {
        .link = { .rate_bytes_per_s = LINK_GBIT_PER_S * GBIT_PER_S,
                  .jitter = 0.05 },
        .log = log,
        .policy = policy, .n = n, .random = 20261121,
        .totals_s = totals_s, .downtimes_ms = downtimes_ms,
    };
    clock_t began = clock();
    double all_s = evacuate(&fleet);

    printf("%u guests over %d Gb/s, %d at a time, policy %s: %u arrived in "
           "%.0f s, %u given up\n", n, LINK_GBIT_PER_S, AT_ONCE, policy,
           fleet.arrived, all_s, fleet.given_up);
    printf("a guest took %.1f s (median), %.1f s (99th percentile); downtime "
           "%.0f ms, %.0f ms, %u above the limit of 300 ms\n",
           percentile(totals_s, fleet.arrived, 50),
           percentile(totals_s, fleet.arrived, 99),
           percentile(downtimes_ms, fleet.arrived, 50),
           percentile(downtimes_ms, fleet.arrived, 99), fleet.over_limit);
    printf("work lost: %.0f vCPU-s in all; simulated in %.1f s\n",
           fleet.lost_vcpu_s, (double)(clock() - began) / CLOCKS_PER_SEC);
    return fleet.given_up ? 1 : 0;
}
