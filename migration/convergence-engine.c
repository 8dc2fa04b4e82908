/*
 * Convergence engine: the entry points
 *
 *   update(sample):
 *       if the sample is valid:
 *           model learns from it
 *           if auto-converge is on:
 *               policy decides
 *               forecast
 *           reason
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
#include "convergence-devices.h"
#include "convergence-estimate.h"
#include "convergence-internal.h"

/* A wire this near to max-bandwidth is held back by it. */
#define CAPPED 0.9
/* There QEMU's loop comes round, and may end, once in so much. */
#define CAPPED_LOOP_S 0.1

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

    if (!policy) {
        policy = convergence_policy_nth(0);
    } else if (policy->needs_vcpu_meters &&
               (!(sample->metered && sample->n_vcpus) ||
                (params->policy_by_auto &&
                 (convergence_devices_follow(engine) ||
                  convergence_devices_by_run_times(engine))))) {
        /*
         * The meter was dropped: what is left of it without one.  Or devices do
         * what vCPUs ask for: that is held by no limit, but by a throttle.
         */
        policy = policy->instead;
    }
    if (policy == engine->policy) {
        return;
    }
    engine->policy = policy;
    memset(&engine->own, 0, sizeof(engine->own));
    engine->decision = (ConvergenceDecision) {
        .phase = CONVERGENCE_PHASE_WATCHING,
        .told = CONVERGENCE_PHASE_WATCHING,
    };
    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        sample->vcpus[i].limit_bytes_per_s = 0;
    }
    convergence_estimate_end_probe(engine, sample);
    engine->devices.trying = false;
    if (policy->init) {
        policy->init(engine);
    }
}

void convergence_engine_see_link(ConvergenceEngine *engine,
                                 const ConvergenceLinkView *view)
{
    engine->link = *view;
}

/*
 * To the end of the bulk pass first, if it is not over: until then a guest that
 * is not slowed goes on as it did.
 */
static double forecast_s(const ConvergenceEngine *engine,
                         const ConvergenceSample *sample,
                         const ConvergenceDecision *decision,
                         double threshold_bytes)
{
    const ConvergenceModel *model = &engine->model;
    bool slowed = decision->throttle_pct || decision->vcpus_limited;
    double planned = engine->planned_bytes_per_s;
    double until_then = slowed ? planned : model->dirty_bytes_per_s;
    double bulk_s = convergence_model_bulk_ends_s(model, sample);
    double rest_s;

    if (!sample->bulk_pass) {
        double queued_bytes = sample->queued_bytes *
                              convergence_model_per_wire_byte(model);

        return convergence_model_remaining_s(
            model, sample->remaining_bytes + queued_bytes, threshold_bytes,
            planned, engine->planned_is_new);
    }
    rest_s = convergence_model_remaining_s(
        model, convergence_model_dirty_at_bulk_end(model, sample, until_then),
        threshold_bytes, planned, engine->planned_is_new);
    return rest_s < 0 || !isfinite(bulk_s) ? -1 : bulk_s + rest_s;
}

/*
 * max-bandwidth does not hold while the guest is stopped: what is left then
 * goes at the rate of a wire that was never seen, but for what bursts tell.
 */
static bool wire_is_capped(const ConvergenceModel *model,
                           const ConvergenceSample *sample)
{
    return sample->bandwidth_bytes_per_s &&
           model->link_bytes_per_s > sample->bandwidth_bytes_per_s * CAPPED;
}

/* While the guest does what the policy plans with. */
static void forecast(const ConvergenceEngine *engine,
                     const ConvergenceParams *params,
                     const ConvergenceSample *sample,
                     ConvergenceDecision *decision)
{
    const ConvergenceModel *model = &engine->model;
    double threshold_bytes = convergence_threshold(engine, params);
    double remaining_s = forecast_s(engine, sample, decision, threshold_bytes);
    double last_bytes = sample->remaining_bytes < threshold_bytes ?
                        sample->remaining_bytes : threshold_bytes;
    double down_s;

    decision->predicted = model->samples >= CONVERGENCE_MIN_SAMPLES &&
                          remaining_s >= 0 &&
                          model->drain_bytes_per_s >= 1 &&
                          decision->phase != CONVERGENCE_PHASE_STUCK &&
                          decision->told != CONVERGENCE_PHASE_STUCK;
    if (!decision->predicted) {
        return;
    }
    down_s = convergence_downtime_s(engine, params, last_bytes);
    if (wire_is_capped(model, sample)) {
        remaining_s = ceil(remaining_s / CAPPED_LOOP_S) * CAPPED_LOOP_S;
    } else {
        remaining_s += down_s;
    }
    decision->predicted_remaining_ms = convergence_to_u64(
        convergence_clamp(remaining_s, 0, 1e9) * 1000);
    decision->predicted_downtime_ms = convergence_to_u64(down_s * 1000);
    decision->predicted_error_pct =
        convergence_clamp(model->jitter * 100, 5, 100);
}

int64_t convergence_engine_first_sync_ns(ConvergenceEngine *engine,
                                         const ConvergenceParams *params,
                                         int64_t sync_busy_ns)
{
    ConvergenceDecision *decision = &engine->decision;

    decision->next_sync_ns = params->sync_period_ms * NS_PER_MS;
    convergence_model_note_sync(&engine->model, sync_busy_ns);
    decision->next_sync_ns =
        convergence_bound_look_ns(engine, true, decision->next_sync_ns);
    return decision->next_sync_ns;
}

/* One percentage for all is that of each vCPU. */
static void throttle_alike(const ConvergenceSample *sample,
                           const ConvergenceDecision *decision)
{
    for (unsigned i = 0; !decision->vcpus_throttled && i < sample->n_vcpus;
         i++) {
        sample->vcpus[i].throttle_pct = decision->throttle_pct;
    }
}

static bool is_of_use(const ConvergenceSample *sample)
{
    return sample->valid && sample->interval_ns > 0;
}

/*
 * No policy acts; what the guest and the link do is told all the same.  There
 * is no forecast: the syncs are QEMU's own, one a pass, which is too few.
 */
static void look_on(ConvergenceEngine *engine, const ConvergenceParams *params,
                    const ConvergenceSample *sample)
{
    ConvergenceDecision *decision = &engine->decision;
    bool learns = is_of_use(sample);

    if (learns || decision->phase != CONVERGENCE_PHASE_OFF ||
        !decision->reason[0]) {
        *decision = (ConvergenceDecision) {
            .phase = CONVERGENCE_PHASE_OFF,
            .told = CONVERGENCE_PHASE_OFF,
            .reason = CONVERGENCE_REASON_OFF,
        };
        engine->state = (ConvergenceStateView) { 0 };
    }
    decision->next_sync_ns = params->sync_period_ms * NS_PER_MS;
    engine->policy = NULL;
    convergence_estimate_end_probe(engine, sample);
    convergence_devices_forget(engine);
    throttle_alike(sample, decision);
    engine->model.queued_bytes = learns ? engine->model.queued_bytes :
                                 sample->queued_bytes;
    if (learns) {
        convergence_model_update(&engine->model, sample, false);
        convergence_explain(engine, params, sample, decision);
    }
}

static void decide(ConvergenceEngine *engine, const ConvergenceParams *params,
                   const ConvergenceSample *sample)
{
    const ConvergenceDecision *last = &engine->decision;
    /* Where there is no forecast, the figures of the last one are left. */
    ConvergenceDecision next = {
        .predicted_remaining_ms = last->predicted_remaining_ms,
        .predicted_downtime_ms = last->predicted_downtime_ms,
        .predicted_error_pct = last->predicted_error_pct,
    };

    engine->policy->decide(engine, params, sample, &next);
    if (next.throttle_pct > params->max_throttle_pct) {
        next.throttle_pct = params->max_throttle_pct;
    }
    throttle_alike(sample, &next);
    next.next_sync_ns = convergence_bound_look_ns(engine, sample->bulk_pass,
                                                  next.next_sync_ns);
    next.see_rewrites = convergence_see_rewrites(engine, sample, &next);
    convergence_state_tell(engine, params, sample, &next);
    forecast(engine, params, sample, &next);
    convergence_explain(engine, params, sample, &next);
    engine->decision = next;
}

const ConvergenceDecision *
convergence_engine_update(ConvergenceEngine *engine,
                          const ConvergenceParams *params,
                          const ConvergenceSample *sample)
{
    ConvergenceDecision *decision = &engine->decision;

    engine->probed = engine->estimate.probing;
    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        /* Those of an earlier interval are charged. */
        sample->vcpus[i].late_bytes = 0;
    }
    if (!params->auto_converge) {
        look_on(engine, params, sample);
        return decision;
    }
    if (is_of_use(sample)) {
        convergence_devices_learn(engine, params, sample);
    }
    select_policy(engine, params, sample);
    if (!is_of_use(sample)) {
        engine->model.queued_bytes = sample->queued_bytes;
        if (engine->estimate.probing || engine->devices.trying) {
            /* A look that tells nothing: nobody is held for that. */
            convergence_estimate_end_probe(engine, sample);
            convergence_devices_call_off(engine, sample);
            decision->throttle_pct = 0;
            decision->vcpus_throttled = false;
            decision->predicted = false;
            decision->phase = CONVERGENCE_PHASE_WATCHING;
            decision->told = CONVERGENCE_PHASE_WATCHING;
            engine->state.told = CONVERGENCE_PHASE_WATCHING;
            convergence_explain(engine, params, sample, decision);
        }
        decision->next_sync_ns = params->sync_period_ms * NS_PER_MS;
        throttle_alike(sample, decision);
        return decision;
    }
    if (sample->metered) {
        convergence_charge_late(sample);
        convergence_learn_shares(sample);
    }
    convergence_estimate_learn(engine, sample);
    convergence_engine_see_link(engine, &sample->link);
    convergence_model_update(&engine->model, sample,
                             engine->probed || engine->devices.tried);
    engine->planned_bytes_per_s = engine->model.dirty_bytes_per_s;
    engine->planned_is_new = false;
    engine->seeking = false;
    engine->wants_rewrites = false;
    decide(engine, params, sample);
    return decision;
}
