/*
 * What a migration cost the guest, told from the guest's own reports
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * The guest reports ten times a second what each vCPU has done since boot,
 * with the guest's time; the reports of source and destination are one
 * series.  From it: how much of its normal work each vCPU did in a span of
 * *host* time, so that the time the guest stood still counts as lost.
 */

#ifndef CONVERGE_GUEST_WORK_H
#define CONVERGE_GUEST_WORK_H

#include <glib.h>

#define GUEST_WORK_MAX_VCPUS 64

typedef struct GuestWork GuestWork;

typedef struct GuestWorkVcpu {
    double rate_before_per_s;   /* units of its load a second, undisturbed */
    double work_share_pct;      /* of rate x time, that it did; may top 100 */
    double lost_s;              /* how long it would need for what it missed */
    double silence_ms;          /* longest time it did not get to run */
    /*
     * Of the time, what its thread did neither run nor wait for a host CPU:
     * what a vCPU that always has something to do was made to lose, however
     * fast the host is at the moment.  -1: not told.  Filled in by others.
     */
    double held_pct;
} GuestWorkVcpu;

GuestWork *guest_work_new(void);
void guest_work_free(GuestWork *work);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestWork, guest_work_free)

/*
 * A VmLineFunc, for a Vm called "source" or "destination" (else: source);
 * @opaque is the GuestWork.  Any thread.
 */
void guest_work_line(void *opaque, const char *vm_name, const char *line,
                     gint64 at_us);

/* Until the guest's loads run; an error if it says that they cannot */
gboolean guest_work_wait_ready(GuestWork *work, int timeout_ms,
                               GError **errp);

/* Until the destination has reported @count times; returns how often it did */
unsigned guest_work_wait_destination(GuestWork *work, unsigned count,
                                     int timeout_ms);

/*
 * Fills @vcpus (GUEST_WORK_MAX_VCPUS) with the account of the span from
 * @start_us to @end_us, measured against the span from @base_us to
 * @start_us, all as g_get_monotonic_time().  The longest silence is sought
 * up to @silence_end_us.  Returns the number of vCPUs, 0 if there are too
 * few reports to tell.
 */
unsigned guest_work_account(GuestWork *work, gint64 base_us, gint64 start_us,
                            gint64 end_us, gint64 silence_end_us,
                            GuestWorkVcpu *vcpus);

typedef struct GuestWorkSpan {
    gint64 end_us;              /* since the start; it began where the last
                                   span ended */
    double work_share_pct[GUEST_WORK_MAX_VCPUS];
} GuestWorkSpan;

/*
 * The same, span by span: GuestWorkSpan from @start_us to @end_us, each of
 * @span_us, the last of up to half as much more; none if there are too few
 * reports to tell.
 */
GArray *guest_work_timeline(GuestWork *work, gint64 base_us, gint64 start_us,
                            gint64 end_us, gint64 span_us);

/*
 * How late things were in the guest from @start_us to @end_us, and in the
 * undisturbed time before: the guest's timers on its first vCPUs, and the
 * answers of a program.
 */
#define GUEST_WORK_LATENCIES 5
#define GUEST_WORK_PROGRAM_LATENCY 4

typedef struct GuestWorkLatency {
    guint64 count;              /* 0: not taken, the rest is not set */
    double p50_us, p99_us, max_us;
    double before_p50_us, before_p99_us;
} GuestWorkLatency;

void guest_work_latency(GuestWork *work, gint64 base_us, gint64 start_us,
                        gint64 end_us, GuestWorkLatency *latencies);

/*
 * For how long the guest's clock stood still between source and destination,
 * in ms: the downtime as the guest has it.  -1: one side has not reported.
 */
double guest_work_stood_still_ms(GuestWork *work);

/* Pages that a verifying load found corrupt, the latest count */
guint64 guest_work_bad_pages(GuestWork *work);

#endif
