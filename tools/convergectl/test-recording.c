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
    look->clock_ms = G_GINT64_CONSTANT(1772357400250);
    look->guest = g_strdup("web, 1");
    look->settings = g_strdup("downtime-limit=300 auto-converge=on");
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
    g_assert_cmpint(a->clock_ms, ==, b->clock_ms);
    g_assert_cmpstr(a->guest, ==, b->guest);
    g_assert_cmpstr(a->settings, ==, b->settings);
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

static void test_the_clock_is_written_in_utc(void)
{
    g_autoptr(Look) look = sample_look(0);
    g_autofree char *csv = recording_csv(look);
    g_autofree char *json = recording_json(look);

    g_assert_nonnull(strstr(csv, ",2026-03-01T09:30:00.250Z,\"web, 1\","));
    g_assert_nonnull(strstr(json, "\"clock\":\"2026-03-01T09:30:00.250Z\""));
    /* Another zone's is read; what is no time is not known */
    for (int i = 0; i < 2; i++) {
        g_autoptr(GPtrArray) looks = recording_parse(i
            ? "time-ms,status,clock\n1,active,2026-03-01T10:30:00.25+01:00\n"
            : "time-ms,status,clock\n1,active,noon\n", NULL);

        g_assert_cmpint(((Look *)looks->pdata[0])->clock_ms, ==,
                        i ? look->clock_ms : LOOK_UNKNOWN);
    }
}

/* As they were before there was a clock in them */
static void test_old_recordings_are_read(void)
{
    static const char *const texts[] = {
        "time-ms,status,state,throttle-pct,vcpus,reason\n"
        "5,active,stuck,7,0:1:2:3,\"why\"\n",
        "{\"type\":\"sample\",\"time-ms\":5,\"status\":\"active\","
        "\"state\":\"stuck\",\"throttle-pct\":7}\n",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GPtrArray) looks = recording_parse(texts[i], NULL);
        PlotColumn column = { .title = (char *)"old", .looks = looks };
        g_autofree char *script = NULL;
        Look *look;

        g_assert_cmpint(looks->len, ==, 1);
        look = looks->pdata[0];
        g_assert_cmpint(look->throttle_pct, ==, 7);
        g_assert_cmpint(look->clock_ms, ==, LOOK_UNKNOWN);
        script = plot_script(&column, 1, PLOT_SVG);
        g_assert_null(strstr(script, "UTC"));
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
    script = plot_script(&column, 1, PLOT_SVG);
    g_assert_nonnull(strstr(script, "\n2.000 100.0000 64.0000 "
                            "12000000.0000 99.0000 57.0000 0.0000\n"));
    g_assert_nonnull(strstr(script, "\n0.5000 93.5000\n"));
    g_assert_nonnull(strstr(script, "'it''s `date`'"));
    g_assert_nonnull(strstr(script, "'the ''reader'''"));
    /* Whose it is and from when, under the title */
    g_assert_nonnull(strstr(script, "'web, 1, 2026-03-01 09:30:00 UTC'"));
    /* 'stuck' is a band of its own colour */
    g_assert_nonnull(strstr(script, "#fadcdc"));
}

/* Two looks at a guest of which vCPU v sleeps v % of its time */
static char *script_of_vcpus(int n)
{
    g_autoptr(GPtrArray) looks =
        g_ptr_array_new_with_free_func((GDestroyNotify)look_free);
    PlotColumn column = { .title = (char *)"many", .looks = looks };

    for (int i = 0; i < 2; i++) {
        Look *look = sample_look(i * 1000);

        g_array_set_size(look->vcpus, 0);
        for (int v = 0; v < n; v++) {
            LookVcpu vcpu = { v, v, 1e6, 0 };

            g_array_append_val(look->vcpus, vcpu);
        }
        g_ptr_array_add(looks, look);
    }
    return plot_script(&column, 1, PLOT_SVG);
}

static int count(const char *script, const char *what)
{
    int n = 0;

    for (const char *p = script; (p = strstr(p, what)); p++) {
        n++;
    }
    return n;
}

static void test_legend_of_many_vcpus_is_beside_the_panel(void)
{
    g_autofree char *seven = script_of_vcpus(7);
    g_autofree char *eight = script_of_vcpus(8);

    g_assert_cmpint(count(seven, "title 'vCPU "), ==, 7);
    g_assert_null(strstr(seven, "set key at screen"));
    g_assert_nonnull(strstr(seven, " size 800,"));
    g_assert_cmpint(count(eight, "title 'vCPU "), ==, 8);
    g_assert_cmpint(count(eight, "set key at screen"), ==, 1);
    /* The panel is as wide as before, the picture wider */
    g_assert_nonnull(strstr(eight, " size 888,"));
}

static void test_of_many_vcpus_the_slowest_are_told_apart(void)
{
    g_autofree char *all = script_of_vcpus(32);
    g_autofree char *most = script_of_vcpus(44);

    g_assert_cmpint(count(all, "title 'vCPU "), ==, 32);
    g_assert_null(strstr(all, "others"));
    g_assert_cmpint(count(most, "title 'vCPU "), ==, 32);
    g_assert_null(strstr(most, "title 'vCPU 11'"));
    g_assert_nonnull(strstr(most, "title 'vCPU 12'"));
    g_assert_nonnull(strstr(most, "title 'vCPU 43'"));
    g_assert_nonnull(strstr(most, "title '12 others'"));
    /* The last curve is the mean of 0 to 11 % */
    g_assert_nonnull(strstr(most, " 43.0000 5.5000\n"));
}

static void test_guest_work_above_normal_is_not_cut(void)
{
    static const struct { const char *rows, *range; } table[] = {
        { "0,100\n500,93.5\n", "set yrange [0:125.0]" },
        { "0,100\n500,150\n", "set yrange [0:162.0]" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autofree char *text = g_strconcat("time-ms,a\n", table[i].rows,
                                            NULL);
        g_autoptr(GuestWorkTable) work = guest_work_table_parse(text, NULL);
        g_autoptr(GPtrArray) looks =
            g_ptr_array_new_with_free_func((GDestroyNotify)look_free);
        PlotColumn column = { (char *)"work", looks, work };
        g_autofree char *script = NULL;

        g_ptr_array_add(looks, sample_look(0));
        script = plot_script(&column, 1, PLOT_SVG);
        g_assert_nonnull(strstr(script, table[i].range));
    }
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
    g_test_add_func("/recording/the-clock-is-written-in-utc",
                    test_the_clock_is_written_in_utc);
    g_test_add_func("/recording/old-recordings-are-read",
                    test_old_recordings_are_read);
    g_test_add_func("/recording/a-cut-last-line-is-forgiven",
                    test_a_cut_last_line_is_forgiven);
    g_test_add_func("/recording/other-files-are-refused",
                    test_other_files_are_refused);
    g_test_add_func("/recording/formats-by-name", test_formats_by_name);
    g_test_add_func("/recording/full-disk-is-an-error",
                    test_full_disk_is_an_error);
    g_test_add_func("/plot/script-holds-data-and-quotes-titles",
                    test_plot_script_holds_data_and_quotes_titles);
    g_test_add_func("/plot/legend-of-many-vcpus-is-beside-the-panel",
                    test_legend_of_many_vcpus_is_beside_the_panel);
    g_test_add_func("/plot/of-many-vcpus-the-slowest-are-told-apart",
                    test_of_many_vcpus_the_slowest_are_told_apart);
    g_test_add_func("/plot/guest-work-above-normal-is-not-cut",
                    test_guest_work_above_normal_is_not_cut);
    g_test_add_func("/plot/wrong-guest-work-is-refused",
                    test_wrong_guest_work_is_refused);
    return g_test_run();
}
