/*
 * Meters of what single vCPUs dirty
 *
 * TCG sees a vCPU's first write to a page after the page's dirty bit was
 * cleared, KVM writes such a page into the vCPU's ring (dirty-ring.c).  So a
 * page is seen again only when its bit is cleared again, and something has to
 * do that:
 *
 * - during a migration, its bitmap sync, and nothing here may: the bits are
 *   the migration's;
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
#include "qemu/timer.h"
#include "cpu.h"
#include "exec/dirty-harvest.h"
#include "exec/memory.h"
#include "exec/ram_addr.h"
#include "sysemu/dirty-ring.h"
#include "sysemu/dirtylimit.h"
#include "sysemu/kvm.h"
#include "sysemu/tcg.h"
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

bool dirtylimit_by_ring(void)
{
    return kvm_enabled() && kvm_dirty_ring_enabled();
}

bool dirtylimit_count_page(CPUState *cpu, ram_addr_t addr)
{
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;

    /* One thread at a time: this vCPU's own, or who holds the BQL. */
    qatomic_set_u64(&cpu->dirty_pages, cpu->dirty_pages + 1);
    if (dirty_harvest_waits(addr)) {
        return false;
    }
    qatomic_set_u64(&dirty->new_pages, dirty->new_pages + 1);
    return true;
}

uint64_t dirtylimit_vcpu_pages(CPUState *cpu)
{
    if (dirtylimit_by_ring()) {
        dirty_ring_look(cpu);
    }
    return qatomic_read_u64(&cpu->slowdown.dirty.new_pages);
}

uint64_t dirtylimit_vcpu_rate(CPUState *cpu)
{
    return meter.running ? cpu->slowdown.dirty.rate_bytes_per_s : 0;
}

static void begin_period(CPUState *cpu, int64_t now_ns)
{
    cpu->slowdown.dirty.rated_pages = dirtylimit_vcpu_pages(cpu);
    cpu->slowdown.dirty.rated_ns = now_ns;
}

static void end_period(CPUState *cpu, int64_t now_ns)
{
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;
    uint64_t pages = dirtylimit_vcpu_pages(cpu) - dirty->rated_pages;
    int64_t period_ns = now_ns - dirty->rated_ns;

    if (!dirty->rated_ns || period_ns <= 0) {
        /* Plugged since. */
        return;
    }
    dirty->rate_bytes_per_s = (double)pages * TARGET_PAGE_SIZE *
                              NANOSECONDS_PER_SECOND / period_ns;
    trace_dirtylimit_rate(cpu->cpu_index, dirty->rate_bytes_per_s,
                          dirtylimit_of(cpu),
                          qatomic_read_i64(&dirty->slept_ns));
}

/* Have the next write to each page seen, and so counted once a period. */
static void clear_dirty_bits(void)
{
    RAMBlock *block;

    if (global_dirty_tracking & GLOBAL_DIRTY_MIGRATION) {
        return;
    }
    if (dirtylimit_by_ring()) {
        /* What is in the rings, and what was taken out of them before. */
        memory_global_dirty_log_sync();
    }
    RCU_READ_LOCK_GUARD();
    RAMBLOCK_FOREACH(block) {
        if (qemu_ram_is_migratable(block)) {
            dirty_harvest_discard(block);
        }
    }
}

static void end_of_period(void *unused)
{
    CPUState *cpu;
    int64_t now_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    dirtylimit_refresh();
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
    memory_global_dirty_log_start(GLOBAL_DIRTY_LIMIT);
    clear_dirty_bits();
    CPU_FOREACH(cpu) {
        cpu->slowdown.dirty.rate_bytes_per_s = 0;
        begin_period(cpu, now_ns);
    }
    timer_mod_ns(meter.period_timer, now_ns + first_period_ns);
}

void dirtylimit_meter_get(void)
{
    meter.users++;
    if (!meter.running) {
        start(PERIOD_NS);
    }
}

/* Not at once: the period that runs ends, and a new user may come before. */
void dirtylimit_meter_put(void)
{
    meter.users--;
}

void dirtylimit_measure_begin(void)
{
    qemu_mutex_lock_iothread();
    meter.users++;
    if (!meter.running) {
        /*
         * Half a period out of step: so n seconds from here see bits cleared
         * n times, not by chance once more at their very end.
         */
        start(PERIOD_NS * 3 / 2);
    }
    qemu_mutex_unlock_iothread();
}

void dirtylimit_measure_end(void)
{
    qemu_mutex_lock_iothread();
    dirtylimit_meter_put();
    qemu_mutex_unlock_iothread();
}
