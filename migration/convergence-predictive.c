/*
 * Convergence policy "predictive": measure, then go there at once
 *
 *   watch until the bulk pass is about to end
 *   if dirtying is too fast for the link:
 *       share = share * target / dirty rate          (share: of run time)
 *       look again soon; repeat until the rate is near the target
 *   when the guest calms down: give back at most a doubling a look
 *
 *   dirty rate
 *      |            ______x  seen at share 1
 *      |        .--'
 *      |     x'    seen at the first guess
 *      |   /'
 *      | x'  target: RHO of the drain rate
 *      |/________________ share
 *
 * The step is along the line from the last point seen through the origin.  The
 * true curve is concave: a guest that is given half of the time never writes
 * less than half of the pages.  So the line never cuts more than is needed,
 * and each look closes in from above; two or three of them suffice.  A secant
 * through the last two points was tried: it is faster by one look on smooth
 * curves, and overshoots to the maximum on paced writers, whose curve is flat
 * before it falls.
 *
 * Why RHO is small: with f the dirty rate per share and B the drain rate, what
 * remains (D) takes D / (B - f * s), and the guest loses
 *
 *     (1 - s) * D / (B - f * s)
 *
 * of its time, which for f > B is least at s = 0: the shorter the tail, the
 * less is lost in all.  What speaks for a larger share is only that the guest
 * should be seen to live on.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-internal.h"

/* New dirtying to aim at, as a share of the drain rate. */
#define RHO 0.20
/* The band around it that counts as settled. */
#define TARGET_HIGH 1.25
#define TARGET_LOW  0.5
/* Measuring starts that long before the bulk pass ends. */
#define BULK_LEAD_S 0.7
/* Between two looks while the throttle is being found. */
#define FAST_SYNC_NS (250 * NS_PER_MS)
/* A cut that leaves more than this of the rate did not work ... */
#define DEAF_RATIO 0.9
/* ... and that many of them in a row mean that the guest does not follow. */
#define DEAF_MAX 4
/* A cut is only a test of that if it took at least a third of the share. */
#define CUT_TO_TELL 0.67
/* Give back at most that much a look. */
#define RELEASE_MAX 2.0

static double min_share(const ConvergenceParams *params)
{
    return (100.0 - params->max_throttle_pct) / 100;
}

static uint8_t share_to_pct(const ConvergenceParams *params, double share)
{
    double pct = convergence_clamp((1 - share) * 100 + 0.5, 0,
                                   params->max_throttle_pct);

    return (uint8_t)pct;
}

/* The last cut and what it did. */
static void judge_cut(ConvergencePredictiveState *state, double rate)
{
    if (state->cut && state->cut_from_bytes_per_s > 0) {
        if (rate > state->cut_from_bytes_per_s * DEAF_RATIO) {
            state->deaf++;
        } else {
            state->deaf = 0;
        }
    }
    state->cut = false;
}

static void seek(ConvergencePredictiveState *state,
                 const ConvergenceParams *params, double rate, double target)
{
    double share = state->share;

    if (rate > target * TARGET_HIGH) {
        share = convergence_clamp(share * target / rate, min_share(params), 1);
        state->cut = share < state->share * CUT_TO_TELL;
        state->cut_from_bytes_per_s = rate;
        state->settled = 0;
    } else if (rate < target * TARGET_LOW) {
        double factor = rate > 0 ? target / rate : RELEASE_MAX;

        share = convergence_clamp(share * convergence_clamp(factor, 1,
                                                            RELEASE_MAX),
                                  min_share(params), 1);
        state->settled = 0;
    } else {
        state->settled++;
    }
    state->share = share;
}

static ConvergencePhase judge(const ConvergencePredictiveState *state,
                              const ConvergenceParams *params,
                              const ConvergenceModel *model, double rate)
{
    if (rate < model->drain_bytes_per_s * TARGET_HIGH * RHO ||
        state->settled) {
        return CONVERGENCE_PHASE_CONVERGING;
    }
    if (state->share <= min_share(params) * 1.01 && !state->cut) {
        /* The most that is allowed is in force, and has been seen to act. */
        return rate < model->drain_bytes_per_s ? CONVERGENCE_PHASE_CONVERGING
                                               : CONVERGENCE_PHASE_STUCK;
    }
    return CONVERGENCE_PHASE_THROTTLING;
}

static void watch(ConvergenceEngine *engine, ConvergenceDecision *decision)
{
    engine->predictive = (ConvergencePredictiveState) { .share = 1 };
    decision->throttle_pct = 0;
    decision->phase = CONVERGENCE_PHASE_WATCHING;
}

/* True while it is too early to act. */
static bool wait_for_bulk(ConvergenceEngine *engine,
                          const ConvergenceSample *sample,
                          ConvergenceDecision *decision)
{
    double lead_s = convergence_model_bulk_ends_s(&engine->model, sample) -
                    BULK_LEAD_S;
    double period_s = (double)decision->next_sync_ns / NS_PER_S;

    if (!(lead_s > 0)) {
        return false;
    }
    if (lead_s < period_s) {
        decision->next_sync_ns = lead_s * NS_PER_S;
    }
    watch(engine, decision);
    return true;
}

static void predictive_decide(ConvergenceEngine *engine,
                              const ConvergenceParams *params,
                              const ConvergenceSample *sample,
                              ConvergenceDecision *decision)
{
    ConvergencePredictiveState *state = &engine->predictive;
    const ConvergenceModel *model = &engine->model;
    double rate = model->last_dirty_bytes_per_s;
    int64_t period_ns = params->sync_period_ms * NS_PER_MS;

    decision->next_sync_ns = period_ns;
    if (wait_for_bulk(engine, sample, decision)) {
        return;
    }
    if (FAST_SYNC_NS < period_ns) {
        decision->next_sync_ns = FAST_SYNC_NS;
    }
    if (!state->engaged && !convergence_model_needs_help(model, rate)) {
        watch(engine, decision);
        return;
    }
    state->engaged = true;
    judge_cut(state, rate);
    if (state->deaf >= DEAF_MAX) {
        /* Slowing it is of no use: do not. */
        decision->throttle_pct = 0;
        decision->phase = CONVERGENCE_PHASE_STUCK;
        return;
    }
    seek(state, params, rate, model->drain_bytes_per_s * RHO);
    decision->throttle_pct = share_to_pct(params, state->share);
    decision->phase = judge(state, params, model, rate);
    if (!decision->throttle_pct) {
        watch(engine, decision);
    }
}

static void predictive_init(ConvergenceEngine *engine)
{
    engine->predictive.share = 1;
}

const ConvergencePolicyOps convergence_predictive = {
    .name = "predictive",
    .init = predictive_init,
    .decide = predictive_decide,
};
