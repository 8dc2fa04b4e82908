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
static double used_under(const ConvergenceVcpu *vcpus, unsigned n_vcpus,
                         double level, unsigned *above)
{
    double used = 0;

    *above = 0;
    for (unsigned i = 0; i < n_vcpus; i++) {
        if (demand(&vcpus[i]) > level) {
            (*above)++;
        } else {
            used += demand(&vcpus[i]);
        }
    }
    return used;
}

double convergence_fair_level(const ConvergenceVcpu *vcpus, unsigned n_vcpus,
                              double budget_bytes_per_s)
{
    double level = n_vcpus ? budget_bytes_per_s / n_vcpus : budget_bytes_per_s;
    unsigned above;

    /*
     * Each round hands what the modest ones leave to the others.  The level
     * only rises, and at least one more vCPU drops out of `above` each round.
     */
    for (unsigned round = 0; round <= n_vcpus; round++) {
        double used = used_under(vcpus, n_vcpus, level, &above);
        double next;

        if (!above) {
            return HUGE_VAL;
        }
        next = (budget_bytes_per_s - used) / above;
        if (!(next > level)) {
            break;
        }
        level = next;
    }
    return level;
}
