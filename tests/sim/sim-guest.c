/*
 * Simulator: a guest that writes
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

/* On the wire: a page and its header, and the header of a zero page. */
#define WIRE_PER_PAGE_BYTE ((SIM_PAGE_BYTES + 8) / SIM_PAGE_BYTES)
#define WIRE_PER_ZERO_BYTE (9 / SIM_PAGE_BYTES)

void sim_guest_init(SimGuest *guest, const SimGuestSpec *spec)
{
    double idle_bytes = spec->ram_bytes - spec->zero_bytes;

    *guest = (SimGuest) { .spec = spec, .random = 0x5eed };
    for (unsigned i = 0; i < SIM_MAX_SETS; i++) {
        const SimSetSpec *set = &spec->sets[i];

        guest->sets[i] = (SimSet) {
            .bytes = set->bytes,
            .unsent_bytes = set->bytes,
            .begin = set->begin,
            .end = set->end > 0 ? set->end : 1,
        };
        idle_bytes -= set->bytes;
    }
    assert(idle_bytes >= 0 && spec->n_vcpus <= SIM_MAX_VCPUS);
    guest->sets[IDLE] = (SimSet) {
        .bytes = idle_bytes, .unsent_bytes = idle_bytes, .end = 1,
    };
    guest->sets[ZERO] = (SimSet) {
        .bytes = spec->zero_bytes, .unsent_bytes = spec->zero_bytes, .end = 1,
    };
}

static double wanted_rate(const SimSetSpec *set, double now_s)
{
    if (now_s < set->from_s || (set->until_s > 0 && now_s >= set->until_s)) {
        return 0;
    }
    if (set->off_s > 0 && fmod(now_s, set->on_s + set->off_s) >= set->on_s) {
        return 0;
    }
    return set->rate_bytes_per_s;
}

static double touch(const SimSet *set, double rate_bytes_per_s, double dt_s)
{
    if (!(set->bytes > 0)) {
        return 0;
    }
    return (set->bytes - set->logged_bytes) *
           -expm1(-rate_bytes_per_s * dt_s / set->bytes);
}

static double run_share(const SimSlowdown *slowdown)
{
    return slowdown ? 1 - slowdown->throttle_pct / 100 : 1;
}

/* What a set's writers touch in dt if no limit stops them. */
static double set_demand(SimGuest *guest, unsigned i, double now_s,
                         double dt_s, double share)
{
    const SimSetSpec *set = &guest->spec->sets[i];
    double rate = wanted_rate(set, now_s);

    if (set->n_vcpus) {
        rate = set->capacity_bytes_per_s > 0 ?
               MIN(rate, set->capacity_bytes_per_s * share) : rate * share;
    }
    if (set->lumps > 0) {
        rate *= 1 + set->lumps * (2 * sim_random(&guest->random) - 1);
    }
    return touch(&guest->sets[i], rate, dt_s);
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
static void find_kept(const SimGuest *guest, const double *demand,
                      double dt_s, const SimSlowdown *slowdown, double *kept)
{
    const SimGuestSpec *spec = guest->spec;
    double wants[SIM_MAX_VCPUS] = { 0 };

    for (unsigned i = 0; i < SIM_MAX_SETS; i++) {
        const SimSetSpec *set = &spec->sets[i];

        for (unsigned j = 0; j < set->n_vcpus; j++) {
            wants[set->first_vcpu + j] += demand[i] / set->n_vcpus *
                                          clean_part(&guest->sets[i]);
        }
    }
    for (unsigned v = 0; v < spec->n_vcpus; v++) {
        double limit = slowdown && slowdown->limits_bytes_per_s ?
                       slowdown->limits_bytes_per_s[v] : 0;

        kept[v] = limit > 0 && wants[v] > limit * dt_s ?
                  limit * dt_s / wants[v] : 1;
    }
}

static void grow(SimGuest *guest, double dt_s)
{
    SimSet *idle = &guest->sets[IDLE];

    for (unsigned i = 0; i < SIM_MAX_SETS; i++) {
        double bytes = MIN(guest->spec->sets[i].growth_bytes_per_s * dt_s,
                           idle->bytes);
        double part = idle->bytes > 0 ? bytes / idle->bytes : 0;

        guest->sets[i].bytes += bytes;
        guest->sets[i].unsent_bytes += idle->unsent_bytes * part;
        idle->unsent_bytes -= idle->unsent_bytes * part;
        idle->bytes -= bytes;
    }
}

void sim_guest_run(SimGuest *guest, double now_s, double dt_s,
                   const SimSlowdown *slowdown)
{
    const SimGuestSpec *spec = guest->spec;
    double share = run_share(slowdown);
    double demand[SIM_MAX_SETS], kept[SIM_MAX_VCPUS];

    grow(guest, dt_s);
    for (unsigned i = 0; i < SIM_MAX_SETS; i++) {
        demand[i] = set_demand(guest, i, now_s, dt_s, share);
    }
    find_kept(guest, demand, dt_s, slowdown, kept);
    for (unsigned i = 0; i < SIM_MAX_SETS; i++) {
        const SimSetSpec *set = &spec->sets[i];

        for (unsigned j = 0; j < set->n_vcpus; j++) {
            unsigned v = set->first_vcpu + j;
            double bytes = demand[i] / set->n_vcpus * kept[v];

            guest->vcpu_touched_bytes[v] += bytes;
            guest->vcpu_new_bytes[v] += bytes * clean_part(&guest->sets[i]);
            guest->sets[i].logged_bytes += bytes;
        }
        if (!set->n_vcpus) {
            guest->sets[i].logged_bytes += demand[i];
        }
    }
    for (unsigned v = 0; v < spec->n_vcpus; v++) {
        guest->lost_vcpu_s += (1 - share * kept[v]) * dt_s;
    }
    guest->reader_lost_s += (1 - share * kept[spec->n_vcpus - 1]) * dt_s;
}

SimSync sim_guest_sync(SimGuest *guest)
{
    SimSync sync = { 0 };

    for (unsigned i = 0; i < N_SETS; i++) {
        SimSet *set = &guest->sets[i];
        double newly = set->logged_bytes * clean_part(set);

        set->again_bytes += newly;
        sync.dirtied_bytes += newly;
        sync.touched_bytes += set->logged_bytes;
        set->logged_bytes = 0;
    }
    memset(guest->vcpu_new_bytes, 0, sizeof(guest->vcpu_new_bytes));
    memset(guest->vcpu_touched_bytes, 0, sizeof(guest->vcpu_touched_bytes));
    return sync;
}

bool sim_guest_in_bulk_pass(const SimGuest *guest)
{
    return guest->cursor < 1;
}

static double next_border(const SimGuest *guest)
{
    double border = 1;

    for (unsigned i = 0; i < N_SETS; i++) {
        if (guest->sets[i].begin > guest->cursor) {
            border = MIN(border, guest->sets[i].begin);
        } else if (guest->sets[i].end > guest->cursor) {
            border = MIN(border, guest->sets[i].end);
        }
    }
    return border;
}

/* Unsent bytes of a set for each unit of RAM under the cursor. */
static double density(const SimGuest *guest, unsigned i)
{
    const SimSet *set = &guest->sets[i];

    if (guest->cursor < set->begin || guest->cursor >= set->end) {
        return 0;
    }
    return set->unsent_bytes / (set->end - guest->cursor);
}

/* One stretch of the bulk pass, up to where another set begins or ends. */
static bool drain_stretch(SimGuest *guest, double *wire_bytes,
                          double *scan_bytes, SimDrain *drain)
{
    double zero = density(guest, ZERO), pages = 0;
    double border = next_border(guest), step, wire;

    for (unsigned i = 0; i < ZERO; i++) {
        pages += density(guest, i);
    }
    wire = pages * WIRE_PER_PAGE_BYTE + zero * WIRE_PER_ZERO_BYTE;
    step = border - guest->cursor;
    if (wire > 0) {
        step = MIN(step, *wire_bytes / wire);
        step = MIN(step, *scan_bytes / (pages + zero));
    }
    for (unsigned i = 0; i < N_SETS; i++) {
        guest->sets[i].unsent_bytes -= density(guest, i) * step;
    }
    *wire_bytes -= wire * step;
    *scan_bytes -= (pages + zero) * step;
    drain->page_bytes += (pages + zero) * step;
    drain->zero_bytes += zero * step;
    drain->wire_bytes += wire * step;
    if (guest->cursor + step < border) {
        guest->cursor += step;
        return false;
    }
    guest->cursor = border;
    return border < 1;
}

static void drain_again(SimGuest *guest, double wire_bytes, double scan_bytes,
                        SimDrain *drain)
{
    double all = sim_guest_remaining_bytes(guest);
    double bytes = MIN(MIN(wire_bytes / WIRE_PER_PAGE_BYTE, scan_bytes), all);

    if (!(all > 0)) {
        return;
    }
    for (unsigned i = 0; i < N_SETS; i++) {
        guest->sets[i].again_bytes -= guest->sets[i].again_bytes * bytes / all;
    }
    drain->page_bytes += bytes;
    drain->wire_bytes += bytes * WIRE_PER_PAGE_BYTE;
}

SimDrain sim_guest_drain(SimGuest *guest, double wire_bytes,
                         double scan_bytes)
{
    SimDrain drain = { 0 };

    if (sim_guest_in_bulk_pass(guest)) {
        while (drain_stretch(guest, &wire_bytes, &scan_bytes, &drain)) {
        }
        if (!sim_guest_in_bulk_pass(guest)) {
            for (unsigned i = 0; i < N_SETS; i++) {
                guest->sets[i].unsent_bytes = 0;
            }
        }
    }
    if (!sim_guest_in_bulk_pass(guest)) {
        drain_again(guest, MAX(wire_bytes, 0), MAX(scan_bytes, 0), &drain);
    }
    return drain;
}

double sim_guest_unsent_bytes(const SimGuest *guest)
{
    double bytes = 0;

    for (unsigned i = 0; i < N_SETS; i++) {
        bytes += guest->sets[i].unsent_bytes;
    }
    return bytes;
}

double sim_guest_unsent_empty_bytes(const SimGuest *guest)
{
    return guest->sets[ZERO].unsent_bytes;
}

double sim_guest_remaining_bytes(const SimGuest *guest)
{
    double bytes = sim_guest_unsent_bytes(guest);

    for (unsigned i = 0; i < N_SETS; i++) {
        bytes += guest->sets[i].again_bytes;
    }
    return bytes;
}
