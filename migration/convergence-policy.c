/*
 * Convergence engine: the registry of policies
 *
 * A new policy is a file with a const ConvergencePolicyOps and a line here.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-internal.h"

/* The first one is the fallback of an engine that was given none. */
static const ConvergencePolicyOps *const policies[] = {
    &convergence_step,
    &convergence_predictive,
    &convergence_dirty_limit,
};

#define N_POLICIES (sizeof(policies) / sizeof(policies[0]))

const ConvergencePolicyOps *convergence_policy_nth(unsigned index)
{
    return index < N_POLICIES ? policies[index] : NULL;
}

const ConvergencePolicyOps *convergence_policy_find(const char *name)
{
    for (unsigned i = 0; i < N_POLICIES; i++) {
        if (name && strcmp(policies[i]->name, name) == 0) {
            return policies[i];
        }
    }
    return NULL;
}
