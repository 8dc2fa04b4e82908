/*
 * Tests of what people see: blocks of any size, lines, verdicts
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "display.h"

#include <string.h>

static Look *busy_look(int nr_vcpus)
{
    Look *look = look_new();

    look->status = g_strdup("active");
    look->state = g_strdup("throttling");
    look->policy = g_strdup("dirty-limit");
    look->reason = g_strdup("the guest dirties 100.0 MB/s, the link drains "
                            "64.0 MB/s, 141.0 MB remain: each vCPU may dirty "
                            "45.0 MB/s\033[31m");
    look->error = g_strdup("");
    look->at_ms = 4100;
    look->dirty_bytes_per_s = 100e6;
    look->drain_bytes_per_s = 64e6;
    look->remaining_bytes = 141e6;
    look->total_bytes = 537e6;
    look->sent_bytes = 402e6;
    look->passes = 2;
    look->throttle_pct = 20;
    look->progress_pct = 62;
    look->predicted_total_ms = 6600;
    look->predicted_downtime_ms = 5;
    look->downtime_limit_ms = 300;
    look->longest_pause_ms = 1234;
    look->has_convergence = TRUE;
    for (int i = 0; i < nr_vcpus; i++) {
        LookVcpu vcpu = { i, i % 60, 41e6, 45e6 };

        g_array_append_val(look->vcpus, vcpu);
    }
    return look;
}

static Canvas *draw(Looks looks, int nr_vcpus, const char *notice)
{
    Canvas *canvas = canvas_new(looks);
    DisplayText text = { "migrating to tcp:host:4444", notice };
    g_autoptr(Look) look = busy_look(nr_vcpus);
    g_autoptr(Track) track = track_new();

    for (int i = 0; i < 100; i++) {
        track_add(track, look, 0);
    }
    display_block(canvas, &text, look, track);
    return canvas;
}

static char *screen(const Canvas *canvas)
{
    g_ptr_array_add(canvas->lines, NULL);
    return g_strjoinv("\n", (char **)canvas->lines->pdata);
}

/* As on a terminal that is large enough for all of it */
static char *block_of(const Look *look, const Track *track)
{
    Looks looks = { 100, 30, FALSE, FALSE };
    g_autoptr(Canvas) canvas = canvas_new(looks);
    DisplayText title = { "migrating to tcp:host:4444", NULL };

    display_block(canvas, &title, look, track);
    return screen(canvas);
}

static void test_block_tells_all(void)
{
    static const char *const wanted[] = {
        "migrating to tcp:host:4444", "policy dirty-limit", " 62 %",
        "throttling", "4.1 s of about 6.6 s", "100 MB/s", "64.0 MB/s",
        "141 MB", "20 %", "5 ms", "limit 300 ms", "pause 1.2 s", "pass 3",
        "vCPU 1", "may dirty 45.0 MB/s", "the guest dirties 100.0 MB/s", "Cancel?",
    };
    Looks looks = { 100, 30, FALSE, FALSE };
    g_autoptr(Canvas) canvas = draw(looks, 2, "Cancel?");
    g_autofree char *text = screen(canvas);

    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++) {
        g_test_message("%s", wanted[i]);
        g_assert_nonnull(strstr(text, wanted[i]));
    }
    g_assert_null(strchr(text, '\033'));
    g_assert_true(g_str_is_ascii(text));
}

static void test_block_fits_any_terminal(void)
{
    for (int columns = 10; columns < 140; columns++) {
        Looks looks = { columns, 8 + columns / 4, FALSE, columns % 2 };
        g_autoptr(Canvas) canvas = draw(looks, columns % 70, "Cancel?");

        for (guint i = 0; i < canvas->lines->len; i++) {
            g_assert_cmpint(g_utf8_strlen(canvas->lines->pdata[i], -1), <=,
                            columns);
            g_assert_cmpint(g_utf8_strlen(canvas->lines->pdata[i], -1), ==,
                            g_array_index(canvas->widths, int, i));
        }
    }
}

static void test_vcpus_that_do_not_fit_are_counted(void)
{
    Looks looks = { 80, 24, FALSE, FALSE };
    g_autoptr(Canvas) canvas = draw(looks, 288, NULL);
    g_autofree char *text = screen(canvas);

    g_assert_cmpint(canvas->lines->len, <=, 24);
    g_assert_nonnull(strstr(text, "vCPUs slowed less"));
    /* Those that are slowed most are shown */
    g_assert_nonnull(strstr(text, " 59 % slept"));
}

static void test_colour_only_where_wanted(void)
{
    Looks looks = { 80, 24, TRUE, TRUE };
    g_autoptr(Canvas) canvas = draw(looks, 2, NULL);
    g_autofree char *text = screen(canvas);

    g_assert_nonnull(strstr(text, "\033[31m"));
    /* What QEMU says is text, not an escape sequence of its own */
    g_assert_nonnull(strstr(text, "45.0 MB/s [31m"));
}

static void test_bars(void)
{
    static const struct { double share; const char *ascii, *unicode; } t[] = {
        { -1, "....", "░░░░" }, { 0, "....", "░░░░" },
        { 0.03125, "....", "▏░░░" }, { 0.5, "##..", "██░░" },
        { 0.53125, "##..", "██▏░" }, { 0.99, "####", "████" },
        { 1, "####", "████" }, { 7, "####", "████" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(t); i++) {
        for (int unicode = 0; unicode < 2; unicode++) {
            Looks looks = { 20, 1, FALSE, unicode };
            g_autoptr(Canvas) canvas = canvas_new(looks);

            canvas_bar(canvas, INK_GOOD, 4, t[i].share);
            g_assert_cmpstr(canvas->line->str, ==,
                            unicode ? t[i].unicode : t[i].ascii);
        }
    }
}

static void test_curves(void)
{
    static const double values[] = { 0, 1, 2, 3, 4, 5, 6, 7.9, -1, 8 };
    Looks looks = { 20, 1, FALSE, TRUE };
    g_autoptr(Canvas) whole = canvas_new(looks);
    g_autoptr(Canvas) half = canvas_new(looks);
    g_autoptr(Canvas) none = canvas_new(looks);

    canvas_curve(whole, INK_PLAIN, 20, values, 10, 8);
    g_assert_cmpstr(whole->line->str, ==, "▁▂▃▄▅▆▇█ █");
    canvas_curve(half, INK_PLAIN, 5, values, 10, 8);
    g_assert_cmpstr(half->line->str, ==, "▁▃▅▇█");
    canvas_curve(none, INK_PLAIN, 5, values, 0, 0);
    g_assert_cmpstr(none->line->str, ==, "");
}

static void test_lines(void)
{
    g_autoptr(Look) look = busy_look(2);
    g_autoptr(Track) track = track_new();
    g_autofree char *line = NULL;

    g_array_index(look->vcpus, LookVcpu, 0).throttle_pct = 57;
    track_add(track, look, 0);
    line = display_line(look, track);
    g_assert_cmpstr(line, ==,
        "4.1 s  62 %  throttling  dirties 100 MB/s  drains 64.0 MB/s  "
        "remains 141 MB  throttle 20 %  vCPU 0 slept 57 %  vCPU 1 slept 1 %  "
        "about 2.5 s left");
}

static void test_band_of_the_forecast(void)
{
    g_autoptr(Look) look = busy_look(0);
    g_autoptr(Track) track = track_new();
    g_autofree char *line = NULL;
    g_autofree char *block = NULL;

    look->predicted_total_ms = 44100;
    look->predicted_error_pct = 15;
    track_add(track, look, 0);
    line = display_line(look, track);
    g_assert_nonnull(strstr(line, "done in 40.0 s +- 6.0 s"));
    g_assert_null(strstr(line, "left"));
    block = block_of(look, track);
    g_assert_nonnull(strstr(block, "4.1 s, done in 40.0 s +- 6.0 s"));
}

/* Of the last second nothing is told at the end, of the end all */
static void test_the_last_block_tells_the_end(void)
{
    static const char *const gone[] = {
        "MB/s", "the guest dirties", "expected", "slept", "141 MB",
    };
    static const char *const wanted[] = {
        "100 %", "completed", "4.1 s", "7 ms  limit 300 ms", "dirtied",
    };
    g_autoptr(Look) look = busy_look(2);
    g_autoptr(Track) track = track_new();
    g_autofree char *block = NULL;
    g_autofree char *line = NULL;

    track_add(track, look, 0);
    g_free(look->status);
    look->status = g_strdup("completed");
    look->downtime_ms = 7;
    track_add(track, look, 0);
    block = block_of(look, track);
    for (size_t i = 0; i < G_N_ELEMENTS(gone); i++) {
        g_assert_null(strstr(block, gone[i]));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++) {
        g_assert_nonnull(strstr(block, wanted[i]));
    }
    line = display_line(look, track);
    g_assert_cmpstr(line, ==, "4.1 s  100 %  completed");
}

static void test_a_destination_is_told_as_one(void)
{
    g_autoptr(Look) look = look_new();
    g_autoptr(Track) track = track_new();
    g_autofree char *block = NULL;
    g_autofree char *line = NULL;
    g_autofree char *verdict = NULL;

    look->status = g_strdup("active");
    look->reason = g_strdup("");
    look->incoming = TRUE;
    track_add(track, look, 3000);
    line = display_line(look, track);
    g_assert_cmpstr(line, ==, "arriving");
    block = block_of(look, track);
    g_assert_null(strstr(block, "%"));
    g_assert_null(strstr(block, "3.0 s"));
    g_assert_nonnull(strstr(block, "told at the source"));
    g_free(look->status);
    look->status = g_strdup("completed");
    track_add(track, look, 4000);
    verdict = display_verdict(look, track);
    g_assert_cmpstr(verdict, ==, "completed: the guest has arrived; how long "
                    "it took is told at the source");
}

static void test_no_figure_promises_an_end_that_is_none(void)
{
    g_autoptr(Look) look = busy_look(0);
    g_autoptr(Track) track = track_new();
    g_autofree char *line = NULL;

    g_free(look->state);
    look->state = g_strdup("stuck");
    track_add(track, look, 0);
    line = display_line(look, track);
    g_assert_true(g_str_has_prefix(line, "4.1 s  does not converge  stuck"));
    g_assert_null(strstr(line, "62 %"));
    g_assert_null(strstr(line, "left"));
}

static void test_no_limit_is_called_none(void)
{
    g_autoptr(Look) look = busy_look(2);
    g_autoptr(Track) track = track_new();
    g_autofree char *block = NULL;

    g_array_index(look->vcpus, LookVcpu, 1).limit_bytes_per_s = 0;
    track_add(track, look, 0);
    block = block_of(look, track);
    g_assert_nonnull(strstr(block, "0 % slept, may dirty 45.0 MB/s"));
    g_assert_nonnull(strstr(block, "1 % slept, limit none"));
}

static void test_verdicts(void)
{
    static const struct {
        const char *status, *error, *text;
        ExitStatus exit_status;
    } table[] = {
        { "completed", "", "completed in 4.1 s: downtime 5 ms (limit 300 "
          "ms), longest pause of a vCPU 1.2 s, 402 MB sent in 2 passes, vCPUs "
          "slowed by at most 20 %", 0 },
        { "failed", "Unable to write to socket: Broken pipe\n", "failed "
          "after 4.1 s: Unable to write to socket: Broken pipe", 1 },
        { "failed", "", "failed after 4.1 s: QEMU gives no reason", 1 },
        { "cancelled", "", "cancelled after 4.1 s, the guest stays where it "
          "was", 3 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autoptr(Look) look = busy_look(0);
        g_autoptr(Track) track = track_new();
        g_autofree char *text = NULL;

        g_free(look->status);
        g_free(look->error);
        look->status = g_strdup(table[i].status);
        look->error = g_strdup(table[i].error);
        look->downtime_ms = 5;
        track_add(track, look, 0);
        text = display_verdict(look, track);
        g_assert_cmpstr(text, ==, table[i].text);
        g_assert_cmpint(display_exit_status(look), ==,
                        table[i].exit_status);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/display/block-tells-all", test_block_tells_all);
    g_test_add_func("/display/block-fits-any-terminal",
                    test_block_fits_any_terminal);
    g_test_add_func("/display/vcpus-that-do-not-fit-are-counted",
                    test_vcpus_that_do_not_fit_are_counted);
    g_test_add_func("/display/colour-only-where-wanted",
                    test_colour_only_where_wanted);
    g_test_add_func("/display/bars", test_bars);
    g_test_add_func("/display/curves", test_curves);
    g_test_add_func("/display/lines", test_lines);
    g_test_add_func("/display/band-of-the-forecast",
                    test_band_of_the_forecast);
    g_test_add_func("/display/the-last-block-tells-the-end",
                    test_the_last_block_tells_the_end);
    g_test_add_func("/display/a-destination-is-told-as-one",
                    test_a_destination_is_told_as_one);
    g_test_add_func("/display/no-figure-promises-an-end-that-is-none",
                    test_no_figure_promises_an_end_that_is_none);
    g_test_add_func("/display/no-limit-is-called-none",
                    test_no_limit_is_called_none);
    g_test_add_func("/display/verdicts", test_verdicts);
    return g_test_run();
}
