/*
 * Where the dirty log does not tell what was written again: what is a bound,
 * who may rely on it, and when it is to be known
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-fixture.h"

#define LOOK_NS (250 * NS_PER_MS)
#define DRAIN_MB_PER_S 64

typedef struct Guest {
    ConvergenceEngine engine;
    ConvergenceParams params;
} Guest;

static Guest guest_begin(const char *policy)
{
    Guest guest = { .params = fixture_params(policy) };

    convergence_engine_init(&guest.engine, FIRST_NS);
    return guest;
}

static const ConvergenceDecision *look(Guest *guest, int64_t interval_ns,
                                       double touched_mb_per_s, bool known)
{
    ConvergenceSample sample = fixture_sample(&guest->engine, interval_ns,
                                              touched_mb_per_s,
                                              DRAIN_MB_PER_S);

    sample.unseen_bytes = known ? 0 : 4096;
    return convergence_engine_update(&guest->engine, &guest->params, &sample);
}

/* In the bulk pass, with that much of it left. */
static const ConvergenceDecision *bulk_look(Guest *guest, double left_mb,
                                            double touched_mb_per_s,
                                            bool known)
{
    ConvergenceSample sample = fixture_sample(&guest->engine, SECOND_NS,
                                              touched_mb_per_s,
                                              DRAIN_MB_PER_S);

    sample.ram_bytes = MB(4000);
    sample.bulk_pass = true;
    sample.bulk_remaining_bytes = MB(left_mb);
    sample.remaining_bytes = sample.bulk_remaining_bytes + MB(10);
    sample.unseen_bytes = known ? 0 : 4096;
    return convergence_engine_update(&guest->engine, &guest->params, &sample);
}

static double told_mb_per_s(const Guest *guest)
{
    return guest->engine.model.dirty_bytes_per_s / BYTES_PER_MB;
}

/* Half-way between a bound and a rate lies nothing of any meaning. */
static void test_bounds_and_rates_are_not_averaged(void)
{
    static const struct {
        bool known;
        double seen, told;
    } rows[] = {
        { false, 2, 2 },
        { true, 30, 30 },       /* known at last: at once */
        { false, 3, 3 },        /* at least that, and no more is said */
        { true, 20, 20 },
    };
    Guest guest = guest_begin("predictive");

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        look(&guest, LOOK_NS, rows[i].seen, rows[i].known);
        g_assert_cmpfloat_with_epsilon(told_mb_per_s(&guest), rows[i].told,
                                       0.01);
        g_assert_true(guest.engine.model.dirty_known == rows[i].known);
    }
    /* Rates are, among themselves, and so are bounds. */
    look(&guest, LOOK_NS, 30, true);
    g_assert_cmpfloat(told_mb_per_s(&guest), >, 20.5);
    g_assert_cmpfloat(told_mb_per_s(&guest), <, 29.5);
    look(&guest, LOOK_NS, 2, false);
    look(&guest, LOOK_NS, 10, false);
    g_assert_cmpfloat(told_mb_per_s(&guest), >, 2.5);
    g_assert_cmpfloat(told_mb_per_s(&guest), <, 9.5);
}

/* What was written again while it waited is no part of a bound's mix. */
static void test_forecasts_do_not_mix_bounds_with_rates(void)
{
    Guest guest = guest_begin("predictive");

    for (unsigned i = 0; i < 4; i++) {
        look(&guest, SECOND_NS, 10, false);
    }
    look(&guest, LOOK_NS, 20, true);
    g_assert_cmpfloat_with_epsilon(guest.engine.model.steady_s, 0.25, 0.001);
    g_assert_cmpfloat_with_epsilon(guest.engine.model.steady_dirty_bytes,
                                   5e6, 1000);
}

static void test_nothing_is_given_back_for_a_bound(void)
{
    Guest guest = guest_begin("predictive");
    unsigned slowed_pct = look(&guest, SECOND_NS, 1280, true)->throttle_pct;

    g_assert_cmpuint(slowed_pct, ==, 99);
    for (unsigned i = 0; i < 20; i++) {
        g_assert_cmpuint(look(&guest, LOOK_NS, 0, false)->throttle_pct, ==,
                         slowed_pct);
    }
    for (unsigned i = 0; i < 3; i++) {
        look(&guest, LOOK_NS, 0, true);
    }
    g_assert_cmpuint(guest.engine.decision.throttle_pct, <, slowed_pct);
}

/* At least too much is too much. */
static void test_a_bound_above_the_link_is_reason_enough(void)
{
    Guest guest = guest_begin("predictive");

    g_assert_cmpuint(look(&guest, SECOND_NS, 128, false)->throttle_pct, ==,
                     90);
}

static void test_the_first_look_after_the_bulk_pass_comes_soon(void)
{
    static const struct {
        const char *policy;
        unsigned period_ms;
        bool known;
        int64_t next_ms;
    } rows[] = {
        { "predictive", 1000, true, 1000 },
        { "predictive", 1000, false, 250 },
        { "predictive", 60000, false, 250 },
        { "predictive", 100, false, 100 },
        /* It judges by what is newly dirtied, which is always known. */
        { "step", 1000, false, 1000 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Guest guest = guest_begin(rows[i].policy);

        guest.params.sync_period_ms = rows[i].period_ms;
        g_assert_cmpint(look(&guest, SECOND_NS, 1,
                             rows[i].known)->next_sync_ns, ==,
                        rows[i].next_ms * NS_PER_MS);
    }
}

/* Seen costs the guest a fault a page: not before it is of use. */
static void test_rewrites_are_seen_near_the_end_of_the_bulk_pass(void)
{
    static const struct {
        double left_mb;
        bool seen;
    } rows[] = {
        /* The next sync comes in a second, and a look is half of one. */
        { 3000, false }, { 200, false }, { 97, false }, { 95, true },
        { 10, true },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Guest guest = guest_begin("step");

        g_assert_true(bulk_look(&guest, rows[i].left_mb, 1,
                                true)->see_rewrites == rows[i].seen);
    }
}

static void test_rewrites_are_seen_after_the_bulk_pass(void)
{
    for (unsigned i = 0; convergence_policy_nth(i); i++) {
        Guest guest = guest_begin(convergence_policy_nth(i)->name);

        g_assert_true(look(&guest, SECOND_NS, 1, true)->see_rewrites);
        g_assert_true(look(&guest, SECOND_NS, 1, false)->see_rewrites);
    }
}

/* Else its throttle could not be given back. */
static void test_rewrites_are_seen_while_the_guest_is_slowed(void)
{
    Guest guest = guest_begin("step");

    g_assert_false(bulk_look(&guest, 3000, 1, true)->see_rewrites);
    g_assert_true(bulk_look(&guest, 2900, 100, true)->see_rewrites);
    g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, 20);
}

static void test_rewrites_are_nobodys_business_when_off(void)
{
    Guest guest = guest_begin("predictive");

    g_assert_true(look(&guest, SECOND_NS, 1, true)->see_rewrites);
    guest.params.auto_converge = false;
    g_assert_false(look(&guest, SECOND_NS, 1, true)->see_rewrites);
}

static void test_a_bound_is_told_as_one(void)
{
    Guest guest = guest_begin("predictive");

    g_assert_nonnull(strstr(look(&guest, SECOND_NS, 5, false)->reason,
                            "the guest dirties at least 5.0 MB/s,"));
    g_assert_nonnull(strstr(look(&guest, SECOND_NS, 5, true)->reason,
                            "the guest dirties 5.0 MB/s,"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/convergence/unseen/not-averaged",
                    test_bounds_and_rates_are_not_averaged);
    g_test_add_func("/convergence/unseen/not-mixed",
                    test_forecasts_do_not_mix_bounds_with_rates);
    g_test_add_func("/convergence/unseen/not-given-back",
                    test_nothing_is_given_back_for_a_bound);
    g_test_add_func("/convergence/unseen/too-fast",
                    test_a_bound_above_the_link_is_reason_enough);
    g_test_add_func("/convergence/unseen/look-soon",
                    test_the_first_look_after_the_bulk_pass_comes_soon);
    g_test_add_func("/convergence/unseen/see/near-the-end",
                    test_rewrites_are_seen_near_the_end_of_the_bulk_pass);
    g_test_add_func("/convergence/unseen/see/after",
                    test_rewrites_are_seen_after_the_bulk_pass);
    g_test_add_func("/convergence/unseen/see/slowed",
                    test_rewrites_are_seen_while_the_guest_is_slowed);
    g_test_add_func("/convergence/unseen/see/off",
                    test_rewrites_are_nobodys_business_when_off);
    g_test_add_func("/convergence/unseen/told", test_a_bound_is_told_as_one);
    return g_test_run();
}
