/*
 * Convergence policy "dirty-limit": slow down those that write
 *
 *   watch until the bulk pass has ended     (or pays to be cut short)
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

/* When devices eat the budget up, vCPUs keep this part of the drain rate. */
#define LEAST 0.02
/* From that part of the drain rate on devices alone stop any progress. */
#define NO_PROGRESS 0.95
/* Looks in a row with nobody at the level before the limits are lifted. */
#define CALM_MAX 2

static void set_limits(const ConvergenceSample *sample, uint64_t limit)
{
    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        sample->vcpus[i].limit_bytes_per_s = limit;
    }
}

static void lift(ConvergenceEngine *engine, const ConvergenceParams *params,
                 const ConvergenceSample *sample, ConvergenceDecision *decision)
{
    const ConvergenceModel *model = &engine->model;
    double target = model->drain_bytes_per_s * CONVERGENCE_RHO;
    unsigned unsure = engine->limit.unsure;

    engine->planned_bytes_per_s = convergence_model_expect_watched(
        model, params, MAX(target, model->device_bytes_per_s));
    engine->limit = (ConvergenceLimitState) { .unsure = unsure };
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
    double budget = drain * CONVERGENCE_RHO - model->device_bytes_per_s;

    if (params->vcpu_dirty_limit_bytes_per_s) {
        return params->vcpu_dirty_limit_bytes_per_s;
    }
    return convergence_fair_level(sample->vcpus, sample->n_vcpus,
                                  convergence_clamp(budget, drain * LEAST,
                                                    drain));
}

/* Slowing vCPUs is no use if devices alone keep up with the link. */
static bool devices_outpace(const ConvergenceModel *model)
{
    return model->device_bytes_per_s > model->drain_bytes_per_s * NO_PROGRESS;
}

/* What will be dirtied from now on, if it is as it was but for the limits. */
static double plan(const ConvergenceEngine *engine,
                   const ConvergenceSample *sample)
{
    double sum = engine->model.device_bytes_per_s;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        double rate = sample->vcpus[i].dirty_rate_bytes_per_s;
        double level = engine->limit.level_bytes_per_s;

        sum += rate < level ? rate : level;
    }
    return sum;
}

static void limit(ConvergenceEngine *engine, const ConvergenceSample *sample,
                  ConvergenceDecision *decision, double level)
{
    ConvergenceLimitState *state = &engine->limit;
    double drain = engine->model.drain_bytes_per_s;

    state->engaged = true;
    if (level != HUGE_VAL) {
        engine->seeking = level != state->level_bytes_per_s;
        state->calm = 0;
        state->level_bytes_per_s = level;
        decision->vcpus_limited = true;
    }
    if (decision->vcpus_limited) {
        /* Also those that were plugged in since the level was found. */
        level = state->level_bytes_per_s;
        set_limits(sample, convergence_to_u64(level > 1 ? level : 1));
        engine->planned_bytes_per_s = plan(engine, sample);
    }
    /* A limit that the user fixed may be too high. */
    decision->phase = engine->planned_bytes_per_s < drain ?
                      CONVERGENCE_PHASE_CONVERGING :
                      CONVERGENCE_PHASE_THROTTLING;
}

static void dirty_limit_decide(ConvergenceEngine *engine,
                               const ConvergenceParams *params,
                               const ConvergenceSample *sample,
                               ConvergenceDecision *decision)
{
    ConvergenceLimitState *state = &engine->limit;
    const ConvergenceModel *model = &engine->model;
    double level;

    decision->throttle_pct = 0;
    decision->next_sync_ns = params->sync_period_ms * NS_PER_MS;
    if (!state->engaged &&
        (convergence_model_is_early(model, sample,
                                    model->device_bytes_per_s) ||
         !convergence_model_needs_help(model, params,
                                       convergence_threshold(engine, params),
                                       convergence_limit_ms(engine, params),
                                       &state->unsure))) {
        lift(engine, params, sample, decision);
        decision->next_sync_ns = convergence_watch_ns(engine, params, sample);
        return;
    }
    if (devices_outpace(model)) {
        lift(engine, params, sample, decision);
        decision->phase = CONVERGENCE_PHASE_STUCK;
        return;
    }
    level = find_level(model, params, sample);
    if (level == HUGE_VAL && ++state->calm >= CALM_MAX) {
        lift(engine, params, sample, decision);
        return;
    }
    limit(engine, sample, decision, level);
    decision->next_sync_ns = convergence_look_ns(engine, params, sample);
}

const ConvergencePolicyOps convergence_dirty_limit = {
    .name = "dirty-limit",
    .decide = dirty_limit_decide,
    .needs_vcpu_meters = true,
};
