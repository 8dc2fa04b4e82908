/*
 * Tests of what is rehearsed, and of how much RAM was touched
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "guest-memory.h"
#include "rehearsal.h"

#define MB 1e6
#define RAM (512 * MB)

static RehearsalSpec a_guest(double rate, double set, gboolean at_least,
                             double bandwidth, double downtime_s)
{
    return (RehearsalSpec) {
        .ram_bytes = RAM, .touched_bytes = RAM,
        .bandwidth_bytes_per_s = bandwidth, .downtime_s = downtime_s,
        .model = { rate, set, at_least },
    };
}

static void test_who_ends(void)
{
    static const struct {
        const char *guest;
        double rate, set;
        gboolean at_least;
        double downtime_s;
        gboolean free_ends, auto_ends;
    } table[] = {
        { "idle", 0, RAM, FALSE, 0.3, TRUE, TRUE },
        { "slow writer", 20 * MB, RAM, FALSE, 0.3, TRUE, TRUE },
        { "outpaces", 100 * MB, 256 * MB, FALSE, 0.3, FALSE, TRUE },
        { "fits the downtime", 900 * MB, 10 * MB, TRUE, 0.3, TRUE, TRUE },
        { "just does not", 900 * MB, 40 * MB, TRUE, 0.3, FALSE, TRUE },
        { "hopeless", 90000 * MB, RAM, FALSE, 0.001, FALSE, FALSE },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        RehearsalSpec spec = a_guest(table[i].rate, table[i].set,
                                     table[i].at_least, 64 * MB,
                                     table[i].downtime_s);
        Rehearsal as_is = rehearse(&spec, REHEARSAL_FREE, 1);
        Rehearsal slowed = rehearse(&spec, REHEARSAL_AUTO, 1);

        g_test_message("%s", table[i].guest);
        g_assert_cmpint(as_is.completes, ==, table[i].free_ends);
        g_assert_cmpint(slowed.completes, ==, table[i].auto_ends);
        if (slowed.completes) {
            g_assert_cmpfloat(slowed.total_s, >, RAM * 0.9 / (64 * MB));
        }
    }
}

/* At 95 % of the link a pass is nearly as long as the one before */
static void test_just_below_the_link_takes_many_passes(void)
{
    RehearsalSpec spec = a_guest(61 * MB, RAM, FALSE, 64 * MB, 0.1);
    Rehearsal as_is = rehearse(&spec, REHEARSAL_FREE, 1);
    Rehearsal slowed = rehearse(&spec, REHEARSAL_AUTO, 1);

    g_assert_true(as_is.completes && slowed.completes);
    g_assert_cmpint(as_is.passes, >, 8);
    g_assert_cmpfloat(as_is.total_s, >, slowed.total_s);
}

static void test_what_was_never_touched_takes_no_time(void)
{
    RehearsalSpec spec = a_guest(0, RAM, FALSE, 64 * MB, 0.3);
    double all_s = rehearse(&spec, REHEARSAL_FREE, 1).total_s;

    spec.touched_bytes = RAM / 8;
    g_assert_cmpfloat(rehearse(&spec, REHEARSAL_FREE, 1).total_s, <,
                      all_s / 4);
}

/* Those that do not write lose nothing where vCPUs are told apart */
static void test_only_those_that_write_are_slowed(void)
{
    static const VcpuRate rates[] = {
        { 0, 0 }, { 1, 100 * MB }, { 2, 0 }, { 3, 0 },
    };
    g_autoptr(GArray) vcpus = g_array_new(FALSE, FALSE, sizeof(VcpuRate));
    RehearsalSpec spec = a_guest(100 * MB, 256 * MB, FALSE, 64 * MB, 0.3);
    Rehearsal r;

    g_array_append_vals(vcpus, rates, G_N_ELEMENTS(rates));
    spec.vcpus = vcpus;
    r = rehearse(&spec, REHEARSAL_AUTO, 1);
    g_assert_true(r.completes && r.limited);
    g_assert_cmpint(r.throttle_pct, ==, 0);
}

/* vCPUs cannot slow down what devices write */
static void test_devices_are_not_slowed(void)
{
    RehearsalSpec spec = a_guest(200 * MB, 400 * MB, FALSE, 64 * MB, 0.3);

    g_assert_true(rehearse(&spec, REHEARSAL_AUTO, 1).completes);
    spec.devices_part = 1;
    g_assert_false(rehearse(&spec, REHEARSAL_AUTO, 1).completes);
}

static const char smaps[] =
    "7f0000000000-7f0008000000 rw-p 00000000 00:00 0 \n"
    "Size:             131072 kB\nRss:               20000 kB\n"
    "Swap:               1000 kB\n"
    "7f1000000000-7f1010000000 rwxp 00000000 00:00 0 \n"
    "Size:             262144 kB\nRss:               99000 kB\n"
    "7f2000000000-7f2000001000 rw-p 00000000 00:00 0 \n"
    "Rss:                   4 kB\n";

static void test_touched_memory_is_that_of_ram_alone(void)
{
    g_assert_cmpfloat(guest_memory_touched_of(smaps, 131072 * 1024.0), ==,
                      21000 * 1024.0);
    /* No mapping is large enough to be that guest's RAM */
    g_assert_cmpfloat(guest_memory_touched_of(smaps, 1e9), <, 0);
    g_assert_cmpfloat(guest_memory_touched_of("", 1e6), <, 0);
    g_assert_cmpfloat(guest_memory_touched(0, 1e6), <, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rehearsal/who-ends", test_who_ends);
    g_test_add_func("/rehearsal/just-below-the-link",
                    test_just_below_the_link_takes_many_passes);
    g_test_add_func("/rehearsal/never-touched",
                    test_what_was_never_touched_takes_no_time);
    g_test_add_func("/rehearsal/only-writers",
                    test_only_those_that_write_are_slowed);
    g_test_add_func("/rehearsal/devices", test_devices_are_not_slowed);
    g_test_add_func("/rehearsal/touched",
                    test_touched_memory_is_that_of_ram_alone);
    return g_test_run();
}
