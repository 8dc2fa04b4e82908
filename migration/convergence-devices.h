/*
 * Convergence engine: do devices write what vCPUs ask for
 *
 * Called by policies and by the engine, which is serialised.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONVERGENCE_DEVICES_H
#define MIGRATION_CONVERGENCE_DEVICES_H

#include "convergence-internal.h"

/**
 * convergence_devices_outpace: whether devices alone keep up with the link
 */
bool convergence_devices_outpace(const ConvergenceModel *model);

/**
 * convergence_devices_follow, convergence_devices_are_deaf: what is known of
 * whether they dirty less while vCPUs sleep; neither, if it was not tried
 */
bool convergence_devices_follow(const ConvergenceEngine *engine);
bool convergence_devices_are_deaf(const ConvergenceEngine *engine);

/**
 * convergence_devices_by_run_times: whether who has devices write is estimated,
 * although pages are counted by vCPU
 */
bool convergence_devices_by_run_times(const ConvergenceEngine *engine);

/**
 * convergence_devices_learn: take a look into account, before the model does
 * @sample: a valid one
 *
 * Ends a trial, and notices when an answer holds no longer.
 */
void convergence_devices_learn(ConvergenceEngine *engine,
                               const ConvergenceParams *params,
                               const ConvergenceSample *sample);

/**
 * convergence_devices_try: begin a trial if it pays, or go on with it
 *
 * For policies that would slow the guest now.
 * @told_any: convergence_estimate_told_any()
 *
 * Returns: whether there is one; then the decision is made, and all vCPUs are
 * held until the next look.
 */
bool convergence_devices_try(ConvergenceEngine *engine,
                             const ConvergenceParams *params,
                             const ConvergenceSample *sample,
                             bool told_any, ConvergenceDecision *decision);

/**
 * convergence_devices_wait: whether a trial was called off of late, and what it
 * was to tell is still to be known before vCPUs are throttled
 * @sample: a valid one
 */
bool convergence_devices_wait(const ConvergenceEngine *engine,
                              const ConvergenceParams *params,
                              const ConvergenceSample *sample);

/**
 * convergence_devices_call_off: end a trial, if there is one, in a look that
 * tells nothing; the next one begins two seconds later at the soonest
 */
void convergence_devices_call_off(ConvergenceEngine *engine,
                                  const ConvergenceSample *sample);

/**
 * convergence_devices_share: in the look that ends a trial, the share of their
 * time under which vCPUs and devices together come down to a target
 *
 * Along the line through the two points seen.  The true curve is concave, so it
 * is never less than that takes.
 */
double convergence_devices_share(const ConvergenceEngine *engine,
                                 const ConvergenceSample *sample,
                                 double target_bytes_per_s);

/**
 * convergence_devices_give_up: it was in vain to slow the guest
 *
 * That they follow is forgotten, so that "auto" may go on with another policy;
 * if they did, a trial is due as late as if they had not.
 */
void convergence_devices_give_up(ConvergenceEngine *engine,
                                 const ConvergenceSample *sample);

/**
 * convergence_devices_forget: nobody is slowed any more
 *
 * That they do not follow is remembered.
 */
void convergence_devices_forget(ConvergenceEngine *engine);

#endif /* MIGRATION_CONVERGENCE_DEVICES_H */
