/*
 * A migration so far: what single looks do not tell
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "track.h"

#include "format.h"

/* QEMU counts pages as it sends; over less than this its bursts show */
#define DRAIN_SPAN_MS 1000

/*
 * A guest that dirties nearly as fast as the link drains would be foretold
 * hours; that close, "it cannot be told" is the better answer.
 */
#define HOPELESS_DIRTY_SHARE 0.95

/* Progress never falls: a guess must not promise more than comes true */
#define MAX_GUESS_PCT 50

Track *track_new(void)
{
    Track *track = g_new0(Track, 1);

    track->left_ms = LOOK_UNKNOWN;
    track->max_throttle_pct = LOOK_UNKNOWN;
    track->drain_bytes_per_s = LOOK_UNKNOWN;
    track->span_from_ms = LOOK_UNKNOWN;
    track->looks_per_point = 1;
    track->points = g_array_new(FALSE, FALSE, sizeof(TrackPoint));
    return track;
}

void track_free(Track *track)
{
    if (track) {
        g_array_unref(track->points);
        g_free(track);
    }
}

static void measure_drain(Track *track, Look *look)
{
    gint64 span_ms = look->at_ms - track->span_from_ms;

    if (look->drained_bytes < 0 || look->has_convergence) {
        return;
    }
    if (track->span_from_ms < 0) {
        track->span_from_ms = look->at_ms;
        track->span_from_bytes = look->drained_bytes;
    } else if (span_ms >= DRAIN_SPAN_MS) {
        track->drain_bytes_per_s = MAX(0, look->drained_bytes -
                                          track->span_from_bytes) *
                                   1000 / span_ms;
        track->span_from_ms = look->at_ms;
        track->span_from_bytes = look->drained_bytes;
    }
    if (look_is_running(look)) {
        look->drain_bytes_per_s = track->drain_bytes_per_s;
    }
}

/*
 * QEMU finds out at the end of a pass what was dirtied in it; leaving that
 * out is what makes a saw-tooth of "remaining".
 */
static double hidden_bytes(const Track *track, const Look *look)
{
    double pass_s = (look->at_ms - track->pass_from_ms) / 1e3;

    return MAX(look->dirty_bytes_per_s, 0) * pass_s;
}

/* Pass after pass a geometric row; its sum is what is left to send */
static gint64 estimate_left_ms(const Track *track, const Look *look)
{
    double dirty = MAX(look->dirty_bytes_per_s, 0);

    if (look->predicted_total_ms >= 0) {
        return MAX(look->predicted_total_ms - look->at_ms, 0);
    }
    if (look->has_convergence || look->remaining_bytes < 0 ||
        look->drain_bytes_per_s <= 0 ||
        dirty > look->drain_bytes_per_s * HOPELESS_DIRTY_SHARE) {
        return LOOK_UNKNOWN;
    }
    return (look->remaining_bytes + hidden_bytes(track, look)) * 1000 /
           (look->drain_bytes_per_s - dirty);
}

/* The engine has foretold nothing yet: at least what remains is to be sent */
static int guess_progress(const Look *look)
{
    double left_s = look->drain_bytes_per_s > 0
                    ? look->remaining_bytes / look->drain_bytes_per_s : 0;
    double at_s = look->at_ms / 1e3;

    return left_s > 0 ? MIN(100 * at_s / (at_s + left_s), MAX_GUESS_PCT) : 0;
}

/* One figure: that of QEMU, for all who ask, as soon as it has one */
static int estimate_progress(const Track *track, const Look *look)
{
    if (look->has_convergence || look->progress_pct > 0) {
        return look->progress_pct;
    }
    /* In the first pass nobody knows yet how much comes again */
    if (look->passes <= 0) {
        return guess_progress(look);
    }
    if (track->left_ms >= 0 && look->at_ms > 0) {
        return 100 * look->at_ms / (look->at_ms + track->left_ms);
    }
    return 0;
}

/* The engine says so; without one, there are rates, but no estimate */
static gboolean is_endless(const Track *track, const Look *look)
{
    if (!look_is_running(look) || look_is_postcopy(look)) {
        return FALSE;
    }
    if (look->has_convergence) {
        return g_strcmp0(look_phase(look), "stuck") == 0;
    }
    return look->passes >= 1 && look->drain_bytes_per_s > 0 &&
           track->left_ms < 0;
}

static void update_progress(Track *track, const Look *look)
{
    if (g_str_equal(look->status, "completed")) {
        track->progress_pct = 100;
        track->left_ms = 0;
        track->endless = FALSE;
        return;
    }
    track->left_ms = look_is_running(look) ? estimate_left_ms(track, look)
                                           : LOOK_UNKNOWN;
    track->endless = is_endless(track, look);
    if (track->endless) {
        track->left_ms = LOOK_UNKNOWN;
        return;
    }
    if (look_is_running(look)) {
        track->progress_pct = CLAMP(estimate_progress(track, look),
                                    track->progress_pct, 99);
    }
}

static void thin_out(GArray *points)
{
    for (guint i = 1; i < points->len / 2; i++) {
        g_array_index(points, TrackPoint, i) =
            g_array_index(points, TrackPoint, 2 * i);
    }
    g_array_set_size(points, points->len / 2);
}

static void add_point(Track *track, const Look *look)
{
    TrackPoint point = {
        .dirty_bytes_per_s = look->dirty_bytes_per_s,
        .drain_bytes_per_s = look->drain_bytes_per_s,
        .remaining_bytes = look->remaining_bytes,
        .throttle_pct = look->throttle_pct,
    };

    if (++track->looks_skipped < track->looks_per_point) {
        return;
    }
    track->looks_skipped = 0;
    g_array_append_val(track->points, point);
    if (track->points->len == TRACK_MAX_POINTS) {
        thin_out(track->points);
        track->looks_per_point *= 2;
    }
}

/* On top of what stopping now would take: it is a figure to set */
#define DOWNTIME_MARGIN 1.2
#define DOWNTIME_STEP_MS 100

/* Where QEMU says nothing of it: one that does not end, and the way out */
static void explain(Look *look)
{
    double drain = look->drain_bytes_per_s;
    char a[FORMAT_MAX], b[FORMAT_MAX];
    gint64 downtime_ms;

    if (look->incoming && look_is_running(look) && !*look->reason) {
        g_free(look->reason);
        look->reason = g_strdup("the guest arrives here: rates, progress and "
                                "time are told at the source");
    }
    if (!look_is_running(look) || look->has_convergence ||
        *look->reason || look->passes < 1 || !(drain > 0) ||
        look->dirty_bytes_per_s < drain * HOPELESS_DIRTY_SHARE) {
        return;
    }
    downtime_ms = look->remaining_bytes * 1000 / drain * DOWNTIME_MARGIN;
    downtime_ms += DOWNTIME_STEP_MS - downtime_ms % DOWNTIME_STEP_MS;
    g_free(look->reason);
    look->reason = g_strdup_printf("does not converge: it dirties %s, the "
        "link drains %s: more bandwidth, or a downtime-limit of %"
        G_GINT64_FORMAT " ms, would end it%s",
        format_rate(a, look->dirty_bytes_per_s), format_rate(b, drain),
        downtime_ms, look->throttle_pct > 0 ? "" :
        ", and so would auto-converge, switched on before the start");
}

/* The time that QEMU tells, or that since the begin that we saw */
static void take_time(Track *track, Look *look, gint64 elapsed_ms)
{
    track->incoming |= look->incoming;
    track->timed |= look->at_ms > 0 || (!track->late && !track->incoming);
    /* total-time is not there during set-up, and 0 right at the end */
    if (look->at_ms <= 0) {
        look->at_ms = MAX(elapsed_ms, 0);
    }
    look->at_ms = MAX(look->at_ms, track->max_at_ms);
    track->max_at_ms = look->at_ms;
}

void track_add(Track *track, Look *look, gint64 elapsed_ms)
{
    take_time(track, look, elapsed_ms);
    measure_drain(track, look);
    explain(look);
    if (look->passes != track->pass) {
        track->pass = look->passes;
        track->pass_from_ms = look->at_ms;
    }
    track->max_throttle_pct = MAX(track->max_throttle_pct,
                                  look->throttle_pct);
    for (guint i = 0; i < look->vcpus->len; i++) {
        LookVcpu *vcpu = &g_array_index(look->vcpus, LookVcpu, i);

        track->max_throttle_pct = MAX(track->max_throttle_pct,
                                      vcpu->throttle_pct);
    }
    update_progress(track, look);
    if (look_is_running(look)) {
        add_point(track, look);
    }
}
