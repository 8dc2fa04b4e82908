/*
 * Is the guest at work, on which side, and is its memory what it wrote?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * The guest reports ten times a second over the console of whichever QEMU
 * it runs in.  At most two of those live at a time; they are sides 0 and 1.
 */

#ifndef CONVERGE_FAULTS_GUEST_WATCH_H
#define CONVERGE_FAULTS_GUEST_WATCH_H

#include <gio/gio.h>

#define GUEST_WATCH_SIDES 2

typedef struct GuestWatch GuestWatch;

GuestWatch *guest_watch_new(void);
void guest_watch_free(GuestWatch *watch);

/* A line that the guest printed on the console of @side.  Any thread. */
void guest_watch_line(GuestWatch *watch, unsigned side, const char *line,
                      gint64 at_us);

/*
 * The guest starts over, from a reset or from a snapshot: its reports will
 * count from an earlier number.
 */
void guest_watch_forget(GuestWatch *watch);

/* Until the guest's loads run; an error if it says that they cannot */
gboolean guest_watch_wait_ready(GuestWatch *watch, int timeout_ms,
                                GError **errp);

/*
 * What to wait for: vCPU 0 checks and writes @walk_pages from now on, all
 * vCPUs from 0 to @nr_busy - 1 get on, each at @least_rate[i] units a second
 * or more over the last half of a second.  NULL: at any rate.
 */
typedef struct GuestGoal {
    guint64 walk_pages;
    unsigned nr_busy;
    const double *least_rate;
} GuestGoal;

/*
 * Waits until the guest has reached the goal on @side.  Fails at once if the
 * guest found a page that it did not write, or works on the other side too.
 */
gboolean guest_watch_wait_goal(GuestWatch *watch, unsigned side,
                               const GuestGoal *goal, int timeout_ms,
                               GError **errp);

/* Units a second that vCPU @vcpu did in the last @span_ms; 0 if unknown */
double guest_watch_rate(GuestWatch *watch, unsigned vcpu, unsigned span_ms);

#endif
