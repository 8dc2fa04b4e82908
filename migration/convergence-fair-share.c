/*
 * Convergence engine: a dirty-page budget shared max-min fair
 *
 *   bytes/s
 *     |        ##
 *     |        ##  ##
 *     |--------##--##------  level: what is above it is cut off,
 *     |        ##  ##        the rest adds up to the budget
 *     |  ##    ##  ##
 *     +--v0-v1-v2--v3--
 *
 * One level for all is all that is needed: a vCPU below it does not notice.
 * Shares in proportion to demand were rejected: they slow down those that
 * write little along with those that write much.
 *
 * What counts is what a vCPU newly dirtied, and what it was not charged for in
 * time is charged late.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "convergence-internal.h"

/*
 * A vCPU that uses up so much of its limit is taken to want more than that:
 * how much more cannot be seen while it is limited.  What it is limited in is
 * newly dirtied pages.  What it wants is all pages that it writes, for these
 * are what it dirties anew once nothing of it waits any more.
 */
#define LIMIT_BINDS_PCT 75

bool convergence_limit_binds(const ConvergenceVcpu *vcpu)
{
    double limit = vcpu->limit_bytes_per_s;

    return limit > 0 &&
           (vcpu->owed_bytes > 0 ||
            vcpu->new_rate_bytes_per_s >= limit * LIMIT_BINDS_PCT / 100);
}

/* What it would dirty at full speed, in any unit. */
static double weight_of(const ConvergenceVcpu *vcpu)
{
    return vcpu->dirty_share;
}

static double demand(const ConvergenceVcpu *vcpu)
{
    return convergence_limit_binds(vcpu) ? HUGE_VAL :
           vcpu->dirty_rate_bytes_per_s;
}

/* What it wrote for free, beyond what any vCPU rewrites after a sync. */
static double free_bytes(const ConvergenceVcpu *vcpu)
{
    double bytes = (double)vcpu->touched_bytes - vcpu->dirtied_bytes;

    return convergence_clamp(bytes - CONVERGENCE_REWRITTEN_BYTES, 0, bytes);
}

/*
 * Writing to a page that waits is free.  If that page is sent before the next
 * sync, the sync finds it dirty again, for the log tells that it was written
 * and not when.  A vCPU that is once through all of its pages before any of
 * them is sent would never be charged.
 *
 *      sync      written: free      sent       sync: dirty again
 *    ---|---------------|------------|----------------|---------> time
 *
 * Each vCPU may have done that with as much as it wrote for free.  While it
 * sleeps for that it writes nothing, and is as much in want as before.
 */
void convergence_charge_late(const ConvergenceSample *sample)
{
    /* What devices wrote is all that vCPUs did not. */
    double accounted = sample->touched_bytes, all_free = 0, late;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        const ConvergenceVcpu *vcpu = &sample->vcpus[i];

        accounted += (double)vcpu->dirtied_bytes - vcpu->touched_bytes;
        all_free += free_bytes(vcpu);
    }
    late = convergence_clamp(sample->dirtied_bytes - accounted, 0, all_free);
    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        ConvergenceVcpu *vcpu = &sample->vcpus[i];

        double paid = (double)vcpu->limit_bytes_per_s * sample->interval_ns /
                      NS_PER_S;

        vcpu->late_bytes = all_free > 0 ?
                           late * free_bytes(vcpu) / all_free : 0;
        vcpu->dirtied_bytes += vcpu->late_bytes;
        vcpu->owed_bytes = convergence_clamp(vcpu->owed_bytes - paid, 0,
                                             HUGE_VAL);
        if (vcpu->limit_bytes_per_s) {
            vcpu->owed_bytes += vcpu->late_bytes;
        } else {
            vcpu->owed_bytes = 0;
        }
    }
}

/* What all vCPUs together would dirty under a level. */
static double used_under(double (*want)(const ConvergenceVcpu *vcpu),
                         const ConvergenceVcpu *vcpus, unsigned n_vcpus,
                         double level, unsigned *above)
{
    double used = 0;

    *above = 0;
    for (unsigned i = 0; i < n_vcpus; i++) {
        if (want(&vcpus[i]) > level) {
            (*above)++;
        } else {
            used += want(&vcpus[i]);
        }
    }
    return used;
}

static double find_level(double (*want)(const ConvergenceVcpu *vcpu),
                         const ConvergenceVcpu *vcpus, unsigned n_vcpus,
                         double budget)
{
    double level = n_vcpus ? budget / n_vcpus : budget;
    unsigned above;

    /*
     * Each round hands what the modest ones leave to the others.  The level
     * only rises, and at least one more vCPU drops out of `above` each round.
     */
    for (unsigned round = 0; round <= n_vcpus; round++) {
        double used = used_under(want, vcpus, n_vcpus, level, &above);
        double next;

        if (!above) {
            return HUGE_VAL;
        }
        next = (budget - used) / above;
        if (!(next > level)) {
            break;
        }
        level = next;
    }
    return level;
}

double convergence_fair_level(const ConvergenceVcpu *vcpus, unsigned n_vcpus,
                              double budget_bytes_per_s)
{
    return find_level(demand, vcpus, n_vcpus, budget_bytes_per_s);
}

/*
 * While it is slowed, the least that it would dirty at full speed is what it
 * does dirty.  What any vCPU rewrites makes no writer of it.
 */
void convergence_learn_shares(const ConvergenceSample *sample)
{
    double sum = 0;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        ConvergenceVcpu *vcpu = &sample->vcpus[i];
        uint64_t bytes = vcpu->touched_bytes -
                         MIN(vcpu->touched_bytes, CONVERGENCE_REWRITTEN_BYTES);
        double rate = convergence_rate(bytes, sample->interval_ns);

        vcpu->full_bytes_per_s = vcpu->throttle_pct ?
                                 MAX(vcpu->full_bytes_per_s, rate) : rate;
        sum += vcpu->full_bytes_per_s;
    }
    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        sample->vcpus[i].dirty_share =
            sum > 0 ? sample->vcpus[i].full_bytes_per_s / sum :
                      1.0 / sample->n_vcpus;
    }
}

double convergence_share_in_force(const ConvergenceSample *sample)
{
    double all = 0, left = 0;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        const ConvergenceVcpu *vcpu = &sample->vcpus[i];

        all += weight_of(vcpu);
        left += weight_of(vcpu) * (100 - vcpu->throttle_pct) / 100;
    }
    return all > 0 ? left / all : 1;
}

uint8_t convergence_share_out(const ConvergenceSample *sample,
                              const ConvergenceParams *params, double share,
                              bool *changed)
{
    double all = 0, level;
    uint8_t most = 0;

    *changed = false;
    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        all += weight_of(&sample->vcpus[i]);
    }
    level = find_level(weight_of, sample->vcpus, sample->n_vcpus, share * all);
    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        ConvergenceVcpu *vcpu = &sample->vcpus[i];
        double runs = weight_of(vcpu) > level ? level / weight_of(vcpu) : 1;

        uint8_t pct = convergence_share_to_pct(params, runs);

        *changed |= pct != vcpu->throttle_pct;
        vcpu->throttle_pct = pct;
        most = MAX(most, pct);
    }
    return most;
}
