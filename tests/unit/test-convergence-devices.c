/*
 * Devices: when it is tried whether they follow, for how long, and what of it
 *
 * Rates are in MB/s, the link drains 64 of them.  A guest gets along without
 * help up to 55 % of that, 35.2; from 95 % on, 60.8, devices stop all progress.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-devices.h"
#include "convergence-fixture.h"

#define LOOK_NS (250 * NS_PER_MS)
#define N_VCPUS 2

typedef struct Guest {
    ConvergenceEngine engine;
    ConvergenceParams params;
    ConvergenceVcpu vcpus[N_VCPUS];
    double drain_mb_per_s;
    bool bulk_pass, run_times_known;
} Guest;

static Guest guest_begin(const char *policy, bool by_auto)
{
    Guest guest = {
        .params = fixture_params(policy),
        .drain_mb_per_s = 64,
    };

    guest.params.policy_by_auto = by_auto;
    convergence_engine_init(&guest.engine, FIRST_NS);
    for (unsigned i = 0; i < N_VCPUS; i++) {
        guest.vcpus[i].id = i;
    }
    return guest;
}

/* Devices dirty so much, and vCPU 0 that. */
static const ConvergenceDecision *look(Guest *guest, int64_t interval_ns,
                                       double devices, double vcpu)
{
    ConvergenceSample sample = fixture_sample(&guest->engine, interval_ns,
                                              devices + vcpu,
                                              guest->drain_mb_per_s);
    uint64_t bytes = MB(vcpu * interval_ns / SECOND_NS);

    guest->vcpus[0].dirtied_bytes = bytes;
    guest->vcpus[0].touched_bytes = bytes;
    for (unsigned i = 0; i < N_VCPUS; i++) {
        guest->vcpus[i].ran_ns = interval_ns / 100 *
                                 (100 - guest->vcpus[i].throttle_pct);
    }
    sample.vcpus = guest->vcpus;
    sample.n_vcpus = N_VCPUS;
    sample.metered = true;
    sample.meter = "tcg";
    sample.run_times_known = guest->run_times_known;
    sample.bulk_pass = guest->bulk_pass;
    if (guest->bulk_pass) {
        /* Early in it, and with little to be sent again. */
        sample.bulk_remaining_bytes = MB(900);
        sample.remaining_bytes = MB(910);
        sample.dirtied_bytes = 0;
    }
    return convergence_engine_update(&guest->engine, &guest->params, &sample);
}

static bool is_trying(const Guest *guest)
{
    const ConvergenceDecision *d = &guest->engine.decision;

    g_assert_true(!guest->engine.devices.trying ||
                  (d->throttle_pct == guest->params.max_throttle_pct &&
                   !d->vcpus_throttled && !d->vcpus_limited &&
                   d->phase == CONVERGENCE_PHASE_THROTTLING));
    return guest->engine.devices.trying;
}

/* A trial, from where it begins to where it ends. */
static const ConvergenceDecision *try_devices(Guest *guest, double held)
{
    const ConvergenceDecision *d = NULL;
    unsigned looks = 0;

    g_assert_true(is_trying(guest));
    while (is_trying(guest)) {
        g_assert_cmpint(guest->engine.decision.next_sync_ns, ==, LOOK_NS);
        d = look(guest, LOOK_NS, held, 0);
        g_assert_cmpuint(++looks, <=, 2);
    }
    g_assert_cmpuint(looks, ==, 2);
    return d;
}

static void test_trial_begins_where_a_guest_needs_help(void)
{
    static const struct {
        const char *policy;
        bool by_auto;
        double devices, vcpu;
        bool tried;
    } rows[] = {
        { "dirty-limit", true, 35, 0, false },
        { "dirty-limit", true, 36, 0, true },
        { "dirty-limit", true, 145, 0, true },
        /* It is the vCPU that is too fast, not the devices. */
        { "dirty-limit", true, 35, 30, false },
        { "dirty-limit", true, 36, 30, true },
        /* Who asks for limits by hand gets limits. */
        { "dirty-limit", false, 145, 0, false },
        { "predictive", false, 35, 30, false },
        { "predictive", false, 36, 0, true },
        { "step", false, 145, 0, false },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Guest guest = guest_begin(rows[i].policy, rows[i].by_auto);

        look(&guest, SECOND_NS, rows[i].devices, rows[i].vcpu);
        g_assert_true(is_trying(&guest) == rows[i].tried);
    }
}

/* A burst of one look, and one that just ended, are no reason. */
static void test_a_burst_is_no_reason(void)
{
    Guest guest = guest_begin("dirty-limit", true);

    for (unsigned i = 0; i < 5; i++) {
        look(&guest, SECOND_NS, 10, 0);
    }
    look(&guest, LOOK_NS, 80, 0);
    g_assert_false(is_trying(&guest));
    guest = guest_begin("dirty-limit", true);
    for (unsigned i = 0; i < 5; i++) {
        look(&guest, SECOND_NS, 30, 0);
    }
    guest.engine.model.device_bytes_per_s = 145e6;
    look(&guest, LOOK_NS, 10, 60);
    g_assert_false(is_trying(&guest));
}

/* It has to fall to three quarters, and below what stops all progress. */
static void test_what_a_trial_concludes(void)
{
    static const struct {
        double free, held;
        bool follows;
    } rows[] = {
        { 145, 145, false },
        { 145, 62, false },     /* it follows, but by too little */
        { 145, 60, true },
        { 145, 1, true },
        { 70, 60, false },      /* that may be chance */
        { 70, 53, false },
        { 70, 52, true },
        { 40, 31, false },
        { 40, 29, true },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Guest guest = guest_begin("dirty-limit", true);

        look(&guest, SECOND_NS, rows[i].free, 0);
        try_devices(&guest, rows[i].held);
        g_assert_true(convergence_devices_follow(&guest.engine) ==
                      rows[i].follows);
        g_assert_true(convergence_devices_are_deaf(&guest.engine) !=
                      rows[i].follows);
    }
}

/* Requests under way when it begins are not what it is judged by. */
static void test_the_first_look_is_not_judged(void)
{
    Guest guest = guest_begin("dirty-limit", true);

    look(&guest, SECOND_NS, 145, 0);
    look(&guest, LOOK_NS, 145, 0);
    g_assert_true(is_trying(&guest));
    look(&guest, LOOK_NS, 2, 0);
    g_assert_true(convergence_devices_follow(&guest.engine));
}

/* However short looks come: times are what counts. */
static void test_a_trial_takes_time_and_not_looks(void)
{
    Guest guest = guest_begin("dirty-limit", true);
    int64_t held_ns = 0;

    look(&guest, SECOND_NS, 145, 0);
    while (is_trying(&guest)) {
        look(&guest, 50 * NS_PER_MS, 2, 0);
        held_ns += 50 * NS_PER_MS;
    }
    g_assert_cmpint(held_ns, ==, 400 * NS_PER_MS);
}

/* "auto" goes on with what throttles, and comes down to the target. */
static void test_followers_are_throttled(void)
{
    static const char *const policies[] = { "dirty-limit", "predictive" };

    for (unsigned i = 0; i < G_N_ELEMENTS(policies); i++) {
        Guest guest = guest_begin(policies[i], true);
        const ConvergenceDecision *d;
        double share;

        look(&guest, SECOND_NS, 145, 0);
        d = try_devices(&guest, 1.45);
        g_assert_cmpstr(guest.engine.policy->name, ==, "predictive");
        /* On the line through both points, at 12.8. */
        g_assert_cmpuint(d->throttle_pct, ==, 91);
        g_assert_false(d->vcpus_throttled);
        g_assert_nonnull(strstr(d->reason, "devices write what vCPUs ask for; "
                                "all vCPUs sleep 91 %"));
        for (unsigned n = 0; n < 20; n++) {
            share = (100.0 - d->throttle_pct) / 100;
            d = look(&guest, LOOK_NS, 145 * share, 0);
            g_assert_cmpuint(d->throttle_pct, ==, 91);
            g_assert_cmpint(d->phase, ==, CONVERGENCE_PHASE_CONVERGING);
            g_assert_true(d->predicted);
        }
    }
}

/* Whoever asks waits most of the time: the line is never too deep. */
static void test_followers_that_wait_are_closed_in_on(void)
{
    Guest guest = guest_begin("dirty-limit", true);
    unsigned before, now;

    look(&guest, SECOND_NS, 145, 0);
    now = try_devices(&guest, 29)->throttle_pct;
    /* Above the target even so: it stays at the most. */
    g_assert_cmpuint(now, ==, 99);
    guest = guest_begin("dirty-limit", true);
    look(&guest, SECOND_NS, 145, 0);
    now = try_devices(&guest, 8)->throttle_pct;
    for (unsigned n = 0; n < 8; n++) {
        before = now;
        now = look(&guest, LOOK_NS, MIN(145, 800.0 * (100 - before) / 100),
                   0)->throttle_pct;
        g_assert_cmpuint(now, >=, before);
    }
    g_assert_cmpint(guest.engine.decision.phase, ==,
                    CONVERGENCE_PHASE_CONVERGING);
}

/* When they have their time back, all is as before: limits, and no answer. */
static void test_followers_that_stop_are_forgotten(void)
{
    Guest guest = guest_begin("dirty-limit", true);

    look(&guest, SECOND_NS, 145, 0);
    try_devices(&guest, 1);
    for (unsigned i = 0; i < 12 && guest.engine.decision.throttle_pct; i++) {
        look(&guest, LOOK_NS, 0, 0);
    }
    g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, 0);
    look(&guest, SECOND_NS, 0, 1);
    g_assert_cmpstr(guest.engine.policy->name, ==, "dirty-limit");
    g_assert_false(convergence_devices_follow(&guest.engine));
}

/*
 * They follow, and vCPUs do not, by enough: when that is given up it is
 * forgotten, and tried again as late as with deaf ones.
 */
static void test_followers_in_vain_are_forgotten(void)
{
    Guest guest = guest_begin("dirty-limit", true);
    int64_t quiet_s = 10;

    look(&guest, SECOND_NS, 145, 200);
    for (unsigned n = 0; n < 3; n++) {
        int64_t held_ns = 0, free_ns = 0;

        try_devices(&guest, 30);
        g_assert_true(convergence_devices_follow(&guest.engine));
        while (guest.engine.decision.throttle_pct) {
            look(&guest, LOOK_NS, 30, 100);
            held_ns += LOOK_NS;
            g_assert_cmpint(held_ns, <=, 12 * SECOND_NS);
        }
        g_assert_cmpint(held_ns, >, SECOND_NS);
        g_assert_false(convergence_devices_follow(&guest.engine));
        while (!is_trying(&guest)) {
            look(&guest, SECOND_NS, 145, 200);
            g_assert_cmpuint(is_trying(&guest) ? 0 :
                             guest.engine.decision.throttle_pct, ==, 0);
            g_assert_cmpstr(guest.engine.policy->name, ==, "dirty-limit");
            free_ns += SECOND_NS;
            g_assert_cmpint(free_ns, <=, quiet_s * SECOND_NS);
        }
        g_assert_cmpint(free_ns, ==, quiet_s * SECOND_NS);
        quiet_s *= 2;
    }
}

static void test_deaf_ones_are_told_and_nobody_slowed(void)
{
    static const char *const policies[] = { "dirty-limit", "predictive" };

    for (unsigned i = 0; i < G_N_ELEMENTS(policies); i++) {
        Guest guest = guest_begin(policies[i], true);

        look(&guest, SECOND_NS, 145, 0);
        try_devices(&guest, 140);
        for (unsigned n = 0; n < 9; n++) {
            const ConvergenceDecision *d = &guest.engine.decision;

            g_assert_cmpstr(guest.engine.policy->name, ==, policies[i]);
            g_assert_cmpint(d->phase, ==, CONVERGENCE_PHASE_STUCK);
            g_assert_cmpuint(d->throttle_pct, ==, 0);
            g_assert_false(d->vcpus_limited);
            g_assert_nonnull(strstr(d->reason, "devices alone dirty 145.0 MB/s"
                                    ", and still 140.0 MB/s while all vCPUs "
                                    "slept 99 % of their time"));
            look(&guest, SECOND_NS, 145, 0);
        }
    }
}

/* They do not stop all progress: vCPUs have what is left of the link. */
static void test_deaf_ones_below_the_link_leave_limits_in_force(void)
{
    Guest guest = guest_begin("dirty-limit", true);
    const ConvergenceDecision *d;

    look(&guest, SECOND_NS, 50, 100);
    d = try_devices(&guest, 50);
    g_assert_true(d->vcpus_limited);
    g_assert_cmpuint(d->throttle_pct, ==, 0);
    g_assert_cmpint(d->phase, ==, CONVERGENCE_PHASE_CONVERGING);
}

/* After 10 s, 20, 40 ...: half a second each. */
static void test_deaf_ones_are_tried_again_less_and_less(void)
{
    Guest guest = guest_begin("dirty-limit", true);
    int64_t quiet_s = 10, held_ns = 0;

    look(&guest, SECOND_NS, 145, 0);
    for (unsigned n = 0; n < 5; n++) {
        int64_t from_ns = guest.engine.model.last_sample_ns;

        try_devices(&guest, 145);
        held_ns += guest.engine.model.last_sample_ns - from_ns;
        for (int64_t s = 0; s < quiet_s - 1; s++) {
            look(&guest, SECOND_NS, 145, 0);
            g_assert_false(is_trying(&guest));
        }
        look(&guest, SECOND_NS, 145, 0);
        quiet_s *= 2;
    }
    g_assert_cmpint(held_ns, ==, 5 * 2 * LOOK_NS);
    /* And once they do follow, that counts. */
    try_devices(&guest, 1);
    g_assert_true(convergence_devices_follow(&guest.engine));
}

/* A second at the most throttle in which they do not: no need to ask again. */
static void test_followers_that_turn_deaf_are_let_go(void)
{
    Guest guest = guest_begin("dirty-limit", true);
    int64_t ns = 0;

    look(&guest, SECOND_NS, 145, 0);
    try_devices(&guest, 1);
    while (guest.engine.decision.throttle_pct) {
        look(&guest, LOOK_NS, 145, 0);
        ns += LOOK_NS;
        g_assert_cmpint(ns, <=, 2 * SECOND_NS);
    }
    g_assert_cmpint(ns, >, SECOND_NS);
    g_assert_cmpint(guest.engine.decision.phase, ==, CONVERGENCE_PHASE_STUCK);
    g_assert_nonnull(strstr(guest.engine.decision.reason, "devices alone"));
}

/* As little throttle as is allowed is all that is tried, and said. */
static void test_no_more_than_max_cpu_throttle(void)
{
    Guest guest = guest_begin("dirty-limit", true);

    guest.params.max_throttle_pct = 50;
    look(&guest, SECOND_NS, 145, 0);
    try_devices(&guest, 130);
    g_assert_nonnull(strstr(guest.engine.decision.reason, "slept 50 %"));
}

/* Whoever may hardly be slowed is not held for it, and treated as ever. */
static void test_no_trial_where_little_throttle_is_allowed(void)
{
    static const char *const policies[] = { "dirty-limit", "predictive" };

    for (unsigned i = 0; i < G_N_ELEMENTS(policies); i++) {
        for (unsigned max_pct = 10; max_pct < 50; max_pct += 13) {
            Guest guest = guest_begin(policies[i], true);
            unsigned slowed = 0;

            guest.params.max_throttle_pct = max_pct;
            for (unsigned n = 0; n < 60; n++) {
                bool is_slowed = look(&guest, SECOND_NS, 145, 0)->throttle_pct;

                g_assert_false(is_trying(&guest));
                slowed += is_slowed;
                g_assert_true(is_slowed ||
                              guest.engine.decision.phase ==
                              CONVERGENCE_PHASE_STUCK);
            }
            /* A second of throttle, after 10 s one more, then 20. */
            g_assert_cmpuint(slowed, ==, i ? 3 : 0);
            g_assert_null(strstr(guest.engine.decision.reason, "policy auto"));
        }
    }
}

/* Also where that is set while one goes on. */
static void test_trial_ends_when_little_throttle_is_allowed(void)
{
    Guest guest = guest_begin("dirty-limit", true);

    look(&guest, SECOND_NS, 145, 0);
    g_assert_true(is_trying(&guest));
    guest.params.max_throttle_pct = 20;
    look(&guest, LOOK_NS, 145, 0);
    g_assert_false(is_trying(&guest));
    g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, 0);
}

/* Nothing of a trial is left when its meter is dropped, or it is called off. */
static void test_trial_ends_with_its_reasons(void)
{
    for (unsigned i = 0; i < 3; i++) {
        Guest guest = guest_begin("dirty-limit", true);
        ConvergenceSample sample;

        look(&guest, SECOND_NS, 145, 0);
        g_assert_true(is_trying(&guest));
        if (i == 0) {
            guest.params.auto_converge = false;
        } else if (i == 1) {
            guest.params.policy = convergence_policy_find("step");
        }
        if (i < 2) {
            look(&guest, LOOK_NS, 145, 0);
            g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, 0);
        } else {
            sample = fixture_sample(&guest.engine, LOOK_NS, 145, 64);
            convergence_engine_update(&guest.engine, &guest.params, &sample);
        }
        g_assert_false(guest.engine.devices.trying);
        g_assert_false(convergence_devices_are_deaf(&guest.engine));
    }
}

/* A look that tells nothing ends it, and it does not begin again at once. */
static void test_void_look_calls_a_trial_off(void)
{
    static const char *const policies[] = { "dirty-limit", "predictive" };

    for (unsigned i = 0; i < G_N_ELEMENTS(policies); i++) {
        Guest guest = guest_begin(policies[i], true);
        ConvergenceSample sample;
        int64_t free_ns = 0;

        look(&guest, SECOND_NS, 145, 0);
        g_assert_true(is_trying(&guest));
        sample = fixture_sample(&guest.engine, LOOK_NS, 145, 64);
        sample.metered = true;
        sample.vcpus = guest.vcpus;
        sample.n_vcpus = N_VCPUS;
        sample.valid = false;
        convergence_engine_update(&guest.engine, &guest.params, &sample);
        guest.engine.model.last_sample_ns = sample.now_ns;
        g_assert_false(is_trying(&guest));
        g_assert_cmpuint(guest.engine.decision.throttle_pct, ==, 0);
        do {
            look(&guest, SECOND_NS, 145, 0);
            free_ns += SECOND_NS;
        } while (!is_trying(&guest) && free_ns < 5 * SECOND_NS);
        g_assert_cmpint(free_ns, ==, 2 * SECOND_NS);
        try_devices(&guest, 1);
        g_assert_true(convergence_devices_follow(&guest.engine));
    }
}

/*
 * Busy in the bulk pass already: who asks is estimated, as soon as it is seen,
 * and when it ends before it mattered, pages count again.
 */
static void test_run_times_count_while_devices_are_busy(void)
{
    static const struct {
        double devices;
        bool run_times_known, by_auto;
        bool counts;
    } rows[] = {
        { 35, true, true, false }, { 36, true, true, true },
        { 145, false, true, false }, { 145, true, true, true },
        /* By hand it stays what was asked for. */
        { 145, true, false, false },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Guest guest = guest_begin("dirty-limit", rows[i].by_auto);

        guest.bulk_pass = true;
        guest.run_times_known = rows[i].run_times_known;
        for (unsigned n = 0; n < 3; n++) {
            look(&guest, SECOND_NS, rows[i].devices, 0);
        }
        g_assert_true(convergence_devices_by_run_times(&guest.engine) ==
                      rows[i].counts);
        g_assert_cmpstr(guest.engine.policy->name, ==,
                        rows[i].counts ? "predictive" : "dirty-limit");
        /* Not to and fro while they are as busy as that. */
        look(&guest, SECOND_NS, 18, 0);
        g_assert_true(convergence_devices_by_run_times(&guest.engine) ==
                      rows[i].counts);
        look(&guest, SECOND_NS, 17, 0);
        g_assert_false(convergence_devices_by_run_times(&guest.engine));
        g_assert_cmpstr(guest.engine.policy->name, ==, "dirty-limit");
    }
}

static void add(const char *name, void (*test)(void))
{
    g_autofree char *path = g_strdup_printf("/convergence/devices/%s", name);

    g_test_add_func(path, test);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("begins", test_trial_begins_where_a_guest_needs_help);
    add("burst", test_a_burst_is_no_reason);
    add("concludes", test_what_a_trial_concludes);
    add("first-look", test_the_first_look_is_not_judged);
    add("time", test_a_trial_takes_time_and_not_looks);
    add("follow", test_followers_are_throttled);
    add("follow-waiting", test_followers_that_wait_are_closed_in_on);
    add("follow-no-more", test_followers_that_stop_are_forgotten);
    add("follow-in-vain", test_followers_in_vain_are_forgotten);
    add("deaf", test_deaf_ones_are_told_and_nobody_slowed);
    add("deaf-below-link",
        test_deaf_ones_below_the_link_leave_limits_in_force);
    add("deaf-again", test_deaf_ones_are_tried_again_less_and_less);
    add("turn-deaf", test_followers_that_turn_deaf_are_let_go);
    add("max-throttle", test_no_more_than_max_cpu_throttle);
    add("little-throttle", test_no_trial_where_little_throttle_is_allowed);
    add("little-throttle-set",
        test_trial_ends_when_little_throttle_is_allowed);
    add("called-off", test_trial_ends_with_its_reasons);
    add("void-look", test_void_look_calls_a_trial_off);
    add("run-times", test_run_times_count_while_devices_are_busy);
    return g_test_run();
}
