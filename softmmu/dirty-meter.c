/*
 * Meters of what single vCPUs dirty: which one, and for how long
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
#include "qemu/timer.h"
#include "qapi/error.h"
#include "cpu.h"
#include "exec/dirty-harvest.h"
#include "system/memory.h"
#include "system/ram_addr.h"
#include "sysemu/dirty-meter.h"
#include "sysemu/dirtylimit.h"
#include "sysemu/kvm.h"
#include "trace.h"

/* The best one first. */
static const DirtyMeter *const meters[] = {
    &dirty_meter_tcg,
    &dirty_meter_ring,
    &dirty_meter_faults,
    &dirty_meter_estimate,
};

#define FORCED_NONE     "none"

#define PERIOD_NS           (DIRTYLIMIT_CALC_TIME_MS * (int64_t)SCALE_MS)

/* Guarded by the BQL. */
static struct {
    /* Who wants the meters to run. */
    unsigned users;
    bool running;
    /* Of the main loop; made when first used. */
    QEMUTimer *period_timer;
    /* The only one allowed, NULL: all are. */
    char *forced;
} meter;

static bool is_allowed(const DirtyMeter *one)
{
    return !meter.forced || g_str_equal(meter.forced, one->name);
}

static const DirtyMeter *find_meter(bool only_shares)
{
    for (size_t i = 0; i < ARRAY_SIZE(meters); i++) {
        if (meters[i]->only_shares == only_shares && is_allowed(meters[i]) &&
            meters[i]->is_available()) {
            return meters[i];
        }
    }
    return NULL;
}

const DirtyMeter *dirty_meter_in_use(void)
{
    return find_meter(false);
}

const DirtyMeter *dirty_meter_of_shares(void)
{
    return find_meter(true);
}

static char *meter_names(void)
{
    GString *names = g_string_new(NULL);

    for (size_t i = 0; i < ARRAY_SIZE(meters); i++) {
        g_string_append_printf(names, "%s, ", meters[i]->name);
    }
    return g_string_free(names, false);
}

bool dirty_meter_force(const char *name, Error **errp)
{
    bool known = !*name || g_str_equal(name, FORCED_NONE);

    for (size_t i = 0; i < ARRAY_SIZE(meters); i++) {
        known |= g_str_equal(name, meters[i]->name);
    }
    if (!known) {
        g_autofree char *names = meter_names();

        error_setg(errp, "there is no meter '%s': it must be one of %s"
                   FORCED_NONE, name, names);
        return false;
    }
    g_free(meter.forced);
    meter.forced = *name ? g_strdup(name) : NULL;
    return true;
}

const char *dirty_meter_forced(void)
{
    return meter.forced ?: "";
}

bool dirty_meter_is_polled(void)
{
    const DirtyMeter *one = dirty_meter_in_use();

    return one && one->look;
}

static void count(uint64_t *counter, uint64_t pages)
{
    /* One thread at a time: this vCPU's own, or who holds the BQL. */
    qatomic_set_u64(counter, qatomic_read_u64(counter) + pages);
}

bool dirty_meter_count_page(CPUState *cpu, ram_addr_t addr)
{
    count(&cpu->dirty_pages, 1);
    if (dirty_harvest_waits(addr)) {
        return false;
    }
    count(&cpu->slowdown.dirty.new_pages, 1);
    return true;
}

void dirty_meter_count_pages(CPUState *cpu, uint64_t pages)
{
    count(&cpu->dirty_pages, pages);
    count(&cpu->slowdown.dirty.new_pages, pages);
}

uint64_t dirty_meter_vcpu_pages(CPUState *cpu)
{
    const DirtyMeter *one = dirty_meter_in_use();

    if (one && one->look) {
        one->look(cpu);
    }
    return qatomic_read_u64(&cpu->slowdown.dirty.new_pages);
}

void dirty_meter_look_at_all(void)
{
    const DirtyMeter *one = dirty_meter_in_use();
    CPUState *cpu;

    if (one && one->look) {
        CPU_FOREACH(cpu) {
            one->look(cpu);
        }
    }
}

void dirty_meter_vcpu_comes(CPUState *cpu)
{
    for (size_t i = 0; i < ARRAY_SIZE(meters); i++) {
        if (meters[i]->vcpu_comes) {
            meters[i]->vcpu_comes(cpu);
        }
    }
}

void dirty_meter_vcpu_leaves(CPUState *cpu)
{
    for (size_t i = 0; i < ARRAY_SIZE(meters); i++) {
        if (meters[i]->vcpu_leaves) {
            meters[i]->vcpu_leaves(cpu);
        }
    }
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
                          dirtylimit_of(cpu),
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
