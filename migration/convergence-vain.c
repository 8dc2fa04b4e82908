/*
 * Policy "predictive": whether the most throttle that is allowed is in vain
 *
 * Two ways to find out: what remains reaches no new lowest mark any more, or
 * the guest dirties as much as before it was slowed.  Then it is let be, and
 * tried again when the link or the guest has changed.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "convergence-devices.h"
#include "convergence-predictive.h"

/* Above this part of the drain rate there is no progress to speak of. */
#define NO_PROGRESS 0.9
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
 * the most throttle, does not follow: who does not tell devices from vCPUs sees a
 * NIC like that.  If it outpaces the link by that for ever, it is let be at once.
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

static double held_rate(const ConvergencePredictiveState *state)
{
    return convergence_rate(state->held_bytes, state->held_ns);
}

void predictive_progress(ConvergencePredictiveState *state,
                         const ConvergenceSample *sample)
{
    state->lowest_bytes = sample->remaining_bytes;
    state->in_vain_ns = 0;
}

void predictive_count_looks(ConvergenceEngine *engine,
                            const ConvergenceParams *params,
                            const ConvergenceSample *sample)
{
    ConvergencePredictiveState *state = &engine->own.predictive;
    const ConvergenceModel *model = &engine->model;
    double bound = model->drain_bytes_per_s * NO_PROGRESS;
    int64_t part_ns = MIN(sample->interval_ns, PREDICTIVE_OUTPACED_NS / 2);
    double pace_bytes;

    /* Before the bulk pass has ended, what remains shrinks by itself. */
    if (!predictive_is_at_most(engine, params, sample) || engine->probed ||
        engine->devices.tried || sample->bulk_pass) {
        predictive_progress(state, sample);
        state->outpaced_ns = 0;
        return;
    }
    state->in_vain_ns += sample->interval_ns;
    pace_bytes = model->drain_bytes_per_s * PACE * state->in_vain_ns / NS_PER_S;
    if (sample->remaining_bytes < state->lowest_bytes * LOWER &&
        sample->remaining_bytes + pace_bytes < state->lowest_bytes) {
        predictive_progress(state, sample);
    }
    if (model->last_dirty_bytes_per_s > bound &&
        model->last_new_bytes_per_s > bound) {
        state->outpaced_ns += part_ns;
    } else {
        state->outpaced_ns -= MIN(state->outpaced_ns, part_ns);
    }
}

bool predictive_is_in_vain(const ConvergenceEngine *engine,
                           const ConvergenceSample *sample)
{
    const ConvergencePredictiveState *state = &engine->own.predictive;
    bool outpaced = state->outpaced_ns >= PREDICTIVE_OUTPACED_NS &&
                    !predictive_spares_some(engine, sample);

    return state->in_vain_ns >= (outpaced ? OUTPACED_IN_VAIN_NS : IN_VAIN_NS);
}

/* Of all looks at the most throttle, since there was less of it. */
static void learn_held(ConvergenceEngine *engine,
                       const ConvergenceParams *params,
                       const ConvergenceSample *sample)
{
    ConvergencePredictiveState *state = &engine->own.predictive;

    if (!predictive_is_at_most(engine, params, sample) || engine->probed ||
        engine->devices.tried || predictive_spares_some(engine, sample)) {
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

    return params->max_throttle_pct >= PREDICTIVE_HOLD_LEAST_PCT &&
           state->held_ns >= DEAF_NS &&
           rate > model->drain_bytes_per_s * NO_PROGRESS &&
           (sample->bulk_pass ? rate > model->drain_bytes_per_s :
            convergence_model_remaining_s(model, sample->remaining_bytes,
                                          convergence_threshold(engine, params),
                                          rate, false) < 0);
}

bool predictive_compare(ConvergenceEngine *engine,
                        const ConvergenceParams *params,
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
    predictive_throttle(engine, params, sample, 1, decision);
    decision->next_sync_ns = COMPARE_NS;
    decision->phase = CONVERGENCE_PHASE_THROTTLING;
    return true;
}

bool predictive_is_deaf(ConvergenceEngine *engine,
                        const ConvergenceParams *params,
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

void predictive_give_up(ConvergenceEngine *engine,
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
    predictive_throttle(engine, params, sample, 1, decision);
    decision->phase = CONVERGENCE_PHASE_STUCK;
    convergence_devices_give_up(engine, sample);
}

bool predictive_may_try_again(ConvergenceEngine *engine,
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
