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

#include "guest-work.h"

#include <gio/gio.h>
#include <stdio.h>
#include <string.h>

typedef enum Side { SOURCE, DESTINATION, NR_SIDES } Side;

typedef struct Report {
    Side side;
    gint64 guest_us;
    guint64 units[GUEST_WORK_MAX_VCPUS];
    guint64 gap_us[GUEST_WORK_MAX_VCPUS];
} Report;

struct GuestWork {
    GMutex lock;
    GCond changed;

    /* Guarded by lock */
    gboolean ready;
    char *error;                    /* why the guest cannot run its loads */
    unsigned nr_vcpus;
    GArray *reports;                /* Report, as they came */
    unsigned nr_reports[NR_SIDES];
    gint64 offset_us[NR_SIDES];
    guint64 bad_pages;
};

GuestWork *guest_work_new(void)
{
    GuestWork *work = g_new0(GuestWork, 1);

    g_mutex_init(&work->lock);
    g_cond_init(&work->changed);
    work->reports = g_array_new(FALSE, FALSE, sizeof(Report));
    for (int i = 0; i < NR_SIDES; i++) {
        work->offset_us[i] = G_MAXINT64;
    }
    return work;
}

void guest_work_free(GuestWork *work)
{
    if (work) {
        g_array_unref(work->reports);
        g_free(work->error);
        g_cond_clear(&work->changed);
        g_mutex_clear(&work->lock);
        g_free(work);
    }
}

/*
 * The last word of a line is a checksum of those before it: a line cut in
 * two by the switch-over is no report, and half a number is a number too.
 * Cuts the word off.
 */
static gboolean check_sum(char *line)
{
    char *word = g_strrstr(line, " sum=");
    unsigned a = 1, b = 0, sum;

    if (!word || sscanf(word, " sum=%4x", &sum) != 1) {
        return FALSE;
    }
    *word = 0;
    for (const char *p = line; *p; p++) {
        a = (a + (guchar)*p) % 255;
        b = (b + a) % 255;
    }
    return sum == (b << 8 | a);
}

static const char *value_of(const char *line, const char *key)
{
    const char *at = strstr(line, key);

    return at ? at + strlen(key) : "";
}

static unsigned parse_list(const char *text, guint64 *values)
{
    unsigned n = 0;
    char *end;

    while (n < GUEST_WORK_MAX_VCPUS && g_ascii_isdigit(*text)) {
        values[n++] = g_ascii_strtoull(text, &end, 10);
        if (*end != '/') {
            break;
        }
        text = end + 1;
    }
    return n;
}

static void take_report(GuestWork *work, Side side, const char *line,
                        gint64 at_us)
{
    Report report = { .side = side };
    unsigned nr_vcpus = parse_list(value_of(line, " u="), report.units);

    if (!nr_vcpus ||
        parse_list(value_of(line, " gap_us="), report.gap_us) != nr_vcpus) {
        return;
    }
    report.guest_us =
        g_ascii_strtoll(value_of(line, " t_ms="), NULL, 10) * 1000;
    work->nr_vcpus = nr_vcpus;
    work->bad_pages = g_ascii_strtoull(value_of(line, " bad="), NULL, 10);
    work->offset_us[side] = MIN(work->offset_us[side],
                                at_us - report.guest_us);
    work->nr_reports[side]++;
    g_array_append_val(work->reports, report);
}

void guest_work_line(void *opaque, const char *vm_name, const char *text,
                     gint64 at_us)
{
    GuestWork *work = opaque;
    Side side = g_str_equal(vm_name, "destination") ? DESTINATION : SOURCE;
    g_autofree char *line = g_strdup(text);

    if (!check_sum(line)) {
        return;
    }
    g_mutex_lock(&work->lock);
    if (g_str_has_prefix(line, "work ")) {
        take_report(work, side, line, at_us);
    } else if (g_str_has_prefix(line, "ready ")) {
        work->ready = TRUE;
    } else if (g_str_has_prefix(line, "error ") && !work->error) {
        work->error = g_strdup(line);
    }
    g_cond_broadcast(&work->changed);
    g_mutex_unlock(&work->lock);
}

gboolean guest_work_wait_ready(GuestWork *work, int timeout_ms,
                               GError **errp)
{
    gint64 deadline_us = g_get_monotonic_time() + timeout_ms * 1000LL;
    gboolean in_time = TRUE;

    g_mutex_lock(&work->lock);
    while (!work->ready && !work->error && in_time) {
        in_time = g_cond_wait_until(&work->changed, &work->lock,
                                    deadline_us);
    }
    if (work->error) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "the guest says: %s", work->error);
    } else if (!work->ready) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                    "the guest did not come up within %d s",
                    timeout_ms / 1000);
    }
    in_time = work->ready && !work->error;
    g_mutex_unlock(&work->lock);
    return in_time;
}

gboolean guest_work_wait_destination(GuestWork *work, unsigned count,
                                     int timeout_ms)
{
    gint64 deadline_us = g_get_monotonic_time() + timeout_ms * 1000LL;
    gboolean in_time = TRUE, enough;

    g_mutex_lock(&work->lock);
    while (work->nr_reports[DESTINATION] < count && in_time) {
        in_time = g_cond_wait_until(&work->changed, &work->lock,
                                    deadline_us);
    }
    enough = work->nr_reports[DESTINATION] >= count;
    g_mutex_unlock(&work->lock);
    return enough;
}

static gint64 host_us(GuestWork *work, const Report *report)
{
    return report->guest_us + work->offset_us[report->side];
}

/* Units a vCPU had done at @at_us, between two reports by a straight line */
static double units_at(GuestWork *work, unsigned vcpu, gint64 at_us)
{
    const Report *before = &g_array_index(work->reports, Report, 0);
    gint64 span_us;

    for (unsigned i = 1; i < work->reports->len; i++) {
        const Report *after = &g_array_index(work->reports, Report, i);

        if (host_us(work, after) >= at_us) {
            span_us = host_us(work, after) - host_us(work, before);
            return before->units[vcpu] +
                   ((double)after->units[vcpu] - before->units[vcpu]) *
                   MAX(at_us - host_us(work, before), 0) / MAX(span_us, 1);
        }
        before = after;
    }
    return before->units[vcpu];
}

static double longest_gap_ms(GuestWork *work, unsigned vcpu, gint64 start_us,
                             gint64 end_us)
{
    guint64 longest_us = 0;

    for (unsigned i = 0; i < work->reports->len; i++) {
        const Report *report = &g_array_index(work->reports, Report, i);
        gint64 at_us = host_us(work, report);

        /* A report covers the tenth of a second before it */
        if (at_us > start_us + 100 * 1000 && at_us <= end_us) {
            longest_us = MAX(longest_us, report->gap_us[vcpu]);
        }
    }
    return longest_us / 1000.0;
}

unsigned guest_work_account(GuestWork *work, gint64 base_us, gint64 start_us,
                            gint64 end_us, gint64 silence_end_us,
                            GuestWorkVcpu *vcpus)
{
    double base_s = (start_us - base_us) / 1e6;
    double span_s = (end_us - start_us) / 1e6;
    unsigned nr_vcpus = 0;

    g_mutex_lock(&work->lock);
    if (work->reports->len >= 2 && base_s > 0 && span_s > 0) {
        nr_vcpus = work->nr_vcpus;
    }
    for (unsigned i = 0; i < nr_vcpus; i++) {
        double at_start = units_at(work, i, start_us);
        double rate = (at_start - units_at(work, i, base_us)) / base_s;
        double done = units_at(work, i, end_us) - at_start;

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

guint64 guest_work_bad_pages(GuestWork *work)
{
    guint64 bad_pages;

    g_mutex_lock(&work->lock);
    bad_pages = work->bad_pages;
    g_mutex_unlock(&work->lock);
    return bad_pages;
}
