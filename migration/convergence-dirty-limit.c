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
 *    much between any two syncs, even where the level is lower;
 *  - looks are so far apart that all of this together takes no more than half
 *    of the budget;
 *  - the other half is the writers', however much the rewriting takes.
 *
 * If what is rewritten does not fit the downtime, no limit but a standstill of
 * those vCPUs would help, and the state is stuck.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "convergence-devices.h"
#include "convergence-estimate.h"
#include "convergence-internal.h"

/* In the bulk pass what is dirtied has all the rest of it to add up. */
#define BULK_RHO 0.10
/* When devices eat the budget up, vCPUs keep this part of the drain rate. */
#define LEAST 0.02
/* However little of it meters saw before. */
#define METERED_MIN 0.25
/* Looks in a row with nobody at the level before the limits are lifted. */
#define CALM_MAX 2
/* The part of the budget that the rewriting is meant to take at most ... */
#define REWRITING_PART 0.5
/* ... unless looks would be further apart than this. */
#define REWRITING_LOOK_MAX_S 10.0
/* Syncs are no closer together than QEMU's loop comes round. */
#define LEAST_SYNC_S 0.1

static void set_limits(const ConvergenceSample *sample, uint64_t limit)
{
    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        sample->vcpus[i].limit_bytes_per_s = limit;
    }
}

/*
 * Among those that wrote so little, a writer shows by being held at its limit.
 * One that had the room of those that only rewrite had it for a whole look, and
 * makes no writer of itself by using it in a shorter one.
 */
static void tell_writers(const ConvergenceSample *sample)
{
    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        ConvergenceVcpu *vcpu = &sample->vcpus[i];

        vcpu->only_rewrites = vcpu->touched_bytes <=
                              CONVERGENCE_REWRITTEN_BYTES &&
                              (vcpu->only_rewrites ||
                               !convergence_limit_binds(vcpu));
    }
}

/* Of all vCPUs that do nothing else, between two looks however far apart. */
static double rewritten_bytes(const ConvergenceSample *sample)
{
    double sum = 0;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        if (sample->vcpus[i].only_rewrites) {
            sum += sample->vcpus[i].touched_bytes;
        }
    }
    return sum;
}

static unsigned count_writers(const ConvergenceSample *sample)
{
    unsigned n = 0;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        n += !sample->vcpus[i].only_rewrites;
    }
    return n;
}

static void lift(ConvergenceEngine *engine, const ConvergenceParams *params,
                 const ConvergenceSample *sample, ConvergenceDecision *decision)
{
    const ConvergenceModel *model = &engine->model;
    double target = model->drain_bytes_per_s * CONVERGENCE_RHO;
    unsigned unsure = engine->own.limit.unsure;

    engine->planned_bytes_per_s = convergence_model_expect_watched(
        model, params, MAX(target, model->device_bytes_per_s));
    engine->own.limit = (ConvergenceLimitState) { .unsure = unsure };
    set_limits(sample, 0);
    decision->vcpus_limited = false;
    decision->phase = CONVERGENCE_PHASE_WATCHING;
}

/*
 * What vCPUs wrote for free before there were limits is not charged late.  So
 * the first limits are the stricter, the more of that there was.
 */
static double metered_part(const ConvergenceSample *sample)
{
    double dirtied = 0, late = 0;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        dirtied += sample->vcpus[i].dirtied_bytes;
        late += sample->vcpus[i].late_bytes;
    }
    return dirtied > 0 ? MAX(1 - late / dirtied, METERED_MIN) : 1;
}

/* Bytes per second that each vCPU may dirty; HUGE_VAL: no need to limit. */
static double find_level(const ConvergenceEngine *engine,
                         const ConvergenceParams *params,
                         const ConvergenceSample *sample)
{
    const ConvergenceModel *model = &engine->model;
    double drain = model->drain_bytes_per_s;
    double rho = sample->bulk_pass ? BULK_RHO : CONVERGENCE_RHO;
    double budget = drain * rho - model->device_bytes_per_s;
    unsigned writers = count_writers(sample);
    double level, writers_own;

    if (params->vcpu_dirty_limit_bytes_per_s) {
        return params->vcpu_dirty_limit_bytes_per_s;
    }
    budget = convergence_clamp(budget, drain * LEAST, drain);
    if (!engine->decision.vcpus_limited) {
        budget *= metered_part(sample);
    }
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

/*
 * QEMU syncs before the next look, too, whenever what remains is below the
 * threshold.  Where it stays near that, the link just sends what is rewritten.
 */
static double sync_s(const ConvergenceEngine *engine,
                     const ConvergenceSample *sample, int64_t next_look_ns)
{
    double send_s = rewritten_bytes(sample) /
                    engine->model.drain_bytes_per_s;

    return convergence_clamp(send_s, LEAST_SYNC_S,
                             (double)next_look_ns / NS_PER_S);
}

/* The level for those that write; the others keep what they rewrite. */
static void limit_to_level(const ConvergenceEngine *engine,
                           const ConvergenceParams *params,
                           const ConvergenceSample *sample, double level,
                           int64_t next_look_ns)
{
    double others = 2 * CONVERGENCE_REWRITTEN_BYTES /
                    sync_s(engine, sample, next_look_ns);

    level = MAX(level, 1);
    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        ConvergenceVcpu *vcpu = &sample->vcpus[i];

        vcpu->limit_bytes_per_s = convergence_to_u64(
            vcpu->only_rewrites && !params->vcpu_dirty_limit_bytes_per_s ?
            MAX(level, others) : level);
    }
}

/*
 * Devices know no limits: of what they write, what waits is not new.  Now that
 * is what it is, and at the end next to nothing waits.
 */
static double devices_plan(const ConvergenceModel *model,
                           const ConvergenceSample *sample)
{
    double new_bytes_per_s = model->new_bytes_per_s;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        new_bytes_per_s -= sample->vcpus[i].new_rate_bytes_per_s;
    }
    return (model->device_bytes_per_s +
            convergence_clamp(new_bytes_per_s, 0,
                              model->device_bytes_per_s)) / 2;
}

/* What will be dirtied from now on, if it is as it was but for the limits. */
static double plan(const ConvergenceEngine *engine,
                   const ConvergenceSample *sample, int64_t next_look_ns)
{
    double sum = devices_plan(&engine->model, sample);

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        const ConvergenceVcpu *vcpu = &sample->vcpus[i];
        double rate = vcpu->only_rewrites ?
                      convergence_rate(vcpu->touched_bytes, next_look_ns) :
                      vcpu->dirty_rate_bytes_per_s;

        sum += MIN(rate, vcpu->limit_bytes_per_s);
    }
    return sum;
}

static void limit(ConvergenceEngine *engine, const ConvergenceParams *params,
                  const ConvergenceSample *sample,
                  ConvergenceDecision *decision, double level)
{
    ConvergenceLimitState *state = &engine->own.limit;
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
        limit_to_level(engine, params, sample, state->level_bytes_per_s,
                       decision->next_sync_ns);
        engine->planned_bytes_per_s = plan(engine, sample,
                                           decision->next_sync_ns);
        engine->planned_is_new = true;
    }
    /* A limit that the user fixed may be too high. */
    decision->phase = engine->planned_bytes_per_s < drain ?
                      CONVERGENCE_PHASE_CONVERGING :
                      CONVERGENCE_PHASE_THROTTLING;
    decision->level_bytes_per_s = state->level_bytes_per_s;
    decision->rewritten_bytes = rewritten_bytes(sample);
    if (decision->rewritten_bytes > convergence_threshold(engine, params)) {
        /* Limits bring what remains down to that, and no further. */
        decision->phase = CONVERGENCE_PHASE_STUCK;
    }
}

static void dirty_limit_decide(ConvergenceEngine *engine,
                               const ConvergenceParams *params,
                               const ConvergenceSample *sample,
                               ConvergenceDecision *decision)
{
    ConvergenceLimitState *state = &engine->own.limit;
    const ConvergenceModel *model = &engine->model;
    ConvergenceNextLook next;
    double level;

    decision->vcpus_limited = engine->decision.vcpus_limited;
    decision->next_sync_ns = params->sync_period_ms * NS_PER_MS;
    if (!engine->devices.tried) {
        tell_writers(sample);
    }
    if (!state->engaged &&
        (convergence_model_is_early(model, sample,
                                    model->device_bytes_per_s) ||
         !convergence_model_needs_help(model, params,
                                       convergence_threshold(engine, params),
                                       convergence_limit_ms(engine, params),
                                       &state->unsure))) {
        lift(engine, params, sample, decision);
        next = convergence_watch(engine, params, sample, state->unsure);
        decision->next_sync_ns = next.in_ns;
        engine->seeking |= next.seeks;
        return;
    }
    if (params->policy_by_auto &&
        convergence_devices_try(engine, params, sample,
                                convergence_estimate_told_any(sample),
                                decision)) {
        state->engaged = true;
        set_limits(sample, 0);
        decision->vcpus_limited = false;
        return;
    }
    if (convergence_devices_outpace(model)) {
        /* No limit helps if devices alone keep up with the link. */
        lift(engine, params, sample, decision);
        decision->phase = CONVERGENCE_PHASE_STUCK;
        return;
    }
    level = find_level(engine, params, sample);
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
    .instead = &convergence_predictive,
};
