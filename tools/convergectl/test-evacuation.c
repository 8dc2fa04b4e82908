/*
 * The plan of an evacuation
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "evacuation.h"

#include <math.h>

#define MB 1e6

/* A link of 100 MB/s that one migration fills; nothing else takes time. */
static const double one_link[] = { 100 * MB };
static const EvacuationTerms plain = {
    .links_bytes_per_s = one_link, .n_links = 1,
    .stream_bytes_per_s = 100 * MB, .downtime_s = 0.3,
};

static const unsigned in_order[64] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 };

/* Writes nothing: a migration of it is its bulk pass. */
static EvacuationGuest idle_guest(double data_bytes)
{
    return (EvacuationGuest) { .data_bytes = data_bytes };
}

/* Writes so much in so many bytes. */
static EvacuationGuest busy_guest(double data_bytes, double rate_bytes_per_s,
                                  double set_bytes)
{
    return (EvacuationGuest) {
        .data_bytes = data_bytes,
        .writes = { .rate_bytes_per_s = rate_bytes_per_s,
                    .working_set_bytes = set_bytes },
    };
}

static void assert_near(double value, double wanted)
{
    g_assert_cmpfloat_with_epsilon(value, wanted, 1e-6 * MAX(wanted, 1));
}

static void test_one(void)
{
    EvacuationGuest guest = idle_guest(1000 * MB);
    EvacuationTerms terms = plain;
    g_autoptr(EvacuationPlan) plan = NULL;

    terms.setup_s = 2;
    terms.finish_s = 1;
    plan = evacuation_plan(&terms, &guest, 1, 0);
    assert_near(plan->times[0].start_s, 0);
    assert_near(plan->times[0].tail_s, 12);
    assert_near(plan->times[0].end_s, 13);
    assert_near(plan->end_s, 13);
    g_assert_false(plan->times[0].stuck);
}

/* The tail is what was written in the bulk pass, once more. */
static void test_tail(void)
{
    EvacuationGuest guest = busy_guest(1000 * MB, 1000 * MB, 200 * MB);
    g_autoptr(EvacuationPlan) plan = evacuation_plan(&plain, &guest, 1, 0);
    gboolean stuck;
    double tail_s = evacuation_tail_bytes(&guest.writes, 200 * MB, 100 * MB,
                                          plain.downtime_s, &stuck) /
                    (100 * MB);

    g_assert_false(stuck);
    g_assert_cmpfloat(tail_s, >, 2);
    g_assert_cmpfloat(tail_s, <=, 4);
    assert_near(plan->times[0].tail_s, 10);
    g_assert_cmpfloat_with_epsilon(plan->end_s, 10 + tail_s, 0.01);
}

static void test_least_left_needs_no_tail(void)
{
    WriteModel writes = { 10 * MB, 1000 * MB, FALSE };
    gboolean stuck;

    /* 0.3 s of 100 MB/s, and a byte more. */
    assert_near(evacuation_tail_bytes(&writes, 30 * MB, 100 * MB, 0.3, &stuck),
                30 * MB);
    g_assert_cmpfloat(evacuation_tail_bytes(&writes, 30 * MB + 1, 100 * MB,
                                            0.3, &stuck), >, 30 * MB + 1);
    g_assert_false(stuck);
}

static void test_first_come_first_served(void)
{
    const double links[] = { 250 * MB };
    EvacuationTerms terms = plain;
    EvacuationRun runs[] = {
        { .stage = EVACUATION_SETUP }, { .stage = EVACUATION_TAIL },
        { .stage = EVACUATION_BULK }, { .stage = EVACUATION_BULK },
        { .stage = EVACUATION_BULK }, { .stage = EVACUATION_FINISH },
    };
    const double wanted[] = { 0, 100 * MB, 100 * MB, 50 * MB, 0, 0 };

    terms.links_bytes_per_s = links;
    evacuation_share(&terms, runs, G_N_ELEMENTS(runs));
    for (unsigned i = 0; i < G_N_ELEMENTS(runs); i++) {
        assert_near(runs[i].rate_bytes_per_s, wanted[i]);
    }
    /* What the first one does not take, as zero pages go by, the others do. */
    runs[1].takes = 0.5;
    evacuation_share(&terms, runs, G_N_ELEMENTS(runs));
    assert_near(runs[1].rate_bytes_per_s, 100 * MB);
    assert_near(runs[3].rate_bytes_per_s, 100 * MB);
    terms.even = TRUE;
    evacuation_share(&terms, runs, G_N_ELEMENTS(runs));
    assert_near(runs[1].rate_bytes_per_s, 62.5 * MB);
    assert_near(runs[4].rate_bytes_per_s, 62.5 * MB);
    assert_near(runs[5].rate_bytes_per_s, 0);
}

/* The narrower of the two links is what counts. */
static void test_two_links(void)
{
    const double links[] = { 300 * MB, 40 * MB, 70 * MB };
    EvacuationTerms terms = plain;
    EvacuationRun runs[] = {
        { .source = 0, .destination = 1, .stage = EVACUATION_BULK },
        { .source = 0, .destination = 1, .stage = EVACUATION_BULK },
        { .source = 0, .destination = 2, .stage = EVACUATION_BULK },
    };

    terms.links_bytes_per_s = links;
    terms.n_links = 3;
    evacuation_share(&terms, runs, 3);
    assert_near(runs[0].rate_bytes_per_s, 40 * MB);
    assert_near(runs[1].rate_bytes_per_s, 0);
    assert_near(runs[2].rate_bytes_per_s, 70 * MB);
}

static void test_starts_while_something_is_left(void)
{
    const double links[] = { 310 * MB };
    EvacuationTerms terms = plain;
    EvacuationRun runs[4] = { { 0 } };

    terms.links_bytes_per_s = links;
    for (unsigned i = 0; i < 4; i++) {
        runs[i] = (EvacuationRun) { .stage = EVACUATION_SETUP,
                                    .left_bytes = HUGE_VAL };
        /* 310, 210, 110, and 10: a tenth of a stream, the least. */
        g_assert_true(evacuation_may_start(&terms, runs, i, 0, 0));
    }
    g_assert_false(evacuation_may_start(&terms, runs, 4, 0, 0));
    terms.parallel = 5;
    g_assert_true(evacuation_may_start(&terms, runs, 4, 0, 0));
    terms.parallel = 4;
    g_assert_false(evacuation_may_start(&terms, runs, 4, 0, 0));
}

/* One whose end is as near as a set-up takes leaves its place to the next. */
static void test_next_is_set_up_in_time(void)
{
    EvacuationTerms terms = plain;
    EvacuationRun runs[] = {
        { .stage = EVACUATION_TAIL, .left_bytes = 201 * MB },
        { .stage = EVACUATION_SETUP, .setup_left_s = 1 },
    };

    /* A quarter more is two seconds. */
    terms.setup_s = 1.6;
    g_assert_false(evacuation_may_start(&terms, runs, 1, 0, 0));
    runs[0].left_bytes = 199 * MB;
    g_assert_true(evacuation_may_start(&terms, runs, 1, 0, 0));
    /* One that is set up already, and is so small that it is gone by then. */
    runs[0].left_bytes = 110 * MB;
    runs[1].left_bytes = 80 * MB;
    g_assert_true(evacuation_may_start(&terms, runs, 2, 0, 0));
    runs[1].left_bytes = 100 * MB;
    g_assert_false(evacuation_may_start(&terms, runs, 2, 0, 0));
}

/* Of two on a link that one fills, the second one's bulk follows the tail. */
static void test_link_is_never_idle(void)
{
    EvacuationGuest guests[2];
    EvacuationTerms terms = plain;
    g_autoptr(EvacuationPlan) plan = NULL;

    guests[0] = guests[1] = busy_guest(1000 * MB, 500 * MB, 200 * MB);
    terms.setup_s = 1.5;
    terms.finish_s = 1;
    plan = evacuation_plan(&terms, guests, 2, 0);
    assert_near(plan->times[0].tail_s, 11.5);
    g_assert_cmpfloat(plan->times[1].start_s, >, plan->times[0].tail_s);
    /* The first one's last second is no longer the link's. */
    g_assert_cmpfloat(plan->times[1].start_s + terms.setup_s, <=,
                      plan->times[0].end_s - terms.finish_s);
    assert_near(plan->times[1].tail_s, plan->times[0].end_s - 1 + 10);
}

/* Sharing evenly costs what both dirty in the time of the other. */
static void test_even_shares_cost_more(void)
{
    EvacuationGuest guests[2];
    EvacuationTerms even = plain;
    g_autoptr(EvacuationPlan) ours = NULL, theirs = NULL;

    guests[0] = guests[1] = busy_guest(1000 * MB, 20 * MB, 1000 * MB);
    even.even = TRUE;
    even.parallel = 2;
    ours = evacuation_foresee(&plain, guests, 2, in_order);
    theirs = evacuation_foresee(&even, guests, 2, in_order);
    /* 20 MB/s for 10 s and for 20 s: 181 and 330 MB twice. */
    g_assert_cmpfloat(theirs->end_s - ours->end_s, >, 2.5);
    g_assert_cmpfloat(ours->times[0].end_s, <, theirs->times[0].end_s * 0.6);
}

/* Three streams, one guest of four times the size: it goes first. */
static void test_longest_goes_first(void)
{
    const double links[] = { 200 * MB };
    EvacuationGuest guests[5];
    EvacuationTerms terms = plain;
    g_autoptr(EvacuationPlan) plan = NULL;

    terms.links_bytes_per_s = links;
    for (unsigned i = 0; i < 4; i++) {
        guests[i] = idle_guest(100 * MB);
    }
    guests[4] = idle_guest(400 * MB);
    plan = evacuation_plan(&terms, guests, 5, 0);
    g_assert_cmpuint(plan->order[0], ==, 4);
    assert_near(plan->end_s, 4);
}

/* With too little time for all, the short ones first: more of them are gone. */
static void test_by(void)
{
    EvacuationGuest guests[4] = {
        idle_guest(700 * MB), idle_guest(100 * MB), idle_guest(200 * MB),
        idle_guest(100 * MB),
    };
    g_autoptr(EvacuationPlan) plan = evacuation_plan(&plain, guests, 4, 5);
    g_autoptr(EvacuationPlan) late = evacuation_plan(&plain, guests, 4, 12);

    g_assert_cmpuint(evacuation_gone_by(plan, 5), ==, 3);
    g_assert_cmpuint(evacuation_gone_by(late, 12), ==, 4);
    assert_near(plan->end_s, 11);
}

static void test_stuck(void)
{
    /* No throttle of 99 % makes it write less than the link carries. */
    EvacuationGuest guests[2] = {
        busy_guest(1000 * MB, 1e12, 900 * MB), idle_guest(100 * MB),
    };
    g_autoptr(EvacuationPlan) plan = evacuation_plan(&plain, guests, 2, 0);

    g_assert_true(plan->times[0].stuck);
    g_assert_false(plan->times[1].stuck);
    g_assert_cmpuint(evacuation_gone_by(plan, plan->end_s), ==, 2);
}

/* A plan made in the middle goes on where the first one would have been. */
static void test_goes_on(void)
{
    EvacuationGuest guests[3] = {
        idle_guest(1000 * MB), idle_guest(500 * MB), idle_guest(300 * MB),
    };
    g_autoptr(EvacuationPlan) plan = evacuation_plan(&plain, guests, 3, 0);
    g_autoptr(EvacuationPlan) rest = NULL;

    assert_near(plan->end_s, 18);
    guests[0].stage = EVACUATION_BULK;
    guests[0].left_bytes = 400 * MB;
    guests[0].stage_s = 6;
    rest = evacuation_plan(&plain, guests, 3, 0);
    assert_near(rest->end_s, 12);
    assert_near(rest->times[0].end_s, 4);
    guests[0].stage = EVACUATION_GONE;
    g_clear_pointer(&rest, evacuation_plan_free);
    rest = evacuation_plan(&plain, guests, 3, 0);
    assert_near(rest->end_s, 8);
}

static void test_a_link_that_carries_nothing(void)
{
    const double links[] = { 0 };
    EvacuationGuest guests[2] = { idle_guest(MB), idle_guest(MB) };
    EvacuationTerms terms = plain;
    g_autoptr(EvacuationPlan) plan = NULL;

    terms.links_bytes_per_s = links;
    plan = evacuation_plan(&terms, guests, 2, 0);
    g_assert_false(isfinite(plan->end_s));
}

static void test_nobody(void)
{
    g_autoptr(EvacuationPlan) plan = evacuation_plan(&plain, NULL, 0, 0);

    assert_near(plan->end_s, 0);
    g_assert_cmpuint(evacuation_gone_by(plan, 1), ==, 0);
}

/* The band grows with the end, and less than as many forecasts would. */
static void test_band(void)
{
    EvacuationGuest guests[16];
    EvacuationTerms terms = plain;
    g_autoptr(EvacuationPlan) one = NULL, many = NULL;

    for (unsigned i = 0; i < G_N_ELEMENTS(guests); i++) {
        guests[i] = idle_guest(1000 * MB);
    }
    terms.link_error = 0.05;
    one = evacuation_plan(&terms, guests, 1, 0);
    many = evacuation_plan(&terms, guests, 16, 0);
    assert_near(one->error_s, 10 * (0.26 + 0.05));
    assert_near(many->error_s, 160 * (0.26 / 4 + 0.05));
}

/* Guests by chance on many hosts: all are gone, and no link carries more. */
static void test_by_chance(void)
{
    enum { HOSTS = 20, GUESTS = 400 };
    double links[2 * HOSTS], sent[2 * HOSTS] = { 0 };
    EvacuationGuest guests[GUESTS];
    EvacuationTerms terms = plain;
    g_autoptr(EvacuationPlan) plan = NULL;

    for (unsigned i = 0; i < 2 * HOSTS; i++) {
        links[i] = g_test_rand_double_range(50, 1000) * MB;
    }
    terms.links_bytes_per_s = links;
    terms.n_links = 2 * HOSTS;
    terms.setup_s = 1;
    for (unsigned i = 0; i < GUESTS; i++) {
        guests[i] = busy_guest(g_test_rand_double_range(10, 5000) * MB,
                               g_test_rand_double_range(0, 300) * MB,
                               g_test_rand_double_range(1, 500) * MB);
        guests[i].source = i % HOSTS;
        guests[i].destination = HOSTS + g_test_rand_int_range(0, HOSTS);
        sent[guests[i].source] += guests[i].data_bytes;
        sent[guests[i].destination] += guests[i].data_bytes;
    }
    plan = evacuation_plan(&terms, guests, GUESTS, 0);
    for (unsigned i = 0; i < GUESTS; i++) {
        const EvacuationTimes *times = &plan->times[i];

        g_assert_cmpfloat(times->tail_s - times->start_s - 1, >=,
                          guests[i].data_bytes / (100 * MB) * 0.999);
        g_assert_cmpfloat(times->end_s, >=, times->tail_s);
        g_assert_cmpfloat(times->end_s, <=, plan->end_s);
    }
    for (unsigned i = 0; i < 2 * HOSTS; i++) {
        g_assert_cmpfloat(plan->end_s, >=, sent[i] / links[i] * 0.999);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/evacuation/one", test_one);
    g_test_add_func("/evacuation/tail", test_tail);
    g_test_add_func("/evacuation/least-left-needs-no-tail",
                    test_least_left_needs_no_tail);
    g_test_add_func("/evacuation/first-come-first-served",
                    test_first_come_first_served);
    g_test_add_func("/evacuation/two-links", test_two_links);
    g_test_add_func("/evacuation/starts-while-something-is-left",
                    test_starts_while_something_is_left);
    g_test_add_func("/evacuation/next-is-set-up-in-time",
                    test_next_is_set_up_in_time);
    g_test_add_func("/evacuation/link-is-never-idle", test_link_is_never_idle);
    g_test_add_func("/evacuation/even-shares-cost-more",
                    test_even_shares_cost_more);
    g_test_add_func("/evacuation/longest-goes-first", test_longest_goes_first);
    g_test_add_func("/evacuation/by", test_by);
    g_test_add_func("/evacuation/stuck", test_stuck);
    g_test_add_func("/evacuation/goes-on", test_goes_on);
    g_test_add_func("/evacuation/a-link-that-carries-nothing",
                    test_a_link_that_carries_nothing);
    g_test_add_func("/evacuation/nobody", test_nobody);
    g_test_add_func("/evacuation/band", test_band);
    g_test_add_func("/evacuation/by-chance", test_by_chance);
    return g_test_run();
}
