/*
 * Convergence policy "step": what auto-converge has always promised
 *
 *   each period:
 *       if dirtied > trigger_threshold % of drained:
 *           throttle = throttle ? min(throttle + increment, max) : initial
 *
 *   throttle                       initial 20, increment 10, max 99
 *     99 |                      .--
 *        |                  ___/
 *     40 |          ___/
 *     30 |      ___/
 *     20 |  ___/
 *      0 |_/______________________
 *           periods in which the guest outpaces the link
 *
 * The throttle never falls before the switch-over: a guest that is calm
 * because it is throttled looks like one that is calm by itself, and this
 * policy keeps no model that could tell them apart.  `predictive` does.
 *
 * Against QEMU 7.2's own trigger: periods come on a clock (dirty-sync-period)
 * and not once a pass over RAM, each bad period counts and not each second
 * one, and pages are compared with pages, not with bytes on the wire.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-internal.h"

/*
 * Near the end syncs come thick and fast, on next to nothing transferred; they
 * are added up until they make a period.  A little less than the period, so
 * that the jitter of the clock does not cost one.
 */
#define FULL_PERIOD_PCT 90

/*
 * With tailslow, the step is no larger than what would bring dirtying down to
 * the threshold if it followed the guest's run time.
 */
static unsigned tailslow_increment(const ConvergenceParams *params,
                                   unsigned throttle_pct,
                                   double dirtied_bytes, double bound_bytes)
{
    double run_pct = 100.0 - throttle_pct;
    double ideal_run_pct = dirtied_bytes > 0 ?
                           run_pct * bound_bytes / dirtied_bytes : run_pct;
    double needed_pct = convergence_clamp(run_pct - ideal_run_pct, 0, 99);

    return needed_pct < params->throttle_increment_pct ?
           (unsigned)needed_pct : params->throttle_increment_pct;
}

static unsigned next_throttle(const ConvergenceParams *params,
                              unsigned throttle_pct, double dirtied_bytes,
                              double bound_bytes)
{
    unsigned next_pct = params->initial_throttle_pct;

    if (throttle_pct) {
        next_pct = throttle_pct + (params->tailslow ?
            tailslow_increment(params, throttle_pct, dirtied_bytes,
                               bound_bytes) :
            params->throttle_increment_pct);
    }
    return next_pct < params->max_throttle_pct ? next_pct :
           params->max_throttle_pct;
}

static void step_decide(ConvergenceEngine *engine,
                        const ConvergenceParams *params,
                        const ConvergenceSample *sample,
                        ConvergenceDecision *decision)
{
    ConvergenceStepState *state = &engine->own.step;
    unsigned before_pct = engine->decision.throttle_pct;
    int64_t period_ns = params->sync_period_ms * NS_PER_MS;
    double bound_bytes;

    /* Until a period is full, all stays as it was decided. */
    decision->throttle_pct = before_pct;
    decision->phase = engine->decision.phase;
    decision->next_sync_ns = period_ns;
    state->period_ns += sample->interval_ns;
    state->period_dirtied_bytes += sample->dirtied_bytes;
    state->period_drained_bytes += sample->drained_bytes;
    if (state->period_ns < period_ns / 100 * FULL_PERIOD_PCT) {
        return;
    }

    bound_bytes = (double)state->period_drained_bytes *
                  params->trigger_threshold_pct / 100;
    if (state->period_dirtied_bytes > bound_bytes) {
        decision->throttle_pct =
            next_throttle(params, before_pct, state->period_dirtied_bytes,
                          bound_bytes);
        decision->phase = before_pct == params->max_throttle_pct ?
                          CONVERGENCE_PHASE_STUCK :
                          CONVERGENCE_PHASE_THROTTLING;
    } else {
        decision->phase = decision->throttle_pct ?
                          CONVERGENCE_PHASE_CONVERGING :
                          CONVERGENCE_PHASE_WATCHING;
    }
    *state = (ConvergenceStepState) { 0 };
}

const ConvergencePolicyOps convergence_step = {
    .name = "step",
    .decide = step_decide,
};
