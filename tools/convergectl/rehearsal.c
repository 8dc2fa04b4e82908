/*
 * A migration tried out on paper
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "rehearsal.h"

#include "qemu/osdep.h"
#include "sim-migration.h"

/*
 * All that such a guest writes, it had written before the first measurement
 * was over.  It may be this much faster than that shows.
 */
#define AT_LEAST_FACTOR 8.0
/* As memory goes, if the worst is asked for. */
#define FLAT_OUT_BYTES_PER_S 5e9

/* What takes longer than this is no migration that anybody would wait for. */
#define PATIENCE_S 600
#define PATIENCE_PASSES 10

/* vCPUs that are sets of their own; the last set but one is of all others. */
#define OWN_SETS 4
#define OTHERS_SET OWN_SETS
#define DEVICES_SET (OWN_SETS + 1)
G_STATIC_ASSERT(DEVICES_SET < SIM_MAX_SETS);

/* That writes less than this part of all does not count as a writer. */
#define WRITER_SHARE 0.005

static int by_rate(gconstpointer a, gconstpointer b)
{
    double x = ((const VcpuRate *)a)->bytes_per_s;
    double y = ((const VcpuRate *)b)->bytes_per_s;

    return (x < y) - (x > y);
}

static SimSetSpec a_set(double bytes, double rate, unsigned first_vcpu,
                        unsigned n_vcpus)
{
    return (SimSetSpec) {
        .bytes = bytes, .rate_bytes_per_s = rate,
        .first_vcpu = first_vcpu, .n_vcpus = n_vcpus,
    };
}

/* Those that write come first: which vCPU is which makes no difference. */
static void share_out(SimGuestSpec *guest, const GArray *rates, double bytes,
                      double rate)
{
    g_autoptr(GArray) vcpus = g_array_copy((GArray *)rates);
    double all = 0, rest = 0;
    unsigned writers = 0;

    guest->n_vcpus = MIN(vcpus->len, SIM_MAX_VCPUS);
    g_array_sort(vcpus, by_rate);
    for (unsigned v = 0; v < guest->n_vcpus; v++) {
        all += g_array_index(vcpus, VcpuRate, v).bytes_per_s;
    }
    for (unsigned v = 0; v < guest->n_vcpus && all > 0; v++) {
        double share = g_array_index(vcpus, VcpuRate, v).bytes_per_s / all;

        if (share < WRITER_SHARE) {
            break;
        }
        writers++;
        if (v < OWN_SETS) {
            guest->sets[v] = a_set(bytes * share, rate * share, v, 1);
        } else {
            rest += share;
        }
    }
    if (writers > OWN_SETS) {
        guest->sets[OTHERS_SET] = a_set(bytes * rest, rate * rest, OWN_SETS,
                                        writers - OWN_SETS);
    }
}

static SimGuestSpec make_guest(const RehearsalSpec *spec, double factor)
{
    double rate = spec->model.rate_bytes_per_s * factor *
                  (spec->model.at_least ? AT_LEAST_FACTOR : 1);
    double set = rate > 0 ? MIN(spec->model.working_set_bytes,
                                spec->ram_bytes) : 0;
    double touched = CLAMP(spec->touched_bytes, set, spec->ram_bytes);
    double part = CLAMP(spec->devices_part, 0, 1);
    SimGuestSpec guest = {
        .ram_bytes = spec->ram_bytes,
        .zero_bytes = spec->ram_bytes - touched,
        .n_vcpus = 1,
    };

    /* A sum of shares may be a little above one. */
    set *= 0.999;
    if (spec->model.at_least && factor > 1) {
        rate = MAX(rate, FLAT_OUT_BYTES_PER_S);
    }
    if (!(rate > 0) || !(set > 0)) {
        return guest;
    }
    if (spec->vcpus && spec->vcpus->len && part < 1) {
        share_out(&guest, spec->vcpus, set * (1 - part), rate * (1 - part));
    } else {
        guest.sets[0] = a_set(set * (1 - part), rate * (1 - part), 0, 1);
    }
    if (part > 0) {
        guest.sets[DEVICES_SET] = a_set(set * part, rate * part, 0, 0);
    }
    return guest;
}

Rehearsal rehearse(const RehearsalSpec *spec, const char *policy,
                   double factor)
{
    SimGuestSpec guest = make_guest(spec, factor);
    SimLinkSpec link = {
        .rate_bytes_per_s = spec->bandwidth_bytes_per_s,
        .cap_bytes_per_s = spec->bandwidth_bytes_per_s,
    };
    SimSpec sim = {
        .guest = &guest,
        .link = &link,
        .meter = spec->vcpus ? SIM_METER_PAGES : SIM_METER_NONE,
        .downtime_limit_ms = spec->downtime_s * 1000,
        .limit_s = PATIENCE_S + PATIENCE_PASSES * spec->ram_bytes /
                                spec->bandwidth_bytes_per_s,
        .keep_record = TRUE,
    };
    SimMigration migration;
    SimResult result = sim_migration_run(&migration, &sim, policy);
    gboolean free_run = g_str_equal(policy, REHEARSAL_FREE);
    SimFloor floor = sim_floor(&sim);
    Rehearsal r = {
        .completes = result.completed,
        .total_s = result.total_s,
        .downtime_s = result.downtime_ms / 1000,
        .passes = free_run ? migration.record->len : 0,
        .throttle_pct = result.max_throttle_pct,
        .limited = result.limited,
        .lost_s = result.lost_vcpu_s,
        .stop_total_s = floor.total_s,
        .stop_downtime_s = floor.lost_vcpu_s / guest.n_vcpus,
    };

    sim_migration_free(&migration);
    return r;
}
