/*
 * Convergence engine: the entry points
 *
 *   update(sample):
 *       if the sample is valid and auto-converge is on:
 *           model learns from it
 *           policy decides
 *           forecast, reason
 *       return the decision in force
 *
 * and beside it the deadline (convergence-deadline.c), which is looked at more
 * often and works with auto-converge off.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "convergence-internal.h"

/*
 * A sync must not cost more than a twentieth of the time between syncs: that
 * of a 256 GiB guest takes 10 to 70 ms, with the BQL held.
 */
#define SYNC_COST_SHARE 20
/* Forecasts rest on at least that many samples. */
#define MIN_SAMPLES 2
/* The part of the downtime that is not spent on pages: device state, syncs. */
#define SWITCHOVER_RESERVE_PCT 10

const char *convergence_phase_name(ConvergencePhase phase)
{
    static const char *const names[] = {
        [CONVERGENCE_PHASE_OFF] = "off",
        [CONVERGENCE_PHASE_WATCHING] = "watching",
        [CONVERGENCE_PHASE_THROTTLING] = "throttling",
        [CONVERGENCE_PHASE_CONVERGING] = "converging",
        [CONVERGENCE_PHASE_STUCK] = "stuck",
        [CONVERGENCE_PHASE_TIMED_OUT] = "timed-out",
    };

    return phase < CONVERGENCE_PHASE__MAX ? names[phase] : "unknown";
}

void convergence_engine_init(ConvergenceEngine *engine, int64_t now_ns)
{
    memset(engine, 0, sizeof(*engine));
    engine->start_ns = now_ns;
    engine->model.last_sample_ns = now_ns;
}

/* A policy that is chosen in mid-flight starts afresh; the model stays. */
static void select_policy(ConvergenceEngine *engine,
                          const ConvergenceParams *params,
                          const ConvergenceSample *sample)
{
    const ConvergencePolicyOps *policy = params->policy;

    if (!policy || (policy->needs_vcpu_meters && !sample->n_vcpus)) {
        policy = convergence_policy_nth(0);
    }
    if (policy == engine->policy) {
        return;
    }
    engine->policy = policy;
    memset(&engine->step, 0, sizeof(engine->step));
    memset(&engine->predictive, 0, sizeof(engine->predictive));
    memset(&engine->limit, 0, sizeof(engine->limit));
    engine->decision = (ConvergenceDecision) {
        .phase = CONVERGENCE_PHASE_WATCHING,
    };
    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        sample->vcpus[i].limit_bytes_per_s = 0;
    }
    if (policy->init) {
        policy->init(engine);
    }
}

static uint64_t downtime_limit_ms(const ConvergenceEngine *engine,
                                  const ConvergenceParams *params)
{
    return engine->deadline.downtime_limit_ms > params->downtime_limit_ms ?
           engine->deadline.downtime_limit_ms : params->downtime_limit_ms;
}

uint64_t convergence_engine_threshold_bytes(const ConvergenceEngine *engine,
                                            uint64_t downtime_limit_ms,
                                            double bandwidth_bytes_per_s)
{
    double drain = engine->model.drain_bytes_per_s;

    if (engine->model.samples < MIN_SAMPLES || !(drain > 0)) {
        return convergence_to_u64(bandwidth_bytes_per_s *
                                  downtime_limit_ms / 1000);
    }
    return convergence_to_u64(drain * downtime_limit_ms / 1000 *
                              (100 - SWITCHOVER_RESERVE_PCT) / 100);
}

/*
 * While the guest runs as it does now; a policy that has just acted is judged
 * by what it asked for.
 */
static void forecast(const ConvergenceEngine *engine,
                     const ConvergenceParams *params,
                     const ConvergenceSample *sample,
                     ConvergenceDecision *decision)
{
    const ConvergenceModel *model = &engine->model;
    uint64_t threshold_bytes = convergence_engine_threshold_bytes(
        engine, downtime_limit_ms(engine, params), model->drain_bytes_per_s);
    double dirty = model->last_dirty_bytes_per_s < model->dirty_bytes_per_s ?
                   model->last_dirty_bytes_per_s : model->dirty_bytes_per_s;
    double remaining_s = convergence_model_remaining_s(
        model, sample->remaining_bytes, threshold_bytes, dirty);
    uint64_t last_bytes = sample->remaining_bytes < threshold_bytes ?
                          sample->remaining_bytes : threshold_bytes;

    decision->predicted = model->samples >= MIN_SAMPLES && remaining_s >= 0 &&
                          model->drain_bytes_per_s >= 1;
    if (!decision->predicted) {
        return;
    }
    decision->predicted_remaining_ms = convergence_to_u64(
        convergence_clamp(remaining_s, 0, 1e9) * 1000);
    decision->predicted_downtime_ms = convergence_to_u64(
        last_bytes / model->drain_bytes_per_s * 1000);
    decision->predicted_error_pct =
        convergence_clamp(model->jitter * 100, 5, 100);
}

static void bound_sync_period(const ConvergenceModel *model,
                              ConvergenceDecision *decision)
{
    double least_ns = model->sync_cost_ns * SYNC_COST_SHARE;

    if (decision->next_sync_ns < least_ns) {
        decision->next_sync_ns = least_ns < INT64_MAX / 2 ? (int64_t)least_ns :
                                 INT64_MAX / 2;
    }
}

const ConvergenceDecision *
convergence_engine_update(ConvergenceEngine *engine,
                          const ConvergenceParams *params,
                          const ConvergenceSample *sample)
{
    ConvergenceDecision *decision = &engine->decision;

    if (!params->auto_converge) {
        *decision = (ConvergenceDecision) {
            .phase = CONVERGENCE_PHASE_OFF,
            .next_sync_ns = params->sync_period_ms * NS_PER_MS,
        };
        engine->policy = NULL;
        return decision;
    }
    select_policy(engine, params, sample);
    if (!sample->valid || sample->interval_ns <= 0) {
        decision->next_sync_ns = params->sync_period_ms * NS_PER_MS;
        return decision;
    }
    convergence_model_update(&engine->model, sample);
    engine->policy->decide(engine, params, sample, decision);
    if (decision->throttle_pct > params->max_throttle_pct) {
        decision->throttle_pct = params->max_throttle_pct;
    }
    bound_sync_period(&engine->model, decision);
    forecast(engine, params, sample, decision);
    convergence_explain(engine, params, sample, decision);
    return decision;
}
