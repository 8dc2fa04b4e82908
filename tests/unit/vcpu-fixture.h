/*
 * What the unit tests of throttled and sleeping vCPUs share
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef VCPU_FIXTURE_H
#define VCPU_FIXTURE_H

#include "vcpu-world.h"
#include "sysemu/cpu-throttle.h"

#define MS ((int64_t)SCALE_MS)
#define SECOND NANOSECONDS_PER_SECOND

/* A host up for 104 days: beyond 2^53 ns, where doubles begin to round. */
#define FIRST_NS (104 * 86400 * SECOND + 12345)

/* Each test is made with the main loop's timer alone, and with alarms. */
static bool alarms;

static inline void begin(int vcpus, bool round_robin)
{
    world_new(vcpus, round_robin, FIRST_NS);
    world.alarms = alarms;
    cpu_throttle_init();
}

static inline void end(void)
{
    qmp_set_cpu_throttle(0, NULL);
    cpu_throttle_stop();
    world_run_for(SECOND);
    world_free();
}

/* Measure a running throttle: the share of @ns that @cpu did not run, in %. */
static inline double share_over(CPUState *cpu, int64_t ns)
{
    world_forget();
    world_run_for(ns);
    return 100.0 * (ns - world_in_guest_ns(cpu)) / ns;
}

static inline double settled_share(CPUState *cpu, int64_t ns)
{
    world_run_for(2 * SECOND);
    return share_over(cpu, ns);
}

static inline void assert_near(double got, double want, double within)
{
    if (got < want - within || got > want + within) {
        g_test_message("got %.2f, want %.2f within %.2f", got, want, within);
        g_test_fail();
    }
}

/* Run until @cpu has just fallen asleep. */
static inline void until_asleep(CPUState *cpu)
{
    while (!world_sleeps(cpu)) {
        world_run_for(SCALE_MS / 10);
    }
    world_run_for(SCALE_MS / 10);
    g_assert_true(world_sleeps(cpu));
}

static inline void with_alarms(const void *test)
{
    alarms = true;
    ((void (*)(void))test)();
    alarms = false;
}

/* For main(); SUITE, a string that the test defines, comes before each name. */
#define TIMER_TEST(name) g_test_add_func(SUITE #name, name)
#define ALARM_TEST(name) \
    g_test_add_data_func(SUITE "alarms/" #name, name, with_alarms)
#define TEST(name) do { TIMER_TEST(name); ALARM_TEST(name); } while (0)

#endif /* VCPU_FIXTURE_H */
