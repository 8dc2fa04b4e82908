/*
 * What a migration cost the guest, told from the guest's own reports
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Guest time against host time: a report cannot arrive before it was
 * written, and most arrive at once, so the least (arrival - guest time) of
 * a side is that side's clock offset.  It is taken for each side by itself:
 * the guest's clock stands still between the two, and the difference of the
 * offsets is just the time that the guest did not see pass.
 */

#include "guest-work-internal.h"

#include <gio/gio.h>
#include <string.h>

GuestWork *guest_work_new(void)
{
    GuestWork *work = g_new0(GuestWork, 1);

    g_mutex_init(&work->lock);
    g_cond_init(&work->changed);
    work->log = worklog_new();
    work->sides = g_array_new(FALSE, FALSE, sizeof(Side));
    for (int i = 0; i < NR_SIDES; i++) {
        work->offset_us[i] = G_MAXINT64;
    }
    return work;
}

void guest_work_free(GuestWork *work)
{
    if (work) {
        worklog_free(work->log);
        g_array_unref(work->sides);
        g_cond_clear(&work->changed);
        g_mutex_clear(&work->lock);
        g_free(work);
    }
}

static gint64 guest_us(const WorklogReport *report)
{
    return (gint64)report->t_ms * 1000;
}

void guest_work_line(void *opaque, const char *vm_name, const char *text,
                     gint64 at_us)
{
    GuestWork *work = opaque;
    Side side = g_str_equal(vm_name, "destination") ? DESTINATION : SOURCE;
    g_autofree char *line = g_strconcat(text, "\n", NULL);

    g_mutex_lock(&work->lock);
    if (worklog_feed(work->log, side, line, strlen(line), at_us * 1000)) {
        const WorklogReport *report = worklog_last(work->log);

        g_array_append_val(work->sides, side);
        work->nr_reports[side]++;
        work->offset_us[side] = MIN(work->offset_us[side],
                                    at_us - guest_us(report));
    }
    g_cond_broadcast(&work->changed);
    g_mutex_unlock(&work->lock);
}

gboolean guest_work_wait_ready(GuestWork *work, int timeout_ms,
                               GError **errp)
{
    return worklog_wait_ready(work->log, &work->lock, &work->changed,
                              timeout_ms, errp);
}

unsigned guest_work_wait_destination(GuestWork *work, unsigned count,
                                     int timeout_ms)
{
    gint64 deadline_us = g_get_monotonic_time() + timeout_ms * 1000LL;
    gboolean in_time = TRUE;
    unsigned seen;

    g_mutex_lock(&work->lock);
    while (work->nr_reports[DESTINATION] < count && in_time) {
        in_time = g_cond_wait_until(&work->changed, &work->lock,
                                    deadline_us);
    }
    seen = work->nr_reports[DESTINATION];
    g_mutex_unlock(&work->lock);
    return seen;
}

gint64 guest_work_host_us(GuestWork *work, unsigned index)
{
    Side side = g_array_index(work->sides, Side, index);

    return guest_us(worklog_at(work->log, index)) + work->offset_us[side];
}

/* Units a vCPU had done at @at_us, between two reports by a straight line */
static double units_at(GuestWork *work, unsigned vcpu, gint64 at_us)
{
    unsigned last = worklog_count(work->log) - 1;
    double before, after;
    gint64 from_us, to_us;
    unsigned i = 1;

    while (i < last && guest_work_host_us(work, i) < at_us) {
        i++;
    }
    before = worklog_at(work->log, i - 1)->units[vcpu];
    after = worklog_at(work->log, i)->units[vcpu];
    from_us = guest_work_host_us(work, i - 1);
    to_us = guest_work_host_us(work, i);
    return before + (after - before) *
           CLAMP((double)(at_us - from_us) / MAX(to_us - from_us, 1), 0, 1);
}

static double longest_gap_ms(GuestWork *work, unsigned vcpu, gint64 start_us,
                             gint64 end_us)
{
    guint64 longest_us = 0;

    for (unsigned i = 0; i < worklog_count(work->log); i++) {
        gint64 at_us = guest_work_host_us(work, i);

        /* A report covers the tenth of a second before it */
        if (at_us > start_us + 100 * 1000 && at_us <= end_us) {
            longest_us = MAX(longest_us,
                             worklog_at(work->log, i)->gap_us[vcpu]);
        }
    }
    return longest_us / 1000.0;
}

/* Their number, 0 if there are too few reports to tell anything */
static unsigned count_vcpus(GuestWork *work)
{
    return worklog_count(work->log) >= 2 ? worklog_last(work->log)->nr_vcpus
                                         : 0;
}

static double units_between(GuestWork *work, unsigned vcpu, gint64 from_us,
                            gint64 to_us)
{
    return units_at(work, vcpu, to_us) - units_at(work, vcpu, from_us);
}

unsigned guest_work_account(GuestWork *work, gint64 base_us, gint64 start_us,
                            gint64 end_us, gint64 silence_end_us,
                            GuestWorkVcpu *vcpus)
{
    double base_s = (start_us - base_us) / 1e6;
    double span_s = (end_us - start_us) / 1e6;
    unsigned nr_vcpus = 0;

    g_mutex_lock(&work->lock);
    if (base_s > 0 && span_s > 0) {
        nr_vcpus = count_vcpus(work);
    }
    for (unsigned i = 0; i < nr_vcpus; i++) {
        double rate = units_between(work, i, base_us, start_us) / base_s;
        double done = units_between(work, i, start_us, end_us);

        vcpus[i] = (GuestWorkVcpu) {
            .rate_before_per_s = rate,
            /* An idle vCPU has nothing to lose */
            .work_share_pct = rate > 0 ? 100 * done / (rate * span_s) : 100,
            .lost_s = rate > 0 ? span_s - done / rate : 0,
            .silence_ms = longest_gap_ms(work, i, start_us, silence_end_us),
        };
    }
    g_mutex_unlock(&work->lock);
    return nr_vcpus;
}

GArray *guest_work_timeline(GuestWork *work, gint64 base_us, gint64 start_us,
                            gint64 end_us, gint64 span_us)
{
    GArray *spans = g_array_new(FALSE, TRUE, sizeof(GuestWorkSpan));
    GuestWorkVcpu vcpus[GUEST_WORK_MAX_VCPUS];
    unsigned nr_vcpus = guest_work_account(work, base_us, start_us, end_us,
                                           end_us, vcpus);

    g_mutex_lock(&work->lock);
    for (gint64 at_us = start_us, to_us; nr_vcpus && at_us < end_us;
         at_us = to_us) {
        GuestWorkSpan span;

        /* A short rest would be noise: it goes with the span before it */
        to_us = end_us - at_us < span_us * 3 / 2 ? end_us : at_us + span_us;
        span = (GuestWorkSpan) { .end_us = to_us - start_us };
        for (unsigned i = 0; i < nr_vcpus; i++) {
            double normal = vcpus[i].rate_before_per_s * (to_us - at_us) / 1e6;

            span.work_share_pct[i] = normal > 0 ?
                100 * units_between(work, i, at_us, to_us) / normal : 100;
        }
        g_array_append_val(spans, span);
    }
    g_mutex_unlock(&work->lock);
    return spans;
}

double guest_work_stood_still_ms(GuestWork *work)
{
    double ms = -1;

    g_mutex_lock(&work->lock);
    if (work->nr_reports[SOURCE] && work->nr_reports[DESTINATION]) {
        ms = (work->offset_us[DESTINATION] - work->offset_us[SOURCE]) / 1e3;
    }
    g_mutex_unlock(&work->lock);
    return ms;
}

guint64 guest_work_bad_pages(GuestWork *work)
{
    const WorklogReport *report;
    guint64 bad_pages;

    g_mutex_lock(&work->lock);
    report = worklog_last(work->log);
    bad_pages = report ? report->bad_pages : 0;
    g_mutex_unlock(&work->lock);
    return bad_pages;
}
