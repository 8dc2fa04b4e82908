/*
 * Policy "predictive": which share of its run time the guest gets
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
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-estimate.h"
#include "convergence-predictive.h"

/* Below that part of the target time may be given back. */
#define TARGET_LOW  0.5
/*
 * Down to that share of its time a guest writes evenly enough for its target to
 * be chosen anew with each look: in a band from LIGHT_LOW of the target to
 * PREDICTIVE_LIGHT_HIGH of it, and after so long.
 */
#define LIGHT_SHARE 0.5
#define LIGHT_LOW  0.87
#define LIGHT_S 1.0
/*
 * What is left of the time that a tail may take is at least that part of the
 * migration so far: a cut shortly before it is due is not worth its while.
 */
#define LEAST_TAKE 0.04
/* So much above the mean the last second is what counts. */
#define SUDDENLY 1.5
/*
 * A guest that runs for a ms in each 100 ms writes in lumps; single looks at it
 * were seen to be off by ten times to either side.  So all have to be low for
 * so long before time is given back, ...
 */
#define CALM_NS (700 * NS_PER_MS)
/* ... at most that much a look then: from 99 % to 0 in four of them. */
#define RELEASE_MAX 4.0
/* So near to the least share counts as the least. */
#define AT_MOST 1.5

/*
 * At a new throttle, what was aimed at weighs as much in the forecast as two
 * seconds of looks would, and less as looks add up; after two seconds: nothing.
 */
#define AIM_WEIGHT_S 2.0
#define AIM_FADES_S 2.0

double predictive_share(const ConvergenceEngine *engine,
                        const ConvergenceSample *sample)
{
    double share = convergence_tells_vcpus_apart(engine, sample) ?
                   convergence_share_in_force(sample) :
                   (100.0 - sample->throttle_pct) / 100;

    return convergence_clamp(share, 0.01, 1);
}

bool predictive_is_at_most(const ConvergenceEngine *engine,
                           const ConvergenceParams *params,
                           const ConvergenceSample *sample)
{
    return sample->throttle_pct >= params->max_throttle_pct &&
           predictive_share(engine, sample) <=
           MAX(predictive_least_share(params), 0.01) * AT_MOST;
}

bool predictive_throttle(const ConvergenceEngine *engine,
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

bool predictive_spares_some(const ConvergenceEngine *engine,
                            const ConvergenceSample *sample)
{
    bool spared = false;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        spared |= !sample->vcpus[i].throttle_pct;
    }
    return spared && sample->throttle_pct &&
           convergence_tells_vcpus_apart(engine, sample);
}

double predictive_steady_rate(const ConvergenceModel *model)
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
    left_s = (double)(state->ends_by_ns - sample->now_ns) / NS_PER_S;
    return left_s > 0 ? MAX(left_s, so_far_s * LEAST_TAKE) : 0;
}

double predictive_target(ConvergenceEngine *engine,
                         const ConvergenceParams *params,
                         const ConvergenceSample *sample, double share)
{
    const ConvergenceModel *model = &engine->model;

    return share < LIGHT_SHARE ? model->drain_bytes_per_s * CONVERGENCE_RHO :
           convergence_target(engine, params, sample,
                              predictive_steady_rate(model) / share,
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
    double rate = predictive_steady_rate(model);
    bool calm = is_calm(state, model, target);
    bool settled = model->steady_s >= LIGHT_S;
    double low = may_release && (calm || settled) ? LIGHT_LOW : 0;

    if (rate > target * PREDICTIVE_LIGHT_HIGH || rate < target * low) {
        share *= target / rate;
    }
    return convergence_clamp(share, predictive_least_share(params), 1);
}

/* The same of a small share. */
static double seek_deep(ConvergencePredictiveState *state,
                        const ConvergenceModel *model,
                        const ConvergenceParams *params, double share,
                        double target, bool may_release)
{
    double rate = model->last_dirty_bytes_per_s;
    bool calm = is_calm(state, model, target);

    if (rate > target * PREDICTIVE_TARGET_HIGH) {
        share *= target / rate;
    } else if (calm && may_release) {
        share *= rate > 0 ? convergence_clamp(target / rate, 1, RELEASE_MAX) :
                 RELEASE_MAX;
    }
    return convergence_clamp(share, predictive_least_share(params), 1);
}

double predictive_seek(ConvergenceEngine *engine,
                       const ConvergenceParams *params,
                       const ConvergenceSample *sample, double share,
                       double target, bool may_release)
{
    ConvergencePredictiveState *state = &engine->own.predictive;
    bool light = !sample->bulk_pass && share >= LIGHT_SHARE;

    return light ? seek_light(state, &engine->model, params, share, target,
                              may_release) :
           seek_deep(state, &engine->model, params, share, target,
                     may_release);
}

double predictive_expect(ConvergenceEngine *engine, double share_ratio,
                         bool changes)
{
    ConvergencePredictiveState *state = &engine->own.predictive;
    const ConvergenceModel *model = &engine->model;
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
