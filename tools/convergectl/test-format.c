/*
 * Tests of figures for people, and of figures from people
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "format.h"

#define UNKNOWN (-1)

static void test_bytes(void)
{
    static const struct { double bytes; const char *text; } table[] = {
        { UNKNOWN, "?" }, { 0, "0.0 MB" }, { 49e3, "0.0 MB" },
        { 51e3, "0.1 MB" }, { 99.94e6, "99.9 MB" }, { 99.96e6, "100 MB" },
        { 268435456, "268 MB" }, { 9999.4e6, "9999 MB" },
        { 9999.6e6, "10.0 GB" }, { 17179869184.0, "17.2 GB" },
        { 999.4e9, "999 GB" }, { 1.46e12, "1460 GB" },
        { 12e12, "12.0 TB" }, { 70368744177664.0, "70.4 TB" },
        { 1e16, "10.0 PB" }, { 1e30, "1000000000000000 PB" },
    };
    char text[FORMAT_MAX];

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        g_assert_cmpstr(format_bytes(text, table[i].bytes), ==,
                        table[i].text);
    }
    g_assert_cmpstr(format_bytes(text, 0.0 / 0.0), ==, "?");
    g_assert_cmpstr(format_rate(text, 64e6), ==, "64.0 MB/s");
    g_assert_cmpstr(format_rate(text, UNKNOWN), ==, "?");
}

static void test_times(void)
{
    static const struct { gint64 ms; const char *text, *downtime; } table[] = {
        { UNKNOWN, "?", "?" }, { 0, "0.0 s", "0 ms" },
        { 999, "0.9 s", "999 ms" }, { 1000, "1.0 s", "1.0 s" },
        { 119999, "119.9 s", "119.9 s" }, { 120000, "2:00 min", "2:00 min" },
        { 3599999, "59:59 min", "59:59 min" },
        { 3600000, "1:00:00 h", "1:00:00 h" },
        { 360000000, "100:00:00 h", "100:00:00 h" },
    };
    char text[FORMAT_MAX];

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        g_assert_cmpstr(format_duration(text, table[i].ms), ==,
                        table[i].text);
        g_assert_cmpstr(format_downtime(text, table[i].ms), ==,
                        table[i].downtime);
    }
}

static void test_rates_from_people(void)
{
    static const struct { const char *text; guint64 bytes_per_s; } table[] = {
        { "64", 64000000 }, { "0.5", 500000 }, { "64MB/s", 64000000 },
        { "500M", 500000000 }, { "500 M", 500000000 }, { "1G", 1000000000 },
        { "10Gbit", 1250000000 }, { "10Gbit/s", 1250000000 },
        { "100kB", 100000 }, { "100KB", 100000 }, { "8bit", 1 },
        { "1TB/s", 1000000000000 },
    };
    static const char *const wrong[] = {
        "", "x", "M", "-1", "0", "64x", "64MBs", "10 Gbits", "nan", "inf",
        "9e99", "7bit",
    };
    guint64 value;

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        g_assert_true(parse_rate(table[i].text, &value));
        g_assert_cmpuint(value, ==, table[i].bytes_per_s);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_test_message("%s", wrong[i]);
        g_assert_false(parse_rate(wrong[i], &value));
    }
}

static void test_foreign_text_cannot_drive_a_terminal(void)
{
    static const struct { const char *from, *to; } table[] = {
        { "plain", "plain" }, { "two\nlines", "two lines" },
        { "\033[2Jgone\a", "[2Jgone" }, { "a\r\n\tb ", "a b" },
        { "\xc3\xa4", "\xc3\xa4" }, { "\xff", "\xef\xbf\xbd" },
        { "\xc2\x9b" "31m", "31m" }, { "", "" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autofree char *clean = format_sanitize(table[i].from);

        g_assert_cmpstr(clean, ==, table[i].to);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/format/bytes", test_bytes);
    g_test_add_func("/format/times", test_times);
    g_test_add_func("/format/rates-from-people", test_rates_from_people);
    g_test_add_func("/format/foreign-text-cannot-drive-a-terminal",
                    test_foreign_text_cannot_drive_a_terminal);
    return g_test_run();
}
