/*
 * The guest's serial line as the host may find it: in bits, torn, with noise
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "worklog.h"

/* Taken off a guest's serial line; the sums are the guest's own. */
#define READY "ready loads=write:64:100,compute sum=3354\n"
#define WORK_0 "work t_ms=2310 n=0 u=0/1380 gap_us=0/92 bad=0 sum=def8\n"
#define WORK_1 "work t_ms=2400 n=1 u=2168/40350 gap_us=7510/4964 bad=0 " \
               "sum=4ad5\n"
#define WORK_2 "work t_ms=2500 n=2 u=4625/86640 gap_us=4539/3287 bad=0 " \
               "sum=24e8\n"
#define WORK_3 "work t_ms=2601 n=3 u=6865/131550 gap_us=4987/742 bad=0 " \
               "sum=4aea\n"

#define SECOND_NS G_GINT64_CONSTANT(1000000000)

static unsigned feed(Worklog *log, unsigned port, const char *text)
{
    return worklog_feed(log, port, text, strlen(text), 0);
}

static void test_whole_lines(void)
{
    g_autoptr(Worklog) log = worklog_new();
    const WorklogReport *last;

    g_assert_null(worklog_last(log));
    g_assert_null(worklog_loads(log));
    g_assert_cmpuint(feed(log, 0, READY WORK_0 WORK_1), ==, 2);

    g_assert_cmpstr(worklog_loads(log), ==, "write:64:100,compute");
    last = worklog_last(log);
    g_assert_cmpuint(last->t_ms, ==, 2400);
    g_assert_cmpuint(last->number, ==, 1);
    g_assert_cmpuint(last->nr_vcpus, ==, 2);
    g_assert_cmpuint(last->units[0], ==, 2168);
    g_assert_cmpuint(last->units[1], ==, 40350);
    g_assert_cmpuint(last->gap_us[0], ==, 7510);
    g_assert_cmpuint(last->gap_us[1], ==, 4964);
    g_assert_cmpuint(last->bad_pages, ==, 0);
    g_assert_cmpuint(worklog_garbage_lines(log), ==, 0);
    g_assert_null(worklog_error(log));
}

static void test_latencies_are_read_or_the_line_is_none(void)
{
    g_autoptr(Worklog) log = worklog_new();
    const WorklogReport *last;

    feed(log, 0, READY WORK_0);
    g_assert_false(worklog_last(log)->has_late);
    g_assert_cmpuint(feed(log, 0, "work t_ms=2700 n=4 u=1/2 gap_us=1/2 "
                          "bad=0 late=3:7+21:1/-/-/-/40:2 sum=9be6\n"), ==, 1);
    last = worklog_last(log);
    g_assert_true(last->has_late);
    g_assert_cmpuint(last->late[0][3], ==, 7);
    g_assert_cmpuint(last->late[0][21], ==, 1);
    g_assert_cmpuint(last->late[1][3], ==, 0);
    g_assert_cmpuint(last->late[WORKLOG_PROGRAM_HISTOGRAM][40], ==, 2);
    /* A histogram too few, a bucket that is none */
    g_assert_cmpuint(feed(log, 0, "work t_ms=2800 n=5 u=1/2 gap_us=1/2 "
                          "bad=0 late=3:7/-/-/- sum=8cee\n"), ==, 0);
    g_assert_cmpuint(feed(log, 0, "work t_ms=2900 n=6 u=1/2 gap_us=1/2 "
                          "bad=0 late=62:7/-/-/-/- sum=0582\n"), ==, 0);
    g_assert_cmpuint(worklog_garbage_lines(log), ==, 2);
}

static void test_each_value_has_its_bucket(void)
{
    g_assert_cmpuint(latency_bucket(0), ==, 0);
    for (unsigned i = 1; i < LATENCY_BUCKETS; i++) {
        g_assert_cmpuint(latency_bucket(latency_bucket_ns(i)), ==, i);
        g_assert_cmpuint(latency_bucket(latency_bucket_ns(i) - 1), ==, i - 1);
    }
    g_assert_cmpuint(latency_bucket(UINT64_MAX), ==, LATENCY_BUCKETS - 1);
}

static void test_byte_by_byte(void)
{
    static const char text[] = READY WORK_0 WORK_1 WORK_2;
    g_autoptr(Worklog) log = worklog_new();
    unsigned reports = 0;

    for (gsize i = 0; i < strlen(text); i++) {
        reports += worklog_feed(log, 0, text + i, 1, i);
    }
    g_assert_cmpuint(reports, ==, 3);
    g_assert_cmpuint(worklog_count(log), ==, 3);
    g_assert_cmpint(worklog_last(log)->host_ns, ==, strlen(text) - 1);
    g_assert_cmpuint(worklog_garbage_lines(log), ==, 0);
}

/* Every possible cut: what is left of the line is never taken for a report. */
static void test_torn_line_is_no_report(void)
{
    for (gsize cut = 1; cut < strlen(WORK_1) - 1; cut++) {
        g_autoptr(Worklog) log = worklog_new();
        g_autofree char *head = g_strndup(WORK_1, cut);

        feed(log, 0, head);
        feed(log, 0, "\n" WORK_2);
        g_assert_cmpuint(worklog_count(log), ==, 1);
        g_assert_cmpuint(worklog_last(log)->number, ==, 2);
        g_assert_cmpuint(worklog_garbage_lines(log), ==, 1);
    }
}

/* Bytes lost in the middle, so that one number runs into the next. */
static void test_lost_bytes_are_no_report(void)
{
    for (gsize from = 0; from < strlen(WORK_1) - 2; from++) {
        for (gsize to = from + 1; to < strlen(WORK_1) - 1; to++) {
            g_autoptr(Worklog) log = worklog_new();

            worklog_feed(log, 0, WORK_1, from, 0);
            feed(log, 0, &WORK_1[to]);
            g_assert_cmpuint(worklog_count(log), ==, 0);
        }
    }
}

static void test_good_line_behind_a_torn_one(void)
{
    g_autoptr(Worklog) log = worklog_new();

    feed(log, 0, WORK_0 "work t_ms=2400 n=1 u=21" WORK_2);
    g_assert_cmpuint(worklog_count(log), ==, 2);
    g_assert_cmpuint(worklog_last(log)->number, ==, 2);
    g_assert_cmpuint(worklog_missed(log), ==, 1);
    g_assert_cmpuint(worklog_garbage_lines(log), ==, 1);
}

/* The line that the source began ends on the target's port. */
static void test_hand_over_in_mid_line(void)
{
    g_autoptr(Worklog) log = worklog_new();

    feed(log, 0, READY WORK_0 "work t_ms=2400 n=1 u=2168/40");
    feed(log, 1, "350 gap_us=7510/4964 bad=0 sum=4ad5\n" WORK_2);
    g_assert_cmpuint(worklog_count(log), ==, 2);
    g_assert_cmpuint(worklog_last(log)->number, ==, 2);
    g_assert_cmpuint(worklog_last(log)->units[0], ==, 4625);
    g_assert_cmpuint(worklog_missed(log), ==, 1);
    g_assert_cmpuint(worklog_garbage_lines(log), ==, 1);
}

static void test_count_goes_on_behind_migration(void)
{
    g_autoptr(Worklog) log = worklog_new();

    feed(log, 0, READY WORK_0 WORK_1);
    feed(log, 1, WORK_2 WORK_3);
    g_assert_cmpuint(worklog_count(log), ==, 4);
    g_assert_cmpuint(worklog_missed(log), ==, 0);
    g_assert_cmpuint(worklog_last(log)->units[1], ==, 131550);
    g_assert_cmpstr(worklog_loads(log), ==, "write:64:100,compute");
}

/* The target's port was read first; time must not run backwards. */
static void test_late_source_is_dropped(void)
{
    g_autoptr(Worklog) log = worklog_new();

    feed(log, 0, WORK_0);
    feed(log, 1, WORK_2);
    g_assert_cmpuint(feed(log, 0, WORK_1), ==, 0);
    g_assert_cmpuint(worklog_last(log)->number, ==, 2);
    g_assert_cmpuint(worklog_garbage_lines(log), ==, 0);
}

static void test_garbage(void)
{
    static const char binary[] = "\x1b[2J\0\xff\xfe work t_ms=\r\n";
    g_autoptr(Worklog) log = worklog_new();
    g_autofree char *endless = g_strnfill(100000, '7');

    worklog_feed(log, 0, binary, sizeof(binary) - 1, 0);
    feed(log, 0, "[    1.2] clocksource: Switched to clocksource tsc\n");
    feed(log, 0, "work t_ms=1 n=x u=1 gap_us=1 bad=0 sum=0000\n");
    feed(log, 0, endless);
    feed(log, 0, "\n\n\r\n" WORK_0);
    g_assert_cmpuint(worklog_count(log), ==, 1);
    g_assert_cmpuint(worklog_garbage_lines(log), ==, 4);
}

static void test_error_line(void)
{
    g_autoptr(Worklog) log = worklog_new();

    feed(log, 0, "error out=/dev/hvc9: no such terminal in this guest "
                 "sum=11a6\n");
    g_assert_cmpstr(worklog_error(log), ==,
                    "out=/dev/hvc9: no such terminal in this guest");
    g_assert_null(worklog_loads(log));
}

static void test_spans(void)
{
    static const char *const lines[] = { WORK_0, WORK_1, WORK_2, WORK_3 };
    static const gint64 at_ns[] = {
        10 * SECOND_NS, 11 * SECOND_NS, 14 * SECOND_NS, 15 * SECOND_NS,
    };
    g_autoptr(Worklog) log = worklog_new();

    for (gsize i = 0; i < G_N_ELEMENTS(lines); i++) {
        worklog_feed(log, 0, lines[i], strlen(lines[i]), at_ns[i]);
    }
    g_assert_cmpfloat(worklog_units_per_s(log, 0, 0, G_MAXINT64), ==,
                      6865 / 5.0);
    g_assert_cmpfloat(worklog_units_per_s(log, 1, 11 * SECOND_NS,
                                          14 * SECOND_NS), ==,
                      (86640 - 40350) / 3.0);
    /* One report is no rate, and vCPU 2 is not there. */
    g_assert_cmpfloat(worklog_units_per_s(log, 0, 0, 10 * SECOND_NS), ==, 0);
    g_assert_cmpfloat(worklog_units_per_s(log, 2, 0, G_MAXINT64), ==, 0);

    g_assert_cmpuint(worklog_max_gap_us(log, 0, 0, G_MAXINT64), ==, 7510);
    g_assert_cmpuint(worklog_max_gap_us(log, 0, 12 * SECOND_NS, G_MAXINT64),
                     ==, 4987);
    g_assert_cmpint(worklog_max_silence_ns(log, 0, G_MAXINT64), ==,
                    3 * SECOND_NS);
    g_assert_cmpint(worklog_max_silence_ns(log, 14 * SECOND_NS, G_MAXINT64),
                    ==, SECOND_NS);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/worklog/latencies-are-read-or-the-line-is-none",
                    test_latencies_are_read_or_the_line_is_none);
    g_test_add_func("/worklog/each-value-has-its-bucket",
                    test_each_value_has_its_bucket);
    g_test_add_func("/worklog/whole-lines", test_whole_lines);
    g_test_add_func("/worklog/byte-by-byte", test_byte_by_byte);
    g_test_add_func("/worklog/torn-line-is-no-report",
                    test_torn_line_is_no_report);
    g_test_add_func("/worklog/lost-bytes-are-no-report",
                    test_lost_bytes_are_no_report);
    g_test_add_func("/worklog/good-line-behind-a-torn-one",
                    test_good_line_behind_a_torn_one);
    g_test_add_func("/worklog/hand-over-in-mid-line",
                    test_hand_over_in_mid_line);
    g_test_add_func("/worklog/count-goes-on-behind-migration",
                    test_count_goes_on_behind_migration);
    g_test_add_func("/worklog/late-source-is-dropped",
                    test_late_source_is_dropped);
    g_test_add_func("/worklog/garbage", test_garbage);
    g_test_add_func("/worklog/error-line", test_error_line);
    g_test_add_func("/worklog/spans", test_spans);
    return g_test_run();
}
