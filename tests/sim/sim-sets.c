/*
 * Simulator: a guest as a few working sets
 *
 * A set is W bytes of pages that its writers hit evenly with w bytes of writes
 * a second, so that of those that were clean
 *
 *     touched(t) = (W - touched) * (1 - exp(-w * t / W))
 *
 * more are dirty after t: the curve saturates, as that of real guests does.
 * No page has a name; a set knows how many of its pages are unsent, waiting to
 * be sent again, and written since the last sync, and takes these to be
 * independent of each other.  That makes 12 TiB as cheap as 512 MiB.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "sim-guest.h"
#include "sim-link.h"

#define IDLE SIM_MAX_SETS
#define ZERO (SIM_MAX_SETS + 1)
#define N_SETS (SIM_MAX_SETS + 2)

typedef struct SimSet {
    double bytes;                   /* grows with growth_bytes_per_s */
    double unsent_bytes;            /* waiting for the bulk pass */
    double again_bytes;             /* sent, and dirty again */
    double logged_bytes;            /* written since the last sync */
    double begin, end;
    double lump, lump_until_s;      /* its rate varies by that factor now */
} SimSet;

/* The last two sets are made up: idle pages, and zero pages. */
typedef struct SimSets {
    SimSet sets[N_SETS];
    double cursor;                  /* of the bulk pass, 0 to 1 */
    uint64_t random;
    double late_bytes[SIM_MAX_VCPUS];   /* charged, and not slept off */
} SimSets;

static void *sets_create(SimGuest *guest)
{
    const SimGuestSpec *spec = guest->spec;
    SimSets *sets = g_new0(SimSets, 1);
    double idle_bytes = spec->ram_bytes - spec->zero_bytes;

    sets->random = 0x5eed;
    for (unsigned i = 0; i < SIM_MAX_SETS; i++) {
        const SimSetSpec *set = &spec->sets[i];

        sets->sets[i] = (SimSet) {
            .bytes = set->bytes,
            .unsent_bytes = set->bytes,
            .begin = set->begin,
            .end = set->end > 0 ? set->end : 1,
        };
        idle_bytes -= set->bytes;
    }
    assert(idle_bytes >= 0);
    sets->sets[IDLE] = (SimSet) {
        .bytes = idle_bytes, .unsent_bytes = idle_bytes, .end = 1,
    };
    sets->sets[ZERO] = (SimSet) {
        .bytes = spec->zero_bytes, .unsent_bytes = spec->zero_bytes, .end = 1,
    };
    return sets;
}

static double touch(const SimSet *set, double rate_bytes_per_s, double dt_s)
{
    if (!(set->bytes > 0)) {
        return 0;
    }
    return (set->bytes - set->logged_bytes) *
           -expm1(-rate_bytes_per_s * dt_s / set->bytes);
}

static double lump_of(SimSets *sets, const SimSetSpec *spec, SimSet *set,
                      double now_s)
{
    if (now_s >= set->lump_until_s) {
        set->lump = 1;
        if (spec->lumps > 0) {
            set->lump += spec->lumps * (2 * sim_random(&sets->random) - 1);
        }
        set->lump_until_s = now_s + spec->lump_s;
    }
    return set->lump;
}

/*
 * What each of a set's writers touches in dt if no limit stops them: pages that
 * several write to count for one of them.
 */
static void find_demand(SimSets *sets, const SimGuestSpec *spec, unsigned i,
                        double now_s, double dt_s,
                        const SimSlowdown *slowdown, double *demand)
{
    const SimSetSpec *set = &spec->sets[i];
    unsigned n = MAX(set->n_vcpus, 1);
    double all = 0, touched;

    for (unsigned j = 0; j < n; j++) {
        demand[j] = sim_set_rate(spec, set, j, now_s, slowdown);
        all += demand[j];
    }
    touched = touch(&sets->sets[i],
                    all * lump_of(sets, set, &sets->sets[i], now_s), dt_s);
    for (unsigned j = 0; j < n; j++) {
        demand[j] = all > 0 ? touched * demand[j] / all : 0;
    }
}

/*
 * Of what is written to a set now: the part that did not wait to be sent.  A
 * vCPU's meter sees that at once, a sync only afterwards.
 */
static double clean_part(const SimSet *set)
{
    double clean = set->bytes - set->unsent_bytes - set->again_bytes;

    return set->bytes > 0 ? MAX(clean, 0) / set->bytes : 0;
}

/* How much of its demand each vCPU gets, by its limit of new dirtying. */
static void find_kept(SimGuest *guest, double (*demand)[SIM_MAX_VCPUS],
                      double now_s, double dt_s, const SimSlowdown *slowdown,
                      double *kept)
{
    const SimGuestSpec *spec = guest->spec;
    SimSets *sets = guest->model;
    double wants[SIM_MAX_VCPUS] = { 0 };

    for (unsigned i = 0; i < SIM_MAX_SETS; i++) {
        const SimSetSpec *set = &spec->sets[i];

        for (unsigned j = 0; !set->dma && j < set->n_vcpus; j++) {
            wants[sim_set_vcpu(spec, set, j, now_s)] +=
                demand[i][j] * clean_part(&sets->sets[i]);
        }
    }
    for (unsigned v = 0; v < spec->n_vcpus; v++) {
        double limit = slowdown && slowdown->limits_bytes_per_s ?
                       slowdown->limits_bytes_per_s[v] : 0;

        double late = limit > 0 ? MIN(sets->late_bytes[v], limit * dt_s) : 0;
        double allowed = limit * dt_s - late;

        sets->late_bytes[v] = limit > 0 ? sets->late_bytes[v] - late : 0;
        kept[v] = late > 0 && !(wants[v] > allowed) ?
                  allowed / (limit * dt_s) :
                  limit > 0 && wants[v] > allowed ? allowed / wants[v] : 1;
    }
}

static void grow(SimSets *sets, const SimGuestSpec *spec, double dt_s)
{
    SimSet *idle = &sets->sets[IDLE];

    for (unsigned i = 0; i < SIM_MAX_SETS; i++) {
        double bytes = MIN(spec->sets[i].growth_bytes_per_s * dt_s,
                           idle->bytes);
        double part = idle->bytes > 0 ? bytes / idle->bytes : 0;

        sets->sets[i].bytes += bytes;
        sets->sets[i].unsent_bytes += idle->unsent_bytes * part;
        idle->unsent_bytes -= idle->unsent_bytes * part;
        idle->bytes -= bytes;
    }
}

static void sets_run(SimGuest *guest, double now_s, double dt_s,
                     const SimSlowdown *slowdown)
{
    const SimGuestSpec *spec = guest->spec;
    SimSets *sets = guest->model;
    double demand[SIM_MAX_SETS][SIM_MAX_VCPUS], kept[SIM_MAX_VCPUS];

    grow(sets, spec, dt_s);
    for (unsigned i = 0; i < SIM_MAX_SETS; i++) {
        find_demand(sets, spec, i, now_s, dt_s, slowdown, demand[i]);
    }
    find_kept(guest, demand, now_s, dt_s, slowdown, kept);
    for (unsigned i = 0; i < SIM_MAX_SETS; i++) {
        const SimSetSpec *set = &spec->sets[i];

        for (unsigned j = 0; j < set->n_vcpus; j++) {
            unsigned v = sim_set_vcpu(spec, set, j, now_s);
            double bytes = demand[i][j] * kept[v];

            if (!set->dma) {
                guest->vcpu_touched_bytes[v] += bytes;
                guest->vcpu_new_bytes[v] += bytes *
                                            clean_part(&sets->sets[i]);
            }
            sets->sets[i].logged_bytes += bytes;
        }
        if (!set->n_vcpus) {
            sets->sets[i].logged_bytes += demand[i][0];
        }
    }
    for (unsigned v = 0; v < spec->n_vcpus; v++) {
        double ran_s = sim_vcpu_share(slowdown, v) * kept[v] * dt_s;

        guest->vcpu_ran_s[v] += ran_s;
        guest->vcpu_lost_s[v] += dt_s - ran_s;
    }
}

/* It sleeps that off, at its limit. */
static void sets_charge_late(SimGuest *guest, unsigned vcpu, double now_s,
                             uint64_t bytes)
{
    SimSets *sets = guest->model;

    (void)now_s;
    sets->late_bytes[vcpu] += bytes;
}

static SimSync sets_sync(SimGuest *guest)
{
    SimSets *sets = guest->model;
    SimSync sync = { 0 };

    for (unsigned i = 0; i < N_SETS; i++) {
        SimSet *set = &sets->sets[i];
        double newly = set->logged_bytes * clean_part(set);

        set->again_bytes += newly;
        sync.dirtied_bytes += newly;
        sync.touched_bytes += set->logged_bytes;
        set->logged_bytes = 0;
    }
    sync.written_bytes = sync.touched_bytes;
    return sync;
}

/* The log of this model is an exact one. */
static void sets_see_rewrites(SimGuest *guest)
{
}

static bool sets_in_bulk_pass(const SimGuest *guest)
{
    const SimSets *sets = guest->model;

    return sets->cursor < 1;
}

static double sets_unsent_bytes(const SimGuest *guest)
{
    const SimSets *sets = guest->model;
    double bytes = 0;

    for (unsigned i = 0; i < N_SETS; i++) {
        bytes += sets->sets[i].unsent_bytes;
    }
    return bytes;
}

static double sets_unsent_empty_bytes(const SimGuest *guest)
{
    const SimSets *sets = guest->model;

    return sets->sets[ZERO].unsent_bytes;
}

static double sets_remaining_bytes(const SimGuest *guest)
{
    const SimSets *sets = guest->model;
    double bytes = sets_unsent_bytes(guest);

    for (unsigned i = 0; i < N_SETS; i++) {
        bytes += sets->sets[i].again_bytes;
    }
    return bytes;
}

static double next_border(const SimSets *sets)
{
    double border = 1;

    for (unsigned i = 0; i < N_SETS; i++) {
        if (sets->sets[i].begin > sets->cursor) {
            border = MIN(border, sets->sets[i].begin);
        } else if (sets->sets[i].end > sets->cursor) {
            border = MIN(border, sets->sets[i].end);
        }
    }
    return border;
}

/* Unsent bytes of a set for each unit of RAM under the cursor. */
static double density(const SimSets *sets, unsigned i)
{
    const SimSet *set = &sets->sets[i];

    if (sets->cursor < set->begin || sets->cursor >= set->end) {
        return 0;
    }
    return set->unsent_bytes / (set->end - sets->cursor);
}

/* One stretch of the bulk pass, up to where another set begins or ends. */
static bool drain_stretch(SimSets *sets, double *wire_bytes,
                          double *scan_bytes, SimDrain *drain)
{
    double zero = density(sets, ZERO), pages = 0;
    double border = next_border(sets), step, wire;

    for (unsigned i = 0; i < ZERO; i++) {
        pages += density(sets, i);
    }
    wire = pages * SIM_WIRE_PER_PAGE_BYTE + zero * SIM_WIRE_PER_ZERO_BYTE;
    step = border - sets->cursor;
    if (wire > 0) {
        step = MIN(step, *wire_bytes / wire);
        step = MIN(step, *scan_bytes / (pages + zero));
    }
    for (unsigned i = 0; i < N_SETS; i++) {
        sets->sets[i].unsent_bytes -= density(sets, i) * step;
    }
    *wire_bytes -= wire * step;
    *scan_bytes -= (pages + zero) * step;
    drain->page_bytes += (pages + zero) * step;
    drain->zero_bytes += zero * step;
    drain->wire_bytes += wire * step;
    if (sets->cursor + step < border) {
        sets->cursor += step;
        return false;
    }
    sets->cursor = border;
    return border < 1;
}

static void drain_again(SimSets *sets, double all, double wire_bytes,
                        double scan_bytes, SimDrain *drain)
{
    double bytes = MIN(MIN(wire_bytes / SIM_WIRE_PER_PAGE_BYTE, scan_bytes),
                       all);

    if (!(all > 0)) {
        return;
    }
    for (unsigned i = 0; i < N_SETS; i++) {
        sets->sets[i].again_bytes -= sets->sets[i].again_bytes * bytes / all;
    }
    drain->page_bytes += bytes;
    drain->wire_bytes += bytes * SIM_WIRE_PER_PAGE_BYTE;
}

static SimDrain sets_drain(SimGuest *guest, double wire_bytes,
                           double scan_bytes)
{
    SimSets *sets = guest->model;
    SimDrain drain = { 0 };

    if (sets_in_bulk_pass(guest)) {
        while (drain_stretch(sets, &wire_bytes, &scan_bytes, &drain)) {
        }
        if (!sets_in_bulk_pass(guest)) {
            for (unsigned i = 0; i < N_SETS; i++) {
                sets->sets[i].unsent_bytes = 0;
            }
        }
    }
    if (!sets_in_bulk_pass(guest)) {
        drain_again(sets, sets_remaining_bytes(guest), MAX(wire_bytes, 0),
                    MAX(scan_bytes, 0), &drain);
    }
    return drain;
}

const SimGuestOps sim_sets_ops = {
    .create = sets_create,
    .run = sets_run,
    .sync = sets_sync,
    .see_rewrites = sets_see_rewrites,
    .charge_late = sets_charge_late,
    .drain = sets_drain,
    .in_bulk_pass = sets_in_bulk_pass,
    .remaining_bytes = sets_remaining_bytes,
    .unsent_bytes = sets_unsent_bytes,
    .unsent_empty_bytes = sets_unsent_empty_bytes,
    .turn_s = HUGE_VAL,
};
