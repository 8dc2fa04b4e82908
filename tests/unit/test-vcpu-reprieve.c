/*
 * A vCPU that is held goes out to serve interrupts, within what it may
 *
 * The production sources, in a world of vCPU threads that has no host below it
 * (fake/vcpu-world.h).
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "vcpu-fixture.h"
#include "sysemu/vcpu-interrupts.h"
#include "sysemu/vcpu-reprieve.h"

#define SUITE "/vcpu-reprieve/"

/* A debtor beside cpu-throttle, whom the test tells what is owed. */
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

static void hold_for(CPUState *cpu, int64_t ns)
{
    cpu->other_debt_ns = ns;
    vcpu_slowdown_request(cpu);
    until_asleep(cpu);
}

static void sleeper_answers_at_once_and_sleeps_on(void)
{
    begin(2, false);
    hold_for(first_cpu, 80 * MS);
    world_interrupt(first_cpu);
    world_run_for(500 * SCALE_US);
    g_assert_cmpint(world_answers(first_cpu), ==, 1);
    g_assert_cmpint(world_answer_ns(first_cpu), <, 200 * SCALE_US);
    if (alarms) {
        g_assert_true(world_sleeps(first_cpu));
    }
    world_run_for(6 * MS);
    g_assert_true(world_sleeps(first_cpu));
    g_assert_cmpint(first_cpu->other_debt_ns, >, 60 * MS);
    end();
}

static void sleeper_that_is_not_told_looks(void)
{
    begin(2, false);
    world.interrupts_told = false;
    for (int i = 0; i < 20; i++) {
        hold_for(first_cpu, 80 * MS);
        world_run_for(i * MS);
        world_interrupt(first_cpu);
        world_run_for(14 * MS);
        g_assert_false(world_interrupt_waits(first_cpu));
        /* One that had one lately looks at once. */
        world_interrupt(first_cpu);
        world_run_for(12 * MS);
        g_assert_false(world_interrupt_waits(first_cpu));
        world_run_for(200 * MS);
    }
    g_assert_cmpint(world_answers(first_cpu), ==, 40);
    end();
}

static void looks_grow_rare_where_none_comes(void)
{
    int exits;

    begin(1, false);
    world.interrupts_told = false;
    hold_for(first_cpu, 90 * MS);
    exits = world_exits(first_cpu);
    world_run_for(80 * MS);
    g_assert_true(world_sleeps(first_cpu));
    /* It looked, and did not go out. */
    g_assert_cmpint(world_exits(first_cpu), ==, exits);
    end();
}

/* One waits for it, but it owes more than the next sleep pays. */
static void deep_debtor_does_not_go_out(void)
{
    begin(1, false);
    hold_for(first_cpu, 900 * MS);
    world_interrupt(first_cpu);
    world_run_for(80 * MS);
    g_assert_cmpint(world_answers(first_cpu), ==, 0);
    world_run_for(740 * MS);
    g_assert_cmpint(world_answers(first_cpu), ==, 1);
    end();
}

/* Nor does it wake up over and over while nothing can change that. */
static void assert_does_not_look(int64_t ns)
{
    world_forget();
    world_run_for(ns);
    g_assert_true(world_sleeps(first_cpu));
    g_assert_true(world_interrupt_waits(first_cpu));
    g_assert_cmpint(world.interrupt_looks, <, 5);
}

static void one_that_may_not_go_out_does_not_look(void)
{
    begin(1, false);
    hold_for(first_cpu, 900 * MS);
    world_interrupt(first_cpu);
    world_run_for(MS);
    assert_does_not_look(80 * MS);
    end();

    /* It has used up what the reprieves of this hold may add. */
    begin(1, false);
    hold_for(first_cpu, 80 * MS);
    first_cpu->slowdown.reprieve.left_ns = 0;
    world_interrupt(first_cpu);
    world_run_for(MS);
    assert_does_not_look(60 * MS);
    end();
}

/*
 * A halted vCPU is not called back in time; that is not for its reprieve being
 * too short.
 */
static void halted_vcpu_teaches_nothing(void)
{
    int64_t length_ns;

    begin(1, false);
    hold_for(first_cpu, 80 * MS);
    world_interrupt(first_cpu);
    world_run_for(10 * MS);
    length_ns = first_cpu->slowdown.reprieve.length_ns;
    g_assert_cmpint(length_ns, >, 0);
    for (int late_ms = 0; late_ms < 100; late_ms += 50) {
        int64_t now_ns = world_now_ns();

        vcpu_reprieve_begin(first_cpu, MS, now_ns);
        world_interrupt(first_cpu);
        vcpu_reprieve_hold(first_cpu, MS, now_ns + length_ns + late_ms * MS);
        g_assert_cmpint(first_cpu->slowdown.reprieve.length_ns, ==,
                        length_ns * 2);
    }
    end();
}

/* What the flag does not mask, the local APIC may: it is held back for ever. */
static void guest_that_serves_none_is_given_up(void)
{
    int64_t now_ns;

    begin(1, false);
    hold_for(first_cpu, 80 * MS);
    world_mask_interrupts(first_cpu, true);
    world_interrupt(first_cpu);
    world_mask_interrupts(first_cpu, false);
    now_ns = world_now_ns();
    for (int i = 0; i < 8; i++) {
        now_ns += vcpu_reprieve_begin(first_cpu, 20 * MS, now_ns);
        vcpu_reprieve_hold(first_cpu, 20 * MS, now_ns);
    }
    g_assert_true(world_interrupt_waits(first_cpu));
    g_assert_false(vcpu_masks_interrupts(first_cpu));
    g_assert_false(vcpu_reprieve_is_due(first_cpu, 20 * MS, now_ns));
    g_assert_true(vcpu_reprieve_is_due(first_cpu, 20 * MS, now_ns + 30 * MS));
    end();
}

static void long_handler_is_finished(void)
{
    begin(1, false);
    world.handler_ns = 700 * SCALE_US;
    for (int i = 0; i < 10; i++) {
        hold_for(first_cpu, 80 * MS);
        world_forget();
        world_interrupt(first_cpu);
        world_run_for(70 * MS);
        g_assert_cmpint(world_answers(first_cpu), ==, 1);
        g_assert_cmpint(world_answer_ns(first_cpu), <, 10 * MS);
        world_run_for(200 * MS);
    }
    end();
}

/* A guest in whose way the host is not, is held all the same. */
static void guest_that_masks_for_ever_is_given_up(void)
{
    begin(1, false);
    world_mask_interrupts(first_cpu, true);
    world_interrupt(first_cpu);
    world_run_for(MS);
    for (int i = 0; i < 10; i++) {
        hold_for(first_cpu, 90 * MS);
        world_forget();
        world_run_for(80 * MS);
        g_assert_cmpint(world_in_guest_ns(first_cpu), <,
                        (alarms ? 10 : 30) * MS);
        world_run_for(200 * MS);
    }
    end();
}

/* All that a vCPU owes is what it ran: a storm takes it from later on. */
static void storm_leaves_the_share(void)
{
    static const int asked[] = { 20, 50, 80, 95, 99 };

    for (int i = 0; i < (int)G_N_ELEMENTS(asked); i++) {
        for (int told = 0; told < 2; told++) {
            begin(2, false);
            world.interrupts_told = told;
            cpu_throttle_set(asked[i]);
            world_storm(first_cpu, 20 * SCALE_US);
            assert_near(settled_share(first_cpu, 20 * SECOND), asked[i], 1);
            g_assert_cmpint(world_silence_ns(first_cpu), <=, 100 * MS);
            end();
        }
    }
}

static void answers_under_a_storm(int pct, int64_t think_ns, int64_t within_ns)
{
    begin(1, false);
    cpu_throttle_set(pct);
    world_run_for(SECOND);
    world_forget();
    world_storm(first_cpu, think_ns);
    world_run_for(10 * SECOND);
    g_test_message("%d %%: %d answers, the longest took %.1f ms", pct,
                   world_answers(first_cpu), world_answer_ns(first_cpu) / 1e6);
    g_assert_cmpint(world_answer_ns(first_cpu), <=, within_ns);
    end();
}

/* What can be paid is answered in time, whatever the throttle. */
static void few_interrupts_do_not_wait(void)
{
    answers_under_a_storm(50, 5 * MS, 2 * MS);
    answers_under_a_storm(90, 10 * MS, 2 * MS);
    answers_under_a_storm(99, 100 * MS, 12 * MS);
}

/* Handlers do not eat up what the throttle leaves to the guest's programs. */
static void programs_get_on_under_a_storm(void)
{
    int64_t in_guest_ns, handled_ns;

    begin(1, false);
    world.handler_ns = 28 * SCALE_US;
    cpu_throttle_set(99);
    world_storm(first_cpu, MS);
    world_run_for(2 * SECOND);
    world_forget();
    world_run_for(20 * SECOND);
    in_guest_ns = world_in_guest_ns(first_cpu);
    handled_ns = world_answers(first_cpu) * world.handler_ns;
    g_test_message("of %.1f ms in guest code, handlers took %.1f ms",
                   in_guest_ns / 1e6, handled_ns / 1e6);
    g_assert_cmpint(handled_ns, <, in_guest_ns * 6 / 10);
    end();
}

static void one_thread_for_all_vcpus_sleeps_on(void)
{
    begin(2, true);
    hold_for(first_cpu, 80 * MS);
    world_interrupt(first_cpu);
    world_run_for(50 * MS);
    g_assert_cmpint(world_answers(first_cpu), ==, 0);
    end();
}

static void pause_ends_it(void)
{
    begin(1, false);
    cpu_throttle_set(99);
    world_storm(first_cpu, 20 * SCALE_US);
    for (int i = 0; i < 50; i++) {
        world_run_for(7 * MS + i * 10 * SCALE_US);
        world_pause();
        world_run_for(2 * MS);
        g_assert_true(first_cpu->stopped);
        world_resume();
    }
    end();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    vcpu_slowdown_register(&other_debtor);
    TEST(sleeper_answers_at_once_and_sleeps_on);
    TEST(sleeper_that_is_not_told_looks);
    TEST(looks_grow_rare_where_none_comes);
    TEST(deep_debtor_does_not_go_out);
    TEST(one_that_may_not_go_out_does_not_look);
    ALARM_TEST(halted_vcpu_teaches_nothing);
    ALARM_TEST(guest_that_serves_none_is_given_up);
    ALARM_TEST(long_handler_is_finished);
    TEST(guest_that_masks_for_ever_is_given_up);
    ALARM_TEST(storm_leaves_the_share);
    ALARM_TEST(few_interrupts_do_not_wait);
    ALARM_TEST(programs_get_on_under_a_storm);
    TEST(one_thread_for_all_vcpus_sleeps_on);
    TEST(pause_ends_it);
    return g_test_run();
}
