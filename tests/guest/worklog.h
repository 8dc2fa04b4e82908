/*
 * What the test guest says on its serial line, as structs
 *
 * Feed it bytes as they come, from one port for each QEMU that the guest runs
 * in: a migrating guest ends a line on the source's port that it began there,
 * or in the middle of it goes on at the target's.  A line counts only if its
 * checksum fits; reports that are older than the last one are dropped, so the
 * ports may be read in any order.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef WORKLOG_H
#define WORKLOG_H

#include <glib.h>

#include "latency-buckets.h"

#define WORKLOG_MAX_VCPUS 64
#define WORKLOG_MAX_PORTS 8
/* Of the first four vCPUs, and of a program; see latency.h */
#define WORKLOG_HISTOGRAMS 5
#define WORKLOG_PROGRAM_HISTOGRAM 4

/* One report; ten a second of guest time. */
typedef struct WorklogReport {
    gint64 host_ns;             /* when its last byte was fed */
    guint64 t_ms;               /* the guest's CLOCK_MONOTONIC: stands still
                                   while the guest is stopped */
    guint64 number;             /* counts the reports, sent or not */
    unsigned nr_vcpus;
    guint64 units[WORKLOG_MAX_VCPUS];   /* of work, since ready */
    guint64 gap_us[WORKLOG_MAX_VCPUS];  /* longest silence since last report */
    guint64 bad_pages;          /* lost or mixed up, of all verify loads */
    gboolean has_late;          /* the guest takes latencies */
    guint32 late[WORKLOG_HISTOGRAMS][LATENCY_BUCKETS];  /* since boot */
} WorklogReport;

typedef struct Worklog Worklog;

Worklog *worklog_new(void);
void worklog_free(Worklog *log);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Worklog, worklog_free)

/*
 * Take @bytes of @data that came at @host_ns, on any clock of the caller's.
 * Returns the number of reports that this completed.
 */
unsigned worklog_feed(Worklog *log, unsigned port, const char *data,
                      gsize bytes, gint64 host_ns);

/* The loads as the guest named them once it was ready; NULL before. */
const char *worklog_loads(const Worklog *log);

/* Why the guest gave up, or NULL. */
const char *worklog_error(const Worklog *log);

/*
 * Wait until the guest is ready.  Whoever feeds @log does so with @lock held,
 * and then signals @changed; the caller does not hold @lock.  False, with
 * @errp, if the guest gives up, or says nothing within @timeout_ms.
 */
gboolean worklog_wait_ready(const Worklog *log, GMutex *lock, GCond *changed,
                            int timeout_ms, GError **errp);

unsigned worklog_count(const Worklog *log);
/* Valid until the next worklog_feed(). */
const WorklogReport *worklog_at(const Worklog *log, unsigned index);
/* NULL as long as there is none. */
const WorklogReport *worklog_last(const Worklog *log);

/* Reports that the guest made and that did not arrive. */
guint64 worklog_missed(const Worklog *log);
/* Lines that were torn, damaged or somebody else's (the kernel's, say). */
unsigned worklog_garbage_lines(const Worklog *log);
/* "corrupt ..." lines; the guest prints some and counts all in bad_pages. */
unsigned worklog_corrupt_lines(const Worklog *log);

/*
 * Work of @vcpu per second of the host's time between the first report at or
 * after @from_ns and the last at or before @to_ns; 0 if they are not two.
 */
double worklog_units_per_s(const Worklog *log, unsigned vcpu,
                           gint64 from_ns, gint64 to_ns);

/* Longest gap of @vcpu in the reports that came from @from_ns to @to_ns. */
guint64 worklog_max_gap_us(const Worklog *log, unsigned vcpu,
                           gint64 from_ns, gint64 to_ns);

/*
 * Longest time on the host's clock without a report, between reports that
 * came from @from_ns to @to_ns: includes the downtime, which no gap does.
 */
gint64 worklog_max_silence_ns(const Worklog *log,
                              gint64 from_ns, gint64 to_ns);

#endif
