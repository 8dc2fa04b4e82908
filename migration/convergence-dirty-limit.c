/*
 * Convergence policy "dirty-limit": slow down those that write
 *
 *   watch until the bulk pass is about to end
 *   if dirtying is too fast for the link:
 *       budget = RHO * drain rate - what devices dirty
 *       level  = the max-min fair share of it (convergence-fair-share.c)
 *       each vCPU may dirty up to the level
 *   lift the limits when nobody wants more than the level
 *
 * Unlike a throttle this reaches its target at once, whatever the guest does:
 * pages are what is limited and pages are what is counted.  vCPUs that write
 * less than the level, or only compute, are not slowed at all.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "convergence-internal.h"

/*
 * See convergence-predictive.c: the shorter the tail, the less is lost.  A
 * fifth keeps writers alive and costs a quarter more time than a halt would.
 */
#define RHO 0.20
/* When devices eat the budget up, vCPUs keep this part of the drain rate. */
#define LEAST 0.02
/* Measuring starts that long before the bulk pass ends. */
#define BULK_LEAD_S 0.7
/* Between two looks while limits are in force. */
#define FAST_SYNC_NS (250 * NS_PER_MS)
/* Looks in a row with nobody at the level before the limits are lifted. */
#define CALM_MAX 2

static void set_limits(const ConvergenceSample *sample, uint64_t limit)
{
    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        sample->vcpus[i].limit_bytes_per_s = limit;
    }
}

static void lift(ConvergenceEngine *engine, const ConvergenceSample *sample,
                 ConvergenceDecision *decision)
{
    engine->limit = (ConvergenceLimitState) { 0 };
    set_limits(sample, 0);
    decision->vcpus_limited = false;
    decision->phase = CONVERGENCE_PHASE_WATCHING;
}

/* Bytes per second that each vCPU may dirty; HUGE_VAL: no need to limit. */
static double find_level(const ConvergenceModel *model,
                         const ConvergenceParams *params,
                         const ConvergenceSample *sample)
{
    double drain = model->drain_bytes_per_s;
    double budget = drain * RHO - model->device_bytes_per_s;

    if (params->vcpu_dirty_limit_bytes_per_s) {
        return params->vcpu_dirty_limit_bytes_per_s;
    }
    return convergence_fair_level(sample->vcpus, sample->n_vcpus,
                                  convergence_clamp(budget, drain * LEAST,
                                                    drain));
}

static bool too_early(const ConvergenceModel *model,
                      const ConvergenceSample *sample,
                      ConvergenceDecision *decision)
{
    double lead_s = convergence_model_bulk_ends_s(model, sample) - BULK_LEAD_S;

    if (!(lead_s > 0)) {
        return false;
    }
    if (lead_s < (double)decision->next_sync_ns / NS_PER_S) {
        decision->next_sync_ns = lead_s * NS_PER_S;
    }
    return true;
}

static ConvergencePhase judge(const ConvergenceModel *model,
                              const ConvergenceParams *params)
{
    if (model->device_bytes_per_s >= model->drain_bytes_per_s) {
        return CONVERGENCE_PHASE_STUCK;
    }
    if (params->vcpu_dirty_limit_bytes_per_s &&
        model->last_dirty_bytes_per_s >= model->drain_bytes_per_s) {
        /* The user's limit is too high; ours would not be. */
        return CONVERGENCE_PHASE_THROTTLING;
    }
    return model->last_dirty_bytes_per_s < model->drain_bytes_per_s ?
           CONVERGENCE_PHASE_CONVERGING : CONVERGENCE_PHASE_THROTTLING;
}

static void dirty_limit_decide(ConvergenceEngine *engine,
                               const ConvergenceParams *params,
                               const ConvergenceSample *sample,
                               ConvergenceDecision *decision)
{
    ConvergenceLimitState *state = &engine->limit;
    const ConvergenceModel *model = &engine->model;
    int64_t period_ns = params->sync_period_ms * NS_PER_MS;
    double level;

    decision->throttle_pct = 0;
    decision->next_sync_ns = period_ns;
    if (too_early(model, sample, decision)) {
        lift(engine, sample, decision);
        return;
    }
    if (FAST_SYNC_NS < period_ns) {
        decision->next_sync_ns = FAST_SYNC_NS;
    }
    if (!state->engaged &&
        !convergence_model_needs_help(model, model->last_dirty_bytes_per_s)) {
        lift(engine, sample, decision);
        return;
    }
    level = find_level(model, params, sample);
    if (level == HUGE_VAL && ++state->calm >= CALM_MAX) {
        lift(engine, sample, decision);
        return;
    }
    state->engaged = true;
    if (level != HUGE_VAL) {
        state->calm = 0;
        state->level_bytes_per_s = level;
        decision->vcpus_limited = true;
    }
    if (decision->vcpus_limited) {
        /* Also those that were plugged in since the level was found. */
        level = state->level_bytes_per_s;
        set_limits(sample, convergence_to_u64(level > 1 ? level : 1));
    }
    decision->phase = judge(model, params);
}

const ConvergencePolicyOps convergence_dirty_limit = {
    .name = "dirty-limit",
    .decide = dirty_limit_decide,
    .needs_vcpu_meters = true,
};
