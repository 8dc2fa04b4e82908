/*
 * Policy "predictive": where it goes, when it lets go, when it gives up
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-fixture.h"

#define LOOK_NS (250 * NS_PER_MS)

typedef struct Guest {
    ConvergenceEngine engine;
    ConvergenceParams params;
    double drain_mb_per_s;
} Guest;

static Guest guest_begin(void)
{
    Guest guest = {
        .params = fixture_params("predictive"),
        .drain_mb_per_s = 64,
    };

    convergence_engine_init(&guest.engine, FIRST_NS);
    return guest;
}

static const ConvergenceDecision *look(Guest *guest, int64_t interval_ns,
                                       double dirtied_mb_per_s)
{
    ConvergenceSample sample = fixture_sample(&guest->engine, interval_ns,
                                              dirtied_mb_per_s,
                                              guest->drain_mb_per_s);

    return convergence_engine_update(&guest->engine, &guest->params, &sample);
}

static double share(const Guest *guest)
{
    return (100.0 - guest->engine.decision.throttle_pct) / 100;
}

static void test_first_cut_is_along_the_line(void)
{
    static const struct {
        double dirtied;
        unsigned max_pct, expected_pct;
    } rows[] = {
        { 32, 99, 0 },          /* half of the link: no need */
        { 35, 99, 0 },          /* at the trigger and its margin */
        { 36, 99, 27 },         /* above it: as little as time allows */
        { 64, 99, 80 },
        { 128, 99, 90 },
        { 640, 99, 98 },
        { 6400, 99, 99 },
        { 6400, 70, 70 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Guest guest = guest_begin();

        guest.params.max_throttle_pct = rows[i].max_pct;
        look(&guest, SECOND_NS, rows[i].dirtied);
        g_assert_cmpuint(guest.engine.decision.throttle_pct, ==,
                         rows[i].expected_pct);
    }
}

/*
 * Below the link's rate it ends by itself, and is cut by as little as the time
 * allows; if what remains does not shrink all the same, time runs out, and it
 * is cut to a fifth of the link.
 */
static void test_below_the_link_time_is_given_first(void)
{
    Guest guest = guest_begin();
    unsigned before = 0;
    double at_s;

    look(&guest, 40 * SECOND_NS, 44);
    g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, 0);
    g_assert_cmpint(guest.engine.decision.phase, ==,
                    CONVERGENCE_PHASE_WATCHING);
    for (at_s = 0; at_s < 30; at_s += 0.25) {
        look(&guest, LOOK_NS, 44 * share(&guest));
        if (at_s < 2) {
            g_assert_cmpuint(guest.engine.decision.throttle_pct, <=, 25);
        }
        g_assert_cmpuint(guest.engine.decision.throttle_pct, >=, before);
        before = guest.engine.decision.throttle_pct;
    }
    g_assert_cmpuint(before, >=, 70);
}

/* Dirty rate in proportion to run time: one cut, and then it stays. */
static void test_linear_guest_settles_after_one_cut(void)
{
    Guest guest = guest_begin();
    unsigned first_pct;

    first_pct = look(&guest, SECOND_NS, 200)->throttle_pct;
    for (unsigned i = 0; i < 50; i++) {
        look(&guest, LOOK_NS, 200 * share(&guest));
        g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, first_pct);
        g_assert_cmpint(guest.engine.decision.phase, ==,
                        CONVERGENCE_PHASE_CONVERGING);
    }
}

/* A rate that is flat before it falls: monotone, and at most four looks. */
static void test_paced_guest_is_closed_in_on_from_above(void)
{
    Guest guest = guest_begin();
    unsigned before = 0, looks = 0;

    do {
        double rate = MIN(100, 1500 * share(&guest));

        look(&guest, LOOK_NS, rate);
        g_assert_cmpuint(guest.engine.decision.throttle_pct, >=, before);
        before = guest.engine.decision.throttle_pct;
        looks++;
    } while (guest.engine.decision.phase != CONVERGENCE_PHASE_CONVERGING);
    g_assert_cmpuint(looks, <=, 4);
    g_assert_cmpuint(before, ==, 99);
}

static void test_nothing_is_done_in_the_bulk_pass(void)
{
    Guest guest = guest_begin();

    for (unsigned i = 0; i < 20; i++) {
        ConvergenceSample sample = fixture_sample(&guest.engine, SECOND_NS,
                                                  500, 64);

        sample.ram_bytes = MB(4000);
        sample.bulk_pass = true;
        sample.bulk_remaining_bytes = MB(4000 - 64 * (i + 1));
        /* A hot set of 100 MB in 4 GB. */
        sample.remaining_bytes = sample.bulk_remaining_bytes + MB(100);
        sample.dirtied_bytes = 0;
        convergence_engine_update(&guest.engine, &guest.params, &sample);
        g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, 0);
        g_assert_cmpint(guest.engine.decision.phase, ==,
                        CONVERGENCE_PHASE_WATCHING);
        /* But known what will be: the pass, the hot set, the downtime. */
        if (i) {
            double expected_s = (4000 - 64 * (i + 1)) / 64.0 +
                                (100 - 64 * 0.27) / (64 - 12.8) + 0.27;

            g_assert_true(guest.engine.decision.predicted);
            g_assert_cmpfloat_with_epsilon(
                guest.engine.decision.predicted_remaining_ms / 1000.0,
                expected_s, 0.5);
        }
    }
    look(&guest, SECOND_NS, 500);
    g_assert_cmpuint(guest.engine.decision.throttle_pct, >=, 95);
}

/* Nearly all that was sent is dirty again: waiting would only cost. */
static void test_guest_that_writes_everywhere_is_slowed_early(void)
{
    Guest guest = guest_begin();
    unsigned samples = 0;

    while (!guest.engine.decision.throttle_pct) {
        ConvergenceSample sample = fixture_sample(&guest.engine, SECOND_NS,
                                                  500, 64);

        samples++;
        sample.ram_bytes = MB(4000);
        sample.bulk_pass = true;
        sample.bulk_remaining_bytes = MB(4000 - 64 * samples);
        sample.remaining_bytes = sample.bulk_remaining_bytes +
                                 MB(60 * samples);
        sample.dirtied_bytes = MB(60);
        convergence_engine_update(&guest.engine, &guest.params, &sample);
        g_assert_cmpuint(samples, <=, 5);
    }
    g_assert_cmpuint(samples, >=, 2);
}

static void test_calm_guest_has_its_time_back_in_two_periods(void)
{
    Guest guest = guest_begin();
    int64_t calm_ns = 0;

    look(&guest, SECOND_NS, 6400);
    look(&guest, LOOK_NS, 64);
    g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, 99);
    while (guest.engine.decision.throttle_pct) {
        int64_t interval_ns = guest.engine.decision.next_sync_ns;

        look(&guest, interval_ns, 0.1 * share(&guest));
        calm_ns += interval_ns;
        g_assert_cmpint(calm_ns, <=, 2 * SECOND_NS);
    }
    g_assert_cmpint(guest.engine.decision.phase, ==,
                    CONVERGENCE_PHASE_WATCHING);
}

/* What it does at full speed, and then, at the most throttle, half of that. */
static Guest guest_that_follows_by_half(void)
{
    Guest guest = guest_begin();

    look(&guest, SECOND_NS, 200);
    g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, 94);
    while (guest.engine.decision.throttle_pct < 99) {
        look(&guest, LOOK_NS, 100);
    }
    return guest;
}

/* Not enough: told, held in case it helps yet, and given back. */
static void test_too_little_is_given_up_after_three_seconds(void)
{
    Guest guest = guest_that_follows_by_half();
    unsigned looks = 0;

    while (guest.engine.decision.phase != CONVERGENCE_PHASE_STUCK) {
        look(&guest, LOOK_NS, 100);
        g_assert_cmpuint(++looks, <=, 12);
    }
    g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, 99);
    g_assert_nonnull(strstr(guest.engine.decision.reason, "sleep 99 %"));
    while (guest.engine.decision.throttle_pct) {
        look(&guest, LOOK_NS, 100);
        g_assert_cmpuint(++looks, <=, 16);
    }
    g_assert_cmpuint(looks, >=, 9);
    g_assert_cmpint(guest.engine.decision.phase, ==, CONVERGENCE_PHASE_STUCK);
    g_assert_false(guest.engine.decision.predicted);
    g_assert_nonnull(strstr(guest.engine.decision.reason, "100.0 MB/s"));
    g_assert_nonnull(strstr(guest.engine.decision.reason, "64.0 MB/s"));
    g_assert_nonnull(strstr(guest.engine.decision.reason,
                            "still 100.0 MB/s at 99 %"));
    /* A trial of three seconds needs a reason. */
    for (unsigned i = 0; i < 100; i++) {
        look(&guest, SECOND_NS, 200);
        g_assert_cmpint(guest.engine.decision.phase, ==,
                        CONVERGENCE_PHASE_STUCK);
        g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, 0);
    }
}

/* Dirtying that no throttle changes: a second of it tells. */
static void test_deaf_guest_is_let_be_and_tried_again(void)
{
    Guest guest = guest_begin();
    int64_t quiet_s = 10;

    look(&guest, SECOND_NS, 100);
    for (unsigned trial = 0; trial < 4; trial++) {
        int64_t held_ns = 0;

        while (guest.engine.decision.throttle_pct) {
            held_ns += guest.engine.decision.throttle_pct == 99 ? LOOK_NS : 0;
            look(&guest, LOOK_NS, 100);
        }
        g_assert_cmpint(held_ns, ==, SECOND_NS);
        for (int64_t s = 0; s < quiet_s - 1; s++) {
            g_assert_cmpint(guest.engine.decision.phase, ==,
                            CONVERGENCE_PHASE_STUCK);
            g_assert_nonnull(strstr(guest.engine.decision.reason,
                                    "still 100.0 MB/s at 99 %"));
            look(&guest, SECOND_NS, 100);
            g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, 0);
        }
        look(&guest, SECOND_NS, 100);
        look(&guest, SECOND_NS, 100);
        g_assert_cmpuint(guest.engine.decision.throttle_pct, >, 0);
        quiet_s *= 2;
    }
}

/*
 * What it did before was not known when it was slowed: it runs free for a look,
 * once, and is let be or slowed again by what that shows.
 */
static void test_what_is_not_known_is_compared(void)
{
    static const struct {
        double free, held;
        bool deaf;
    } rows[] = { { 100, 76, true }, { 100, 74, false }, { 900, 80, false } };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Guest guest = guest_begin();
        ConvergenceSample sample = fixture_sample(&guest.engine, SECOND_NS,
                                                  rows[i].held, 64);
        int64_t ns = 0;
        unsigned free_looks = 0;

        sample.unseen_bytes = 1;
        convergence_engine_update(&guest.engine, &guest.params, &sample);
        while (ns < 5 * SECOND_NS &&
               guest.engine.decision.phase != CONVERGENCE_PHASE_STUCK) {
            bool is_free = !guest.engine.decision.throttle_pct;

            look(&guest, LOOK_NS, is_free ? rows[i].free : rows[i].held);
            free_looks += is_free;
            ns += LOOK_NS;
        }
        g_assert_cmpuint(free_looks, ==, 1);
        g_assert_true((guest.engine.decision.throttle_pct == 0) ==
                      rows[i].deaf);
        g_assert_true(!rows[i].deaf ||
                      strstr(guest.engine.decision.reason,
                             "still 76.0 MB/s at 99 %"));
    }
}

/* On either side of three quarters, and of what outpaces the link. */
static void test_what_is_taken_for_deaf(void)
{
    static const struct {
        double before, held;
        bool deaf;
    } rows[] = {
        { 100, 76, true }, { 100, 74, false },
        { 80, 65, true }, { 80, 63, false },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Guest guest = guest_begin();
        int64_t held_ns = 0;

        look(&guest, SECOND_NS, rows[i].before);
        while (guest.engine.decision.throttle_pct && held_ns < 3 * SECOND_NS) {
            look(&guest, LOOK_NS, rows[i].held);
            held_ns += LOOK_NS;
        }
        g_assert_true((guest.engine.decision.throttle_pct == 0) ==
                      rows[i].deaf);
    }
}

/*
 * Where little is allowed, a guest that does all that can be asked of it is no
 * deaf one; and what was done before it was slowed is no sign of that.
 */
static void test_little_throttle_is_given_its_three_seconds(void)
{
    static const unsigned max_pcts[] = { 10, 25, 33, 34, 50, 74 };

    for (unsigned i = 0; i < G_N_ELEMENTS(max_pcts); i++) {
        Guest guest = guest_begin();
        double free = 6400.0 / (100 - max_pcts[i]) + 1;
        int64_t held_ns = 0;

        guest.params.max_throttle_pct = max_pcts[i];
        look(&guest, SECOND_NS, free);
        g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, max_pcts[i]);
        g_assert_cmpuint(guest.engine.own.predictive.held_ns, ==, 0);
        while (guest.engine.decision.throttle_pct) {
            g_assert_cmpint(guest.engine.decision.phase ==
                            CONVERGENCE_PHASE_STUCK, ==, held_ns >= SECOND_NS);
            look(&guest, LOOK_NS, free * share(&guest));
            held_ns += LOOK_NS;
            g_assert_cmpint(held_ns, <=, 3 * SECOND_NS);
        }
        g_assert_cmpint(held_ns, ==, 3 * SECOND_NS);
    }
}

/* Of what is dirtied while all pages wait, less than is sent does no harm. */
static void test_what_is_taken_for_deaf_in_the_bulk_pass(void)
{
    static const struct {
        double held;
        bool deaf;
    } rows[] = { { 59, false }, { 63, false }, { 65, true } };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Guest guest = guest_begin();

        look(&guest, SECOND_NS, 70);
        for (unsigned n = 0; n < 12 && guest.engine.decision.throttle_pct;
             n++) {
            ConvergenceSample sample = fixture_sample(&guest.engine, LOOK_NS,
                                                      rows[i].held, 64);

            sample.bulk_pass = true;
            sample.bulk_remaining_bytes = MB(400);
            convergence_engine_update(&guest.engine, &guest.params, &sample);
        }
        g_assert_true((guest.engine.decision.throttle_pct == 0) ==
                      rows[i].deaf);
    }
}

/* Three seconds, by however long looks: a guest of a TiB has long ones. */
static void test_how_long_it_is_held_in_vain(void)
{
    static const struct {
        int64_t look_ms;
        unsigned looks;
    } rows[] = {
        { 100, 30 }, { 250, 12 }, { 1000, 3 }, { 3000, 2 }, { 10000, 1 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Guest guest = guest_that_follows_by_half();
        unsigned looks = 0;

        while (guest.engine.decision.throttle_pct) {
            look(&guest, rows[i].look_ms * NS_PER_MS, 100);
            looks++;
        }
        g_assert_cmpuint(looks, ==, rows[i].looks);
        g_assert_cmpint(guest.engine.decision.phase, ==,
                        CONVERGENCE_PHASE_STUCK);
    }
}

/* A second, and two looks at least. */
static void test_how_soon_the_most_is_said_to_be_too_little(void)
{
    static const struct {
        int64_t look_ms;
        unsigned looks;
    } rows[] = { { 100, 10 }, { 250, 4 }, { 500, 2 }, { 1000, 2 } };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Guest guest = guest_that_follows_by_half();
        unsigned looks = 0;

        while (guest.engine.decision.phase != CONVERGENCE_PHASE_STUCK) {
            look(&guest, rows[i].look_ms * NS_PER_MS, 100);
            looks++;
        }
        g_assert_cmpuint(looks, ==, rows[i].looks);
        g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, 99);
    }
}

static void test_a_faster_link_is_a_reason_to_try_again(void)
{
    Guest guest = guest_that_follows_by_half();

    do {
        look(&guest, LOOK_NS, 100);
    } while (guest.engine.decision.throttle_pct);
    guest.drain_mb_per_s = 150;
    for (unsigned i = 0; i < 15; i++) {
        look(&guest, SECOND_NS, 100);
    }
    g_assert_cmpuint(guest.engine.decision.throttle_pct, >, 0);
    g_assert_cmpint(guest.engine.decision.phase, !=, CONVERGENCE_PHASE_STUCK);
}

/* Short looks see a hot set as a high rate; it will go at the switch-over. */
static void test_hot_set_within_the_downtime_limit_is_let_be(void)
{
    Guest guest = guest_begin();

    for (unsigned i = 0; i < 3; i++) {
        /* 10 MB each look of 100 ms: 100 MB/s, but 17 MB may remain. */
        look(&guest, 100 * NS_PER_MS, 100);
        g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, 0);
        look(&guest, SECOND_NS, 10);
        g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, 0);
    }
}

/*
 * What any guest writes to after each sync, however soon the next one comes,
 * makes much of a short look.  5.8 MB, a third of the threshold, may be that.
 */
static void test_short_looks_do_not_judge_by_what_is_rewritten(void)
{
    static const struct {
        int64_t interval_ms;
        double seen_mb;
        bool slowed;
    } rows[] = {
        /* Of what is above 35.2 MB/s. */
        { 700, 24.6, false }, { 700, 30.3, false }, { 700, 30.5, true },
        { 899, 37.3, false }, { 899, 37.6, true },
        { 901, 31.6, false }, { 901, 31.8, true }, { 1000, 35.3, true },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Guest guest = guest_begin();

        /* The model has to have seen the link for the threshold. */
        look(&guest, SECOND_NS, 1);
        look(&guest, SECOND_NS, 1);
        guest.engine.model.dirty_bytes_per_s = 1e9;
        look(&guest, rows[i].interval_ms * NS_PER_MS,
             rows[i].seen_mb * 1000 / rows[i].interval_ms);
        g_assert_cmpint(guest.engine.decision.throttle_pct > 0, ==,
                        rows[i].slowed);
    }
}

/* They put it off, but not for ever. */
static void test_the_fourth_short_look_decides(void)
{
    Guest guest = guest_begin();

    guest.params.sync_period_ms = 60000;
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmpuint(look(&guest, 700 * NS_PER_MS, 40)->throttle_pct, ==,
                         0);
        g_assert_cmpint(guest.engine.decision.next_sync_ns, ==, SECOND_NS);
    }
    g_assert_cmpuint(look(&guest, 700 * NS_PER_MS, 40)->throttle_pct, >, 0);
}

/* With a second to go a calm guest stays slowed; with more, it does not. */
static void test_nothing_is_given_back_near_the_end(void)
{
    static const struct {
        uint64_t remaining_mb;
        bool given_back;
    } rows[] = {
        { 64, false }, { 95, false }, { 97, true }, { 500, true },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Guest guest = guest_begin();
        unsigned slowed_pct = look(&guest, SECOND_NS, 1280)->throttle_pct;

        g_assert_cmpuint(slowed_pct, ==, 99);
        for (unsigned n = 0; n < 3; n++) {
            ConvergenceSample sample =
                fixture_sample(&guest.engine, LOOK_NS, 1, 64);

            sample.remaining_bytes = rows[i].remaining_mb * 1000000;
            convergence_engine_update(&guest.engine, &guest.params, &sample);
        }
        g_assert_cmpint(guest.engine.decision.throttle_pct < slowed_pct, ==,
                        rows[i].given_back);
    }
}

static void test_forecast_is_the_time_that_it_takes(void)
{
    Guest guest = guest_begin();
    double expected_s;

    for (unsigned i = 0; i < 8; i++) {
        look(&guest, SECOND_NS, 20);
    }
    /* 500 MB less what the switch-over takes, at 64 - 20; and that takes. */
    expected_s = (500 - 64 * 0.27) / 44 + 0.27;
    g_assert_true(guest.engine.decision.predicted);
    g_assert_cmpfloat_with_epsilon(
        guest.engine.decision.predicted_remaining_ms / 1000.0, expected_s,
        expected_s * 0.02);
    g_assert_cmpuint(guest.engine.decision.predicted_downtime_ms, <=, 300);
}

/* One look at the guest, five times off: the plan counts for more. */
static void test_forecast_is_not_upset_by_a_lump(void)
{
    static const double lumps[] = { 0.2, 1, 5 };
    double expected_s = (500 - 64 * 0.27) / (64 - 12.8) + 0.27;

    for (unsigned i = 0; i < G_N_ELEMENTS(lumps); i++) {
        Guest guest = guest_begin();

        look(&guest, SECOND_NS, 1280);
        g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, 99);
        look(&guest, LOOK_NS, 12.8 * lumps[i]);
        g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, 99);
        g_assert_cmpfloat_with_epsilon(
            guest.engine.decision.predicted_remaining_ms / 1000.0, expected_s,
            expected_s * 0.15);
        /* As looks add up, they count; until nothing is foretold any more. */
        for (unsigned n = 0; n < 5; n++) {
            look(&guest, LOOK_NS, 48);
        }
        g_assert_true(guest.engine.decision.predicted);
        g_assert_cmpint(guest.engine.decision.predicted_remaining_ms, >,
                        1.5 * expected_s * 1000);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/convergence/predictive/first-cut",
                    test_first_cut_is_along_the_line);
    g_test_add_func("/convergence/predictive/below-the-link",
                    test_below_the_link_time_is_given_first);
    g_test_add_func("/convergence/predictive/linear",
                    test_linear_guest_settles_after_one_cut);
    g_test_add_func("/convergence/predictive/paced",
                    test_paced_guest_is_closed_in_on_from_above);
    g_test_add_func("/convergence/predictive/bulk",
                    test_nothing_is_done_in_the_bulk_pass);
    g_test_add_func("/convergence/predictive/early",
                    test_guest_that_writes_everywhere_is_slowed_early);
    g_test_add_func("/convergence/predictive/calm",
                    test_calm_guest_has_its_time_back_in_two_periods);
    g_test_add_func("/convergence/predictive/too-little",
                    test_too_little_is_given_up_after_three_seconds);
    g_test_add_func("/convergence/predictive/deaf",
                    test_deaf_guest_is_let_be_and_tried_again);
    g_test_add_func("/convergence/predictive/not-known",
                    test_what_is_not_known_is_compared);
    g_test_add_func("/convergence/predictive/taken-for-deaf",
                    test_what_is_taken_for_deaf);
    g_test_add_func("/convergence/predictive/taken-for-deaf-in-bulk",
                    test_what_is_taken_for_deaf_in_the_bulk_pass);
    g_test_add_func("/convergence/predictive/little-throttle",
                    test_little_throttle_is_given_its_three_seconds);
    g_test_add_func("/convergence/predictive/in-vain",
                    test_how_long_it_is_held_in_vain);
    g_test_add_func("/convergence/predictive/outpaced",
                    test_how_soon_the_most_is_said_to_be_too_little);
    g_test_add_func("/convergence/predictive/again",
                    test_a_faster_link_is_a_reason_to_try_again);
    g_test_add_func("/convergence/predictive/hot-set",
                    test_hot_set_within_the_downtime_limit_is_let_be);
    g_test_add_func("/convergence/predictive/rewritten",
                    test_short_looks_do_not_judge_by_what_is_rewritten);
    g_test_add_func("/convergence/predictive/rewritten-for-long",
                    test_the_fourth_short_look_decides);
    g_test_add_func("/convergence/predictive/near-end",
                    test_nothing_is_given_back_near_the_end);
    g_test_add_func("/convergence/predictive/forecast",
                    test_forecast_is_the_time_that_it_takes);
    g_test_add_func("/convergence/predictive/lump",
                    test_forecast_is_not_upset_by_a_lump);
    return g_test_run();
}
