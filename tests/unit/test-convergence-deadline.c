/*
 * The deadline: doublings of the downtime limit, and the stop conditions
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-fixture.h"

typedef struct Look {
    ConvergenceEngine engine;
    ConvergenceParams params;
    ConvergenceProgress progress;
} Look;

static Look look_begin(void)
{
    Look look = {
        .params = fixture_params("step"),
        .progress = {
            .now_ns = FIRST_NS,
            .ram_bytes = 1000000,
            .remaining_bytes = MB(200),
        },
    };

    /* A deadline holds without auto-converge, too. */
    look.params.auto_converge = false;
    convergence_engine_init(&look.engine, FIRST_NS);
    return look;
}

static const ConvergenceDeadline *look_after_ms(Look *look, int64_t ms)
{
    look->progress.now_ns = FIRST_NS + ms * NS_PER_MS;
    return convergence_engine_deadline(&look->engine, &look->params,
                                       &look->progress);
}

static void test_downtime_doubles_each_timeout(void)
{
    static const struct {
        uint64_t downtime_ms, cap_ms;
        int64_t after_ms;
        uint64_t expected_ms;
    } rows[] = {
        /* timeout 10 s */
        { 300, 5000, 0, 300 }, { 300, 5000, 9999, 300 },
        { 300, 5000, 10000, 600 }, { 300, 5000, 19999, 600 },
        { 300, 5000, 20000, 1200 }, { 300, 5000, 30000, 2400 },
        { 300, 5000, 40000, 4800 }, { 300, 5000, 50000, 5000 },
        { 300, 5000, 100000000, 5000 },
        /* at and above the cap: never lowered to it */
        { 5000, 5000, 30000, 5000 }, { 7000, 5000, 30000, 7000 },
        { 4999, 5000, 10000, 5000 },
        /* a limit of zero grows as well */
        { 0, 5000, 10000, 1 }, { 0, 5000, 30000, 4 },
        { 300, 0, 30000, 300 },
        /* limits as large as the type */
        { UINT64_MAX / 2, UINT64_MAX, 10000, UINT64_MAX - 1 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Look look = look_begin();

        look.params.timeout_s = 10;
        look.params.downtime_limit_ms = rows[i].downtime_ms;
        look.params.max_downtime_ms = rows[i].cap_ms;
        g_assert_cmpuint(look_after_ms(&look,
                                       rows[i].after_ms)->downtime_limit_ms,
                         ==, rows[i].expected_ms);
    }
}

/* Doubling a limit just below a cap at the type's end must not wrap. */
static void test_doubling_never_overflows(void)
{
    Look look = look_begin();

    look.params.timeout_s = 1;
    look.params.downtime_limit_ms = UINT64_MAX / 2 + 2;
    look.params.max_downtime_ms = UINT64_MAX;
    g_assert_cmpuint(look_after_ms(&look, 5000)->downtime_limit_ms, ==,
                     UINT64_MAX);
}

static void test_no_timeout_never_ends(void)
{
    Look look = look_begin();

    g_assert_cmpint(look_after_ms(&look, INT64_C(1) << 40)->stop, ==,
                    CONVERGENCE_STOP_NONE);
    g_assert_cmpuint(look.engine.deadline.downtime_limit_ms, ==, 300);
}

static void test_timeout_changed_in_flight_holds_at_once(void)
{
    static const struct {
        uint64_t timeout_s;
        ConvergenceStop stop;
        uint64_t expected_ms;
    } rows[] = {
        { 60, CONVERGENCE_STOP_NONE, 300 },
        { 10, CONVERGENCE_STOP_TIMEOUT, 2400 },     /* shorter */
        { 15, CONVERGENCE_STOP_TIMEOUT, 1200 },     /* longer */
        { 31, CONVERGENCE_STOP_NONE, 300 },         /* moved away */
        { 30, CONVERGENCE_STOP_TIMEOUT, 600 },
        { 0, CONVERGENCE_STOP_NONE, 300 },          /* given up */
    };
    Look look = look_begin();

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        look.params.timeout_s = rows[i].timeout_s;
        g_assert_cmpint(look_after_ms(&look, 30000)->stop, ==, rows[i].stop);
        g_assert_cmpuint(look.engine.deadline.downtime_limit_ms, ==,
                         rows[i].expected_ms);
    }
}

static void test_passes_and_transfer_stop_at_their_number(void)
{
    static const struct {
        uint64_t max_passes, passes, max_pct, sent_bytes;
        ConvergenceStop stop;
        uint64_t expected_ms;
    } rows[] = {
        { 5, 4, 0, 0, CONVERGENCE_STOP_NONE, 300 },
        { 5, 5, 0, 0, CONVERGENCE_STOP_ITERATIONS, 600 },
        { 5, 6, 0, 0, CONVERGENCE_STOP_ITERATIONS, 600 },
        { 5, 10, 0, 0, CONVERGENCE_STOP_ITERATIONS, 1200 },
        { 1, 0, 0, 0, CONVERGENCE_STOP_NONE, 300 },
        /* of 1,000,000 bytes of RAM */
        { 0, 0, 150, 1499999, CONVERGENCE_STOP_NONE, 300 },
        { 0, 0, 150, 1500000, CONVERGENCE_STOP_TRANSFER, 600 },
        { 0, 0, 150, 1510001, CONVERGENCE_STOP_TRANSFER, 600 },
        { 0, 0, 150, 3000000, CONVERGENCE_STOP_TRANSFER, 1200 },
        { 0, 0, 1, UINT64_MAX, CONVERGENCE_STOP_TRANSFER, 5000 },
        /* the first one of the table of causes is told */
        { 1, 1, 1, 1000000, CONVERGENCE_STOP_ITERATIONS, 5000 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Look look = look_begin();

        look.params.max_iterations = rows[i].max_passes;
        look.params.max_transfer_pct = rows[i].max_pct;
        look.progress.passes = rows[i].passes;
        look.progress.sent_bytes = rows[i].sent_bytes;
        g_assert_cmpint(look_after_ms(&look, 1)->stop, ==, rows[i].stop);
        g_assert_cmpuint(look.engine.deadline.downtime_limit_ms, ==,
                         rows[i].expected_ms);
    }
}

static void test_guest_without_ram_divides_by_nothing(void)
{
    Look look = look_begin();

    look.params.max_transfer_pct = 1;
    look.progress.ram_bytes = 0;
    look.progress.sent_bytes = 1000;
    g_assert_cmpint(look_after_ms(&look, 1)->stop, ==, CONVERGENCE_STOP_NONE);
}

static void test_a_clock_that_goes_back_is_no_timeout(void)
{
    Look look = look_begin();

    look.params.timeout_s = 1;
    g_assert_cmpint(look_after_ms(&look, -5000)->stop, ==,
                    CONVERGENCE_STOP_NONE);
}

/* The other actions leave the limit alone: they end the migration. */
static void test_other_actions_do_not_grow_the_downtime(void)
{
    for (unsigned action = CONVERGENCE_ACTION_STOP;
         action < CONVERGENCE_ACTION__MAX; action++) {
        Look look = look_begin();

        look.params.timeout_s = 1;
        look.params.timeout_action = action;
        g_assert_cmpint(look_after_ms(&look, 9000)->action, ==, action);
        g_assert_cmpint(look.engine.deadline.stop, ==,
                        CONVERGENCE_STOP_TIMEOUT);
        g_assert_cmpuint(look.engine.deadline.downtime_limit_ms, ==, 300);
    }
}

static void test_descriptions_name_condition_and_action(void)
{
    static const struct {
        ConvergenceStop stop;
        ConvergenceAction action;
        const char *words[4];
    } rows[] = {
        { CONVERGENCE_STOP_TIMEOUT, CONVERGENCE_ACTION_DOWNTIME,
          { "convergence-timeout of 10 s", "600 ms instead of 300 ms",
            "200.0 MB remain" } },
        { CONVERGENCE_STOP_ITERATIONS, CONVERGENCE_ACTION_STOP,
          { "convergence-max-iterations", "7 of 5 passes", "switching over",
            "200.0 MB" } },
        { CONVERGENCE_STOP_TRANSFER, CONVERGENCE_ACTION_POSTCOPY,
          { "convergence-max-transfer", "160 % of guest RAM", "150 % allowed",
            "starting postcopy" } },
        { CONVERGENCE_STOP_TIMEOUT, CONVERGENCE_ACTION_ABORT,
          { "convergence-timeout of 10 s", "200.0 MB remaining" } },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Look look = look_begin();
        ConvergenceDeadline deadline = {
            .downtime_limit_ms = 600,
            .stop = rows[i].stop,
            .action = rows[i].action,
        };
        char text[CONVERGENCE_REASON_MAX_BYTES];

        look.params.timeout_s = 10;
        look.params.max_iterations = 5;
        look.params.max_transfer_pct = 150;
        look.progress.passes = 7;
        look.progress.sent_bytes = 1600000;
        convergence_stop_describe(&deadline, &look.params, &look.progress,
                                  text, sizeof(text));
        for (unsigned j = 0; j < 4 && rows[i].words[j]; j++) {
            g_assert_nonnull(strstr(text, rows[i].words[j]));
        }
    }
}

/* Set in flight, it is so long from then on, and not over already */
static void test_timeout_set_in_flight_counts_from_then(void)
{
    Look look = look_begin();

    look.params.timeout_s = 10;
    look.params.timeout_from_ns = FIRST_NS + 60 * NS_PER_S;
    g_assert_cmpint(look_after_ms(&look, 60000)->stop, ==,
                    CONVERGENCE_STOP_NONE);
    g_assert_cmpint(look_after_ms(&look, 69999)->stop, ==,
                    CONVERGENCE_STOP_NONE);
    g_assert_cmpint(look_after_ms(&look, 70000)->stop, ==,
                    CONVERGENCE_STOP_TIMEOUT);
    /* One that was set before the start counts from the start */
    look.params.timeout_from_ns = FIRST_NS - NS_PER_S;
    g_assert_cmpint(look_after_ms(&look, 9999)->stop, ==,
                    CONVERGENCE_STOP_NONE);
    g_assert_cmpint(look_after_ms(&look, 10000)->stop, ==,
                    CONVERGENCE_STOP_TIMEOUT);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/convergence/deadline/doubles",
                    test_downtime_doubles_each_timeout);
    g_test_add_func("/convergence/deadline/no-overflow",
                    test_doubling_never_overflows);
    g_test_add_func("/convergence/deadline/none", test_no_timeout_never_ends);
    g_test_add_func("/convergence/deadline/changed",
                    test_timeout_changed_in_flight_holds_at_once);
    g_test_add_func("/convergence/deadline/stop-conditions",
                    test_passes_and_transfer_stop_at_their_number);
    g_test_add_func("/convergence/deadline/no-ram",
                    test_guest_without_ram_divides_by_nothing);
    g_test_add_func("/convergence/deadline/clock-back",
                    test_a_clock_that_goes_back_is_no_timeout);
    g_test_add_func("/convergence/deadline/actions",
                    test_other_actions_do_not_grow_the_downtime);
    g_test_add_func("/convergence/deadline/described",
                    test_descriptions_name_condition_and_action);
    g_test_add_func("/convergence/deadline/set-in-flight",
                    test_timeout_set_in_flight_counts_from_then);
    return g_test_run();
}
