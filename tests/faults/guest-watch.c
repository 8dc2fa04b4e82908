/*
 * Is the guest at work, on which side, and is its memory what it wrote?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "guest-watch.h"

#include "worklog.h"

#include <string.h>

/* Rates are taken over so long: five reports */
#define RATE_SPAN_MS 500

/* What the other side's console still had in its buffers arrives in this */
#define GRACE_US (200 * 1000)

struct GuestWatch {
    GMutex lock;
    GCond changed;

    /* Guarded by lock */
    Worklog *log;
    gint64 last_us[GUEST_WATCH_SIDES];  /* when the guest last reported */
};

GuestWatch *guest_watch_new(void)
{
    GuestWatch *watch = g_new0(GuestWatch, 1);

    g_mutex_init(&watch->lock);
    g_cond_init(&watch->changed);
    watch->log = worklog_new();
    return watch;
}

void guest_watch_free(GuestWatch *watch)
{
    if (watch) {
        worklog_free(watch->log);
        g_cond_clear(&watch->changed);
        g_mutex_clear(&watch->lock);
        g_free(watch);
    }
}

void guest_watch_forget(GuestWatch *watch)
{
    g_mutex_lock(&watch->lock);
    worklog_free(watch->log);
    watch->log = worklog_new();
    g_mutex_unlock(&watch->lock);
}

void guest_watch_line(GuestWatch *watch, unsigned side, const char *text,
                      gint64 at_us)
{
    g_autofree char *line = g_strconcat(text, "\n", NULL);

    g_mutex_lock(&watch->lock);
    worklog_feed(watch->log, side, line, strlen(line), at_us * 1000);
    /* Not only those that worklog takes: a twin's reports are older ones */
    if (strstr(text, "work t_ms=")) {
        watch->last_us[side] = at_us;
    }
    g_cond_broadcast(&watch->changed);
    g_mutex_unlock(&watch->lock);
}

gboolean guest_watch_wait_ready(GuestWatch *watch, int timeout_ms,
                                GError **errp)
{
    return worklog_wait_ready(watch->log, &watch->lock, &watch->changed,
                              timeout_ms, errp);
}

/*
 * Under lock.  By the guest's clock: a busy host takes several reports at
 * once, and by its own clock there would be no time between them.
 */
static double rate_of(GuestWatch *watch, unsigned vcpu, unsigned span_ms)
{
    unsigned first = worklog_count(watch->log);
    const WorklogReport *last = worklog_last(watch->log);
    const WorklogReport *from;

    if (!last) {
        return 0;
    }
    while (first > 0 &&
           worklog_at(watch->log, first - 1)->t_ms + span_ms >= last->t_ms) {
        first--;
    }
    from = worklog_at(watch->log, first);
    if (from->t_ms >= last->t_ms) {
        return 0;
    }
    return (last->units[vcpu] - from->units[vcpu]) * 1000.0 /
           (last->t_ms - from->t_ms);
}

double guest_watch_rate(GuestWatch *watch, unsigned vcpu, unsigned span_ms)
{
    double rate;

    g_mutex_lock(&watch->lock);
    rate = rate_of(watch, vcpu, span_ms);
    g_mutex_unlock(&watch->lock);
    return rate;
}

/* What has to be seen for the goal, and what is missing when time is up */
typedef struct Look {
    gint64 since_us;
    gboolean started;
    WorklogReport first;
    char missing[128];
} Look;

/* Under lock.  TRUE: the goal is reached. */
static gboolean look_at_goal(GuestWatch *watch, unsigned side,
                             const GuestGoal *goal, Look *look)
{
    const WorklogReport *last = worklog_last(watch->log);

    if (!last || watch->last_us[side] <= look->since_us) {
        g_strlcpy(look->missing, "it does not report", sizeof(look->missing));
        return FALSE;
    }
    if (!look->started) {
        look->first = *last;
        look->started = TRUE;
    }
    if (last->units[0] - look->first.units[0] < goal->walk_pages) {
        g_snprintf(look->missing, sizeof(look->missing),
                   "it has checked %" G_GUINT64_FORMAT " of %"
                   G_GUINT64_FORMAT " pages",
                   last->units[0] - look->first.units[0], goal->walk_pages);
        return FALSE;
    }
    for (unsigned i = 0; i < goal->nr_busy; i++) {
        double rate = rate_of(watch, i, RATE_SPAN_MS);
        double least = goal->least_rate ? goal->least_rate[i] : 0;

        if (last->units[i] <= look->first.units[i] || rate < least) {
            g_snprintf(look->missing, sizeof(look->missing),
                       "vCPU %u does %.0f units/s, wanted are %.0f", i, rate,
                       least);
            return FALSE;
        }
    }
    return TRUE;
}

/* Under lock */
static gboolean check_sound(GuestWatch *watch, unsigned side,
                            gint64 since_us, GError **errp)
{
    const WorklogReport *last = worklog_last(watch->log);

    if (last && last->bad_pages) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "the guest's memory is damaged: it found %"
                    G_GUINT64_FORMAT " pages that it did not write",
                    last->bad_pages);
        return FALSE;
    }
    if (watch->last_us[!side] > since_us + GRACE_US) {
        g_set_error_literal(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                            "the guest works on both sides");
        return FALSE;
    }
    return TRUE;
}

gboolean guest_watch_wait_goal(GuestWatch *watch, unsigned side,
                               const GuestGoal *goal, int timeout_ms,
                               GError **errp)
{
    Look look = { .since_us = g_get_monotonic_time() };
    gint64 deadline_us = look.since_us + timeout_ms * 1000LL;
    gboolean sound, reached, in_time = TRUE;

    g_mutex_lock(&watch->lock);
    for (;;) {
        sound = check_sound(watch, side, look.since_us, errp);
        reached = sound && look_at_goal(watch, side, goal, &look);
        if (!sound || reached || !in_time) {
            break;
        }
        in_time = g_cond_wait_until(&watch->changed, &watch->lock,
                                    deadline_us);
    }
    g_mutex_unlock(&watch->lock);
    if (sound && !reached) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                    "the guest is not at full work after %d s: %s",
                    timeout_ms / 1000, look.missing);
    }
    return reached;
}
