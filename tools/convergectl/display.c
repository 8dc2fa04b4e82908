/*
 * A migration, told to people: a block, a line, a verdict
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "display.h"

#include "format.h"

#include <stddef.h>
#include <string.h>

#define LABEL_COLUMNS 10
#define FIGURE_COLUMNS 12
#define MAX_BAR_CELLS 60
#define MAX_CURVE_CELLS 60
#define VCPU_BAR_CELLS 16
#define MAX_REASON_LINES 3
#define MAX_NOTICE_LINES 3

/* A shorter bar goes on a line of its own */
#define LEAST_BAR_CELLS 8

/* Below this the block has no room for bars beside figures */
#define NARROW_COLUMNS 34

static Ink state_ink(const Look *look)
{
    const char *phase = look_phase(look);

    if (g_str_equal(phase, "stuck") || g_str_equal(phase, "failed")) {
        return INK_BAD;
    }
    if (g_str_equal(phase, "throttling") || g_str_equal(phase, "timed-out") ||
        g_str_equal(phase, "cancelled") || g_str_equal(phase, "cancelling")) {
        return INK_WARN;
    }
    if (g_str_equal(phase, "converging") || g_str_equal(phase, "completed")) {
        return INK_GOOD;
    }
    return INK_LINK;
}

static void put_head(Canvas *canvas, const DisplayText *text,
                     const Look *look)
{
    canvas_put(canvas, INK_BOLD, "%s", text->title);
    if (look->policy && *look->policy) {
        canvas_put(canvas, INK_DIM, ", policy %s", look->policy);
    }
    canvas_end_line(canvas);
}

/* NULL where there is no forecast, or it does not tell how good it is */
static char *left_text(const Look *look, const Track *track)
{
    char left[FORMAT_MAX], error[FORMAT_MAX];

    if (!look_is_running(look) || track->left_ms < 0 ||
        look->predicted_error_pct < 0) {
        return NULL;
    }
    format_duration(error, track->left_ms / 100.0 *
                           MIN(look->predicted_error_pct, 100));
    return g_strdup_printf("done in %s +- %s",
                           format_duration(left, track->left_ms), error);
}

/* "" where the migration's time is not known */
static char *time_text(const Look *look, const Track *track)
{
    g_autofree char *left = left_text(look, track);
    char at[FORMAT_MAX], all[FORMAT_MAX];

    if (!track->timed) {
        return g_strdup(left ?: "");
    }
    format_duration(at, look->at_ms);
    if (left) {
        return g_strdup_printf("%s, %s", at, left);
    }
    if (!look_is_running(look) || track->left_ms < 0) {
        return g_strdup(at);
    }
    return g_strdup_printf("%s of about %s", at,
                           format_duration(all, look->at_ms +
                                                track->left_ms));
}

/* Nothing where it cannot be known; no figure promises an end that is none */
static char *progress_text(const Track *track)
{
    return track->incoming ? g_strdup("") :
           track->endless ? g_strdup("does not converge") :
           g_strdup_printf("%d %%", track->progress_pct);
}

static void put_progress(Canvas *canvas, const Look *look,
                         const Track *track)
{
    g_autofree char *when = time_text(look, track);
    const char *phase = look_phase(look);
    g_autofree char *done = progress_text(track);
    int figures = 1 + MAX(strlen("100 %"), strlen(done)) + 2 +
                  strlen(phase) + 2 + strlen(when);
    int cells = MIN(canvas_room(canvas) - figures, MAX_BAR_CELLS);
    gboolean beside = cells >= LEAST_BAR_CELLS;

    if (!beside) {
        cells = MIN(canvas_room(canvas), MAX_BAR_CELLS);
    }
    if (*done) {
        canvas_bar(canvas, state_ink(look), cells,
                   track->endless ? 0 : track->progress_pct / 100.0);
        if (!beside) {
            canvas_end_line(canvas);
        }
        canvas_put(canvas, INK_BOLD, beside ? " %5s" : "%s", done);
    }
    canvas_put(canvas, state_ink(look), "%s%s", *done ? "  " : "", phase);
    canvas_put(canvas, INK_PLAIN, "%s%s", *when ? "  " : "", when);
    canvas_end_line(canvas);
}

/* One of TrackPoint's members as an array of its own */
static double *column_of(const Track *track, size_t offset, double *max)
{
    double *values = g_new(double, track->points->len + 1);

    for (guint i = 0; i < track->points->len; i++) {
        const char *point =
            (const char *)&g_array_index(track->points, TrackPoint, i);

        values[i] = *(const double *)(point + offset);
        *max = MAX(*max, values[i]);
    }
    return values;
}

static void put_row(Canvas *canvas, Ink ink, const char *label,
                    const char *figure, const double *values, guint n,
                    double max)
{
    canvas_put(canvas, INK_DIM, "%s", label);
    canvas_tab(canvas, LABEL_COLUMNS);
    canvas_put(canvas, ink, "%*s", FIGURE_COLUMNS, figure);
    if (canvas->looks.columns >= NARROW_COLUMNS) {
        canvas_put(canvas, INK_PLAIN, "  ");
        canvas_curve(canvas, ink, MIN(canvas_room(canvas), MAX_CURVE_CELLS),
                     values, n, max);
    }
    canvas_end_line(canvas);
}

static void put_rates(Canvas *canvas, const Look *look, const Track *track)
{
    double max = 0, most_remaining = 0;
    g_autofree double *dirty = column_of(track,
        offsetof(TrackPoint, dirty_bytes_per_s), &max);
    g_autofree double *drain = column_of(track,
        offsetof(TrackPoint, drain_bytes_per_s), &max);
    g_autofree double *remaining = column_of(track,
        offsetof(TrackPoint, remaining_bytes), &most_remaining);
    guint n = track->points->len;
    gboolean outpaced = look->dirty_bytes_per_s > look->drain_bytes_per_s;
    gboolean ended = look_has_ended(look);
    char figure[FORMAT_MAX];

    /*
     * One scale for both: which of the two is higher is what matters.  Of the
     * last second, at the end, nobody wants to know.
     */
    put_row(canvas, outpaced ? INK_BAD : INK_WARN,
            ended ? "dirtied" : "dirties",
            ended ? "" : format_rate(figure, look->dirty_bytes_per_s), dirty,
            n, max);
    put_row(canvas, INK_GOOD, ended ? "drained" : "drains",
            ended ? "" : format_rate(figure, look->drain_bytes_per_s), drain,
            n, max);
    put_row(canvas, INK_LINK, ended ? "remained" : "remains",
            ended ? "" : format_bytes(figure, look->remaining_bytes),
            remaining, n, most_remaining);
}

static void put_throttle(Canvas *canvas, const Look *look,
                         const Track *track)
{
    double max = 100;
    g_autofree double *throttle = column_of(track,
        offsetof(TrackPoint, throttle_pct), &max);
    char figure[FORMAT_MAX];

    if (track->max_throttle_pct <= 0) {
        return;
    }
    g_snprintf(figure, sizeof(figure), "%d %%", MAX(look->throttle_pct, 0));
    if (look_has_ended(look)) {
        *figure = 0;
    }
    put_row(canvas, INK_WARN, "throttle", figure, throttle,
            track->points->len, 100);
}

static void put_downtime(Canvas *canvas, const Look *look)
{
    char figure[FORMAT_MAX];

    if (look->downtime_limit_ms < 0 && look->predicted_downtime_ms < 0) {
        return;
    }
    canvas_put(canvas, INK_DIM, "downtime");
    canvas_tab(canvas, LABEL_COLUMNS);
    canvas_put(canvas, INK_PLAIN, "%*s", FIGURE_COLUMNS,
               format_downtime(figure, look->predicted_downtime_ms));
    canvas_put(canvas, INK_DIM, "  expected");
    if (look->downtime_limit_ms >= 0) {
        canvas_put(canvas, INK_DIM, ", limit %s",
                   format_downtime(figure, look->downtime_limit_ms));
    }
    if (look->longest_pause_ms > 0) {
        canvas_put(canvas, INK_DIM, ", pause %s",
                   format_downtime(figure, look->longest_pause_ms));
    }
    if (look->passes >= 0) {
        canvas_put(canvas, INK_DIM, ", pass %" G_GINT64_FORMAT,
                   look->passes + 1);
    }
    canvas_end_line(canvas);
}

/* What became of it; the limit is that of the end */
static void put_end(Canvas *canvas, const Look *look)
{
    char figure[FORMAT_MAX];

    if (look->downtime_ms < 0) {
        return;
    }
    canvas_put(canvas, INK_DIM, "downtime");
    canvas_tab(canvas, LABEL_COLUMNS);
    canvas_put(canvas, INK_PLAIN, "%*s", FIGURE_COLUMNS,
               format_downtime(figure, look->downtime_ms));
    if (look->downtime_limit_ms >= 0) {
        canvas_put(canvas, INK_DIM, "  limit %s",
                   format_downtime(figure, look->downtime_limit_ms));
    }
    canvas_end_line(canvas);
}

static void put_vcpu(Canvas *canvas, const LookVcpu *vcpu, gboolean limits)
{
    char rate[FORMAT_MAX], limit[FORMAT_MAX], label[FORMAT_MAX];

    g_snprintf(label, sizeof(label), "vCPU %d", vcpu->id);
    canvas_put(canvas, INK_DIM, "%s", label);
    canvas_tab(canvas, LABEL_COLUMNS);
    canvas_put(canvas, INK_PLAIN, "%*s", FIGURE_COLUMNS,
               format_rate(rate, vcpu->dirty_bytes_per_s));
    canvas_put(canvas, INK_PLAIN, "  ");
    if (canvas_room(canvas) > VCPU_BAR_CELLS + 20) {
        canvas_bar(canvas, INK_WARN, VCPU_BAR_CELLS,
                   vcpu->throttle_pct / 100.0);
    }
    canvas_put(canvas, vcpu->throttle_pct > 0 ? INK_WARN : INK_DIM,
               " %3d %% slept", MAX(vcpu->throttle_pct, 0));
    if (vcpu->limit_bytes_per_s > 0) {
        canvas_put(canvas, INK_DIM, ", may dirty %s",
                   format_rate(limit, vcpu->limit_bytes_per_s));
    } else if (limits) {
        canvas_put(canvas, INK_DIM, ", limit none");
    }
    canvas_end_line(canvas);
}

/* Of many vCPUs those that are slowed most are what one wants to see */
static int by_throttle(const void *a, const void *b)
{
    const LookVcpu *x = a, *y = b;

    if (x->throttle_pct != y->throttle_pct) {
        return y->throttle_pct - x->throttle_pct;
    }
    if (x->dirty_bytes_per_s != y->dirty_bytes_per_s) {
        return x->dirty_bytes_per_s < y->dirty_bytes_per_s ? 1 : -1;
    }
    return x->id - y->id;
}

static gboolean any_is(const GArray *vcpus, gboolean (*is)(const LookVcpu *))
{
    for (guint i = 0; i < vcpus->len; i++) {
        if (is(&g_array_index(vcpus, LookVcpu, i))) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean is_limited(const LookVcpu *vcpu)
{
    return vcpu->limit_bytes_per_s > 0;
}

static gboolean is_held(const LookVcpu *vcpu)
{
    return is_limited(vcpu) || vcpu->throttle_pct > 0;
}

static void put_vcpus(Canvas *canvas, const GArray *vcpus, int max_lines)
{
    g_autofree LookVcpu *list = NULL;
    gboolean limits = any_is(vcpus, is_limited);
    guint shown = vcpus->len;

    if (max_lines <= 0 || !any_is(vcpus, is_held)) {
        return;
    }
    list = g_new(LookVcpu, vcpus->len);
    memcpy(list, vcpus->data, vcpus->len * sizeof(LookVcpu));
    if (shown > (guint)max_lines) {
        qsort(list, vcpus->len, sizeof(LookVcpu), by_throttle);
        shown = max_lines - 1;
    }
    for (guint i = 0; i < shown; i++) {
        put_vcpu(canvas, &list[i], limits);
    }
    if (shown < vcpus->len) {
        canvas_put(canvas, INK_DIM, "and %u vCPUs slowed less",
                   vcpus->len - shown);
        canvas_end_line(canvas);
    }
}

void display_block(Canvas *canvas, const DisplayText *text,
                   const Look *look, const Track *track)
{
    int reserve = MAX_REASON_LINES +
                  (text->notice ? MAX_NOTICE_LINES : 0);

    put_head(canvas, text, look);
    put_progress(canvas, look, track);
    if (look_has_ended(look)) {
        if (track->points->len) {
            put_rates(canvas, look, track);
            put_throttle(canvas, look, track);
        }
        put_end(canvas, look);
    } else if (look->total_bytes >= 0) {
        put_rates(canvas, look, track);
        put_throttle(canvas, look, track);
        put_downtime(canvas, look);
        put_vcpus(canvas, look->vcpus, canvas->looks.rows - reserve -
                                       (int)canvas->lines->len - 1);
    }
    if (look->reason && *look->reason && !look_has_ended(look)) {
        g_autofree char *reason = format_sanitize(look->reason);

        canvas_wrap(canvas, INK_DIM, reason, MAX_REASON_LINES);
    }
    if (text->notice) {
        canvas_wrap(canvas, INK_BOLD, text->notice, MAX_NOTICE_LINES);
    }
}

char *display_line(const Look *look, const Track *track)
{
    GString *line = g_string_new("");
    g_autofree char *left = left_text(look, track);
    g_autofree char *done = progress_text(track);
    char text[FORMAT_MAX];

    if (track->timed) {
        g_string_append_printf(line, "%s  ",
                               format_duration(text, look->at_ms));
    }
    g_string_append_printf(line, "%s%s%s", done, *done ? "  " : "",
                           look_phase(look));
    if (look_has_ended(look)) {
        return g_string_free(line, FALSE);
    }
    if (look->total_bytes >= 0) {
        g_string_append_printf(line, "  dirties %s",
                               format_rate(text, look->dirty_bytes_per_s));
        g_string_append_printf(line, "  drains %s",
                               format_rate(text, look->drain_bytes_per_s));
        g_string_append_printf(line, "  remains %s",
                               format_bytes(text, look->remaining_bytes));
    }
    if (look->throttle_pct > 0) {
        g_string_append_printf(line, "  throttle %d %%", look->throttle_pct);
    }
    for (guint i = 0; i < look->vcpus->len && i < 8; i++) {
        LookVcpu *vcpu = &g_array_index(look->vcpus, LookVcpu, i);

        if (vcpu->throttle_pct > 0) {
            g_string_append_printf(line, "  vCPU %d slept %d %%", vcpu->id,
                                   vcpu->throttle_pct);
        }
    }
    if (left) {
        g_string_append_printf(line, "  %s", left);
    } else if (look_is_running(look) && track->left_ms >= 0) {
        g_string_append_printf(line, "  about %s left",
                               format_duration(text, track->left_ms));
    }
    return g_string_free(line, FALSE);
}

static void tell_completed(GString *text, const Look *look,
                           const Track *track)
{
    char figure[FORMAT_MAX];

    if (track->incoming) {
        g_string_append(text, "completed: the guest has arrived; how long it "
                        "took is told at the source");
        return;
    }
    g_string_append(text, "completed");
    if (track->timed) {
        g_string_append_printf(text, " in %s",
                               format_duration(figure, look->at_ms));
    }
    if (look->downtime_ms >= 0) {
        g_string_append_printf(text, ": downtime %s",
                               format_downtime(figure, look->downtime_ms));
        if (look->downtime_limit_ms >= 0) {
            g_string_append_printf(text, " (limit %s)",
                format_downtime(figure, look->downtime_limit_ms));
        }
    }
    if (look->longest_pause_ms > 0) {
        g_string_append_printf(text, ", longest pause of a vCPU %s",
                               format_downtime(figure,
                                               look->longest_pause_ms));
    }
    if (look->sent_bytes >= 0) {
        g_string_append_printf(text, ", %s sent",
                               format_bytes(figure, look->sent_bytes));
    }
    if (look->passes > 0) {
        g_string_append_printf(text, " in %" G_GINT64_FORMAT " pass%s",
                               look->passes, look->passes == 1 ? "" : "es");
    }
    if (track->max_throttle_pct > 0) {
        g_string_append_printf(text, ", vCPUs slowed by at most %d %%",
                               track->max_throttle_pct);
    }
}

/* Of one that was over already its time is not known */
static char *after_text(const Look *look, const Track *track)
{
    char figure[FORMAT_MAX];

    return track->timed ? g_strdup_printf(" after %s",
                              format_duration(figure, look->at_ms))
                        : g_strdup("");
}

char *display_verdict(const Look *look, const Track *track)
{
    GString *text = g_string_new("");
    g_autofree char *after = after_text(look, track);

    if (g_str_equal(look->status, "completed")) {
        tell_completed(text, look, track);
    } else if (g_str_equal(look->status, "cancelled")) {
        g_string_append_printf(text, "cancelled%s, the guest stays where it "
                               "was", after);
    } else {
        g_autofree char *why = format_sanitize(
            look->error && *look->error ? look->error
                                        : "QEMU gives no reason");

        g_string_append_printf(text, "failed%s: %s", after, why);
    }
    return g_string_free(text, FALSE);
}

ExitStatus display_exit_status(const Look *look)
{
    if (g_str_equal(look->status, "completed")) {
        return EXIT_COMPLETED;
    }
    return g_str_equal(look->status, "cancelled") ? EXIT_CANCELLED
                                                  : EXIT_FAILED;
}
