/*
 * Tests of recordings: what is written is what is read, and of plots
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "plot-script.h"
#include "recording.h"

#include <string.h>

static Look *sample_look(gint64 at_ms)
{
    LookVcpu vcpus[] = { { 0, 57, 41e6, 45e6 }, { 7, 0, 12, 0 } };
    Look *look = look_new();

    look->status = g_strdup("active");
    look->state = g_strdup("stuck");
    look->policy = g_strdup("step");
    look->reason = g_strdup("so, \"thus\" and\nit's so");
    look->at_ms = at_ms;
    look->dirty_bytes_per_s = 100e6;
    look->drain_bytes_per_s = 64e6;
    look->remaining_bytes = 12e12;
    look->throttle_pct = 99;
    look->passes = 0;
    g_array_append_vals(look->vcpus, vcpus, 2);
    return look;
}

static void check_same(const Look *a, const Look *b, gboolean json)
{
    g_assert_cmpstr(a->status, ==, b->status);
    g_assert_cmpstr(a->state, ==, b->state);
    g_assert_cmpstr(a->policy, ==, b->policy);
    g_assert_cmpstr(b->reason, ==, json ? "so, \"thus\" and\nit's so"
                                        : "so, \"thus\" and it's so");
    g_assert_cmpint(a->at_ms, ==, b->at_ms);
    g_assert_cmpfloat(a->dirty_bytes_per_s, ==, b->dirty_bytes_per_s);
    g_assert_cmpfloat(a->drain_bytes_per_s, ==, b->drain_bytes_per_s);
    g_assert_cmpfloat(a->remaining_bytes, ==, b->remaining_bytes);
    g_assert_cmpfloat(b->sent_bytes, ==, LOOK_UNKNOWN);
    g_assert_cmpint(b->predicted_total_ms, ==, LOOK_UNKNOWN);
    g_assert_cmpint(a->throttle_pct, ==, b->throttle_pct);
    g_assert_cmpint(b->passes, ==, 0);
    g_assert_cmpmem(a->vcpus->data, a->vcpus->len * sizeof(LookVcpu),
                    b->vcpus->data, b->vcpus->len * sizeof(LookVcpu));
}

static void test_round_trip(void)
{
    for (int json = 0; json < 2; json++) {
        g_autoptr(Look) look = sample_look(1234);
        g_autofree char *line = json ? recording_json(look)
                                     : recording_csv(look);
        g_autofree char *text = json
            ? g_strdup_printf("{\"type\":\"event\"}\n%s\n"
                              "{\"type\":\"verdict\"}\n", line)
            : g_strdup_printf("%s\n%s\n", recording_csv_header(), line);
        g_autoptr(GPtrArray) looks = recording_parse(text, NULL);

        g_assert_nonnull(looks);
        g_assert_cmpint(looks->len, ==, 1);
        check_same(look, looks->pdata[0], json);
    }
}

static void test_a_cut_last_line_is_forgiven(void)
{
    g_autoptr(Look) look = sample_look(1);
    g_autofree char *line = recording_csv(look);
    g_autofree char *text = g_strdup_printf("%s\n%s\n%.20s",
        recording_csv_header(), line, line);
    g_autoptr(GPtrArray) looks = recording_parse(text, NULL);

    g_assert_nonnull(looks);
    g_assert_cmpint(looks->len, ==, 1);
}

static void test_other_files_are_refused(void)
{
    static const struct { const char *text, *says; } table[] = {
        { "", "neither CSV" }, { "a,b\n1,2\n", "neither CSV" },
        { "time-ms,status\nx,active\n", "line 2" },
        { "time-ms,status\n1\n", "line 2" },
        { "time-ms,status,vcpus\n1,active,0:1\n", "line 2" },
        { "{\"type\":\"sample\",\"status\":\"active\"}\n{nonsense\n",
          "line 2" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(recording_parse(table[i].text, &error));
        g_assert_nonnull(strstr(error->message, table[i].says));
    }
}

static void test_formats_by_name(void)
{
    g_assert_cmpint(recording_format_of("a.csv"), ==, RECORD_CSV);
    g_assert_cmpint(recording_format_of("-"), ==, RECORD_CSV);
    g_assert_cmpint(recording_format_of("a.json"), ==, RECORD_JSON);
    g_assert_cmpint(recording_format_of("a.jsonl"), ==, RECORD_JSON);
}

static void test_full_disk_is_an_error(void)
{
    g_autoptr(GError) error = NULL;

    if (!g_file_test("/dev/full", G_FILE_TEST_EXISTS)) {
        g_test_skip("no /dev/full here");
        return;
    }
    g_assert_null(recording_create("/dev/full", RECORD_CSV, &error));
    g_assert_nonnull(strstr(error->message, "/dev/full"));
}

static void test_plot_script_holds_data_and_quotes_titles(void)
{
    g_autoptr(GPtrArray) looks =
        g_ptr_array_new_with_free_func((GDestroyNotify)look_free);
    g_autoptr(GuestWorkTable) work =
        guest_work_table_parse("time-ms,the 'reader'\n0,100\n500,93.5\n",
                               NULL);
    PlotColumn column = { .title = (char *)"it's\n`date`", .looks = looks,
                          .work = work };
    g_autofree char *script = NULL;

    g_assert_nonnull(work);
    g_ptr_array_add(looks, sample_look(0));
    g_ptr_array_add(looks, sample_look(2000));
    script = plot_script(&column, 1);
    g_assert_nonnull(strstr(script, "\n2.000 100.0000 64.0000 "
                            "12000000.0000 99.0000 57.0000 0.0000\n"));
    g_assert_nonnull(strstr(script, "\n0.5000 93.5000\n"));
    g_assert_nonnull(strstr(script, "'it''s `date`'"));
    g_assert_nonnull(strstr(script, "'the ''reader'''"));
    /* 'stuck' is a band of its own colour */
    g_assert_nonnull(strstr(script, "#fadcdc"));
}

static void test_wrong_guest_work_is_refused(void)
{
    static const char *const wrong[] = {
        "", "time-ms\n1\n", "a,b\n1,2\n", "time-ms,a\n1\n",
        "time-ms,a\n1,x\n", "time-ms,a\n1,nan\n",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(guest_work_table_parse(wrong[i], &error));
        g_assert_nonnull(error);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/recording/round-trip", test_round_trip);
    g_test_add_func("/recording/a-cut-last-line-is-forgiven",
                    test_a_cut_last_line_is_forgiven);
    g_test_add_func("/recording/other-files-are-refused",
                    test_other_files_are_refused);
    g_test_add_func("/recording/formats-by-name", test_formats_by_name);
    g_test_add_func("/recording/full-disk-is-an-error",
                    test_full_disk_is_an_error);
    g_test_add_func("/plot/script-holds-data-and-quotes-titles",
                    test_plot_script_holds_data_and_quotes_titles);
    g_test_add_func("/plot/wrong-guest-work-is-refused",
                    test_wrong_guest_work_is_refused);
    return g_test_run();
}
