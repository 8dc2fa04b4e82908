/*
 * A migration so far: what single looks do not tell
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Drain rate, estimate and progress for QEMUs that tell none, a progress
 * that never goes back for all, highest throttle, and a history for curves.
 */

#ifndef CONVERGECTL_TRACK_H
#define CONVERGECTL_TRACK_H

#include "look.h"

/*
 * History is thinned to every second point when it reaches this: a curve of
 * the whole migration fits a screen's width, however long it takes.
 */
#define TRACK_MAX_POINTS 512

typedef struct TrackPoint {
    double dirty_bytes_per_s;
    double drain_bytes_per_s;
    double remaining_bytes;
    double throttle_pct;
} TrackPoint;

typedef struct Track {
    gboolean late;                  /* set by who did not see it begin */
    gboolean timed;                 /* the time of looks is the migration's */
    gboolean incoming;              /* it is the destination that is asked */
    gboolean endless;               /* as it is, it will not end */
    int progress_pct;               /* 0-100, never falls */
    gint64 left_ms;                 /* LOOK_UNKNOWN: cannot be told */
    int max_throttle_pct;           /* LOOK_UNKNOWN: never told one */
    gint64 max_at_ms;
    GArray *points;                 /* TrackPoint */

    /* How the drain rate is taken where QEMU does not tell it */
    double span_from_bytes;
    gint64 span_from_ms;
    gint64 pass;                    /* the one under way */
    gint64 pass_from_ms;
    double drain_bytes_per_s;
    unsigned looks_per_point;
    unsigned looks_skipped;
} Track;

Track *track_new(void);
void track_free(Track *track);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Track, track_free)

/*
 * Takes account of @look, and fills in what it lacks: the time (from
 * @elapsed_ms, since we follow), the drain rate, why it does not end.
 */
void track_add(Track *track, Look *look, gint64 elapsed_ms);

#endif
