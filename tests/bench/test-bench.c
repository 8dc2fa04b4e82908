/*
 * Unit tests of the benchmark: its accounts, on reports made up by hand
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "guest-work.h"
#include "paired.h"
#include "pin.h"
#include "progress.h"
#include "report.h"
#include "workloads.h"

#include <string.h>

#define MS 1000LL               /* in microseconds */

/* Lets the guest say @line, with the checksum it would add */
static void say(GuestWork *work, const char *vm_name, gint64 at_us,
                const char *line)
{
    g_autofree char *summed = NULL;
    unsigned a = 1, b = 0;

    for (const char *p = line; *p; p++) {
        a = (a + (guchar)*p) % 255;
        b = (b + a) % 255;
    }
    summed = g_strdup_printf("%s sum=%04x", line, b << 8 | a);
    guest_work_line(work, vm_name, summed, at_us);
}

static unsigned next_number;

static void report(GuestWork *work, const char *vm_name, gint64 at_us,
                   unsigned t_ms, unsigned u0, unsigned u1, unsigned gap_us)
{
    g_autofree char *line =
        g_strdup_printf("work t_ms=%u n=%u u=%u/%u gap_us=%u/5 bad=0", t_ms,
                        next_number++, u0, u1, gap_us);

    say(work, vm_name, at_us, line);
}

/*
 * The guest's clock is 7 s behind the host's, and 500 ms more after it stood
 * still for so long.  vCPU 0 does 1 unit a ms all the time it runs, vCPU 1
 * 2 before the migration (host: 10 s) and 1 from then on.
 */
static GuestWork *moved_guest(void)
{
    GuestWork *work = guest_work_new();

    next_number = 0;
    say(work, "source", 7500 * MS, "ready loads=compute,compute");
    for (unsigned t_ms = 1000; t_ms <= 5000; t_ms += 100) {
        unsigned u1 = t_ms <= 3000 ? 2 * t_ms : 6000 + (t_ms - 3000);

        report(work, "source", (7000 + t_ms) * MS, t_ms, t_ms, u1, 30);
    }
    for (unsigned t_ms = 5100; t_ms <= 6000; t_ms += 100) {
        report(work, "destination", (7500 + t_ms) * MS, t_ms, t_ms,
               6000 + (t_ms - 3000), t_ms == 5100 ? 80 * MS : 30);
    }
    return work;
}

static void test_work_is_counted_on_the_hosts_clock(void)
{
    g_autoptr(GuestWork) work = moved_guest();
    GuestWorkVcpu vcpus[GUEST_WORK_MAX_VCPUS];

    /* 2.6 s of the host: 2.1 s of guest time and 0.5 s of standing still */
    g_assert_cmpint(guest_work_account(work, 8000 * MS, 10000 * MS,
                                       12600 * MS, 13500 * MS, vcpus),
                    ==, 2);
    g_assert_cmpfloat_with_epsilon(vcpus[0].rate_before_per_s, 1000, 1);
    g_assert_cmpfloat_with_epsilon(vcpus[1].rate_before_per_s, 2000, 1);
    g_assert_cmpfloat_with_epsilon(vcpus[0].work_share_pct, 80.77, 0.01);
    g_assert_cmpfloat_with_epsilon(vcpus[1].work_share_pct, 40.38, 0.01);
    g_assert_cmpfloat_with_epsilon(vcpus[0].lost_s, 0.5, 0.001);
    g_assert_cmpfloat_with_epsilon(vcpus[1].lost_s, 1.55, 0.001);
}

static void test_work_is_counted_span_by_span(void)
{
    g_autoptr(GuestWork) work = moved_guest();
    g_autoptr(GArray) spans = guest_work_timeline(work, 8000 * MS, 10000 * MS,
                                                  12700 * MS, 500 * MS);
    /* It stands still from 12.0 to 12.5 s; the rest of 0.2 s is no span */
    const struct {
        int end_ms;
        double share_pct[2];
    } wanted[] = {
        { 500, { 100, 50 } }, { 1000, { 100, 50 } },
        { 1500, { 100, 50 } }, { 2000, { 100, 50 } },
        { 2700, { 28.57, 14.29 } },
    };

    g_assert_cmpuint(spans->len, ==, G_N_ELEMENTS(wanted));
    for (guint i = 0; i < spans->len; i++) {
        GuestWorkSpan *span = &g_array_index(spans, GuestWorkSpan, i);

        g_assert_cmpint(span->end_us, ==, wanted[i].end_ms * MS);
        for (int v = 0; v < 2; v++) {
            g_assert_cmpfloat_with_epsilon(span->work_share_pct[v],
                                           wanted[i].share_pct[v], 0.01);
        }
    }
}

static void test_silence_after_the_switch_over_counts(void)
{
    g_autoptr(GuestWork) work = moved_guest();
    GuestWorkVcpu vcpus[GUEST_WORK_MAX_VCPUS];

    guest_work_account(work, 8000 * MS, 10000 * MS, 12500 * MS, 13500 * MS,
                       vcpus);
    g_assert_cmpfloat_with_epsilon(vcpus[0].silence_ms, 80, 0.01);
    g_assert_cmpfloat_with_epsilon(vcpus[1].silence_ms, 0.005, 0.001);
    /* The same reports, looked at only until before it */
    guest_work_account(work, 8000 * MS, 10000 * MS, 12000 * MS, 12000 * MS,
                       vcpus);
    g_assert_cmpfloat_with_epsilon(vcpus[0].silence_ms, 0.03, 0.001);
}

/* Timers were late 8 to 11 us before, and 1 s after (host: 10 s) */
static void test_latency_is_that_of_the_migration(void)
{
    g_autoptr(GuestWork) work = guest_work_new();
    GuestWorkLatency late[GUEST_WORK_LATENCIES];

    next_number = 0;
    for (unsigned t_ms = 1000; t_ms <= 5000; t_ms += 100) {
        unsigned slow = t_ms > 3000 ? t_ms - 3000 : 0;
        g_autofree char *line = g_strdup_printf(
            "work t_ms=%u n=%u u=1/1 gap_us=1/1 bad=0 "
            "late=7:%u+41:%u/-/-/-/-", t_ms, next_number++, t_ms - slow,
            slow);

        say(work, "source", (7000 + t_ms) * MS, line);
    }
    guest_work_latency(work, 8000 * MS, 10000 * MS, 12000 * MS, late);
    g_assert_cmpuint(late[0].count, ==, 2000);
    g_assert_cmpfloat(late[0].before_p99_us, >=, 8);
    g_assert_cmpfloat(late[0].before_p99_us, <=, 11.4);
    g_assert_cmpfloat(late[0].p50_us, >=, 1e6);
    g_assert_cmpfloat(late[0].p50_us, <=, 1.5e6);
    g_assert_cmpuint(late[1].count, ==, 0);
    g_assert_cmpuint(late[GUEST_WORK_PROGRAM_LATENCY].count, ==, 0);
}

static void test_readers_are_items_that_do_not_write(void)
{
    g_assert_cmpuint(pin_readers("write:1:1,compute,read:4,syscall"), ==, 14);
    g_assert_cmpuint(pin_readers("redis:64,redis-load,compute"), ==, 4);
    g_assert_cmpuint(pin_readers("write:1:1"), ==, 0);
}

static void test_workloads_are_chosen_by_name_or_group(void)
{
    g_autoptr(GError) error = NULL;
    unsigned chosen = 0;

    for (unsigned i = 0; i < bench_nr_workloads; i++) {
        g_assert_true(bench_workload_chosen(&bench_workloads[i], NULL));
        chosen += bench_workload_chosen(&bench_workloads[i],
                                        "reference,half");
    }
    g_assert_cmpuint(chosen, ==, 3);
    g_assert_true(bench_check_names(NULL, &error));
    g_assert_true(bench_check_names("ladder,paced", &error));
    g_assert_false(bench_check_names("paced,ladders", &error));
    g_assert_nonnull(strstr(error->message, "'ladders'"));
}

static void test_no_reports_are_no_account(void)
{
    g_autoptr(GuestWork) work = guest_work_new();
    GuestWorkVcpu vcpus[GUEST_WORK_MAX_VCPUS];

    g_assert_cmpint(guest_work_account(work, 0, 1, 2, 2, vcpus), ==, 0);
    next_number = 0;
    report(work, "source", 8000 * MS, 1000, 1, 1, 1);
    g_assert_cmpint(guest_work_account(work, 0, 1, 2, 2, vcpus), ==, 0);
}

static void test_a_guest_that_gives_up_is_not_waited_for(void)
{
    g_autoptr(GuestWork) work = guest_work_new();
    g_autoptr(GError) error = NULL;

    say(work, "source", 1, "error load=x: unknown load");
    g_assert_false(guest_work_wait_ready(work, 60000, &error));
    g_assert_nonnull(strstr(error->message, "unknown load"));
    g_clear_error(&error);
    g_clear_pointer(&work, guest_work_free);

    work = guest_work_new();
    g_assert_false(guest_work_wait_ready(work, 10, &error));
    g_assert_nonnull(error);
    g_assert_cmpint(guest_work_wait_destination(work, 1, 10), ==, 0);
}

static ProgressView view_of(const char *json, const MigrateSample *sample)
{
    g_autoptr(JsonNode) node = json_from_string(json, NULL);
    ProgressView view;

    g_assert_nonnull(node);
    view = progress_view(sample, json_node_get_object(node), 50e6);
    view.reason = NULL;         /* gone with the node */
    return view;
}

static void test_view_of_a_qemu_without_engine(void)
{
    MigrateSample sample = { .at_ms = 1500, .remaining_bytes = 25000000,
                             .sent_bytes = 80000000, .passes = 1 };
    const char *active = "{\"status\":\"active\",\"ram\":{\"total\":100000000,"
        "\"dirty-pages-rate\":1000,\"page-size\":4096}}";
    ProgressView view;

    view = view_of(active, &sample);
    g_assert_cmpstr(view.phase, ==, "bulk pass");
    g_assert_cmpint(view.percent, ==, 75);
    g_assert_cmpfloat_with_epsilon(view.dirty_mb_per_s, 4.096, 0.001);
    g_assert_cmpfloat_with_epsilon(view.drain_mb_per_s, 50, 0.001);
    sample.passes = 2;
    g_assert_cmpstr(view_of(active, &sample).phase, ==, "converging");
    g_assert_cmpstr(view_of("{\"status\":\"device\"}", &sample).phase, ==,
                    "switch-over");
    view = view_of("{\"status\":\"completed\"}", &sample);
    g_assert_cmpstr(view.phase, ==, "done");
    g_assert_cmpint(view.percent, ==, 100);
    /* Nothing is known yet: shown as nothing, and no division by zero */
    g_assert_cmpint(view_of("{}", &sample).percent, ==, 0);
}

static void test_view_of_our_engine(void)
{
    MigrateSample sample = { .passes = 7, .remaining_bytes = 1 };
    ProgressView view = view_of(
        "{\"status\":\"active\",\"ram\":{\"total\":100,\"dirty-pages-rate\":9},"
        "\"convergence\":{\"state\":\"throttling\",\"passes\":0,"
        "\"progress-percentage\":42,\"dirty-rate\":100000000,"
        "\"drain-rate\":64000000,\"vcpus\":["
        "{\"id\":0,\"throttle-percentage\":57},{\"id\":1}]}}", &sample);

    /* Its own count of passes, as it syncs more often than once a pass */
    g_assert_cmpstr(view.phase, ==, "bulk pass");
    g_assert_cmpint(view.percent, ==, 42);
    g_assert_cmpfloat_with_epsilon(view.dirty_mb_per_s, 100, 0.001);
    g_assert_cmpfloat_with_epsilon(view.drain_mb_per_s, 64, 0.001);
    g_assert_cmpstr(view.vcpus, ==, "57/0 %");
    view = view_of("{\"status\":\"active\",\"convergence\":"
                   "{\"state\":\"stuck\",\"passes\":3}}", &sample);
    g_assert_cmpstr(view.phase, ==, "stuck");
    /* Before its first sample it has no drain rate: ours is measured */
    g_assert_cmpfloat_with_epsilon(
        view_of("{\"status\":\"active\",\"convergence\":{\"drain-rate\":0}}",
                &sample).drain_mb_per_s, 50, 0.001);
}

/* Seven coins fall alike once in 64 throws; nine pairs can lose an outlier */
static void test_paired_difference(void)
{
    static const double none[9];
    const struct {
        unsigned count;
        double with[9];
        PairedDifference wanted;
    } cases[] = {
        { 1, { 3 }, { 3, 3, 3, 0 } },
        { 5, { 1, 5, 2, 4, 3 }, { 3, 1, 5, 93.75 } },
        { 6, { 1, 6, 2, 5, 3, 4 }, { 3.5, 1, 6, 96.875 } },
        { 7, { -9, 1, 2, 3, 4, 5, 99 }, { 3, -9, 99, 98.4375 } },
        { 9, { -9, 1, 2, 3, 4, 5, 6, 7, 99 }, { 4, 1, 7, 96.09375 } },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        PairedDifference d = paired_difference(cases[i].with, none,
                                               cases[i].count);

        g_assert_cmpfloat(d.median, ==, cases[i].wanted.median);
        g_assert_cmpfloat(d.low, ==, cases[i].wanted.low);
        g_assert_cmpfloat(d.high, ==, cases[i].wanted.high);
        g_assert_cmpfloat_with_epsilon(d.confidence_pct,
                                       cases[i].wanted.confidence_pct, 1e-9);
    }
}

static void test_median(void)
{
    double odd[] = { 9, 1, 5 }, even[] = { 4, 1, 3, 2 };

    g_assert_cmpfloat(report_median(odd, 3), ==, 5);
    g_assert_cmpfloat(report_median(even, 4), ==, 2.5);
    g_assert_cmpfloat(report_median(odd, 1), ==, 1);
    g_assert_cmpfloat(report_median(odd, 0), ==, 0);
}

static void test_json_of_a_capped_run(void)
{
    MigrateSample sample = { .at_ms = 100, .throttle_pct = 20 };
    MigrateSpec spec = { .qemu = "/q", .label = "stock", .load = "compute" };
    MigrateResult result = { .outcome = MIGRATE_CAPPED, .total_ms = 5000,
                             .downtime_ms = -1, .nr_vcpus = 2 };
    g_autofree char *json = NULL;
    g_autoptr(JsonNode) node = NULL;
    JsonObject *run;

    result.timeline = g_array_new(FALSE, FALSE, sizeof(MigrateSample));
    g_array_append_val(result.timeline, sample);
    json = report_json(&spec, "paced", 3, NULL, &result);
    g_assert_null(strchr(json, '\n'));
    node = json_from_string(json, NULL);
    run = json_node_get_object(node);
    g_assert_cmpstr(json_object_get_string_member(run, "outcome"), ==,
                    "capped");
    g_assert_true(json_object_get_null_member(run, "downtime_ms"));
    g_assert_true(json_object_get_null_member(run, "policy"));
    g_assert_cmpint(json_array_get_length(
        json_object_get_array_member(run, "guest_vcpus")), ==, 2);
    g_assert_cmpint(json_object_get_int_member(json_array_get_object_element(
        json_object_get_array_member(run, "timeline"), 0), "throttle_pct"),
        ==, 20);
    g_array_unref(result.timeline);
}

/* What it did in the bulk pass, and in the span that saw its end, is left out */
static void test_json_has_the_tails_extremes(void)
{
    MigrateSample samples[] = {
        { .at_ms = 400, .state = "bulk", .bulk_pass = TRUE,
          .dirty_bytes_per_s = 99 },
        { .at_ms = 900, .state = "converging", .dirty_bytes_per_s = 30 },
        { .at_ms = 1400, .state = "converging", .dirty_bytes_per_s = 20 },
    };
    GuestWorkSpan spans[] = {
        { .end_us = 500000, .work_share_pct = { 10 } },
        { .end_us = 1000000, .work_share_pct = { 200 } },
        { .end_us = 1500000, .work_share_pct = { 50 } },
        { .end_us = 2000000, .work_share_pct = { 80 } },
    };
    MigrateSpec spec = { .qemu = "/q", .label = "ours", .load = "write:1:1" };
    MigrateResult result = { .outcome = MIGRATE_COMPLETED, .nr_vcpus = 1,
                             .vcpus = { { .rate_before_per_s = 1000 } } };
    g_autofree char *json = NULL;
    g_autoptr(JsonNode) node = NULL;
    JsonObject *run;

    result.timeline = g_array_new(FALSE, FALSE, sizeof(MigrateSample));
    g_array_append_vals(result.timeline, samples, G_N_ELEMENTS(samples));
    result.work_timeline = g_array_new(FALSE, FALSE, sizeof(GuestWorkSpan));
    g_array_append_vals(result.work_timeline, spans, G_N_ELEMENTS(spans));
    json = report_json(&spec, NULL, 1, NULL, &result);
    node = json_from_string(json, NULL);
    run = json_node_get_object(node);
    g_assert_cmpint(json_object_get_int_member(run,
                    "tail_dirty_least_bytes_per_s"), ==, 20);
    g_assert_cmpint(json_object_get_int_member(run,
                    "tail_dirty_most_bytes_per_s"), ==, 30);
    g_assert_cmpint(json_object_get_int_member(run, "tail_work_least_per_s"),
                    ==, 500);
    g_assert_cmpint(json_object_get_int_member(run, "tail_work_most_per_s"),
                    ==, 800);
    g_array_unref(result.timeline);
    g_array_unref(result.work_timeline);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bench/work-is-counted-on-the-hosts-clock",
                    test_work_is_counted_on_the_hosts_clock);
    g_test_add_func("/bench/work-is-counted-span-by-span",
                    test_work_is_counted_span_by_span);
    g_test_add_func("/bench/silence-after-the-switch-over-counts",
                    test_silence_after_the_switch_over_counts);
    g_test_add_func("/bench/latency-is-that-of-the-migration",
                    test_latency_is_that_of_the_migration);
    g_test_add_func("/bench/readers-are-items-that-do-not-write",
                    test_readers_are_items_that_do_not_write);
    g_test_add_func("/bench/workloads-are-chosen-by-name-or-group",
                    test_workloads_are_chosen_by_name_or_group);
    g_test_add_func("/bench/no-reports-are-no-account",
                    test_no_reports_are_no_account);
    g_test_add_func("/bench/a-guest-that-gives-up-is-not-waited-for",
                    test_a_guest_that_gives_up_is_not_waited_for);
    g_test_add_func("/bench/view-of-a-qemu-without-engine",
                    test_view_of_a_qemu_without_engine);
    g_test_add_func("/bench/view-of-our-engine", test_view_of_our_engine);
    g_test_add_func("/bench/median", test_median);
    g_test_add_func("/bench/paired-difference", test_paired_difference);
    g_test_add_func("/bench/json-of-a-capped-run", test_json_of_a_capped_run);
    g_test_add_func("/bench/json-has-the-tails-extremes",
                    test_json_has_the_tails_extremes);
    return g_test_run();
}
