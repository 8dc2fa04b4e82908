/*
 * Convergence engine: the state that people and alarms are told
 *
 * A policy says what it is about: watching, slowing down, having found what
 * should do, or at its wits' end.  What is told has to hold for what is seen,
 * too, and must not flicker:
 *
 *   converging   what remains shrinks, over the last seconds
 *   stuck        the policy has given up; or the slow-down is as much as the
 *                settings allow, and what remains does not shrink
 *   throttling   in place of `converging` while that is not so
 *
 *       left a moment ago ---------------------- not entered again yet
 *
 * so a migration that goes to and fro between two of them is told of once in
 * some seconds, and the more seldom the longer it does, whatever the policy's
 * looks are.  The first time each state is told at once.
 *
 * Shrinking is measured against what was sent meanwhile: a guest of a TiB
 * loses little of what remains in two seconds, and yet ends.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-internal.h"

/* The last seconds: over fewer, a burst or a late look tells nothing. */
#define WINDOW_NS (2 * NS_PER_S)
/* Of what was sent, so much has to be got rid of for good. */
#define SHRINKS_PART 0.05
/* Out of `stuck`: more than what comes and goes at its border. */
#define SHRINKS_AGAIN_PART 0.15
/* A state that was left is not told again for so long, and twice as long ... */
#define HOLD_NS (5 * NS_PER_S)
/* `converging` can be left after WINDOW_NS: it is made up for here. */
#define HOLD_CONVERGING_NS (8 * NS_PER_S)
/* ... each time that it is left again, up to so many times. */
#define MAX_DOUBLINGS 4

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

static void remember(ConvergenceStateView *state, const ConvergenceSample *sample)
{
    state->sent_bytes += sample->drained_bytes;
    state->last = (state->last + 1) % CONVERGENCE_STATE_LOOKS;
    state->looks[state->last] = (ConvergenceStateLook) {
        .at_ns = sample->now_ns,
        .remaining_bytes = sample->remaining_bytes,
        .sent_bytes = state->sent_bytes,
    };
    if (state->n_looks < CONVERGENCE_STATE_LOOKS) {
        state->n_looks++;
    }
}

/* The youngest look that is a window old; NULL: there is none since @from. */
static const ConvergenceStateLook *look_back(const ConvergenceStateView *state,
                                             int64_t now_ns, int64_t from_ns)
{
    for (unsigned i = 1; i < state->n_looks; i++) {
        const ConvergenceStateLook *look =
            &state->looks[(state->last + CONVERGENCE_STATE_LOOKS - i) %
                          CONVERGENCE_STATE_LOOKS];

        if (look->at_ns < from_ns) {
            return NULL;
        }
        if (now_ns - look->at_ns >= WINDOW_NS) {
            return look;
        }
    }
    return NULL;
}

/* What was got rid of for good, of what was sent; 1 while it cannot be told. */
static double shrinking_part(const ConvergenceStateView *state, int64_t from_ns)
{
    const ConvergenceStateLook *now = &state->looks[state->last];
    const ConvergenceStateLook *then = look_back(state, now->at_ns, from_ns);
    double sent;

    if (!then) {
        return 1;
    }
    sent = (double)now->sent_bytes - then->sent_bytes;
    return sent > 0 ? ((double)then->remaining_bytes - now->remaining_bytes) /
                      sent : 0;
}

/* The settings let the policy do no more than it does. */
static bool is_at_its_most(const ConvergenceParams *params,
                           const ConvergenceDecision *decision)
{
    return (decision->vcpus_limited && params->vcpu_dirty_limit_bytes_per_s) ||
           (decision->throttle_pct &&
            decision->throttle_pct >= params->max_throttle_pct);
}

static void note_most(ConvergenceStateView *state,
                      const ConvergenceParams *params,
                      const ConvergenceSample *sample,
                      const ConvergenceDecision *decision)
{
    if (!is_at_its_most(params, decision)) {
        state->most_ns = 0;
    } else if (!state->most_ns ||
               state->most_pct != params->max_throttle_pct ||
               state->most_limit != params->vcpu_dirty_limit_bytes_per_s) {
        /* Since now; or a setting has changed, which may be of help. */
        state->most_ns = sample->now_ns;
    }
    state->most_pct = params->max_throttle_pct;
    state->most_limit = params->vcpu_dirty_limit_bytes_per_s;
}

static ConvergencePhase what_is_seen(const ConvergenceStateView *state,
                                     const ConvergenceSample *sample,
                                     ConvergencePhase phase)
{
    bool was_stuck = state->known && state->told == CONVERGENCE_PHASE_STUCK;

    if (was_stuck && shrinking_part(state, 0) < SHRINKS_AGAIN_PART) {
        /* Another try of the policy's is no way out yet. */
        return CONVERGENCE_PHASE_STUCK;
    }
    if (phase != CONVERGENCE_PHASE_THROTTLING &&
        phase != CONVERGENCE_PHASE_CONVERGING) {
        return phase;
    }
    /* In the bulk pass pages come to an end that are not written again. */
    if (state->most_ns && !sample->bulk_pass && !was_stuck &&
        shrinking_part(state, state->most_ns) < SHRINKS_PART) {
        return CONVERGENCE_PHASE_STUCK;
    }
    if (phase == CONVERGENCE_PHASE_CONVERGING &&
        shrinking_part(state, 0) < SHRINKS_PART) {
        return CONVERGENCE_PHASE_THROTTLING;
    }
    return phase;
}

static bool was_left_just_now(const ConvergenceStateView *state,
                              ConvergencePhase phase, int64_t now_ns)
{
    int64_t hold_ns = phase == CONVERGENCE_PHASE_CONVERGING ?
                      HOLD_CONVERGING_NS : HOLD_NS;

    return state->times_left[phase] &&
           now_ns - state->left_ns[phase] <
           hold_ns << MIN(state->times_left[phase] - 1, MAX_DOUBLINGS);
}

static void tell(ConvergenceStateView *state, ConvergencePhase phase,
                 int64_t now_ns)
{
    state->left_ns[state->told] = now_ns;
    state->times_left[state->told]++;
    state->told = phase;
}

void convergence_state_tell(ConvergenceEngine *engine,
                            const ConvergenceParams *params,
                            const ConvergenceSample *sample,
                            ConvergenceDecision *decision)
{
    ConvergenceStateView *state = &engine->state;
    ConvergencePhase seen;
    bool untrue;

    remember(state, sample);
    note_most(state, params, sample, decision);
    seen = what_is_seen(state, sample, decision->phase);
    if (!state->known) {
        state->known = true;
        state->told = seen;
    }
    /* That it shrinks is not said of one that does not, for any reason. */
    untrue = state->told == CONVERGENCE_PHASE_CONVERGING &&
             shrinking_part(state, 0) < SHRINKS_PART;
    if (seen != state->told &&
        (untrue || !was_left_just_now(state, seen, sample->now_ns))) {
        tell(state, seen, sample->now_ns);
    }
    decision->told = state->told;
}
