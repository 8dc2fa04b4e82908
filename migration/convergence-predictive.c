/*
 * Convergence policy "predictive": measure, then go there at once
 *
 *   watch until the bulk pass has ended     (or pays to be cut short)
 *   if dirtying is too fast for the link:
 *       share = share * target / dirty rate          (share: of run time)
 *       look again soon; repeat until the rate is near the target
 *   when the guest stays calm: give back, up to four times as much a look
 *   when even the most throttle hardly helps: say so, and hold it
 *   when it is in vain, or changes nothing: give all of it back
 *
 *            too fast          rate near target
 *   watching -------> throttling -----------> converging --> switch-over
 *      ^                  |   <--------------      |
 *      |    calm          |    too fast again      |
 *      +------------------|------------------------+
 *      |                  v in vain
 *      +--------------- stuck (throttle 0)
 *        things changed
 *
 * How the share is found is in convergence-seek.c; when it is in vain to slow the
 * guest, in convergence-vain.c.
 *
 * Why not before the end of the bulk pass: a page that is written before it is
 * sent at all costs nothing.  convergence_model_is_early() has the exception.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "convergence-devices.h"
#include "convergence-estimate.h"
#include "convergence-predictive.h"

/*
 * Where it pays to slow the guest in the bulk pass, it pays to do it well: what
 * is dirtied meanwhile has all the rest of the pass to add up.
 */
#define BULK_RHO 0.05
/* So long do readers write, before none is taken for one any more. */
#define MISTAKEN_NS (400 * NS_PER_MS)
/* This near to the end there is next to nothing to give, and much to upset. */
#define RELEASE_LEFT_S 1.5
/* Probes begin so long before they have to. */
#define LEAD_S 0.5
/* Looks that were to tell what is written again, and did not: so be it. */
#define BLIND_MAX 2

static void watch(ConvergenceEngine *engine, const ConvergenceParams *params,
                  const ConvergenceSample *sample,
                  ConvergenceDecision *decision)
{
    ConvergencePredictiveState *state = &engine->own.predictive;
    const ConvergenceModel *model = &engine->model;
    double target = predictive_target(engine, params, sample, 1);
    double least = model->last_dirty_bytes_per_s *
                   predictive_least_share(params);

    engine->planned_bytes_per_s =
        convergence_model_expect_watched(model, params, MAX(target, least));

    *state = (ConvergencePredictiveState) {
        .unsure = state->unsure,
        .ends_by_ns = state->ends_by_ns,
        .times_given_up = state->times_given_up,
    };
    predictive_throttle(engine, params, sample, 1, decision);
    decision->phase = CONVERGENCE_PHASE_WATCHING;
}

/*
 * By vCPUs that run free while others are slowed, beyond what any vCPU
 * rewrites; where they are metered.
 */
static double dirtied_by_free(const ConvergenceSample *sample)
{
    double sum = 0;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        const ConvergenceVcpu *vcpu = &sample->vcpus[i];

        if (!vcpu->throttle_pct &&
            vcpu->touched_bytes > CONVERGENCE_REWRITTEN_BYTES) {
            sum += convergence_rate(vcpu->touched_bytes -
                                    CONVERGENCE_REWRITTEN_BYTES,
                                    sample->interval_ns);
        }
    }
    return sum;
}

/*
 * Whether those that are spared write: too much is dirtied by them, or where
 * nothing counts that, more than while the others were held.
 */
static bool readers_write(const ConvergenceEngine *engine,
                          const ConvergenceParams *params,
                          const ConvergenceSample *sample, double target)
{
    double rate = engine->model.last_dirty_bytes_per_s;

    if (!predictive_spares_some(engine, sample)) {
        return false;
    }
    if (sample->metered && !convergence_devices_by_run_times(engine)) {
        return dirtied_by_free(sample) > target * PREDICTIVE_TARGET_HIGH;
    }
    return predictive_is_at_most(engine, params, sample) &&
           rate > target * PREDICTIVE_TARGET_HIGH &&
           convergence_estimate_doubts(engine, rate);
}

/*
 * It has to go on to be told from a burst, and from a lump.  Returns: whether
 * nobody is spared from now on, until more is known.
 */
static bool doubt_readers(ConvergenceEngine *engine,
                          const ConvergenceParams *params,
                          const ConvergenceSample *sample, double target)
{
    ConvergencePredictiveState *state = &engine->own.predictive;

    if (predictive_spares_some(engine, sample) &&
        state->outpaced_ns >= PREDICTIVE_OUTPACED_NS) {
        /* Beside idle ones a writer gets less done in its 1 %: seen on TCG. */
        convergence_estimate_stop(engine);
    } else if (!readers_write(engine, params, sample, target)) {
        state->mistaken_ns = 0;
        return false;
    } else {
        state->mistaken_ns += sample->interval_ns;
        if (state->mistaken_ns < MISTAKEN_NS) {
            return false;
        }
    }
    state->mistaken_ns = 0;
    state->outpaced_ns = 0;
    predictive_progress(state, sample);
    convergence_estimate_strike(engine, sample);
    return true;
}

static void slow_down(ConvergenceEngine *engine,
                      const ConvergenceParams *params,
                      const ConvergenceSample *sample,
                      ConvergenceDecision *decision)
{
    const ConvergenceModel *model = &engine->model;
    double rate = model->last_dirty_bytes_per_s;
    /* A lower bound tells what is too fast, not what is calm. */
    bool may_release = model->dirty_known &&
                       sample->remaining_bytes > model->drain_bytes_per_s *
                                                 RELEASE_LEFT_S;
    /* In a trial of devices the model learned nothing: of a free guest yet. */
    double before = engine->devices.tried ? 1 :
                    predictive_share(engine, sample);
    double target = sample->bulk_pass ? model->drain_bytes_per_s * BULK_RHO :
                    predictive_target(engine, params, sample, before);
    double share;
    bool changes;

    if (engine->devices.tried && convergence_devices_follow(engine)) {
        share = convergence_devices_share(engine, sample, target);
    } else if (doubt_readers(engine, params, sample, target)) {
        /* All get what the most slowed of them had. */
        share = (100.0 - sample->throttle_pct) / 100;
    } else {
        share = predictive_seek(engine, params, sample, before, target,
                                may_release);
    }
    changes = predictive_throttle(engine, params, sample, share, decision);
    engine->seeking = changes;
    engine->planned_bytes_per_s = predictive_expect(engine, share / before,
                                                    changes);
    if (engine->own.predictive.outpaced_ns >= PREDICTIVE_OUTPACED_NS) {
        decision->phase = CONVERGENCE_PHASE_STUCK;
    } else {
        decision->phase = rate <= target * PREDICTIVE_TARGET_HIGH || !changes ?
                          CONVERGENCE_PHASE_CONVERGING :
                          CONVERGENCE_PHASE_THROTTLING;
    }
}

/*
 * Before the guest is slowed, while pages that it writes are still to be sent
 * anyway.
 *
 * @now: it is about to be slowed; else it is soon enough to begin when the bulk
 *       pass has just so long to go
 *
 * Returns: whether some vCPUs are held now, or will be after the next look.
 */
static bool probe(ConvergenceEngine *engine, const ConvergenceParams *params,
                  const ConvergenceSample *sample, bool now,
                  ConvergenceDecision *decision)
{
    const ConvergenceModel *model = &engine->model;
    bool half = engine->estimate.probing && !engine->estimate.second_half;
    double look_s = (double)CONVERGENCE_PROBE_NS / NS_PER_S;
    double ends_s = convergence_model_bulk_ends_s(model, sample);
    double lead_s = (double)convergence_probe_lead_ns(engine, sample) /
                    NS_PER_S;
    double tail_s = (convergence_model_dirty_at_bulk_end(model, sample,
                                                         HUGE_VAL) -
                     convergence_threshold(engine, params)) /
                    model->drain_bytes_per_s;

    if (!lead_s || params->max_throttle_pct < PREDICTIVE_HOLD_LEAST_PCT ||
        ends_s < (half ? 1 : 2) * look_s ||
        (!now && ends_s > lead_s + LEAD_S) ||
        !convergence_estimate_wants_probe(engine, sample, tail_s)) {
        return false;
    }
    decision->next_sync_ns = CONVERGENCE_PROBE_NS;
    engine->seeking = true;
    if (sample->unseen_bytes) {
        /* First of all it has to be seen what is dirtied while all run. */
        engine->wants_rewrites = true;
        return ++engine->estimate.blind <= BLIND_MAX;
    }
    convergence_estimate_probe(engine, sample);
    decision->throttle_pct = params->max_throttle_pct;
    decision->vcpus_throttled = true;
    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        ConvergenceVcpu *vcpu = &sample->vcpus[i];

        vcpu->throttle_pct = vcpu->estimate.held ? params->max_throttle_pct : 0;
    }
    return true;
}

/* Returns: whether to slow the guest from now on. */
static bool must_slow_down(ConvergenceEngine *engine,
                           const ConvergenceParams *params,
                           const ConvergenceSample *sample,
                           ConvergenceDecision *decision)
{
    ConvergencePredictiveState *state = &engine->own.predictive;
    const ConvergenceModel *model = &engine->model;
    double least = model->last_dirty_bytes_per_s *
                   predictive_least_share(params);
    bool early = convergence_model_is_early(model, sample, least);
    /* In the bulk pass a look that cannot tell is taken for one that can. */
    unsigned surely = UINT_MAX;
    bool help = convergence_model_needs_help(
        model, params, convergence_threshold(engine, params),
        convergence_limit_ms(engine, params),
        early ? &surely : &state->unsure);
    ConvergenceNextLook next;
    bool in_vain;
    double target;

    watch(engine, params, sample, decision);
    target = predictive_target(engine, params, sample, 1);
    if (sample->bulk_pass) {
        /* Who is to be slowed by little later is not slowed by more now. */
        help = help && (!model->dirty_known ||
                        !(target > model->drain_bytes_per_s *
                                   CONVERGENCE_RHO));
    } else {
        help = help && target * PREDICTIVE_LIGHT_HIGH <
                       predictive_steady_rate(model);
    }
    if (help && probe(engine, params, sample, !early, decision)) {
        return false;
    }
    convergence_estimate_end_probe(engine, sample);
    in_vain = engine->probed && sample->bulk_pass &&
              !convergence_estimate_told_any(sample);
    if (help && !early && !in_vain) {
        return true;
    }
    next = convergence_watch(engine, params, sample, state->unsure);
    decision->next_sync_ns = next.in_ns;
    engine->seeking |= next.seeks;
    if (in_vain) {
        /* What the guest does now was last seen before the probes. */
        decision->next_sync_ns = MIN(decision->next_sync_ns,
                                     CONVERGENCE_PROBE_NS);
        engine->seeking = true;
        engine->wants_rewrites = true;
    }
    return false;
}

static void predictive_decide(ConvergenceEngine *engine,
                              const ConvergenceParams *params,
                              const ConvergenceSample *sample,
                              ConvergenceDecision *decision)
{
    ConvergencePredictiveState *state = &engine->own.predictive;

    decision->next_sync_ns = params->sync_period_ms * NS_PER_MS;
    if (state->given_up) {
        if (predictive_may_try_again(engine, sample)) {
            watch(engine, params, sample, decision);
        } else {
            /* Those plugged in since, too. */
            predictive_throttle(engine, params, sample, 1, decision);
            decision->phase = CONVERGENCE_PHASE_STUCK;
        }
        return;
    }
    if (!state->engaged) {
        if (!engine->devices.tried &&
            !must_slow_down(engine, params, sample, decision)) {
            return;
        }
        if (convergence_devices_wait(engine, params, sample)) {
            /* As watch() left it: a trial that was called off holds nobody. */
            return;
        }
        if (convergence_devices_try(engine, params, sample,
                                    convergence_estimate_told_any(sample),
                                    decision)) {
            return;
        }
    }
    if (convergence_devices_are_deaf(engine) &&
        convergence_devices_outpace(&engine->model)) {
        watch(engine, params, sample, decision);
        decision->phase = CONVERGENCE_PHASE_STUCK;
        return;
    }
    if (!state->engaged) {
        state->engaged = true;
        /* A lower bound is nothing to compare with. */
        state->begin_bytes_per_s = engine->model.dirty_known ?
            engine->model.last_dirty_bytes_per_s : HUGE_VAL;
        predictive_progress(state, sample);
    }
    predictive_count_looks(engine, params, sample);
    state->was_deaf = predictive_is_deaf(engine, params, sample);
    if (state->was_deaf || predictive_is_in_vain(engine, sample)) {
        predictive_give_up(engine, params, sample, decision);
        return;
    }
    if (predictive_compare(engine, params, sample, decision)) {
        return;
    }
    slow_down(engine, params, sample, decision);
    decision->next_sync_ns = convergence_look_ns(engine, params, sample);
    if (!decision->throttle_pct) {
        watch(engine, params, sample, decision);
        convergence_devices_forget(engine);
    }
}

static double least_bytes_per_s(const ConvergenceEngine *engine)
{
    return engine->own.predictive.least_bytes_per_s;
}

const ConvergencePolicyOps convergence_predictive = {
    .name = "predictive",
    .decide = predictive_decide,
    .throttles_vcpus = true,
    .least_bytes_per_s = least_bytes_per_s,
};
