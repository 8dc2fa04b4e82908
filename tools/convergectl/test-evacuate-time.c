/*
 * When a host has to be empty
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "evacuate-time.h"

/* 2026-11-30 21:30:00 UTC */
#define NOW_US (G_GINT64_CONSTANT(1796074200) * G_USEC_PER_SEC)

static void test_times(void)
{
    static const struct { const char *text; gint64 from_now_s; } table[] = {
        { "22:00", 1800 }, { "22:00:01", 1801 }, { "21:31", 60 },
        /* That was today: tomorrow */
        { "21:30", 86400 }, { "21:29", 86400 - 60 }, { "9:00", 41400 },
        { "24:00", 9000 }, { "00:00", 9000 },
        { "+1s", 1 }, { "+90m", 5400 }, { "+2h", 7200 }, { "+720h", 2592000 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        gint64 by_us = 0;

        g_assert_true(evacuate_parse_time(table[i].text, NOW_US, &by_us));
        g_assert_cmpint(by_us - NOW_US, ==,
                        table[i].from_now_s * G_USEC_PER_SEC);
    }
}

static void test_what_is_none(void)
{
    static const char *const texts[] = {
        "", "now", "22", "22:", ":30", "25:00", "24:01", "22:60", "22:00:60",
        "22:00x", "22:00:00:00", "-1:00", "+", "+m", "+0m", "+1", "+1d",
        "+-1h", "+721h", "+99999999999999999999h", " 22:00",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        gint64 by_us = 0;

        g_test_message("'%s'", texts[i]);
        g_assert_false(evacuate_parse_time(texts[i], NOW_US, &by_us));
    }
}

int main(int argc, char **argv)
{
    g_setenv("TZ", "UTC", TRUE);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/evacuate-time/times", test_times);
    g_test_add_func("/evacuate-time/what-is-none", test_what_is_none);
    return g_test_run();
}
