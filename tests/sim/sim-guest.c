/*
 * Simulator: a guest that writes, whichever model it is of
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "sim-guest.h"

static bool needs_pages(const SimGuestSpec *spec, const SimLogSpec *log)
{
    bool needed = log->by_page || log->manual;

    for (unsigned i = 0; i < SIM_MAX_SETS; i++) {
        needed |= spec->sets[i].in_order;
    }
    return needed;
}

void sim_guest_init(SimGuest *guest, const SimGuestSpec *spec,
                    const SimLogSpec *log)
{
    assert(spec->n_vcpus <= SIM_MAX_VCPUS);
    *guest = (SimGuest) {
        .spec = spec,
        .log = *log,
        .ops = needs_pages(spec, log) ? &sim_pages_ops : &sim_sets_ops,
    };
    guest->model = guest->ops->create(guest);
}

void sim_guest_free(SimGuest *guest)
{
    if (guest->model && guest->ops->destroy) {
        guest->ops->destroy(guest);
    }
    g_free(guest->model);
    guest->model = NULL;
}

static bool is_active(const SimSetSpec *set, double now_s)
{
    if (now_s < set->from_s || (set->until_s > 0 && now_s >= set->until_s)) {
        return false;
    }
    return !(set->off_s > 0) ||
           fmod(now_s, set->on_s + set->off_s) < set->on_s;
}

unsigned sim_set_vcpu(const SimGuestSpec *spec, const SimSetSpec *set,
                      unsigned writer, double now_s)
{
    unsigned moved = set->wander_s > 0 ? now_s / set->wander_s : 0;

    return (set->first_vcpu + writer + moved) % spec->n_vcpus;
}

double sim_vcpu_share(const SimSlowdown *slowdown, unsigned vcpu)
{
    if (!slowdown) {
        return 1;
    }
    return 1 - (slowdown->throttles_pct ? slowdown->throttles_pct[vcpu] :
                slowdown->throttle_pct) / 100;
}

static double share_of_writer(const SimGuestSpec *spec, const SimSetSpec *set,
                              unsigned writer, double now_s,
                              const SimSlowdown *slowdown)
{
    double share = sim_vcpu_share(slowdown,
                                  sim_set_vcpu(spec, set, writer, now_s));

    for (unsigned i = 0; set->lockstep && i < set->n_vcpus; i++) {
        unsigned other = sim_set_vcpu(spec, set, i, now_s);

        share = MIN(share, sim_vcpu_share(slowdown, other));
    }
    return share;
}

double sim_set_rate(const SimGuestSpec *spec, const SimSetSpec *set,
                    unsigned writer, double now_s,
                    const SimSlowdown *slowdown)
{
    unsigned n = MAX(set->n_vcpus, 1);
    double rate = is_active(set, now_s) ? set->rate_bytes_per_s / n : 0;
    double share;

    if (!set->n_vcpus) {
        return rate;
    }
    share = share_of_writer(spec, set, writer, now_s, slowdown);
    return set->capacity_bytes_per_s > 0 ?
           MIN(rate, set->capacity_bytes_per_s / n * share) : rate * share;
}

void sim_guest_run(SimGuest *guest, double now_s, double dt_s,
                   const SimSlowdown *slowdown)
{
    guest->ops->run(guest, now_s, dt_s, slowdown);
}

SimSync sim_guest_sync(SimGuest *guest)
{
    SimSync sync = guest->ops->sync(guest);

    memset(guest->vcpu_new_bytes, 0, sizeof(guest->vcpu_new_bytes));
    memset(guest->vcpu_touched_bytes, 0, sizeof(guest->vcpu_touched_bytes));
    memset(guest->vcpu_ran_s, 0, sizeof(guest->vcpu_ran_s));
    return sync;
}

void sim_guest_see_rewrites(SimGuest *guest)
{
    guest->ops->see_rewrites(guest);
}

void sim_guest_charge_late(SimGuest *guest, unsigned vcpu, double now_s,
                           uint64_t bytes)
{
    if (guest->ops->charge_late && bytes) {
        guest->ops->charge_late(guest, vcpu, now_s, bytes);
    }
}

SimDrain sim_guest_drain(SimGuest *guest, double wire_bytes,
                         double scan_bytes)
{
    return guest->ops->drain(guest, wire_bytes, scan_bytes);
}

bool sim_guest_in_bulk_pass(const SimGuest *guest)
{
    return guest->ops->in_bulk_pass(guest);
}

double sim_guest_remaining_bytes(const SimGuest *guest)
{
    return guest->ops->remaining_bytes(guest);
}

double sim_guest_unsent_bytes(const SimGuest *guest)
{
    return guest->ops->unsent_bytes(guest);
}

double sim_guest_unsent_empty_bytes(const SimGuest *guest)
{
    return guest->ops->unsent_empty_bytes(guest);
}

void sim_guest_lose(SimGuest *guest, double s)
{
    for (unsigned v = 0; v < guest->spec->n_vcpus; v++) {
        guest->vcpu_lost_s[v] += s;
    }
}

double sim_guest_lost_s(const SimGuest *guest)
{
    double sum = 0;

    for (unsigned v = 0; v < guest->spec->n_vcpus; v++) {
        sum += guest->vcpu_lost_s[v];
    }
    return sum;
}
