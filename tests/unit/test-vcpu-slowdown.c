/*
 * The sleep of vCPUs, and who wakes them, on a clock that the test moves
 *
 * The production sources softmmu/cpu-throttle.c and softmmu/vcpu-slowdown.c,
 * in a world of vCPU threads that has no host below it (fake/vcpu-world.h).
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "vcpu-fixture.h"

#define SUITE "/vcpu-slowdown/"

/* A debtor beside cpu-throttle, for which a test sets what is owed. */
static int64_t other_owed_ns(CPUState *cpu, int64_t now_ns)
{
    return cpu->other_debt_ns;
}

static void other_slept(CPUState *cpu, int64_t slept_ns)
{
    cpu->other_debt_ns = MAX(cpu->other_debt_ns - slept_ns, 0);
}

static const VcpuDebtor other_debtor = {
    .owed_ns = other_owed_ns,
    .slept = other_slept,
};

static void stop_wakes_sleepers(void)
{
    begin(2, false);
    cpu_throttle_set(99);
    until_asleep(first_cpu);
    cpu_throttle_stop();
    world_run_for(SCALE_MS / 10);
    g_assert_false(world_sleeps(first_cpu));
    g_assert_false(world_sleeps(first_cpu->next));
    assert_near(share_over(first_cpu, SECOND), 0, 0.01);
    g_assert_cmpint(world.timer_fired, <=, 1);
    end();
}

static void lower_percentage_wakes_sleepers(void)
{
    begin(1, false);
    cpu_throttle_set(99);
    world_run_for(SECOND);
    until_asleep(first_cpu);
    cpu_throttle_set(10);
    world_run_for(2 * MS);
    g_assert_false(world_sleeps(first_cpu));
    assert_near(share_over(first_cpu, 10 * SECOND), 10, 1);
    end();
}

static void higher_percentage_is_in_force_at_once(void)
{
    begin(1, false);
    cpu_throttle_set(1);
    world_run_for(SECOND);
    cpu_throttle_set(99);
    assert_near(share_over(first_cpu, SECOND), 99, 1);
    end();
}

static void unplug_wakes_the_sleeper(void)
{
    begin(2, false);
    cpu_throttle_set(99);
    until_asleep(first_cpu->next);
    first_cpu->next->unplug = true;
    world_kick(first_cpu->next);
    world_run_for(SCALE_MS / 10);
    g_assert_false(world_sleeps(first_cpu->next));
    end();
}

/* Its signal would find a vCPU that is being taken down. */
static void unplug_unsets_the_alarm(void)
{
    begin(2, false);
    cpu_throttle_set(10);
    world_run_for(SECOND);
    while (world_sleeps(first_cpu->next)) {
        world_run_for(SCALE_MS / 10);
    }
    g_assert_true(world_alarm_is_set(first_cpu->next));
    world_unplug_vcpu(first_cpu->next);
    world_run_for(SCALE_MS / 10);
    g_assert_true(first_cpu->next->stopped);
    g_assert_false(world_alarm_is_set(first_cpu->next));
    end();
}

/* Unplugged in its sleep, it leaves that and has no slice to begin. */
static void unplugged_sleeper_sets_no_alarm(void)
{
    begin(2, false);
    cpu_throttle_set(99);
    world_run_for(SECOND);
    until_asleep(first_cpu->next);
    world_unplug_vcpu(first_cpu->next);
    do {
        world_run_for(SCALE_US);
    } while (world_sleeps(first_cpu->next));
    g_assert_false(world_alarm_is_set(first_cpu->next));
    g_assert_cmpint(first_cpu->next->slowdown.due_ns, ==, 0);
    end();
}

static void pause_wakes_sleepers_and_costs_nothing(void)
{
    begin(1, false);
    cpu_throttle_set(90);
    world_run_for(SECOND);
    until_asleep(first_cpu);
    world_pause();
    world_run_for(SCALE_MS / 10);
    g_assert_true(first_cpu->stopped);

    /* Nobody polls while the guest stands... */
    world_run_for(SECOND);
    world_forget();
    world_run_for(60 * SECOND);
    g_assert_cmpint(world.timer_fired, ==, 0);

    /* ...and a minute's pause is not a minute's run. */
    world_resume();
    assert_near(share_over(first_cpu, SECOND), 90, 1);
    end();
}

static void zero_and_back_throttles_again(void)
{
    begin(2, false);
    for (int i = 0; i < 200; i++) {
        cpu_throttle_set(i % 2 ? 0 : 99);
        /* From right away to in the middle of a sleep. */
        world_run_for(i % 10 * SCALE_MS / 7);
    }
    cpu_throttle_set(80);
    assert_near(settled_share(first_cpu, 10 * SECOND), 80, 1);
    assert_near(share_over(first_cpu->next, 10 * SECOND), 80, 1);
    end();
}

/* The migration thread has no BQL when it sets and stops the throttle. */
static void works_without_the_bql(void)
{
    begin(1, false);
    world.bql = false;
    for (int i = 0; i < 200; i++) {
        cpu_throttle_stop();
        world_run_for(i % 3 * SCALE_US);
        cpu_throttle_set(1 + i % 99);
        world_run_for(i % 10 * SCALE_MS / 7);
    }
    cpu_throttle_set(95);
    assert_near(settled_share(first_cpu, 10 * SECOND), 95, 1);
    until_asleep(first_cpu);
    cpu_throttle_stop();
    world_run_for(SCALE_MS / 10);
    g_assert_false(world_sleeps(first_cpu));
    world.bql = true;
    end();
}

static void one_thread_for_all_vcpus_pays_once(void)
{
    begin(8, true);
    for (int pct = 10; pct <= 99; pct += 20) {
        cpu_throttle_set(pct);
        assert_near(settled_share(first_cpu, 10 * SECOND), pct, 1);
    }
    end();
}

static void plugged_vcpu_is_throttled(void)
{
    CPUState *cpu;

    begin(1, false);
    /* The other vCPU has no business for 154 ms. */
    cpu_throttle_set(1);
    world_run_for(SECOND);
    cpu = world_plug_vcpu();
    world_run_for(101 * MS);
    g_assert_cmpint(world_exits(cpu), >, 0);
    cpu_throttle_set(50);
    world_run_for(SECOND);
    assert_near(share_over(cpu, 10 * SECOND), 50, 1);
    end();
}

static void interrupts_do_not_cut_sleeps_short(void)
{
    begin(1, false);
    world.interrupts_per_s = 20000;
    cpu_throttle_set(95);
    assert_near(settled_share(first_cpu, 10 * SECOND), 95, 0.5);
    end();
}

static void note_time(CPUState *cpu, run_on_cpu_data data)
{
    *(int64_t *)data.host_ptr = world_now_ns();
}

static void queued_work_is_served_within_the_sleep(void)
{
    int64_t served_ns = 0;

    begin(1, false);
    cpu_throttle_set(99);
    world_run_for(SECOND);
    until_asleep(first_cpu);
    async_run_on_cpu(first_cpu, note_time,
                     (run_on_cpu_data) { .host_ptr = &served_ns });
    world_run_for(SCALE_MS / 10);
    g_assert_cmpint(served_ns, >, 0);
    g_assert_true(world_sleeps(first_cpu));
    end();
}

/* run_on_cpu() waits until the queue is empty: no sleep may be part of it. */
static void work_queued_before_a_request_does_not_wait(void)
{
    int64_t asked_ns, served_ns = 0;

    begin(1, false);
    cpu_throttle_set(99);
    world_run_for(SECOND);
    for (int i = 0; i < 100; i++) {
        while (world_sleeps(first_cpu)) {
            world_run_for(SCALE_MS / 10);
        }
        asked_ns = world_now_ns();
        async_run_on_cpu(first_cpu, note_time,
                         (run_on_cpu_data) { .host_ptr = &served_ns });
        first_cpu->other_debt_ns = 50 * MS;
        vcpu_slowdown_request(first_cpu);
        first_cpu->work_served_ns = 0;
        world_run_for(MS);
        g_assert_cmpint(first_cpu->work_served_ns, >=, asked_ns);
        world_run_for(200 * MS);
    }
    end();
}

static void flood_of_work_neither_starves_nor_frees(void)
{
    int64_t served_ns = 0;

    begin(1, false);
    cpu_throttle_set(90);
    world_run_for(SECOND);
    world_forget();
    for (int i = 0; i < 50000; i++) {
        served_ns = 0;
        async_run_on_cpu(first_cpu, note_time,
                         (run_on_cpu_data) { .host_ptr = &served_ns });
        world_run_for(100 * SCALE_US);
        g_assert_cmpint(served_ns, >, 0);
    }
    assert_near(100 - 100.0 * world_in_guest_ns(first_cpu) / (5 * SECOND),
                90, 1);
    end();
}

static void one_sleep_serves_both_debts(void)
{
    begin(1, false);
    cpu_throttle_set(50);
    world_run_for(SECOND);
    world_forget();
    /* the other one alone asks for 50 ms out of each 100. */
    for (int i = 0; i < 100; i++) {
        first_cpu->other_debt_ns = 50 * MS;
        vcpu_slowdown_request(first_cpu);
        world_run_for(100 * MS);
    }
    assert_near(100 - 100.0 * world_in_guest_ns(first_cpu) / (10 * SECOND),
                50, 3);
    end();
}

static void debt_is_paid_in_sleeps_below_100_ms(void)
{
    begin(1, false);
    first_cpu->other_debt_ns = 950 * MS;
    vcpu_slowdown_request(first_cpu);
    world_run_for(SECOND);
    g_assert_cmpint(first_cpu->other_debt_ns, <, MS);
    g_assert_cmpint(world_silence_ns(first_cpu), <=, 100 * MS);

    /* Lifted: whoever sleeps for it wakes. */
    first_cpu->other_debt_ns = 950 * MS;
    vcpu_slowdown_request(first_cpu);
    until_asleep(first_cpu);
    first_cpu->other_debt_ns = 0;
    vcpu_slowdown_wake(first_cpu);
    world_run_for(SCALE_MS / 10);
    g_assert_false(world_sleeps(first_cpu));
    end();
}

static int64_t longest_pause_ms(void)
{
    return vcpu_slowdown_longest_pause_ns() / MS;
}

/* Sleeps of 79 ms each, with next to nothing between them, are one pause. */
static void sleeps_at_95_and_above_are_one_pause(void)
{
    static const int pcts[] = { 95, 97, 99 };

    for (int i = 0; i < 3; i++) {
        begin(2, false);
        vcpu_slowdown_forget_pauses();
        g_assert_cmpint(longest_pause_ms(), ==, 0);
        cpu_throttle_set(pcts[i]);
        world_run_for(3 * SECOND);
        g_assert_cmpint(longest_pause_ms(), >=, 2700);
        g_assert_cmpint(longest_pause_ms(), <=, 3000);

        /* It ends soon after the throttle, and stays the longest. */
        cpu_throttle_set(80);
        world_run_for(10 * SECOND);
        g_assert_cmpint(longest_pause_ms(), <=, 3300);
        end();
    }
}

static void sleeps_below_95_are_pauses_of_their_own(void)
{
    static const int pcts[] = { 20, 80, 90, 93 };

    for (int i = 0; i < 4; i++) {
        begin(1, false);
        vcpu_slowdown_forget_pauses();
        cpu_throttle_set(pcts[i]);
        world_run_for(10 * SECOND);
        g_assert_cmpint(longest_pause_ms(), >, 0);
        g_assert_cmpint(longest_pause_ms(), <, 50);
        end();
    }
}

/* Half a second at full speed: whoever runs there has lived on. */
static void running_free_parts_two_pauses(void)
{
    begin(1, false);
    vcpu_slowdown_forget_pauses();
    for (int i = 0; i < 3; i++) {
        cpu_throttle_set(99);
        world_run_for(2 * SECOND);
        cpu_throttle_set(0);
        world_run_for(SECOND / 2);
    }
    g_assert_cmpint(longest_pause_ms(), >=, 1800);
    g_assert_cmpint(longest_pause_ms(), <=, 2000);
    end();
}

static void one_held_vcpu_of_two_is_a_pause(void)
{
    begin(2, false);
    vcpu_slowdown_forget_pauses();
    cpu_throttle_set_vcpu(first_cpu, 0);
    cpu_throttle_set_vcpu(first_cpu->next, 99);
    world_run_for(2 * SECOND);
    g_assert_cmpint(longest_pause_ms(), >=, 1800);
    g_assert_cmpint(longest_pause_ms(), <=, 2000);
    end();
}

/* What was before a migration began is none of its pauses. */
static void forgotten_pauses_do_not_count(void)
{
    begin(1, false);
    cpu_throttle_set(99);
    world_run_for(5 * SECOND);
    vcpu_slowdown_forget_pauses();
    world_run_for(SECOND);
    g_assert_cmpint(longest_pause_ms(), >=, 850);
    g_assert_cmpint(longest_pause_ms(), <=, 1000);
    end();
}

static void a_pause_by_another_debt_counts(void)
{
    begin(1, false);
    vcpu_slowdown_forget_pauses();
    first_cpu->other_debt_ns = SECOND;
    vcpu_slowdown_request(first_cpu);
    world_run_for(2 * SECOND);
    g_assert_cmpint(longest_pause_ms(), >=, 950);
    g_assert_cmpint(longest_pause_ms(), <=, 1050);
    end();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    vcpu_slowdown_register(&other_debtor);
    TEST(stop_wakes_sleepers);
    TEST(lower_percentage_wakes_sleepers);
    TEST(higher_percentage_is_in_force_at_once);
    TEST(unplug_wakes_the_sleeper);
    ALARM_TEST(unplug_unsets_the_alarm);
    ALARM_TEST(unplugged_sleeper_sets_no_alarm);
    TEST(pause_wakes_sleepers_and_costs_nothing);
    TEST(zero_and_back_throttles_again);
    TEST(works_without_the_bql);
    TEST(one_thread_for_all_vcpus_pays_once);
    TEST(plugged_vcpu_is_throttled);
    TEST(interrupts_do_not_cut_sleeps_short);
    TEST(queued_work_is_served_within_the_sleep);
    TEST(work_queued_before_a_request_does_not_wait);
    TEST(flood_of_work_neither_starves_nor_frees);
    TEST(one_sleep_serves_both_debts);
    TEST(debt_is_paid_in_sleeps_below_100_ms);
    TEST(sleeps_at_95_and_above_are_one_pause);
    TEST(sleeps_below_95_are_pauses_of_their_own);
    TEST(running_free_parts_two_pauses);
    TEST(one_held_vcpu_of_two_is_a_pause);
    TEST(forgotten_pauses_do_not_count);
    TEST(a_pause_by_another_debt_counts);
    return g_test_run();
}
