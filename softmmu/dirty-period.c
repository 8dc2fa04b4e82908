/*
 * Meters of what single vCPUs dirty: for how long they run, and their periods
 *
 * A meter sees a page again only when the dirty log is cleared of it again, and
 * something has to do that:
 *
 * - during a migration, its bitmap sync, and nothing here may: the log is the
 *   migration's;
 * - else each period here.
 *
 * The BQL guards all of this, harvests of rings included.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/notify.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "cpu.h"
#include "exec/dirty-harvest.h"
#include "system/memory.h"
#include "system/ram_addr.h"
#include "sysemu/dirty-meter.h"
#include "sysemu/kvm.h"
#include "trace.h"

#define PERIOD_NS           (DIRTYLIMIT_CALC_TIME_MS * (int64_t)SCALE_MS)

/* Guarded by the BQL. */
static struct {
    /* Who wants the meters to run. */
    unsigned users;
    bool running;
    /* Of the main loop; made when first used. */
    QEMUTimer *period_timer;
} meter;

static NotifierList period_ends = NOTIFIER_LIST_INITIALIZER(period_ends);

void dirty_meter_notify_period_ends(Notifier *notifier)
{
    notifier_list_add(&period_ends, notifier);
}

uint64_t dirty_meter_vcpu_rate(CPUState *cpu)
{
    return meter.running ? cpu->slowdown.dirty.rate_bytes_per_s : 0;
}

static void begin_period(CPUState *cpu, int64_t now_ns)
{
    cpu->slowdown.dirty.rated_pages = dirty_meter_vcpu_pages(cpu);
    cpu->slowdown.dirty.rated_ns = now_ns;
    cpu->slowdown.dirty.rated_slept_ns =
        qatomic_read_i64(&cpu->slowdown.dirty.slept_ns);
}

static void end_period(CPUState *cpu, int64_t now_ns)
{
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;
    uint64_t pages = dirty_meter_vcpu_pages(cpu) - dirty->rated_pages;
    int64_t period_ns = now_ns - dirty->rated_ns;

    if (!dirty->rated_ns || period_ns <= 0) {
        /* Plugged since. */
        return;
    }
    dirty->rate_bytes_per_s = (double)pages * TARGET_PAGE_SIZE *
                              NANOSECONDS_PER_SECOND / period_ns;
    dirty->slept_part = (double)(qatomic_read_i64(&dirty->slept_ns) -
                                 dirty->rated_slept_ns) / period_ns;
    trace_dirtylimit_rate(cpu->cpu_index, dirty->rate_bytes_per_s,
                          qatomic_read_u64(&dirty->limit_bytes_per_s),
                          qatomic_read_i64(&dirty->slept_ns));
}

/* BQL held. */
static void discard_log(void)
{
    RAMBlock *block;

    RCU_READ_LOCK_GUARD();
    RAMBLOCK_FOREACH(block) {
        if (qemu_ram_is_migratable(block)) {
            dirty_harvest_discard(block);
        }
    }
}

/* Have the next write to each page seen, and so counted once a period. */
static void clear_dirty_bits(void)
{
    if (global_dirty_tracking & GLOBAL_DIRTY_MIGRATION) {
        return;
    }
    if (dirty_meter_is_polled()) {
        /* What KVM has, in rings or in its log. */
        memory_global_dirty_log_sync(false);
    }
    if (global_dirty_tracking & GLOBAL_DIRTY_MIGRATION) {
        /* The sync let go of the BQL, and the log is a migration's now. */
        return;
    }
    discard_log();
}

static void end_of_period(void *unused)
{
    CPUState *cpu;
    int64_t now_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    notifier_list_notify(&period_ends, NULL);
    if (!meter.users) {
        meter.running = false;
        memory_global_dirty_log_stop(GLOBAL_DIRTY_LIMIT);
        return;
    }
    CPU_FOREACH(cpu) {
        end_period(cpu, now_ns);
        begin_period(cpu, now_ns);
    }
    clear_dirty_bits();
    timer_mod_ns(meter.period_timer, now_ns + PERIOD_NS);
}

static void start(int64_t first_period_ns)
{
    CPUState *cpu;
    int64_t now_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    if (!meter.period_timer) {
        meter.period_timer = timer_new_ns(QEMU_CLOCK_REALTIME, end_of_period,
                                          NULL);
    }
    meter.running = true;
    memory_global_dirty_log_start(GLOBAL_DIRTY_LIMIT, &error_abort);
    clear_dirty_bits();
    CPU_FOREACH(cpu) {
        cpu->slowdown.dirty.rate_bytes_per_s = 0;
        cpu->slowdown.dirty.slept_part = 0;
        begin_period(cpu, now_ns);
    }
    timer_mod_ns(meter.period_timer, now_ns + first_period_ns);
}

void dirty_meter_get(void)
{
    meter.users++;
    if (!meter.running) {
        start(PERIOD_NS);
    }
}

/* Not at once: the period that runs ends, and a new user may come before. */
void dirty_meter_put(void)
{
    meter.users--;
}

void dirty_meter_measure_begin(void)
{
    bql_lock();
    dirty_meter_look_at_all();
    meter.users++;
    if (!meter.running) {
        /*
         * Half a period out of step: so n seconds from here see bits cleared
         * n times, not by chance once more at their very end.
         */
        start(PERIOD_NS * 3 / 2);
    }
    bql_unlock();
}

void dirty_meter_measure_end(void)
{
    bql_lock();
    dirty_meter_put();
    bql_unlock();
}

/* With KVM each sync counts what it brings; without, nobody does. */
static bool log_counts_no_pages(void)
{
    return !kvm_enabled() && !(global_dirty_tracking & GLOBAL_DIRTY_MIGRATION);
}

void dirty_meter_bitmap_begin(void)
{
    if (log_counts_no_pages()) {
        discard_log();
    }
}

void dirty_meter_bitmap_end(void)
{
    RAMBlock *block;

    bql_lock();
    if (log_counts_no_pages()) {
        RCU_READ_LOCK_GUARD();
        RAMBLOCK_FOREACH(block) {
            if (qemu_ram_is_migratable(block)) {
                total_dirty_pages += dirty_harvest_count(block);
            }
        }
    }
    bql_unlock();
}
