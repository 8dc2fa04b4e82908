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
#include "convergence-internal.h"

/*
 * A sync must not cost more than a twentieth of the time between syncs: that
 * of a 256 GiB guest takes 10 to 70 ms, with the BQL held.
 */
#define SYNC_COST_SHARE 20
/* Forecasts rest on at least that many samples. */
#define MIN_SAMPLES 2
/* However much they cost, the guest is not lost sight of for longer. */
#define MAX_PERIOD_NS (3600 * NS_PER_S)
/*
 * The least that a sync of this guest takes, above which there are none on the
 * clock in the bulk pass: who holds the BQL for longer is felt by the guest,
 * and the pass ends with a sync anyway.
 */
#define BULK_SYNC_MAX_NS (20 * NS_PER_MS)
/* For that long while a policy seeks, a sync may cost a quarter of the time. */
#define SEEKING_COST_SHARE 4
/*
 * The part of the downtime that is not spent on pages (device state, the last
 * sync), and more where the link was seen to waver.
 */
#define SWITCHOVER_RESERVE 0.1
#define MAX_RESERVE 0.4
/*
 * Another sender may take half of a link at any time.  What has been seen to be
 * taken in the last seconds is left to it, up to that.
 */
#define MAX_SHARED_RESERVE 0.5
/*
 * Where devices eat the limit up, half of it has to do for pages: better a
 * downtime that is too long by that than none at all.
 */
#define MAX_DEVICES_PART 0.5
/* Where syncs eat the limit up, a quarter of it has to do for pages. */
#define MAX_SYNC_PART 0.75
/* A wire this near to max-bandwidth is held back by it. */
#define CAPPED 0.9
/* There QEMU's loop comes round, and may end, once in so much. */
#define CAPPED_LOOP_S 0.1
/* A look is late by so much, on average. */
#define LOOP_NS (50 * NS_PER_MS)
/* Looks: neither closer than QEMU's loop comes round, nor too few. */
#define MIN_LOOK_NS (100 * NS_PER_MS)
#define MAX_LOOK_NS (250 * NS_PER_MS)
#define LOOKS_LEFT 4
#define LEAD_NS (500 * NS_PER_MS)
/* A look that tells a rate from what is rewritten after each sync. */
#define TELLING_NS NS_PER_S
/* Not more than so much longer; less than that is no look of its own. */
#define LEAD_SPLIT 0.5

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
        policy = &convergence_predictive;
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

uint64_t convergence_limit_ms(const ConvergenceEngine *engine,
                              const ConvergenceParams *params)
{
    return engine->deadline.downtime_limit_ms > params->downtime_limit_ms ?
           engine->deadline.downtime_limit_ms : params->downtime_limit_ms;
}

void convergence_engine_see_link(ConvergenceEngine *engine,
                                 const ConvergenceLinkView *view)
{
    engine->link = *view;
}

/* What the wire carries, as far as can be told, without a reserve. */
static double wire_rate(const ConvergenceEngine *engine,
                        double bandwidth_bytes_per_s)
{
    const ConvergenceModel *model = &engine->model;
    uint64_t recent = engine->link.recent_bytes_per_s;
    double rate = model->samples < MIN_SAMPLES ||
                  !(model->link_bytes_per_s > 0) ? bandwidth_bytes_per_s :
                  model->link_bytes_per_s;

    return recent && recent < rate ? recent : rate;
}

/* What the switch-over may reckon with, on the wire. */
static double switchover_rate(const ConvergenceEngine *engine,
                              const ConvergenceParams *params,
                              double bandwidth_bytes_per_s)
{
    const ConvergenceModel *model = &engine->model;
    uint64_t low = engine->link.low_bytes_per_s;
    double wire = wire_rate(engine, bandwidth_bytes_per_s);
    double reserve = convergence_clamp(SWITCHOVER_RESERVE +
                                       model->wire_deviation, 0, MAX_RESERVE);
    double rate = wire * (1 - reserve);

    if (params->switchover_bytes_per_s) {
        return params->switchover_bytes_per_s * (1 - SWITCHOVER_RESERVE);
    }
    if (low) {
        rate = MIN(rate, convergence_clamp(low * (1 - SWITCHOVER_RESERVE),
                                           wire * (1 - MAX_SHARED_RESERVE),
                                           wire));
    }
    return MAX(rate, engine->link.burst_bytes_per_s);
}

static double page_bytes_per_wire_byte(const ConvergenceModel *model)
{
    return model->samples >= MIN_SAMPLES &&
           model->page_bytes_per_wire_byte > 0 ?
           model->page_bytes_per_wire_byte : 1;
}

uint64_t convergence_engine_threshold_bytes(const ConvergenceEngine *engine,
                                            const ConvergenceParams *params,
                                            uint64_t downtime_limit_ms,
                                            double bandwidth_bytes_per_s,
                                            uint64_t queued_bytes)
{
    const ConvergenceModel *model = &engine->model;
    /* The last sync is part of the downtime. */
    double sync_ms = convergence_clamp(model->sync_cost_ns / NS_PER_MS, 0,
                                       downtime_limit_ms * MAX_SYNC_PART);
    double all_bytes = switchover_rate(engine, params, bandwidth_bytes_per_s) *
                       (downtime_limit_ms - sync_ms) / 1000;
    double devices_bytes = convergence_clamp(engine->link.devices_bytes, 0,
                                             all_bytes * MAX_DEVICES_PART);

    return convergence_to_u64((all_bytes - devices_bytes - queued_bytes) *
                              page_bytes_per_wire_byte(model));
}

double convergence_threshold(const ConvergenceEngine *engine,
                             const ConvergenceParams *params)
{
    /* What is queued now will be gone by then: it is waited for. */
    return convergence_engine_threshold_bytes(
        engine, params, convergence_limit_ms(engine, params),
        engine->model.wire_bytes_per_s, 0);
}

int64_t convergence_look_ns(const ConvergenceEngine *engine,
                            const ConvergenceParams *params,
                            const ConvergenceSample *sample)
{
    double left_s = sample->remaining_bytes / engine->model.drain_bytes_per_s;
    int64_t look_ns = convergence_clamp(left_s * NS_PER_S / LOOKS_LEFT,
                                        MIN_LOOK_NS, MAX_LOOK_NS);

    return look_ns < params->sync_period_ms * NS_PER_MS ? look_ns :
           params->sync_period_ms * NS_PER_MS;
}

int64_t convergence_probe_lead_ns(const ConvergenceEngine *engine,
                                  const ConvergenceSample *sample)
{
    unsigned looks = convergence_estimate_looks(sample->n_vcpus);

    /*
     * One look more, to see how it is while nobody is held.  None where a sync
     * costs so much that looks would have to be longer.
     */
    return sample->bulk_pass && engine->policy == &convergence_predictive &&
           engine->model.least_sync_busy_ns <= BULK_SYNC_MAX_NS &&
           engine->model.sync_cost_ns * SEEKING_COST_SHARE <=
           CONVERGENCE_PROBE_NS &&
           convergence_estimate_wants_probe(engine, sample, HUGE_VAL) ?
           (looks - engine->estimate.probes + 1) *
           (CONVERGENCE_PROBE_NS + LOOP_NS) : 0;
}

/*
 * The longer an interval, the more of the writes in it hit the same pages.
 * The sample that the first cut rests on, the one that ends with the bulk
 * pass, shall be a short one.
 */
int64_t convergence_watch_ns(ConvergenceEngine *engine,
                             const ConvergenceParams *params,
                             const ConvergenceSample *sample, bool unsure)
{
    const ConvergenceModel *model = &engine->model;
    int64_t period_ns = params->sync_period_ms * NS_PER_MS;
    double cost_ns = model->sync_cost_ns * SEEKING_COST_SHARE;
    int64_t probe_lead_ns = convergence_probe_lead_ns(engine, sample);
    double lead_ns = (cost_ns > LEAD_NS ? cost_ns : LEAD_NS) + probe_lead_ns;
    double ends_ns = convergence_model_bulk_ends_s(model, sample) * NS_PER_S;
    double until_ns = ends_ns - lead_ns;

    if (!sample->bulk_pass && (unsure || !model->dirty_known)) {
        /* Whether the guest needs help shows in the next look. */
        return MIN(unsure ? TELLING_NS : MAX_LOOK_NS, period_ns);
    }
    if (probe_lead_ns && until_ns < MIN_LOOK_NS && !model->dirty_known) {
        /* Rewrites are seen from now on: the next look can tell. */
        engine->seeking = true;
        return MIN(MAX_LOOK_NS, period_ns);
    }
    if (!sample->bulk_pass || until_ns < lead_ns * LEAD_SPLIT ||
        until_ns > period_ns + model->sync_cost_ns * SYNC_COST_SHARE) {
        return period_ns;
    }
    engine->seeking = true;
    return until_ns > MIN_LOOK_NS ? (int64_t)until_ns : MIN_LOOK_NS;
}

/*
 * To the end of the bulk pass first, if it is not over: until then a guest that
 * is not slowed goes on as it did.
 */
static double forecast_s(const ConvergenceEngine *engine,
                         const ConvergenceSample *sample,
                         double threshold_bytes)
{
    const ConvergenceModel *model = &engine->model;
    bool slowed = engine->decision.throttle_pct ||
                  engine->decision.vcpus_limited;
    double planned = engine->planned_bytes_per_s;
    double until_then = slowed ? planned : model->dirty_bytes_per_s;
    double bulk_s = convergence_model_bulk_ends_s(model, sample);
    double rest_s;

    if (!sample->bulk_pass) {
        return convergence_model_remaining_s(model, sample->remaining_bytes +
                                             sample->queued_bytes *
                                             page_bytes_per_wire_byte(model),
                                             threshold_bytes, planned,
                                             engine->planned_is_new);
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

/* How long the guest will stand still for @bytes of pages. */
static double downtime_s(const ConvergenceEngine *engine,
                         const ConvergenceParams *params, double bytes)
{
    const ConvergenceModel *model = &engine->model;
    double wire = params->switchover_bytes_per_s ?:
                  MAX(model->wire_bytes_per_s, engine->link.burst_bytes_per_s);

    return (bytes / page_bytes_per_wire_byte(model) +
            engine->link.devices_bytes) / MAX(wire, 1);
}

/* While the guest does what the policy plans with. */
static void forecast(const ConvergenceEngine *engine,
                     const ConvergenceParams *params,
                     const ConvergenceSample *sample,
                     ConvergenceDecision *decision)
{
    const ConvergenceModel *model = &engine->model;
    double threshold_bytes = convergence_threshold(engine, params);
    double remaining_s = forecast_s(engine, sample, threshold_bytes);
    double last_bytes = sample->remaining_bytes < threshold_bytes ?
                        sample->remaining_bytes : threshold_bytes;
    double down_s;

    decision->predicted = model->samples >= MIN_SAMPLES && remaining_s >= 0 &&
                          model->drain_bytes_per_s >= 1 &&
                          decision->phase != CONVERGENCE_PHASE_STUCK &&
                          decision->told != CONVERGENCE_PHASE_STUCK;
    if (!decision->predicted) {
        return;
    }
    down_s = downtime_s(engine, params, last_bytes);
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

static void bound_sync_period(const ConvergenceEngine *engine,
                              bool bulk_pass, ConvergenceDecision *decision)
{
    double least_ns = engine->model.sync_cost_ns *
                      (engine->seeking ? SEEKING_COST_SHARE : SYNC_COST_SHARE);

    if (bulk_pass && engine->model.least_sync_busy_ns > BULK_SYNC_MAX_NS) {
        decision->next_sync_ns = MAX_PERIOD_NS;
    }
    if (decision->next_sync_ns < least_ns) {
        decision->next_sync_ns = convergence_clamp(least_ns, 0,
                                                   MAX_PERIOD_NS);
    }
}

/*
 * To see rewrites costs the guest a fault for each page that waits.  It is
 * worth that from the last look in the bulk pass on, and while the guest is
 * slowed, whose throttle could not be given back otherwise.
 */
static bool see_rewrites(const ConvergenceEngine *engine,
                         const ConvergenceSample *sample,
                         const ConvergenceDecision *decision)
{
    double ends_ns = convergence_model_bulk_ends_s(&engine->model, sample) *
                     NS_PER_S;

    return !sample->bulk_pass || decision->throttle_pct ||
           decision->vcpus_limited || engine->wants_rewrites ||
           ends_ns < decision->next_sync_ns + LEAD_NS +
                     convergence_probe_lead_ns(engine, sample);
}

int64_t convergence_engine_first_sync_ns(ConvergenceEngine *engine,
                                         const ConvergenceParams *params,
                                         int64_t sync_busy_ns)
{
    ConvergenceDecision *decision = &engine->decision;

    decision->next_sync_ns = params->sync_period_ms * NS_PER_MS;
    convergence_model_note_sync(&engine->model, sync_busy_ns);
    bound_sync_period(engine, true, decision);
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
    engine->policy->decide(engine, params, sample, decision);
    if (decision->throttle_pct > params->max_throttle_pct) {
        decision->throttle_pct = params->max_throttle_pct;
    }
    throttle_alike(sample, decision);
    bound_sync_period(engine, sample->bulk_pass, decision);
    decision->see_rewrites = see_rewrites(engine, sample, decision);
    convergence_state_tell(engine, params, sample, decision);
    forecast(engine, params, sample, decision);
    convergence_explain(engine, params, sample, decision);
    return decision;
}
