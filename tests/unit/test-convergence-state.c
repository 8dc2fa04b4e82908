/*
 * The state that is told: it holds for what is seen, and does not flicker
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-fixture.h"

#define LOOK_NS (500 * NS_PER_MS)
#define SENT MB(16)

typedef struct Told {
    ConvergenceEngine engine;
    ConvergenceParams params;
    ConvergenceSample sample;
    ConvergenceDecision decision;
    unsigned changes;
} Told;

static Told told_begin(void)
{
    Told told = {
        .params = fixture_params("predictive"),
        .sample = { .now_ns = FIRST_NS, .remaining_bytes = MB(1000) },
    };

    convergence_engine_init(&told.engine, FIRST_NS);
    return told;
}

/* A look later, in which @shrinks bytes were got rid of, of those sent. */
static ConvergencePhase look(Told *told, ConvergencePhase phase,
                             int64_t shrinks)
{
    ConvergencePhase before = told->decision.told;
    bool first = !told->engine.state.known;

    told->sample.now_ns += LOOK_NS;
    told->sample.drained_bytes = SENT;
    told->sample.remaining_bytes -= shrinks;
    told->decision.phase = phase;
    convergence_state_tell(&told->engine, &told->params, &told->sample,
                           &told->decision);
    told->changes += !first && told->decision.told != before;
    return told->decision.told;
}

static void test_converging_means_that_it_shrinks(void)
{
    Told told = told_begin();
    ConvergencePhase phase = CONVERGENCE_PHASE_CONVERGING;

    for (int i = 0; i < 20; i++) {
        g_assert_cmpint(look(&told, phase, SENT / 4), ==, phase);
    }
    /* Within 3 s of standing still it is no longer said */
    for (int i = 0; i < 6; i++) {
        phase = look(&told, CONVERGENCE_PHASE_CONVERGING, 0);
    }
    g_assert_cmpint(phase, ==, CONVERGENCE_PHASE_THROTTLING);
}

/* A guest of a TiB: 2 s are next to nothing of what remains */
static void test_shrinking_is_measured_by_what_was_sent(void)
{
    Told told = told_begin();

    told.sample.remaining_bytes = 1ULL << 40;
    for (int i = 0; i < 20; i++) {
        g_assert_cmpint(look(&told, CONVERGENCE_PHASE_CONVERGING, SENT / 8),
                        ==, CONVERGENCE_PHASE_CONVERGING);
    }
}

static void test_most_slowdown_without_effect_is_stuck(void)
{
    static const struct {
        uint8_t throttle_pct;
        uint64_t limit;
        int64_t shrinks;
        bool stuck;
    } rows[] = {
        { 30, 0, -SENT, true },
        { 30, 0, 0, true },
        { 29, 0, 0, false },        /* more may follow */
        { 30, 0, SENT / 4, false },
        { 0, MB(10), 0, true },
        { 0, MB(10), SENT / 4, false },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Told told = told_begin();
        ConvergencePhase phase;

        told.params.max_throttle_pct = 30;
        told.params.vcpu_dirty_limit_bytes_per_s = rows[i].limit;
        told.decision.throttle_pct = rows[i].throttle_pct;
        told.decision.vcpus_limited = rows[i].limit;
        for (int64_t ns = 0; ns < 3 * NS_PER_S; ns += LOOK_NS) {
            phase = look(&told, CONVERGENCE_PHASE_THROTTLING,
                         rows[i].shrinks);
        }
        g_assert_cmpint(phase == CONVERGENCE_PHASE_STUCK, ==, rows[i].stuck);
        /* And it stays so */
        for (int k = 0; k < 100; k++) {
            phase = look(&told, CONVERGENCE_PHASE_THROTTLING,
                         rows[i].shrinks);
            g_assert_cmpint(phase == CONVERGENCE_PHASE_STUCK, ==,
                            rows[i].stuck);
        }
    }
}

/* A higher limit of the throttle may help: it gets its time to */
static void test_another_limit_is_another_try(void)
{
    Told told = told_begin();

    told.params.max_throttle_pct = 30;
    told.decision.throttle_pct = 30;
    for (int i = 0; i < 20; i++) {
        look(&told, CONVERGENCE_PHASE_THROTTLING, 0);
    }
    g_assert_cmpint(told.decision.told, ==, CONVERGENCE_PHASE_STUCK);
    told.params.max_throttle_pct = 60;
    told.decision.throttle_pct = 60;
    for (int i = 0; i < 20; i++) {
        look(&told, CONVERGENCE_PHASE_THROTTLING, SENT / 2);
    }
    g_assert_cmpint(told.decision.told, ==, CONVERGENCE_PHASE_THROTTLING);
}

/* Policies may change their mind at each look: nobody is woken up for that */
static void test_at_most_one_change_in_five_seconds(void)
{
    static const ConvergencePhase pairs[][2] = {
        { CONVERGENCE_PHASE_THROTTLING, CONVERGENCE_PHASE_CONVERGING },
        { CONVERGENCE_PHASE_WATCHING, CONVERGENCE_PHASE_THROTTLING },
        { CONVERGENCE_PHASE_STUCK, CONVERGENCE_PHASE_THROTTLING },
        { CONVERGENCE_PHASE_WATCHING, CONVERGENCE_PHASE_STUCK },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++) {
        for (int every = 1; every < 30; every++) {
            Told told = told_begin();
            int n = 600;

            told.sample.remaining_bytes = 1ULL << 40;
            for (int k = 0; k < n; k++) {
                look(&told, pairs[i][k / every % 2], SENT / 4);
            }
            /* Of 300 s, and one before there was anything to return to */
            g_assert_cmpuint(told.changes, <=, n * LOOK_NS / NS_PER_S / 5 + 1);
        }
    }
}

/* Shrinking that comes and goes: never told for long while it has gone */
static void test_a_saw_tooth_is_not_told_as_converging(void)
{
    for (int every = 2; every < 40; every++) {
        Told told = told_begin();
        int n = 600, false_for = 0;

        told.sample.remaining_bytes = 1ULL << 40;
        for (int k = 0; k < n; k++) {
            bool shrinks = k / every % 2;

            look(&told, CONVERGENCE_PHASE_CONVERGING,
                 shrinks ? SENT / 2 : -SENT / 2);
            false_for = shrinks || told.decision.told !=
                        CONVERGENCE_PHASE_CONVERGING ? 0 : false_for + 1;
            g_assert_cmpint(false_for * LOOK_NS, <=, 3 * NS_PER_S);
        }
        g_assert_cmpuint(told.changes, <=, n * LOOK_NS / NS_PER_S / 5 + 1);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/convergence/state/converging",
                    test_converging_means_that_it_shrinks);
    g_test_add_func("/convergence/state/large-guest",
                    test_shrinking_is_measured_by_what_was_sent);
    g_test_add_func("/convergence/state/stuck",
                    test_most_slowdown_without_effect_is_stuck);
    g_test_add_func("/convergence/state/another-limit",
                    test_another_limit_is_another_try);
    g_test_add_func("/convergence/state/no-flicker",
                    test_at_most_one_change_in_five_seconds);
    g_test_add_func("/convergence/state/saw-tooth",
                    test_a_saw_tooth_is_not_told_as_converging);
    return g_test_run();
}
