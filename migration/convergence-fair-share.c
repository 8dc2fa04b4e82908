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
           vcpu->new_rate_bytes_per_s >= limit * LIMIT_BINDS_PCT / 100;
}

static double demand(const ConvergenceVcpu *vcpu)
{
    return convergence_limit_binds(vcpu) ? HUGE_VAL :
           vcpu->dirty_rate_bytes_per_s;
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
