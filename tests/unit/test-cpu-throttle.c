/*
 * cpu-throttle's law and commands, on a clock that the test moves
 *
 * The production sources softmmu/cpu-throttle.c and softmmu/vcpu-slowdown.c,
 * in a world of vCPU threads that has no host below it (fake/vcpu-world.h).
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "vcpu-fixture.h"

#define SUITE "/cpu-throttle/"

/* How late timers may be on average at @pct; see cpu-throttle.c, "Limits". */
static int64_t bearable_lateness_ns(int pct)
{
    return 95 * MS * (100 - pct) / pct - SCALE_MS / 5;
}

static void share_is_right_when_timers_are_on_time(void)
{
    for (int pct = 1; pct <= 99; pct++) {
        begin(1, false);
        cpu_throttle_set(pct);
        assert_near(settled_share(first_cpu, 30 * SECOND), pct, 0.5);
        end();
    }
}

static void share_is_right_when_timers_are_late(void)
{
    for (int pct = 1; pct <= 99; pct++) {
        begin(1, false);
        /* Uniform: the mean is half of it. */
        world.timer_late_ns = MIN(5 * MS, 2 * bearable_lateness_ns(pct) * 0.9);
        world.wait_late_ns = 2 * MS;
        cpu_throttle_set(pct);
        assert_near(settled_share(first_cpu, 60 * SECOND), pct, 1);
        end();
    }
}

/*
 * 5 ms at 99 % would take sleeps of 580 ms: the bound on the silence wins, and
 * what could not be paid does not follow the guest into better times.
 */
static void hopeless_lateness_costs_share_not_silence(void)
{
    begin(1, false);
    world.timer_late_ns = 5 * MS;
    cpu_throttle_set(99);
    assert_near(settled_share(first_cpu, 60 * SECOND), 97.5, 1);
    g_assert_cmpint(world_silence_ns(first_cpu), <=, 100 * MS);

    world.timer_late_ns = 0;
    cpu_throttle_set(50);
    assert_near(share_over(first_cpu, 10 * SECOND), 50, 1);
    end();
}

static void alarms_need_no_punctual_main_loop(void)
{
    begin(8, false);
    world.timer_late_ns = 70 * MS;
    cpu_throttle_set(99);
    assert_near(settled_share(first_cpu, 60 * SECOND), 99, 0.2);
    g_assert_cmpint(world_silence_ns(first_cpu), <=, 100 * MS);

    /* Nor do they have it wake up for each slice. */
    world.timer_late_ns = 60 * SCALE_US;
    cpu_throttle_set(50);
    world_forget();
    world_run_for(10 * SECOND);
    g_assert_cmpint(world.timer_fired, <=, 10 * 200);
    end();
}

/*
 * 150 us for each wait, as on an emulated host: a throttle of 50 % that took all
 * of a wait for sleep was one of 47.1 %.
 */
static void waits_that_take_cpu_are_not_all_sleep(void)
{
    static const int percentages[] = { 20, 50, 80, 95, 99 };

    for (size_t i = 0; i < G_N_ELEMENTS(percentages); i++) {
        int pct = percentages[i];
        int64_t before_ns;

        begin(1, false);
        world.wait_cpu_ns = 150 * SCALE_US;
        cpu_throttle_set(pct);
        world_run_for(2 * SECOND);
        before_ns = world_cpu_time_ns(first_cpu);
        world_run_for(10 * SECOND);
        assert_near(100 - (world_cpu_time_ns(first_cpu) - before_ns) /
                          (10 * SECOND / 100.0), pct, 2);
        end();
    }
}

static CPUState *second(void)
{
    return CPU_NEXT(first_cpu);
}

static void one_vcpu_sleeps_for_itself(void)
{
    begin(3, false);
    cpu_throttle_set_vcpu(first_cpu, 0);
    cpu_throttle_set_vcpu(second(), 90);
    g_assert_cmpint(cpu_throttle_get_percentage(), ==, 90);
    assert_near(settled_share(second(), 10 * SECOND), 90, 0.5);
    g_assert_cmpfloat(share_over(first_cpu, SECOND), ==, 0);
    g_assert_cmpfloat(share_over(CPU_NEXT(second()), SECOND), ==, 0);

    /* Another one takes its place. */
    cpu_throttle_set_vcpu(first_cpu, 50);
    cpu_throttle_set_vcpu(second(), 0);
    assert_near(settled_share(first_cpu, 10 * SECOND), 50, 0.5);
    g_assert_cmpfloat(share_over(second(), SECOND), ==, 0);
    end();
}

static void who_sleeps_at_99_wakes_when_let_go(void)
{
    begin(2, false);
    cpu_throttle_set_vcpu(second(), 99);
    world_run_for(SECOND);
    until_asleep(second());
    cpu_throttle_set_vcpu(second(), 0);
    world_run_for(SCALE_MS / 10);
    g_assert_false(world_sleeps(second()));
    g_assert_cmpfloat(share_over(second(), SECOND), ==, 0);
    end();
}

static void a_percentage_for_all_is_for_each(void)
{
    begin(2, false);
    cpu_throttle_set_vcpu(second(), 99);
    world_run_for(SECOND);
    cpu_throttle_set(50);
    g_assert_cmpint(cpu_throttle_get_percentage(), ==, 50);
    assert_near(settled_share(first_cpu, 10 * SECOND), 50, 0.5);
    assert_near(share_over(second(), 10 * SECOND), 50, 0.5);

    /* The same percentage once more, after single ones, is news. */
    cpu_throttle_set_vcpu(second(), 0);
    world_run_for(SECOND);
    cpu_throttle_set(50);
    assert_near(settled_share(second(), 10 * SECOND), 50, 0.5);
    end();
}

static void a_stop_ends_single_ones(void)
{
    begin(2, false);
    cpu_throttle_set_vcpu(first_cpu, 99);
    cpu_throttle_set_vcpu(second(), 20);
    world_run_for(SECOND);
    cpu_throttle_stop();
    g_assert_false(cpu_throttle_active());
    world_run_for(100 * MS);
    g_assert_cmpfloat(share_over(first_cpu, SECOND), ==, 0);
    g_assert_cmpfloat(share_over(second(), SECOND), ==, 0);
    end();
}

static void the_users_own_counts_for_single_ones(void)
{
    begin(2, false);
    qmp_set_cpu_throttle(50, NULL);
    cpu_throttle_set_vcpu(first_cpu, 20);
    cpu_throttle_set_vcpu(second(), 80);
    assert_near(settled_share(first_cpu, 10 * SECOND), 50, 0.5);
    assert_near(share_over(second(), 10 * SECOND), 80, 0.5);
    end();
}

/* Where one thread runs all vCPUs, they have one throttle. */
static void a_shared_thread_goes_by_the_highest(void)
{
    begin(2, true);
    cpu_throttle_set_vcpu(first_cpu, 20);
    cpu_throttle_set_vcpu(second(), 80);
    world_run_for(2 * SECOND);
    assert_near(settled_share(first_cpu, 10 * SECOND), 80, 0.5);
    /* In the order of the list, the first one begins anew. */
    cpu_throttle_set_vcpu(first_cpu, 20);
    cpu_throttle_set_vcpu(second(), 0);
    assert_near(settled_share(first_cpu, 10 * SECOND), 20, 0.5);
    end();
}

static void sleeps_are_short(void)
{
    for (int pct = 1; pct <= 99; pct++) {
        begin(1, false);
        cpu_throttle_set(pct);
        settled_share(first_cpu, 10 * SECOND);
        g_assert_cmpint(world_silence_ns(first_cpu), >=, MS);
        g_assert_cmpint(world_silence_ns(first_cpu), <=,
                        pct <= 90 ? 10 * MS : 100 * MS);
        end();
    }
}

/* The longest sleep of the first of @vcpus on two host CPUs. */
static int64_t longest_sleep_on_two_ns(int vcpus, int pct)
{
    int64_t sleep_ns;

    begin(vcpus, false);
    world.host_cpus = 2;
    cpu_throttle_init();
    cpu_throttle_set(pct);
    assert_near(settled_share(first_cpu, 10 * SECOND), pct, 0.5);
    sleep_ns = world_silence_ns(first_cpu);
    end();
    return sleep_ns;
}

static void crowds_take_longer_turns(void)
{
    int64_t usual_ns = longest_sleep_on_two_ns(1, 80);

    /* At 80 %, 20 vCPUs want twice the two CPUs, 40 four times, 99 ten times */
    g_assert_cmpint(longest_sleep_on_two_ns(20, 80), <, usual_ns * 11 / 10);
    assert_near(longest_sleep_on_two_ns(40, 80), 2 * usual_ns, usual_ns / 5);
    assert_near(longest_sleep_on_two_ns(99, 80), 4 * usual_ns, usual_ns / 2);
    /* Up to 16 vCPUs, no sleep is above 10 ms. */
    for (int pct = 10; pct <= 90; pct += 10) {
        g_assert_cmpint(longest_sleep_on_two_ns(16, pct), <=, 10 * MS);
    }
    g_assert_cmpint(longest_sleep_on_two_ns(64, 99), <=, 100 * MS);
}

static void idle_vcpu_owes_nothing_and_is_let_be(void)
{
    CpuThrottleInfoList *list;

    begin(1, false);
    world_set_busy_pct(first_cpu, 0);
    cpu_throttle_set(99);
    assert_near(settled_share(first_cpu, 10 * SECOND), 0, 0.01);
    g_assert_cmpint(world_exits(first_cpu), <=, 10 * 60);
    list = qmp_query_cpu_throttle(NULL);
    g_assert_cmpint(list->value->slept_ns, ==, 0);
    qapi_free_CpuThrottleInfoList(list);

    world_set_busy_pct(first_cpu, 100);
    assert_near(settled_share(first_cpu, 10 * SECOND), 99, 0.5);
    end();
}

static void vcpu_with_half_a_host_cpu_sleeps_as_long_as_asked(void)
{
    begin(1, false);
    world_set_busy_pct(first_cpu, 50);
    cpu_throttle_set(80);
    assert_near(settled_share(first_cpu, 10 * SECOND), 80, 1);
    end();
}

static void vcpus_keep_accounts_of_their_own(void)
{
    begin(2, false);
    world_set_busy_pct(first_cpu->next, 0);
    cpu_throttle_set(90);
    assert_near(settled_share(first_cpu, 10 * SECOND), 90, 1);
    assert_near(share_over(first_cpu->next, 10 * SECOND), 0, 0.01);
    end();
}

static void users_throttle_outlives_the_migration(void)
{
    begin(1, false);
    qmp_set_cpu_throttle(30, NULL);
    g_assert_cmpint(cpu_throttle_get_percentage(), ==, 30);
    cpu_throttle_set(20);
    g_assert_cmpint(cpu_throttle_get_percentage(), ==, 30);
    cpu_throttle_set(70);
    g_assert_cmpint(cpu_throttle_get_percentage(), ==, 70);
    cpu_throttle_stop();
    g_assert_cmpint(cpu_throttle_get_percentage(), ==, 30);
    assert_near(settled_share(first_cpu, 10 * SECOND), 30, 1);
    qmp_set_cpu_throttle(0, NULL);
    g_assert_false(cpu_throttle_active());
    end();
}

static void percentage_is_kept_in_range(void)
{
    static const int64_t bad[] = { -1, 100, INT64_MIN, INT64_MAX,
                                   4294967346LL };

    begin(1, false);
    qmp_set_cpu_throttle(40, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *value = g_strdup_printf("%" PRId64, bad[i]);
        Error *err = NULL;

        qmp_set_cpu_throttle(bad[i], &err);
        g_assert_nonnull(err);
        g_assert_nonnull(strstr(error_get_pretty(err), value));
        g_assert_nonnull(strstr(error_get_pretty(err), "0 to 99"));
        error_free(err);
        g_assert_cmpint(cpu_throttle_get_percentage(), ==, 40);
    }
    cpu_throttle_set(1000);
    g_assert_cmpint(cpu_throttle_get_percentage(), ==, 99);
    cpu_throttle_set(-5);
    g_assert_cmpint(cpu_throttle_get_percentage(), ==, 40);
    end();
}

static void query_tells_what_was_delivered(void)
{
    CpuThrottleInfoList *list;

    begin(2, false);
    cpu_throttle_set(75);
    world_run_for(20 * SECOND);
    list = qmp_query_cpu_throttle(NULL);
    for (int i = 0; i < 2; i++) {
        CpuThrottleInfo *info = i ? list->next->value : list->value;

        g_assert_cmpint(info->cpu_index, ==, i);
        g_assert_cmpint(info->percentage, ==, 75);
        assert_near(info->slept_ns / 1e9, 15, 0.2);
        assert_near(info->ran_ns / 1e9, 5, 0.2);
    }
    g_assert_null(list->next->next);
    qapi_free_CpuThrottleInfoList(list);
    end();
}

static void hmp_sets_shows_and_refuses(void)
{
    g_autoptr(GString) out = g_string_new("");
    Monitor mon = { out };
    QDict good = { 50 }, bad = { 100 };

    begin(1, false);
    hmp_set_cpu_throttle(&mon, &good);
    g_assert_cmpstr(out->str, ==, "");
    world_run_for(10 * SECOND);
    hmp_set_cpu_throttle(&mon, &bad);
    hmp_info_cpu_throttle(&mon, NULL);
    g_assert_nonnull(strstr(out->str, "Error: percentage 100 is out of range"));
    g_assert_nonnull(strstr(out->str, "vcpu[0]: throttle 50 %, ran "));
    end();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST(share_is_right_when_timers_are_on_time);
    TEST(share_is_right_when_timers_are_late);
    TIMER_TEST(hopeless_lateness_costs_share_not_silence);
    ALARM_TEST(alarms_need_no_punctual_main_loop);
    TEST(waits_that_take_cpu_are_not_all_sleep);
    TEST(one_vcpu_sleeps_for_itself);
    TEST(who_sleeps_at_99_wakes_when_let_go);
    TEST(a_percentage_for_all_is_for_each);
    TEST(a_stop_ends_single_ones);
    TEST(the_users_own_counts_for_single_ones);
    TIMER_TEST(a_shared_thread_goes_by_the_highest);
    TEST(sleeps_are_short);
    TEST(crowds_take_longer_turns);
    TEST(idle_vcpu_owes_nothing_and_is_let_be);
    TEST(vcpu_with_half_a_host_cpu_sleeps_as_long_as_asked);
    TEST(vcpus_keep_accounts_of_their_own);
    TEST(users_throttle_outlives_the_migration);
    TEST(percentage_is_kept_in_range);
    TEST(query_tells_what_was_delivered);
    TEST(hmp_sets_shows_and_refuses);
    return g_test_run();
}
