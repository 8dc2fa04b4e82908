/*
 * Policy "step": the sequence that auto-converge promises, and its thresholds
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-fixture.h"

typedef struct Step {
    ConvergenceEngine engine;
    ConvergenceParams params;
} Step;

static Step step_begin(void)
{
    Step step = { .params = fixture_params("step") };

    convergence_engine_init(&step.engine, FIRST_NS);
    return step;
}

/* A period in which a clean guest dirtied and the link drained that much. */
static unsigned feed(Step *step, int64_t interval_ns, double dirtied_mb_per_s,
                     double drained_mb_per_s)
{
    ConvergenceSample sample = fixture_sample(&step->engine, interval_ns,
                                              dirtied_mb_per_s,
                                              drained_mb_per_s);

    return convergence_engine_update(&step->engine, &step->params,
                                     &sample)->throttle_pct;
}

static void test_sequence_is_20_30_to_90_then_99(void)
{
    static const unsigned expected[] = {
        20, 30, 40, 50, 60, 70, 80, 90, 99, 99, 99
    };
    Step step = step_begin();

    for (unsigned i = 0; i < G_N_ELEMENTS(expected); i++) {
        g_assert_cmpuint(feed(&step, SECOND_NS, 100, 64), ==, expected[i]);
    }
}

static void test_initial_increment_and_max_are_obeyed(void)
{
    static const struct {
        unsigned initial, increment, max;
        unsigned expected[5];
    } rows[] = {
        { 1, 1, 99, { 1, 2, 3, 4, 5 } },
        { 35, 25, 99, { 35, 60, 85, 99, 99 } },
        { 20, 10, 45, { 20, 30, 40, 45, 45 } },
        { 20, 10, 20, { 20, 20, 20, 20, 20 } },
        { 50, 10, 30, { 30, 30, 30, 30, 30 } },    /* initial above max */
        { 99, 99, 99, { 99, 99, 99, 99, 99 } },
        { 20, 10, 1, { 1, 1, 1, 1, 1 } },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Step step = step_begin();

        step.params.initial_throttle_pct = rows[i].initial;
        step.params.throttle_increment_pct = rows[i].increment;
        step.params.max_throttle_pct = rows[i].max;
        for (unsigned j = 0; j < G_N_ELEMENTS(rows[i].expected); j++) {
            g_assert_cmpuint(feed(&step, SECOND_NS, 100, 64), ==,
                             rows[i].expected[j]);
        }
    }
}

static void test_throttles_only_above_the_threshold(void)
{
    static const struct {
        unsigned threshold_pct;
        double dirtied, drained;
        unsigned expected;
    } rows[] = {
        { 50, 31.999, 64, 0 }, { 50, 32, 64, 0 }, { 50, 32.001, 64, 20 },
        { 1, 0.64, 64, 0 }, { 1, 0.641, 64, 20 },
        { 100, 64, 64, 0 }, { 100, 64.001, 64, 20 },
        { 50, 0, 0, 0 }, { 50, 0.001, 0, 20 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Step step = step_begin();

        step.params.trigger_threshold_pct = rows[i].threshold_pct;
        g_assert_cmpuint(feed(&step, SECOND_NS, rows[i].dirtied,
                              rows[i].drained), ==, rows[i].expected);
    }
}

/* Stock counts bad periods and never forgets them. */
static void test_a_good_period_neither_raises_nor_lowers(void)
{
    Step step = step_begin();

    g_assert_cmpuint(feed(&step, SECOND_NS, 100, 64), ==, 20);
    g_assert_cmpuint(feed(&step, SECOND_NS, 10, 64), ==, 20);
    g_assert_cmpint(step.engine.decision.phase, ==,
                    CONVERGENCE_PHASE_CONVERGING);
    g_assert_cmpuint(feed(&step, SECOND_NS, 10, 64), ==, 20);
    g_assert_cmpuint(feed(&step, SECOND_NS, 100, 64), ==, 30);
    g_assert_cmpint(step.engine.decision.phase, ==,
                    CONVERGENCE_PHASE_THROTTLING);
}

/* Syncs near the switch-over come every 100 ms, and are not ten steps. */
static void test_short_samples_add_up_to_one_period(void)
{
    Step step = step_begin();

    for (unsigned i = 1; i <= 27; i++) {
        unsigned periods = i / 9;
        unsigned expected = periods ? 10 + 10 * periods : 0;

        g_assert_cmpuint(feed(&step, SECOND_NS / 10, 100, 64), ==, expected);
    }
}

static void test_period_follows_its_parameter(void)
{
    Step step = step_begin();

    step.params.sync_period_ms = 5000;
    g_assert_cmpuint(feed(&step, 4 * SECOND_NS, 100, 64), ==, 0);
    g_assert_cmpuint(feed(&step, SECOND_NS, 100, 64), ==, 20);
    g_assert_cmpint(step.engine.decision.next_sync_ns, ==, 5 * SECOND_NS);
}

/* 40 % more of run time would still be too much by a tenth: a small step. */
static void test_tailslow_takes_no_more_than_is_needed(void)
{
    static const struct {
        double dirtied;     /* in the second period, of 64 drained */
        unsigned expected;
    } rows[] = {
        { 32.001, 20 },     /* hardly above: less than a point */
        { 34, 24 },         /* 80 % - 80 % * 32 / 34 = 4.7 points */
        { 36, 28 },         /* 8.9 */
        { 37, 30 },         /* 10.8, and the increment is 10 */
        { 1000, 30 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Step step = step_begin();

        step.params.tailslow = true;
        g_assert_cmpuint(feed(&step, SECOND_NS, 100, 64), ==, 20);
        g_assert_cmpuint(feed(&step, SECOND_NS, rows[i].dirtied, 64), ==,
                         rows[i].expected);
    }
}

static void test_stuck_is_told_when_max_did_not_help(void)
{
    Step step = step_begin();

    step.params.max_throttle_pct = 30;
    feed(&step, SECOND_NS, 100, 64);
    feed(&step, SECOND_NS, 100, 64);
    g_assert_cmpint(step.engine.decision.phase, ==,
                    CONVERGENCE_PHASE_THROTTLING);
    g_assert_cmpuint(feed(&step, SECOND_NS, 100, 64), ==, 30);
    g_assert_cmpint(step.engine.decision.phase, ==, CONVERGENCE_PHASE_STUCK);
}

static void test_max_lowered_in_flight_lowers_the_throttle(void)
{
    Step step = step_begin();

    for (unsigned i = 0; i < 5; i++) {
        feed(&step, SECOND_NS, 100, 64);
    }
    g_assert_cmpuint(step.engine.decision.throttle_pct, ==, 60);
    step.params.max_throttle_pct = 40;
    g_assert_cmpuint(feed(&step, SECOND_NS, 1, 64), ==, 40);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/convergence/step/sequence",
                    test_sequence_is_20_30_to_90_then_99);
    g_test_add_func("/convergence/step/parameters",
                    test_initial_increment_and_max_are_obeyed);
    g_test_add_func("/convergence/step/threshold",
                    test_throttles_only_above_the_threshold);
    g_test_add_func("/convergence/step/good-period",
                    test_a_good_period_neither_raises_nor_lowers);
    g_test_add_func("/convergence/step/short-samples",
                    test_short_samples_add_up_to_one_period);
    g_test_add_func("/convergence/step/period",
                    test_period_follows_its_parameter);
    g_test_add_func("/convergence/step/tailslow",
                    test_tailslow_takes_no_more_than_is_needed);
    g_test_add_func("/convergence/step/stuck",
                    test_stuck_is_told_when_max_did_not_help);
    g_test_add_func("/convergence/step/max-lowered",
                    test_max_lowered_in_flight_lowers_the_throttle);
    return g_test_run();
}
