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
 * Why not before the end of the bulk pass: a page that is written before it is
 * sent at all costs nothing.  convergence_model_is_early() has the exception.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "convergence-internal.h"

/*
 * Where it pays to slow the guest in the bulk pass, it pays to do it well: what
 * is dirtied meanwhile has all the rest of the pass to add up.
 */
#define BULK_RHO 0.05
/* The band around the target that counts as settled. */
#define TARGET_HIGH 1.25
#define TARGET_LOW  0.5
/*
 * Down to that share of its time a guest writes evenly enough for its target to
 * be chosen anew with each look, in that band, and after so long.
 */
#define LIGHT_SHARE 0.5
#define LIGHT_HIGH 1.05
#define LIGHT_LOW  0.87
#define LIGHT_S 1.0
#define LEAST_TAKE 0.04
#define SUDDENLY 1.5
/*
 * A guest that runs for a ms in each 100 ms writes in lumps; single looks at it
 * were seen to be off by ten times to either side.  So all have to be low for
 * so long before time is given back, ...
 */
#define CALM_NS (700 * NS_PER_MS)
/* ... at most that much a look then: from 99 % to 0 in four of them. */
#define RELEASE_MAX 4.0
/* This near to the end there is next to nothing to give, and much to upset. */
#define RELEASE_LEFT_S 1.5
/* So long do readers write, before none is taken for one any more. */
#define MISTAKEN_NS (400 * NS_PER_MS)
/* Probes begin so long before they have to. */
#define LEAD_S 0.5
/* Looks that were to tell what is written again, and did not: so be it. */
#define BLIND_MAX 2
/*
 * Whoever may be slowed by less cannot be held: that tells neither who writes,
 * nor whether anything follows.
 */
#define HOLD_LEAST_PCT 75
/* So near to the least share counts as the least. */
#define AT_MOST 1.5
/* Above this part of the drain rate there is no progress to speak of ... */
#define NO_PROGRESS 0.9
/* ... and after so long of it, two looks or more, this is told. */
#define OUTPACED_NS NS_PER_S
/*
 * As long as what remains reaches a new lowest mark now and then, the throttle
 * is held: it ends, if late.  A mark counts if it was reached at this part of
 * the drain rate or more: else the guest would lose twenty stops.  After three
 * seconds without one in which it outpaced the link, or ten, it is in vain.
 */
#define LOWER 0.999
#define PACE 0.05
#define OUTPACED_IN_VAIN_NS (3 * NS_PER_S)
#define IN_VAIN_NS (10 * NS_PER_S)
/*
 * A guest that dirties no less than this part of what it did, after a second of
 * the most throttle, does not follow: who does not tell
 * devices from vCPUs sees a NIC like that.  If it outpaces the link by that for
 * ever, it is let be at once.
 */
#define FOLLOWS 0.75
#define DEAF_NS NS_PER_S
#define COMPARE_NS (250 * NS_PER_MS)
/*
 * Try again if the link got better or the guest calmer by so much, after ten
 * seconds, then twenty, and so on: a trial costs the guest three.  One that did
 * not follow is tried again without a reason: that costs a second.
 */
#define BETTER 1.25
#define RETRY_NS (10 * NS_PER_S)
#define MAX_DOUBLINGS 10

/*
 * At a new throttle, what was aimed at weighs as much in the forecast as two
 * seconds of looks would, and less as looks add up; after two seconds: nothing.
 */
#define AIM_WEIGHT_S 2.0
#define AIM_FADES_S 2.0

static double min_share(const ConvergenceParams *params)
{
    return (100.0 - params->max_throttle_pct) / 100;
}

/* Of the guest's full speed, by what was dirtied in the last look. */
static double share_in_force(const ConvergenceEngine *engine,
                             const ConvergenceSample *sample)
{
    double share = convergence_tells_vcpus_apart(engine, sample) ?
                   convergence_share_in_force(sample) :
                   (100.0 - sample->throttle_pct) / 100;

    return convergence_clamp(share, 0.01, 1);
}

/*
 * Those that write are slowed as far as is allowed, but for the rounding.  Not
 * by the share alone: where little is allowed, it is near to that of a guest
 * which nobody slows.
 */
static bool is_at_most(const ConvergenceEngine *engine,
                       const ConvergenceParams *params,
                       const ConvergenceSample *sample)
{
    return sample->throttle_pct >= params->max_throttle_pct &&
           share_in_force(engine, sample) <= MAX(min_share(params), 0.01) *
                                             AT_MOST;
}

/*
 * Sets the throttle of all vCPUs, and of each one.  Returns: whether any has
 * another one now.
 */
static bool throttle(const ConvergenceEngine *engine,
                     const ConvergenceParams *params,
                     const ConvergenceSample *sample, double share,
                     ConvergenceDecision *decision)
{
    bool changed;

    decision->vcpus_throttled = convergence_tells_vcpus_apart(engine, sample);
    if (decision->vcpus_throttled) {
        decision->throttle_pct = convergence_share_out(sample, params, share,
                                                       &changed);
        return changed;
    }
    decision->throttle_pct = convergence_share_to_pct(params, share);
    return decision->throttle_pct != sample->throttle_pct;
}

/* The mean of two seconds, or of the last one where that is much more. */
static double steady_rate(const ConvergenceModel *model)
{
    double rate = model->steady_s > 0 ?
                  model->steady_dirty_bytes / model->steady_s :
                  model->dirty_bytes_per_s;

    return model->last_dirty_bytes_per_s > rate * SUDDENLY ?
           MAX(rate, model->dirty_bytes_per_s) : rate;
}

/* How long what follows the bulk pass may take, from now, or from its end. */
static double may_take_s(ConvergenceEngine *engine,
                         const ConvergenceSample *sample)
{
    ConvergencePredictiveState *state = &engine->own.predictive;
    double tail_s = convergence_target_tail_s(engine, sample);
    double so_far_s = (double)(sample->now_ns - engine->start_ns) / NS_PER_S;
    double left_s;

    if (sample->bulk_pass) {
        return tail_s;
    }
    if (!state->ends_by_ns) {
        state->ends_by_ns = sample->now_ns +
                            convergence_clamp(tail_s, 0, 1e9) * NS_PER_S;
    }
    /* Shortly before it is due a cut is not worth its while; then it is. */
    left_s = (double)(state->ends_by_ns - sample->now_ns) / NS_PER_S;
    return left_s > 0 ? MAX(left_s, so_far_s * LEAST_TAKE) : 0;
}

/* To aim at, of a guest that runs at a share of its speed. */
static double find_target(ConvergenceEngine *engine,
                          const ConvergenceParams *params,
                          const ConvergenceSample *sample, double share)
{
    const ConvergenceModel *model = &engine->model;

    return share < LIGHT_SHARE ? model->drain_bytes_per_s * CONVERGENCE_RHO :
           convergence_target(engine, params, sample,
                              steady_rate(model) / share,
                              may_take_s(engine, sample));
}

/* Whether it has been well below the target for long enough to be believed. */
static bool is_calm(ConvergencePredictiveState *state,
                    const ConvergenceModel *model, double target)
{
    state->calm_ns = model->last_dirty_bytes_per_s < target * TARGET_LOW ?
                     state->calm_ns + model->last_interval_ns : 0;
    return state->calm_ns >= CALM_NS;
}

/* The share to run with from now on, where that is a large one. */
static double seek_light(ConvergencePredictiveState *state,
                         const ConvergenceModel *model,
                         const ConvergenceParams *params, double share,
                         double target, bool may_release)
{
    double rate = steady_rate(model);
    bool calm = is_calm(state, model, target);
    bool settled = model->steady_s >= LIGHT_S;
    double low = may_release && (calm || settled) ? LIGHT_LOW : 0;

    if (rate > target * LIGHT_HIGH || rate < target * low) {
        share *= target / rate;
    }
    return convergence_clamp(share, min_share(params), 1);
}

/* The share to run with from now on. */
static double seek(ConvergencePredictiveState *state,
                   const ConvergenceModel *model,
                   const ConvergenceParams *params, double share,
                   double target, bool may_release)
{
    double rate = model->last_dirty_bytes_per_s;
    bool calm = is_calm(state, model, target);

    if (rate > target * TARGET_HIGH) {
        share *= target / rate;
    } else if (calm && may_release) {
        share *= rate > 0 ? convergence_clamp(target / rate, 1, RELEASE_MAX) :
                 RELEASE_MAX;
    }
    return convergence_clamp(share, min_share(params), 1);
}

static void watch(ConvergenceEngine *engine, const ConvergenceParams *params,
                  const ConvergenceSample *sample,
                  ConvergenceDecision *decision)
{
    ConvergencePredictiveState *state = &engine->own.predictive;
    const ConvergenceModel *model = &engine->model;
    double target = find_target(engine, params, sample, 1);
    double least = model->last_dirty_bytes_per_s * min_share(params);

    engine->planned_bytes_per_s =
        convergence_model_expect_watched(model, params, MAX(target, least));

    *state = (ConvergencePredictiveState) {
        .unsure = state->unsure,
        .ends_by_ns = state->ends_by_ns,
        .times_given_up = state->times_given_up,
    };
    throttle(engine, params, sample, 1, decision);
    decision->phase = CONVERGENCE_PHASE_WATCHING;
}

static double held_rate(const ConvergencePredictiveState *state)
{
    return convergence_rate(state->held_bytes, state->held_ns);
}

/* Nothing that is allowed makes what remains shrink: the guest is let be. */
static void give_up(ConvergenceEngine *engine,
                    const ConvergenceParams *params,
                    const ConvergenceSample *sample,
                    ConvergenceDecision *decision)
{
    ConvergencePredictiveState *state = &engine->own.predictive;
    const ConvergenceModel *model = &engine->model;

    state->given_up = true;
    state->given_up_ns = sample->now_ns;
    state->times_given_up++;
    state->free_bytes_per_s = 0;
    state->drain_bytes_per_s = model->drain_bytes_per_s;
    state->least_bytes_per_s = state->was_deaf ? held_rate(state) :
                               model->last_dirty_bytes_per_s;
    throttle(engine, params, sample, 1, decision);
    decision->phase = CONVERGENCE_PHASE_STUCK;
    convergence_devices_give_up(engine, sample);
}

static bool may_try_again(ConvergenceEngine *engine,
                          const ConvergenceSample *sample)
{
    ConvergencePredictiveState *state = &engine->own.predictive;
    const ConvergenceModel *model = &engine->model;
    unsigned doublings = MIN(state->times_given_up - 1, MAX_DOUBLINGS);

    if (model->dirty_bytes_per_s > state->free_bytes_per_s) {
        state->free_bytes_per_s = model->dirty_bytes_per_s;
    }
    return sample->now_ns - state->given_up_ns >= RETRY_NS << doublings &&
           (state->was_deaf ||
            model->drain_bytes_per_s > state->drain_bytes_per_s * BETTER ||
            model->dirty_bytes_per_s * BETTER < state->free_bytes_per_s);
}

static void progress(ConvergencePredictiveState *state,
                     const ConvergenceSample *sample)
{
    state->lowest_bytes = sample->remaining_bytes;
    state->in_vain_ns = 0;
}

/* Looks while the most throttle is in force. */
static void count_looks(ConvergenceEngine *engine,
                        const ConvergenceParams *params,
                        const ConvergenceSample *sample)
{
    ConvergencePredictiveState *state = &engine->own.predictive;
    const ConvergenceModel *model = &engine->model;
    double bound = model->drain_bytes_per_s * NO_PROGRESS;
    int64_t part_ns = MIN(sample->interval_ns, OUTPACED_NS / 2);
    double pace_bytes;

    /* Before the bulk pass has ended, what remains shrinks by itself. */
    if (!is_at_most(engine, params, sample) || engine->probed ||
        engine->devices.tried || sample->bulk_pass) {
        progress(state, sample);
        state->outpaced_ns = 0;
        return;
    }
    state->in_vain_ns += sample->interval_ns;
    pace_bytes = model->drain_bytes_per_s * PACE * state->in_vain_ns / NS_PER_S;
    if (sample->remaining_bytes < state->lowest_bytes * LOWER &&
        sample->remaining_bytes + pace_bytes < state->lowest_bytes) {
        progress(state, sample);
    }
    if (model->last_dirty_bytes_per_s > bound &&
        model->last_new_bytes_per_s > bound) {
        state->outpaced_ns += part_ns;
    } else {
        state->outpaced_ns -= MIN(state->outpaced_ns, part_ns);
    }
}

static bool some_are_spared(const ConvergenceEngine *engine,
                            const ConvergenceSample *sample)
{
    bool spared = false;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        spared |= !sample->vcpus[i].throttle_pct;
    }
    return spared && sample->throttle_pct &&
           convergence_tells_vcpus_apart(engine, sample);
}

/* Whoever spares the wrong ones has that to find out first. */
static bool is_in_vain(const ConvergenceEngine *engine,
                       const ConvergenceSample *sample)
{
    const ConvergencePredictiveState *state = &engine->own.predictive;
    bool outpaced = state->outpaced_ns >= OUTPACED_NS &&
                    !some_are_spared(engine, sample);

    return state->in_vain_ns >= (outpaced ? OUTPACED_IN_VAIN_NS : IN_VAIN_NS);
}

/* Of all looks at the most throttle, since there was less of it. */
static void learn_held(ConvergenceEngine *engine,
                       const ConvergenceParams *params,
                       const ConvergenceSample *sample)
{
    ConvergencePredictiveState *state = &engine->own.predictive;

    if (!is_at_most(engine, params, sample) || engine->probed ||
        engine->devices.tried || some_are_spared(engine, sample)) {
        state->held_bytes = 0;
        state->held_ns = 0;
        return;
    }
    state->held_bytes += sample->touched_bytes;
    state->held_ns += sample->interval_ns;
}

/*
 * Even so it outpaces the link, and for ever.  In the bulk pass, the end of
 * which nobody can tell so far, that is to dirty more than is sent.
 */
static bool held_in_vain(const ConvergenceEngine *engine,
                         const ConvergenceParams *params,
                         const ConvergenceSample *sample)
{
    const ConvergencePredictiveState *state = &engine->own.predictive;
    const ConvergenceModel *model = &engine->model;
    double rate = held_rate(state);

    return params->max_throttle_pct >= HOLD_LEAST_PCT &&
           state->held_ns >= DEAF_NS &&
           rate > model->drain_bytes_per_s * NO_PROGRESS &&
           (sample->bulk_pass ? rate > model->drain_bytes_per_s :
            convergence_model_remaining_s(model, sample->remaining_bytes,
                                          convergence_threshold(engine, params),
                                          rate, false) < 0);
}

/*
 * Let it run free for a look, once, where what it did before is not known: a
 * lower bound is nothing to compare with.
 */
static bool compare(ConvergenceEngine *engine, const ConvergenceParams *params,
                    const ConvergenceSample *sample,
                    ConvergenceDecision *decision)
{
    ConvergencePredictiveState *state = &engine->own.predictive;

    if (state->begin_bytes_per_s < HUGE_VAL ||
        !held_in_vain(engine, params, sample)) {
        return false;
    }
    state->comparing = true;
    engine->wants_rewrites = true;
    engine->seeking = true;
    throttle(engine, params, sample, 1, decision);
    decision->next_sync_ns = COMPARE_NS;
    decision->phase = CONVERGENCE_PHASE_THROTTLING;
    return true;
}

/* Returns: whether no throttle changes what it dirties. */
static bool is_deaf(ConvergenceEngine *engine, const ConvergenceParams *params,
                    const ConvergenceSample *sample)
{
    ConvergencePredictiveState *state = &engine->own.predictive;

    if (state->comparing) {
        state->comparing = false;
        state->begin_bytes_per_s = engine->model.last_dirty_bytes_per_s;
        return engine->model.dirty_known &&
               held_rate(state) > state->begin_bytes_per_s * FOLLOWS;
    }
    learn_held(engine, params, sample);
    return held_in_vain(engine, params, sample) &&
           held_rate(state) > state->begin_bytes_per_s * FOLLOWS;
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

    if (!some_are_spared(engine, sample)) {
        return false;
    }
    if (sample->metered && !convergence_devices_by_run_times(engine)) {
        return dirtied_by_free(sample) > target * TARGET_HIGH;
    }
    return is_at_most(engine, params, sample) &&
           rate > target * TARGET_HIGH &&
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

    if (some_are_spared(engine, sample) &&
        state->outpaced_ns >= OUTPACED_NS) {
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
    progress(state, sample);
    convergence_estimate_strike(engine, sample);
    return true;
}

/* The dirty rate to expect, for the forecast: under the throttle decided on. */
static double expect(ConvergencePredictiveState *state,
                     const ConvergenceModel *model, double share_ratio,
                     bool changes)
{
    double fade = 1 - model->steady_s / AIM_FADES_S;
    double aim_s = AIM_WEIGHT_S * convergence_clamp(fade, 0, 1);

    if (changes) {
        state->aim_bytes_per_s = model->steady_dirty_bytes / model->steady_s *
                                 share_ratio;
        return state->aim_bytes_per_s;
    }
    return (model->steady_dirty_bytes + state->aim_bytes_per_s * aim_s) /
           (model->steady_s + aim_s);
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
    double before = engine->devices.tried ? 1 : share_in_force(engine, sample);
    double target = sample->bulk_pass ? model->drain_bytes_per_s * BULK_RHO :
                    find_target(engine, params, sample, before);
    bool light = !sample->bulk_pass && before >= LIGHT_SHARE;
    double share;
    bool changes;

    if (engine->devices.tried && convergence_devices_follow(engine)) {
        share = convergence_devices_share(engine, sample, target);
    } else if (doubt_readers(engine, params, sample, target)) {
        /* All get what the most slowed of them had. */
        share = (100.0 - sample->throttle_pct) / 100;
    } else if (light) {
        share = seek_light(&engine->own.predictive, model, params, before,
                           target, may_release);
    } else {
        share = seek(&engine->own.predictive, model, params, before, target,
                     may_release);
    }
    changes = throttle(engine, params, sample, share, decision);
    engine->seeking = changes;
    engine->planned_bytes_per_s = expect(&engine->own.predictive, model,
                                         share / before, changes);
    if (engine->own.predictive.outpaced_ns >= OUTPACED_NS) {
        decision->phase = CONVERGENCE_PHASE_STUCK;
    } else {
        decision->phase = rate <= target * TARGET_HIGH || !changes ?
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

    if (!lead_s || params->max_throttle_pct < HOLD_LEAST_PCT ||
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
    double least = model->last_dirty_bytes_per_s * min_share(params);
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
    target = find_target(engine, params, sample, 1);
    if (sample->bulk_pass) {
        /* Who is to be slowed by little later is not slowed by more now. */
        help = help && (!model->dirty_known ||
                        !(target > model->drain_bytes_per_s *
                                   CONVERGENCE_RHO));
    } else {
        help = help && target * LIGHT_HIGH < steady_rate(model);
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
        if (may_try_again(engine, sample)) {
            watch(engine, params, sample, decision);
        } else {
            /* Those plugged in since, too. */
            throttle(engine, params, sample, 1, decision);
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
        progress(state, sample);
    }
    count_looks(engine, params, sample);
    state->was_deaf = is_deaf(engine, params, sample);
    if (state->was_deaf || is_in_vain(engine, sample)) {
        give_up(engine, params, sample, decision);
        return;
    }
    if (compare(engine, params, sample, decision)) {
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
