/*
 * How late things were in the guest, from its histograms since boot
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * What happened between two moments is the difference of the histograms
 * that the guest had sent by then.
 */

#include "guest-work-internal.h"

typedef struct Histogram {
    guint32 counts[LATENCY_BUCKETS];
    guint64 total;
} Histogram;

/* The last report at or before @at_us on the host's clock, or NULL */
static const WorklogReport *report_at(GuestWork *work, gint64 at_us)
{
    const WorklogReport *found = NULL;

    for (unsigned i = 0; i < worklog_count(work->log) &&
                         guest_work_host_us(work, i) <= at_us; i++) {
        found = worklog_at(work->log, i);
    }
    return found;
}

static Histogram difference(const WorklogReport *from,
                            const WorklogReport *to, unsigned which)
{
    Histogram h = { .total = 0 };

    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        h.counts[i] = to->late[which][i] - from->late[which][i];
        h.total += h.counts[i];
    }
    return h;
}

/* In its bucket a value is taken to lie where its rank lies */
static double quantile_us(const Histogram *h, double quantile)
{
    double rank = quantile * h->total;
    guint64 below = 0;

    for (unsigned i = 0; i + 1 < LATENCY_BUCKETS; i++) {
        if (h->counts[i] && below + h->counts[i] >= rank) {
            double from = latency_bucket_ns(i);
            double width = latency_bucket_ns(i + 1) - from;

            return (from + width * (rank - below) / h->counts[i]) / 1e3;
        }
        below += h->counts[i];
    }
    return latency_bucket_ns(LATENCY_BUCKETS - 1) / 1e3;
}

void guest_work_latency(GuestWork *work, gint64 base_us, gint64 start_us,
                        gint64 end_us, GuestWorkLatency *latencies)
{
    const WorklogReport *base, *start, *end;

    g_mutex_lock(&work->lock);
    base = report_at(work, base_us);
    start = report_at(work, start_us);
    end = report_at(work, end_us);
    for (unsigned i = 0; i < GUEST_WORK_LATENCIES; i++) {
        GuestWorkLatency *latency = &latencies[i];
        Histogram before, during;

        *latency = (GuestWorkLatency) { .count = 0 };
        if (!base || !start->has_late || !end->has_late) {
            continue;
        }
        before = difference(base, start, i);
        during = difference(start, end, i);
        if (!before.total || !during.total) {
            continue;
        }
        latency->count = during.total;
        latency->p50_us = quantile_us(&during, 0.5);
        latency->p99_us = quantile_us(&during, 0.99);
        latency->max_us = quantile_us(&during, 1);
        latency->before_p50_us = quantile_us(&before, 0.5);
        latency->before_p99_us = quantile_us(&before, 0.99);
    }
    g_mutex_unlock(&work->lock);
}
