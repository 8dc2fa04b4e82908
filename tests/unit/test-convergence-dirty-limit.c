/*
 * Policy "dirty-limit": what each vCPU may dirty, and when none is limited
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-fixture.h"

#define MAX_VCPUS 8

typedef struct Guest {
    ConvergenceEngine engine;
    ConvergenceParams params;
    ConvergenceVcpu vcpus[MAX_VCPUS];
    unsigned n_vcpus;
} Guest;

static Guest guest_begin(unsigned n_vcpus)
{
    Guest guest = {
        .params = fixture_params("dirty-limit"),
        .n_vcpus = n_vcpus,
    };

    convergence_engine_init(&guest.engine, FIRST_NS);
    for (unsigned i = 0; i < n_vcpus; i++) {
        guest.vcpus[i].id = i;
    }
    return guest;
}

/* A second in which each vCPU writes what it wants and is allowed to. */
static const ConvergenceDecision *run(Guest *guest, const double *wants,
                                      double devices)
{
    ConvergenceSample sample;
    double all = devices;

    for (unsigned i = 0; i < guest->n_vcpus; i++) {
        double limit = guest->vcpus[i].limit_bytes_per_s / BYTES_PER_MB;
        double rate = limit > 0 ? MIN(wants[i], limit) : wants[i];

        guest->vcpus[i].dirtied_bytes = MB(rate);
        guest->vcpus[i].touched_bytes = MB(rate);
        all += rate;
    }
    sample = fixture_sample(&guest->engine, SECOND_NS, all, 64);
    sample.vcpus = guest->vcpus;
    sample.n_vcpus = guest->n_vcpus;
    return convergence_engine_update(&guest->engine, &guest->params, &sample);
}

static double limit_mb(const Guest *guest, unsigned i)
{
    return guest->vcpus[i].limit_bytes_per_s / BYTES_PER_MB;
}

static void test_two_writers_of_eight_share_the_budget(void)
{
    static const double wants[MAX_VCPUS] = { 100, 0.2, 0, 0.4, 200, 0, 0, 0 };
    Guest guest = guest_begin(8);

    for (unsigned i = 0; i < 20; i++) {
        g_assert_cmpuint(run(&guest, wants, 0)->throttle_pct, ==, 0);
        g_assert_true(guest.engine.decision.vcpus_limited);
        /* 0.2 of 64 less 0.6, by two; the others' never binds. */
        g_assert_cmpfloat_with_epsilon(limit_mb(&guest, 0), 6.1, 0.05);
        g_assert_cmpfloat_with_epsilon(limit_mb(&guest, 4), 6.1, 0.05);
        g_assert_cmpfloat(wants[3], <, limit_mb(&guest, 3));
    }
    g_assert_cmpint(guest.engine.decision.phase, ==,
                    CONVERGENCE_PHASE_CONVERGING);
}

static void test_idle_guest_has_no_limits(void)
{
    static const double wants[4] = { 5, 5, 5, 5 };
    Guest guest = guest_begin(4);

    for (unsigned i = 0; i < 5; i++) {
        g_assert_false(run(&guest, wants, 0)->vcpus_limited);
        g_assert_cmpuint(guest.vcpus[0].limit_bytes_per_s, ==, 0);
    }
}

static void test_what_devices_dirty_is_taken_off(void)
{
    static const double wants[1] = { 100 };
    Guest guest = guest_begin(1);

    run(&guest, wants, 6.4);
    g_assert_cmpfloat_with_epsilon(limit_mb(&guest, 0), 6.4, 0.05);
}

static void test_vcpus_keep_the_least_where_devices_take_it_all(void)
{
    static const double wants[1] = { 100 };
    Guest guest = guest_begin(1);

    run(&guest, wants, 40);
    g_assert_cmpfloat_with_epsilon(limit_mb(&guest, 0), 64 * 0.02, 0.05);
}

static void test_devices_that_outpace_the_link_are_told_and_no_one_limited(void)
{
    static const double wants[1] = { 10 };
    Guest guest = guest_begin(1);

    for (unsigned i = 0; i < 5; i++) {
        run(&guest, wants, 77);
        g_assert_cmpint(guest.engine.decision.phase, ==,
                        CONVERGENCE_PHASE_STUCK);
        g_assert_false(guest.engine.decision.vcpus_limited);
        g_assert_cmpuint(guest.vcpus[0].limit_bytes_per_s, ==, 0);
        g_assert_nonnull(strstr(guest.engine.decision.reason,
                                "devices alone dirty 77.0 MB/s"));
    }
}

static void test_a_limit_of_the_user_is_taken_as_it_is(void)
{
    static const double wants[2] = { 100, 0 };
    Guest guest = guest_begin(2);

    guest.params.vcpu_dirty_limit_bytes_per_s = MB(25);
    run(&guest, wants, 0);
    g_assert_cmpuint(guest.vcpus[0].limit_bytes_per_s, ==, MB(25));
    g_assert_cmpuint(guest.vcpus[1].limit_bytes_per_s, ==, MB(25));
}

static void test_limits_are_lifted_when_nobody_needs_them(void)
{
    static const double busy[2] = { 100, 0 }, calm[2] = { 1, 0 };
    Guest guest = guest_begin(2);
    unsigned seconds = 0;

    for (unsigned i = 0; i < 3; i++) {
        run(&guest, busy, 0);
    }
    g_assert_true(guest.engine.decision.vcpus_limited);
    while (guest.engine.decision.vcpus_limited) {
        run(&guest, calm, 0);
        g_assert_cmpuint(++seconds, <=, 4);
    }
    g_assert_cmpuint(guest.vcpus[0].limit_bytes_per_s, ==, 0);
    g_assert_cmpint(guest.engine.decision.phase, ==,
                    CONVERGENCE_PHASE_WATCHING);
}

/* Plugged while limits are in force: it is not the one way around them. */
static void test_new_vcpu_is_limited_as_the_others(void)
{
    static const double wants[3] = { 100, 0, 100 };
    Guest guest = guest_begin(2);

    run(&guest, wants, 0);
    guest.n_vcpus = 3;
    guest.vcpus[2].id = 2;
    run(&guest, wants, 0);
    g_assert_cmpuint(guest.vcpus[2].limit_bytes_per_s, >, 0);
    g_assert_cmpuint(guest.vcpus[2].limit_bytes_per_s, ==,
                     guest.vcpus[0].limit_bytes_per_s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/convergence/dirty-limit/two-of-eight",
                    test_two_writers_of_eight_share_the_budget);
    g_test_add_func("/convergence/dirty-limit/idle",
                    test_idle_guest_has_no_limits);
    g_test_add_func("/convergence/dirty-limit/devices",
                    test_what_devices_dirty_is_taken_off);
    g_test_add_func("/convergence/dirty-limit/least",
                    test_vcpus_keep_the_least_where_devices_take_it_all);
    g_test_add_func("/convergence/dirty-limit/stuck",
        test_devices_that_outpace_the_link_are_told_and_no_one_limited);
    g_test_add_func("/convergence/dirty-limit/fixed",
                    test_a_limit_of_the_user_is_taken_as_it_is);
    g_test_add_func("/convergence/dirty-limit/lifted",
                    test_limits_are_lifted_when_nobody_needs_them);
    g_test_add_func("/convergence/dirty-limit/hotplug",
                    test_new_vcpu_is_limited_as_the_others);
    return g_test_run();
}
