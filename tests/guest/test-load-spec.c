/*
 * The guest's load= list: what is taken, and what is said of the rest
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib.h>
#include <string.h>

#include "load-spec.h"

#define PAGES_PER_MIB 256

static void test_every_kind(void)
{
    Load loads[12];
    char error[512];

    g_assert_cmpint(load_spec_parse("idle,compute,read:8,write:16:100,"
                                    "rand:1:0,verify:2:3,burst:4:5:60:70,"
                                    "phase:1:10:3:20:500,hot:10:20:80:41,"
                                    "syscall,read-disk:32:20,straddle:4:0",
                                    loads, 12,
                                    error, sizeof(error)), ==, 12);
    g_assert_cmpint(loads[0].work, ==, LOAD_IDLE);
    g_assert_cmpint(loads[1].work, ==, LOAD_COMPUTE);
    g_assert_cmpint(loads[2].work, ==, LOAD_READ);
    g_assert_cmpuint(loads[2].pages, ==, 8 * PAGES_PER_MIB);
    g_assert_cmpint(loads[3].work, ==, LOAD_WRITE);
    g_assert_cmpuint(loads[3].phase[0].pages_per_s, ==, 24414);
    g_assert_cmpuint(loads[3].nr_phases, ==, 1);
    g_assert_cmpuint(loads[4].phase[0].pages_per_s, ==, 0);
    g_assert_cmpint(loads[5].work, ==, LOAD_VERIFY);
    /* A burst is a phase that writes and one that rests. */
    g_assert_cmpuint(loads[6].nr_phases, ==, 2);
    g_assert_cmpuint(loads[6].phase[0].for_ms, ==, 60);
    g_assert_cmpuint(loads[6].phase[1].for_ms, ==, 70);
    g_assert_cmpuint(loads[6].phase[1].pages, ==, 0);
    /* Mapped is what the larger phase needs. */
    g_assert_cmpuint(loads[7].pages, ==, 3 * PAGES_PER_MIB);
    g_assert_cmpuint(loads[7].phase[0].pages, ==, PAGES_PER_MIB);
    g_assert_cmpuint(loads[7].phase[1].for_ms, ==, 500);
    g_assert_cmpuint(loads[8].hot_pct, ==, 20);
    g_assert_cmpuint(loads[8].share_pct, ==, 80);
    g_assert_cmpint(loads[9].work, ==, LOAD_SYSCALL);
    g_assert_cmpint(loads[10].work, ==, LOAD_READ_DISK);
    g_assert_cmpuint(loads[10].pages, ==, 32 * PAGES_PER_MIB);
    g_assert_cmpuint(loads[10].phase[0].pages_per_s, ==, 4883);
    g_assert_cmpint(loads[11].work, ==, LOAD_STRADDLE);
    g_assert_cmpuint(loads[11].pages, ==, 4 * PAGES_PER_MIB);
}

static void test_programs_take_an_amount_and_no_memory(void)
{
    Load loads[5];
    char error[512];

    g_assert_cmpint(load_spec_parse("redis:64,redis-load,sqlite:32,"
                                    "compile:9,stress:96", loads, 5,
                                    error, sizeof(error)), ==, 5);
    for (int i = 0; i < 5; i++) {
        g_assert_cmpint(loads[i].work, >, LOAD_PROGRAM);
        g_assert_cmpuint(loads[i].pages, ==, 0);
    }
    g_assert_cmpint(loads[1].work, ==, LOAD_REDIS_LOAD);
    g_assert_cmpuint(loads[0].amount, ==, 64);
    g_assert_cmpuint(loads[4].amount, ==, 96);
    g_assert_cmpint(load_spec_parse("sqlite", loads, 5, error,
                                    sizeof(error)), ==, -1);
    g_assert_nonnull(strstr(error, "expected sqlite:MB"));
}

static void test_refusals_name_the_value(void)
{
    static const struct {
        const char *spec, *said;
    } table[] = {
        { "wirte:1:1", "item 0 \"wirte:1:1\": unknown load" },
        { "idle,", "item 1 \"\": unknown load" },
        { "", "item 0 \"\": unknown load" },
        { "write:64", "expected write:MIB:MBPS" },
        { "compute:1", "expected compute" },
        { "write:64:1:1", "expected write:MIB:MBPS" },
        { "write:0:1", "MIB is \"0\", expected 1 to 1048576" },
        { "write:1048577:1", "MIB is \"1048577\"" },
        { "write:-1:1", "MIB is \"-1\"" },
        { "write::1", "MIB is \"\"" },
        { "write:6x:1", "MIB is \"6x\"" },
        { "hot:1:100:50:1", "HOTPCT is \"100\", expected 1 to 99" },
        { "idle,idle,idle", "item 2 \"idle\": there are only 2 vCPUs" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(table); i++) {
        Load loads[2];
        char error[512] = "";

        g_assert_cmpint(load_spec_parse(table[i].spec, loads, 2,
                                        error, sizeof(error)), ==, -1);
        if (!strstr(error, table[i].said)) {
            g_error("\"%s\" says \"%s\"", table[i].spec, error);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/load-spec/programs-take-an-amount-and-no-memory",
                    test_programs_take_an_amount_and_no_memory);
    g_test_add_func("/load-spec/every-kind", test_every_kind);
    g_test_add_func("/load-spec/refusals-name-the-value",
                    test_refusals_name_the_value);
    return g_test_run();
}
