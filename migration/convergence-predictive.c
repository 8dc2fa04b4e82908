/*
 * Convergence policy "predictive": measure, then go there at once
 *
 *   watch until the bulk pass has ended     (or pays to be cut short)
 *   if dirtying is too fast for the link:
 *       share = share * target / dirty rate          (share: of run time)
 *       look again soon; repeat until the rate is near the target
 *   when the guest stays calm: give back, up to four times as much a look
 *   when even the most throttle hardly helps: say so, and hold it
 *   when it is in vain: give all of it back
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
 * A guest that runs for a ms in each 100 ms writes in lumps; single looks at it
 * were seen to be off by ten times to either side.  So that many in a row have
 * to be low before time is given back, ...
 */
#define CALM_LOOKS 3
/* ... at most that much a look then: from 99 % to 0 in four of them. */
#define RELEASE_MAX 4.0
/* This near to the end there is next to nothing to give, and much to upset. */
#define RELEASE_LEFT_S 1.5
/* Above this part of the drain rate there is no progress to speak of ... */
#define NO_PROGRESS 0.9
/* ... and after that many looks at it this is told. */
#define OUTPACED_LOOKS 4
/*
 * As long as what remains reaches a new lowest mark now and then, the throttle
 * is held: it ends, if late.  After ten seconds without one it is in vain.
 */
#define LOWER 0.999
#define IN_VAIN_LOOKS 40
/*
 * Try again if the link got better or the guest calmer by so much, after ten
 * seconds, then twenty, and so on: a trial costs the guest ten.
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

static double share_in_force(const ConvergenceSample *sample)
{
    return convergence_clamp((100.0 - sample->throttle_pct) / 100, 0.01, 1);
}

static uint8_t share_to_pct(const ConvergenceParams *params, double share)
{
    double pct = convergence_clamp((1 - share) * 100 + 0.5, 0,
                                   params->max_throttle_pct);

    return (uint8_t)pct;
}

/* The share to run with from now on. */
static double seek(ConvergencePredictiveState *state,
                   const ConvergenceParams *params, double share, double rate,
                   double target, bool may_release)
{
    state->calm = rate < target * TARGET_LOW ? state->calm + 1 : 0;
    if (rate > target * TARGET_HIGH) {
        share *= target / rate;
    } else if (state->calm >= CALM_LOOKS && may_release) {
        share *= rate > 0 ? convergence_clamp(target / rate, 1, RELEASE_MAX) :
                 RELEASE_MAX;
    }
    return convergence_clamp(share, min_share(params), 1);
}

static void watch(ConvergenceEngine *engine, const ConvergenceParams *params,
                  ConvergenceDecision *decision)
{
    ConvergencePredictiveState *state = &engine->predictive;
    const ConvergenceModel *model = &engine->model;
    double target = model->drain_bytes_per_s * CONVERGENCE_RHO;
    double least = model->last_dirty_bytes_per_s * min_share(params);

    engine->planned_bytes_per_s =
        convergence_model_expect_watched(model, params, MAX(target, least));

    *state = (ConvergencePredictiveState) {
        .unsure = state->unsure,
        .times_given_up = state->times_given_up,
    };
    decision->throttle_pct = 0;
    decision->phase = CONVERGENCE_PHASE_WATCHING;
}

/* Nothing that is allowed makes what remains shrink: the guest is let be. */
static void give_up(ConvergenceEngine *engine,
                    const ConvergenceSample *sample,
                    ConvergenceDecision *decision)
{
    ConvergencePredictiveState *state = &engine->predictive;
    const ConvergenceModel *model = &engine->model;

    state->given_up = true;
    state->given_up_ns = sample->now_ns;
    state->times_given_up++;
    state->free_bytes_per_s = 0;
    state->drain_bytes_per_s = model->drain_bytes_per_s;
    state->least_bytes_per_s = model->last_dirty_bytes_per_s;
    decision->throttle_pct = 0;
    decision->phase = CONVERGENCE_PHASE_STUCK;
}

static bool may_try_again(ConvergenceEngine *engine,
                          const ConvergenceSample *sample)
{
    ConvergencePredictiveState *state = &engine->predictive;
    const ConvergenceModel *model = &engine->model;
    unsigned doublings = MIN(state->times_given_up - 1, MAX_DOUBLINGS);

    if (model->dirty_bytes_per_s > state->free_bytes_per_s) {
        state->free_bytes_per_s = model->dirty_bytes_per_s;
    }
    return sample->now_ns - state->given_up_ns >= RETRY_NS << doublings &&
           (model->drain_bytes_per_s > state->drain_bytes_per_s * BETTER ||
            model->dirty_bytes_per_s * BETTER < state->free_bytes_per_s);
}

/* Looks while the most throttle is in force. */
static void count_looks(ConvergenceEngine *engine,
                        const ConvergenceParams *params,
                        const ConvergenceSample *sample)
{
    ConvergencePredictiveState *state = &engine->predictive;
    const ConvergenceModel *model = &engine->model;
    double bound = model->drain_bytes_per_s * NO_PROGRESS;

    /* Before the bulk pass has ended, what remains shrinks by itself. */
    if (sample->throttle_pct < params->max_throttle_pct ||
        sample->bulk_pass) {
        state->lowest_bytes = sample->remaining_bytes;
        state->in_vain = 0;
        state->outpaced = 0;
        return;
    }
    if (sample->remaining_bytes < state->lowest_bytes * LOWER) {
        state->lowest_bytes = sample->remaining_bytes;
        state->in_vain = 0;
    } else {
        state->in_vain++;
    }
    if (model->last_dirty_bytes_per_s > bound &&
        model->last_new_bytes_per_s > bound) {
        state->outpaced++;
    } else if (state->outpaced) {
        state->outpaced--;
    }
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
    double target = model->drain_bytes_per_s *
                    (sample->bulk_pass ? BULK_RHO : CONVERGENCE_RHO);
    /* A lower bound tells what is too fast, not what is calm. */
    bool may_release = model->dirty_known &&
                       sample->remaining_bytes > model->drain_bytes_per_s *
                                                 RELEASE_LEFT_S;
    double share = seek(&engine->predictive, params, share_in_force(sample),
                        rate, target, may_release);
    bool changes;

    decision->throttle_pct = share_to_pct(params, share);
    changes = decision->throttle_pct != sample->throttle_pct;
    engine->seeking = changes;
    engine->planned_bytes_per_s = expect(&engine->predictive, model,
                                         share / share_in_force(sample),
                                         changes);
    if (engine->predictive.outpaced >= OUTPACED_LOOKS) {
        decision->phase = CONVERGENCE_PHASE_STUCK;
    } else {
        decision->phase = rate <= target * TARGET_HIGH || !changes ?
                          CONVERGENCE_PHASE_CONVERGING :
                          CONVERGENCE_PHASE_THROTTLING;
    }
}

static void predictive_decide(ConvergenceEngine *engine,
                              const ConvergenceParams *params,
                              const ConvergenceSample *sample,
                              ConvergenceDecision *decision)
{
    ConvergencePredictiveState *state = &engine->predictive;
    const ConvergenceModel *model = &engine->model;

    decision->next_sync_ns = params->sync_period_ms * NS_PER_MS;
    if (state->given_up) {
        if (may_try_again(engine, sample)) {
            watch(engine, params, decision);
        }
        return;
    }
    if (!state->engaged) {
        double least = model->last_dirty_bytes_per_s * min_share(params);

        if (convergence_model_is_early(model, sample, least) ||
            !convergence_model_needs_help(model, params,
                                          convergence_threshold(engine,
                                                                params),
                                          convergence_limit_ms(engine, params),
                                          &state->unsure)) {
            watch(engine, params, decision);
            decision->next_sync_ns = convergence_watch_ns(engine, params,
                                                          sample,
                                                          state->unsure);
            return;
        }
        state->engaged = true;
    }
    count_looks(engine, params, sample);
    if (state->in_vain >= IN_VAIN_LOOKS) {
        give_up(engine, sample, decision);
        return;
    }
    slow_down(engine, params, sample, decision);
    decision->next_sync_ns = convergence_look_ns(engine, params, sample);
    if (!decision->throttle_pct) {
        watch(engine, params, decision);
    }
}

const ConvergencePolicyOps convergence_predictive = {
    .name = "predictive",
    .decide = predictive_decide,
};
