/*
 * Meters of what single vCPUs dirty
 *
 * A meter counts, for each vCPU, the pages that it was the first to write since
 * the dirty log was last cleared of them.  Which one there is depends on the
 * accelerator and the host; the best comes first in the table of
 * softmmu/dirty-meter.c.  A new one is a file with a const DirtyMeter and a line
 * there.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSEMU_DIRTY_METER_H
#define SYSEMU_DIRTY_METER_H

#include "exec/cpu-common.h"
#include "qemu/notify.h"

/*
 * A vCPU's dirty rate is the number of different pages it writes in a period
 * of this length.
 */
#define DIRTYLIMIT_CALC_TIME_MS         1000

/* All members are called with the BQL held. */
typedef struct DirtyMeter {
    /* Required.  As in the QAPI enum. */
    const char *name;
    /* Required: whether it can be had here. */
    bool (*is_available)(void);
    /* There are hosts on which it sees less than what vCPUs write. */
    bool may_miss;
    /* It counts no pages: it tells who writes what part of all that is. */
    bool only_shares;
    /*
     * Optional: count what @cpu has written since the last call.  A meter
     * without it counts by itself, in the vCPU's thread.
     */
    void (*look)(CPUState *cpu);
    /* Optional: as dirty_meter_vcpu_comes() and dirty_meter_vcpu_leaves(). */
    void (*vcpu_comes)(CPUState *cpu);
    void (*vcpu_leaves)(CPUState *cpu);
} DirtyMeter;

extern const DirtyMeter dirty_meter_tcg;
extern const DirtyMeter dirty_meter_ring;
extern const DirtyMeter dirty_meter_faults;
extern const DirtyMeter dirty_meter_estimate;

/**
 * dirty_meter_in_use: the best meter of pages that there is here, or the one
 * forced
 *
 * dirty_meter_of_shares: the best of those that only tell shares
 *
 * Return: NULL if there is none.  BQL held.
 */
const DirtyMeter *dirty_meter_in_use(void);
const DirtyMeter *dirty_meter_of_shares(void);

/**
 * dirty_meter_force: for tests, use that one and no other
 * @name: of a meter; "none" for doing without, "" for the best there is
 *
 * Returns: false, with @errp set, if there is none of that name.  BQL held, or
 * before there are threads.
 */
bool dirty_meter_force(const char *name, Error **errp);
const char *dirty_meter_forced(void);

/**
 * dirty_meter_is_polled: whether somebody has to look
 */
bool dirty_meter_is_polled(void);

/**
 * dirty_meter_vcpu_pages: pages that a vCPU has newly dirtied since it exists
 *
 * A page that waits to be sent by a migration is not dirtied anew.  What a
 * difference of two readings means depends on how often the dirty log is
 * cleared in between: by a migration's bitmap sync if there is one, else each
 * DIRTYLIMIT_CALC_TIME_MS while somebody wants the meters to run.  BQL held.
 */
uint64_t dirty_meter_vcpu_pages(CPUState *cpu);

/**
 * dirty_meter_look_at_all: count what all vCPUs have written so far
 *
 * Where the meter is polled.  BQL held.
 */
void dirty_meter_look_at_all(void);

/**
 * dirty_meter_vcpu_comes, dirty_meter_vcpu_leaves: a KVM vCPU's thread has set
 * its vCPU up, or is about to take it down
 *
 * What the kernel keeps for the vCPU stays with it when it is unplugged, and is
 * met again by the next one in its place.  The vCPU's thread, BQL held.
 */
void dirty_meter_vcpu_comes(CPUState *cpu);
void dirty_meter_vcpu_leaves(CPUState *cpu);

/* softmmu/dirty-period.c */

/**
 * dirty_meter_vcpu_rate: dirty rate in the last period, in bytes/s
 *
 * Known while the meters run, else 0.  BQL held.
 */
uint64_t dirty_meter_vcpu_rate(CPUState *cpu);

/**
 * dirty_meter_get, dirty_meter_put: keep the meters running.  BQL held.
 */
void dirty_meter_get(void);
void dirty_meter_put(void);

/**
 * dirty_meter_notify_period_ends: have @notifier called whenever a period ends,
 * before it is seen whether anybody wants another one
 *
 * Only while the meters run.  BQL held.
 */
void dirty_meter_notify_period_ends(Notifier *notifier);

/**
 * dirty_meter_measure_begin, dirty_meter_measure_end: have a measurement of
 * dirty rates begin and end here.  BQL not held.
 */
void dirty_meter_measure_begin(void);
void dirty_meter_measure_end(void);

/**
 * dirty_meter_bitmap_begin, dirty_meter_bitmap_end: have total_dirty_pages count
 * the different pages that are written in between, by vCPUs and devices
 *
 * For accelerators whose dirty log does not do that by itself.  BQL held for the
 * first, and not for the second.
 */
void dirty_meter_bitmap_begin(void);
void dirty_meter_bitmap_end(void);

#endif /* SYSEMU_DIRTY_METER_H */
