/*
 * Convergence engine: what its files share among themselves
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONVERGENCE_INTERNAL_H
#define MIGRATION_CONVERGENCE_INTERNAL_H

#include "migration/convergence-engine.h"

#define NS_PER_S  1000000000LL
#define NS_PER_MS 1000000LL
#define BYTES_PER_MB 1000000.0

/* The policies, each in a file of its own. */
extern const ConvergencePolicyOps convergence_step;
extern const ConvergencePolicyOps convergence_predictive;
extern const ConvergencePolicyOps convergence_dirty_limit;

/**
 * convergence_rate: bytes per second, 0 for an empty or negative interval
 */
static inline double convergence_rate(uint64_t bytes, int64_t interval_ns)
{
    return interval_ns > 0 ? (double)bytes * NS_PER_S / interval_ns : 0;
}

static inline double convergence_clamp(double value, double min, double max)
{
    /* Written so that NaN becomes min. */
    return value > min ? (value < max ? value : max) : min;
}

/**
 * convergence_to_u64: a rate or an amount as an integer
 *
 * Saturates; what is below zero or not a number becomes 0.
 */
static inline uint64_t convergence_to_u64(double value)
{
    return (uint64_t)convergence_clamp(value, 0, 9.0e18);
}

/* convergence-model.c */

/**
 * convergence_model_update: learn from a valid sample
 */
void convergence_model_update(ConvergenceModel *model,
                              const ConvergenceSample *sample);

/**
 * convergence_model_remaining_s: how long until what remains fits a threshold
 * @remaining_bytes: now
 * @threshold_bytes: at the switch-over
 * @dirty_bytes_per_s: that the guest will go on to dirty
 *
 * Returns seconds, or a negative value if that never happens.
 */
double convergence_model_remaining_s(const ConvergenceModel *model,
                                     uint64_t remaining_bytes,
                                     uint64_t threshold_bytes,
                                     double dirty_bytes_per_s);

/**
 * convergence_model_bulk_ends_s: how long until each page was sent once
 */
double convergence_model_bulk_ends_s(const ConvergenceModel *model,
                                     const ConvergenceSample *sample);

/**
 * convergence_model_needs_help: whether the guest outpaces the link for good
 *
 * True if at @dirty_bytes_per_s the migration would take more than a few
 * times as long as one of a guest that does not write.
 */
bool convergence_model_needs_help(const ConvergenceModel *model,
                                  double dirty_bytes_per_s);

/* convergence-fair-share.c */

/**
 * convergence_fair_level: the level up to which each vCPU may dirty
 * @vcpus: their rates, and the limits they were measured under
 * @n_vcpus: how many
 * @budget_bytes_per_s: for all of them
 *
 * Max-min fair: those that want less than the level get what they want, the
 * others the level, and together they use up the budget.
 *
 * Returns the level in bytes/s; infinity (HUGE_VAL) if no limit is needed.
 */
double convergence_fair_level(const ConvergenceVcpu *vcpus, unsigned n_vcpus,
                              double budget_bytes_per_s);

/* convergence-reason.c */

/**
 * convergence_explain: put the decision's phase into words and figures
 */
void convergence_explain(const ConvergenceEngine *engine,
                         const ConvergenceParams *params,
                         const ConvergenceSample *sample,
                         ConvergenceDecision *decision);

#endif /* MIGRATION_CONVERGENCE_INTERNAL_H */
