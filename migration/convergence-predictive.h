/*
 * Policy "predictive": what its files share, and no one else sees
 *
 * All of it is called by decide() of the policy, with the engine serialised.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONVERGENCE_PREDICTIVE_H
#define MIGRATION_CONVERGENCE_PREDICTIVE_H

#include "convergence-internal.h"

/*
 * Times the target: what is above it is too fast; and where a guest that keeps
 * much of its time has a target that is chosen anew with each look.
 */
#define PREDICTIVE_TARGET_HIGH 1.25
#define PREDICTIVE_LIGHT_HIGH 1.05
/*
 * Whoever may be slowed by less cannot be held: that tells neither who writes,
 * nor whether anything follows.
 */
#define PREDICTIVE_HOLD_LEAST_PCT 75
/* What outpaces the link for so long, in two looks or more, is told. */
#define PREDICTIVE_OUTPACED_NS NS_PER_S

/* convergence-seek.c */

/**
 * predictive_least_share: what of its run time a guest keeps in any case
 */
static inline double predictive_least_share(const ConvergenceParams *params)
{
    return (100.0 - params->max_throttle_pct) / 100;
}

/**
 * predictive_share: of the guest's full speed, by what was dirtied in the last
 * look; 0.01 to 1
 */
double predictive_share(const ConvergenceEngine *engine,
                        const ConvergenceSample *sample);

/**
 * predictive_is_at_most: whether those that write are slowed as far as is
 * allowed, but for the rounding
 *
 * Not by the share alone: where little is allowed, it is near to that of a
 * guest which nobody slows.
 */
bool predictive_is_at_most(const ConvergenceEngine *engine,
                           const ConvergenceParams *params,
                           const ConvergenceSample *sample);

/**
 * predictive_throttle: set the throttle of all vCPUs, and of each one
 *
 * Returns: whether any has another one now.
 */
bool predictive_throttle(const ConvergenceEngine *engine,
                         const ConvergenceParams *params,
                         const ConvergenceSample *sample, double share,
                         ConvergenceDecision *decision);

/**
 * predictive_spares_some: whether some vCPUs are slowed, and some are not
 */
bool predictive_spares_some(const ConvergenceEngine *engine,
                            const ConvergenceSample *sample);

/**
 * predictive_steady_rate: what the guest dirties, in bytes per second: the mean
 * of two seconds, or of the last one where that is much more
 */
double predictive_steady_rate(const ConvergenceModel *model);

/**
 * predictive_target: the dirty rate to aim at, in bytes per second, of a guest
 * that runs at a share of its speed
 */
double predictive_target(ConvergenceEngine *engine,
                         const ConvergenceParams *params,
                         const ConvergenceSample *sample, double share);

/**
 * predictive_seek: the share to run with from now on
 * @share: that was in force
 * @target: dirty rate, in bytes per second
 * @may_release: it may be more than before
 */
double predictive_seek(ConvergenceEngine *engine,
                       const ConvergenceParams *params,
                       const ConvergenceSample *sample, double share,
                       double target, bool may_release);

/**
 * predictive_expect: the dirty rate to expect under the throttle decided on,
 * for the forecast; bytes per second
 * @share_ratio: of the share decided on to the one before
 */
double predictive_expect(ConvergenceEngine *engine, double share_ratio,
                         bool changes);

/* convergence-vain.c */

/**
 * predictive_progress: what remains now is the mark to go below
 */
void predictive_progress(ConvergencePredictiveState *state,
                         const ConvergenceSample *sample);

/**
 * predictive_count_looks: note whether this look brought progress; it counts
 * while the most throttle is in force
 */
void predictive_count_looks(ConvergenceEngine *engine,
                            const ConvergenceParams *params,
                            const ConvergenceSample *sample);

/**
 * predictive_is_in_vain: whether it went on without progress for long enough
 *
 * Whoever spares the wrong vCPUs has that to find out first.
 */
bool predictive_is_in_vain(const ConvergenceEngine *engine,
                           const ConvergenceSample *sample);

/**
 * predictive_is_deaf: whether no throttle changes what the guest dirties
 */
bool predictive_is_deaf(ConvergenceEngine *engine,
                        const ConvergenceParams *params,
                        const ConvergenceSample *sample);

/**
 * predictive_compare: let the guest run free for a look, once, where what it
 * did before it was slowed is not known: a lower bound is nothing to compare
 * with
 *
 * Returns: whether it does.
 */
bool predictive_compare(ConvergenceEngine *engine,
                        const ConvergenceParams *params,
                        const ConvergenceSample *sample,
                        ConvergenceDecision *decision);

/**
 * predictive_give_up: nothing that is allowed makes what remains shrink: the
 * guest is let be
 */
void predictive_give_up(ConvergenceEngine *engine,
                        const ConvergenceParams *params,
                        const ConvergenceSample *sample,
                        ConvergenceDecision *decision);

/**
 * predictive_may_try_again: after it gave up: whether enough has changed
 */
bool predictive_may_try_again(ConvergenceEngine *engine,
                              const ConvergenceSample *sample);

#endif
