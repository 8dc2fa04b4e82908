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
 * Any vCPU that runs rewrites some pages: its stack, its kernel's counters.
 * After a sync all of these are clean, and 30 to 200 of them are dirtied again
 * within a few ms, whatever the link and the number of vCPUs.  Three things
 * keep that from ever putting a vCPU to sleep, and from eating up the budget:
 *
 *  - one that wrote no more than that in the last interval may write twice as
 *    much between any two looks, even where the level is lower;
 *  - looks are so far apart that all of this together takes no more than half
 *    of the budget;
 *  - the other half is the writers', however much the rewriting takes.
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
/*
 * What a vCPU may rewrite between two syncs without being taken for a writer.
 * dirtylimit lets a vCPU save up as much.
 */
#define REWRITTEN_BYTES (256 * 4096)
/* The part of the budget that the rewriting is meant to take at most ... */
#define REWRITING_PART 0.5
/* ... unless looks would be further apart than this. */
#define REWRITING_LOOK_MAX_S 10.0

static void set_limits(const ConvergenceSample *sample, uint64_t limit)
{
    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        sample->vcpus[i].limit_bytes_per_s = limit;
    }
}

static bool only_rewrites(const ConvergenceVcpu *vcpu)
{
    return vcpu->touched_bytes <= REWRITTEN_BYTES &&
           !convergence_limit_binds(vcpu);
}

/* Of all vCPUs that do nothing else, between two looks however far apart. */
static double rewritten_bytes(const ConvergenceSample *sample)
{
    double sum = 0;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        if (only_rewrites(&sample->vcpus[i])) {
            sum += sample->vcpus[i].touched_bytes;
        }
    }
    return sum;
}

static unsigned count_writers(const ConvergenceSample *sample)
{
    unsigned n = 0;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        n += !only_rewrites(&sample->vcpus[i]);
    }
    return n;
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
    unsigned writers = count_writers(sample);
    double level, writers_own;

    if (params->vcpu_dirty_limit_bytes_per_s) {
        return params->vcpu_dirty_limit_bytes_per_s;
    }
    budget = convergence_clamp(budget, drain * LEAST, drain);
    level = convergence_fair_level(sample->vcpus, sample->n_vcpus, budget);
    writers_own = budget * (1 - REWRITING_PART) / (writers ? writers : 1);
    return MAX(level, writers_own);
}

/* When to look again, for what vCPUs rewrite after each look not to matter. */
static int64_t look_ns(const ConvergenceEngine *engine,
                       const ConvergenceParams *params,
                       const ConvergenceSample *sample)
{
    double least_s = rewritten_bytes(sample) /
                     (engine->model.drain_bytes_per_s * CONVERGENCE_RHO *
                      REWRITING_PART);
    int64_t least_ns = convergence_clamp(least_s, 0, REWRITING_LOOK_MAX_S) *
                       NS_PER_S;

    return MAX(convergence_look_ns(engine, params, sample), least_ns);
}

/* The level for those that write; the others keep what they rewrite. */
static void limit_to_level(const ConvergenceParams *params,
                           const ConvergenceSample *sample, double level,
                           int64_t next_look_ns)
{
    uint64_t writers = convergence_to_u64(level > 1 ? level : 1);
    uint64_t others = convergence_to_u64(
        convergence_rate(2 * REWRITTEN_BYTES, next_look_ns));

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        ConvergenceVcpu *vcpu = &sample->vcpus[i];

        vcpu->limit_bytes_per_s =
            only_rewrites(vcpu) && !params->vcpu_dirty_limit_bytes_per_s ?
            MAX(writers, others) : writers;
    }
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
        double limit = sample->vcpus[i].limit_bytes_per_s;

        sum += rate < limit ? rate : limit;
    }
    return sum;
}

static void limit(ConvergenceEngine *engine, const ConvergenceParams *params,
                  const ConvergenceSample *sample,
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
        limit_to_level(params, sample, state->level_bytes_per_s,
                       decision->next_sync_ns);
        engine->planned_bytes_per_s = plan(engine, sample);
        engine->planned_is_new = true;
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
    decision->next_sync_ns = look_ns(engine, params, sample);
    limit(engine, params, sample, decision, level);
}

const ConvergencePolicyOps convergence_dirty_limit = {
    .name = "dirty-limit",
    .decide = dirty_limit_decide,
    .needs_vcpu_meters = true,
};
