/*
 * Limit how fast single vCPUs dirty pages
 *
 *   TCG: vCPU thread, slow path       KVM: ring full, or the look below
 *            |                                  |
 *            +----> charge the vCPU's bucket <--+
 *                          | in debt
 *                          v
 *                 vcpu_slowdown_request() ... the vCPU sleeps
 *
 * Meters.  TCG sees a vCPU's first write to a page after the page's dirty bit
 * was cleared.  KVM writes such a page into the vCPU's ring, and stops the vCPU
 * only when the ring is full: 65536 pages are 51 s worth of a limit of 5 MB/s.
 * So while a KVM vCPU with a limit runs, a timer looks at what stands in the
 * ring, when the vCPU may have used up what it saved: between LOOK_MIN_NS and
 * LOOK_MAX_NS after the last look, by the speed that was seen.
 *
 * Periods.  Only a page whose dirty bit is cleared again is seen again.  During
 * a migration its bitmap sync does that, and nothing here may: the bits are the
 * migration's.  Else TCG's bits are cleared here, each second; KVM's rings are
 * harvested each second by KVM's own reaper.
 *
 * Locks.  The bucket is lock-free and the limit in force atomic, for they are
 * met in guest code; all else is guarded by the BQL.
 *
 * Rejected: to adjust a vCPU's sleeps once a second by the rate of the last
 * second.  It has no answer to a writer that changes faster, and none below
 * the noise of one measurement.
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
#include "exec/memory.h"
#include "exec/ram_addr.h"
#include "sysemu/dirty-ring.h"
#include "sysemu/dirtylimit.h"
#include "sysemu/kvm.h"
#include "sysemu/tcg.h"
#include "trace.h"

#ifdef CONFIG_KVM
#include <linux/kvm.h>

QEMU_BUILD_BUG_ON(sizeof(DirtyRingEntry) != sizeof(struct kvm_dirty_gfn));
QEMU_BUILD_BUG_ON(offsetof(DirtyRingEntry, flags) !=
                  offsetof(struct kvm_dirty_gfn, flags));
QEMU_BUILD_BUG_ON(DIRTY_RING_ENTRY_DIRTY != KVM_DIRTY_GFN_F_DIRTY);
QEMU_BUILD_BUG_ON(DIRTY_RING_ENTRY_RESET != KVM_DIRTY_GFN_F_RESET);
#endif

#define PERIOD_NS           (DIRTYLIMIT_CALC_TIME_MS * SCALE_MS)

/* A vCPU cannot dirty more than some 200 kB in so long. */
#define LOOK_MIN_NS         (100 * SCALE_US)
/* The burst that a vCPU may save up. */
#define LOOK_MAX_NS         DIRTYLIMIT_BURST_NS

/* A limit of this vCPU's own: none, whatever is set for all. */
#define OWN_LIMIT_NONE      UINT64_MAX

/* Guarded by the BQL. */
static struct {
    /* Some vCPU has a limit (atomic reads). */
    bool in_service;
    /* The user's, for vCPUs without one of their own. */
    uint64_t all_bytes_per_s;
    /* Measurements that keep the meters running. */
    unsigned measurements;
    bool metering;
    /* Of the main loop; made when first used. */
    QEMUTimer *period_timer;
    QEMUTimer *look_timer;
} dirtylimit;

static void end_of_period(void *unused);
static void look_at_rings(void *unused);

static int64_t clock_ns(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
}

static bool have_ring(void)
{
    return kvm_enabled() && kvm_dirty_ring_enabled();
}

bool dirtylimit_available(Error **errp)
{
    if (tcg_enabled() || have_ring()) {
        return true;
    }
    error_setg(errp, "Dirty pages cannot be told by vCPU here: add "
               "'-accel kvm,dirty-ring-size=4096' to the command line for "
               "KVM's dirty ring, or use '-accel tcg'");
    return false;
}

bool dirtylimit_in_service(void)
{
    return qatomic_read(&dirtylimit.in_service);
}

uint64_t dirtylimit_of(CPUState *cpu)
{
    return qatomic_read_u64(&cpu->slowdown.dirty.limit_bytes_per_s);
}

/* --- Meters --- */

/* Pages that stand in a vCPU's ring.  None while it has no ring. */
static uint32_t ring_pages(CPUState *cpu)
{
#ifdef CONFIG_KVM
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;
    uint32_t fetch = cpu->kvm_fetch_index;
    uint32_t known = dirty->ring_end - fetch;
    uint32_t pages;

    if (!cpu->created || !cpu->kvm_dirty_gfns) {
        return 0;
    }
    /* Harvested beyond the last look: nothing is known. */
    known = known > kvm_dirty_ring_size() ? 0 : known;
    pages = dirty_ring_pending((DirtyRingEntry *)cpu->kvm_dirty_gfns,
                               kvm_dirty_ring_size(), fetch, known);
    dirty->ring_end = fetch + pages;
    return pages;
#else
    return 0;
#endif
}

uint64_t dirtylimit_vcpu_pages(CPUState *cpu)
{
    return qatomic_read_u64(&cpu->dirty_pages) + ring_pages(cpu);
}

uint64_t dirtylimit_vcpu_rate(CPUState *cpu)
{
    return dirtylimit.metering ? cpu->slowdown.dirty.rate_bytes_per_s : 0;
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
    double seconds = (double)(now_ns - dirty->rated_ns) / NANOSECONDS_PER_SECOND;

    if (!dirty->rated_ns || seconds <= 0) {
        /* Plugged since. */
        return;
    }
    dirty->rate_bytes_per_s = pages * TARGET_PAGE_SIZE / seconds;
    trace_dirtylimit_rate(cpu->cpu_index, dirty->rate_bytes_per_s,
                          dirtylimit_of(cpu), qatomic_read_i64(&dirty->slept_ns));
}

/* Have TCG see the next write to each page; see Periods above. */
static void clear_dirty_bits(void)
{
    RAMBlock *block;

    if (!tcg_enabled() || (global_dirty_tracking & GLOBAL_DIRTY_MIGRATION)) {
        return;
    }
    RCU_READ_LOCK_GUARD();
    RAMBLOCK_FOREACH(block) {
        if (qemu_ram_is_migratable(block)) {
            cpu_physical_memory_test_and_clear_dirty(block->offset,
                block->used_length, DIRTY_MEMORY_MIGRATION);
        }
    }
}

static void start_metering(int64_t first_period_ns)
{
    CPUState *cpu;
    int64_t now_ns = clock_ns();

    if (dirtylimit.metering) {
        return;
    }
    if (!dirtylimit.period_timer) {
        dirtylimit.period_timer = timer_new_ns(QEMU_CLOCK_REALTIME,
                                               end_of_period, NULL);
        dirtylimit.look_timer = timer_new_ns(QEMU_CLOCK_REALTIME,
                                             look_at_rings, NULL);
    }
    dirtylimit.metering = true;
    memory_global_dirty_log_start(GLOBAL_DIRTY_LIMIT);
    clear_dirty_bits();
    CPU_FOREACH(cpu) {
        cpu->slowdown.dirty.rate_bytes_per_s = 0;
        begin_period(cpu, now_ns);
    }
    timer_mod_ns(dirtylimit.period_timer, now_ns + first_period_ns);
}

static void stop_metering(void)
{
    dirtylimit.metering = false;
    timer_del(dirtylimit.look_timer);
    memory_global_dirty_log_stop(GLOBAL_DIRTY_LIMIT);
}

/* --- Charging --- */

static void charge(CPUState *cpu, uint64_t limit_bytes_per_s, uint64_t pages,
                   int64_t now_ns)
{
    if (dirty_bucket_charge(&cpu->slowdown.dirty.bucket, limit_bytes_per_s,
                            pages * TARGET_PAGE_SIZE, now_ns)) {
        vcpu_slowdown_request(cpu);
    }
}

void dirtylimit_page_dirtied(CPUState *cpu)
{
    uint64_t limit_bytes_per_s = dirtylimit_of(cpu);

    /* This thread is the only writer. */
    qatomic_set_u64(&cpu->dirty_pages, cpu->dirty_pages + 1);
    if (unlikely(limit_bytes_per_s)) {
        charge(cpu, limit_bytes_per_s, 1, clock_ns());
    }
}

/* Charge what came into a ring.  Returns: when to look again, in ns. */
static int64_t look(CPUState *cpu, int64_t now_ns)
{
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;
    uint64_t limit_bytes_per_s = dirtylimit_of(cpu);
    uint64_t total_pages = dirtylimit_vcpu_pages(cpu);
    uint64_t pages = total_pages - dirty->charged_pages;
    int64_t ran_ns = MAX(now_ns - dirty->looked_ns, 1);
    double speed, until_paid_ns;

    dirty->charged_pages = total_pages;
    dirty->looked_ns = now_ns;
    if (pages) {
        charge(cpu, limit_bytes_per_s, pages, now_ns);
    }
    speed = (double)pages * TARGET_PAGE_SIZE * NANOSECONDS_PER_SECOND / ran_ns;
    dirty->speed_bytes_per_s = MAX(speed, dirty->speed_bytes_per_s * 0.875);
    if (dirty->speed_bytes_per_s <= limit_bytes_per_s) {
        return LOOK_MAX_NS;
    }
    until_paid_ns = now_ns - qatomic_read_i64(&dirty->bucket.paid_until_ns);
    until_paid_ns *= (double)limit_bytes_per_s / dirty->speed_bytes_per_s;
    return MIN(MAX(until_paid_ns, LOOK_MIN_NS), LOOK_MAX_NS);
}

static void look_at_rings(void *unused)
{
    CPUState *cpu;
    int64_t now_ns = clock_ns();
    int64_t next_ns = LOOK_MAX_NS;

    if (!dirtylimit_in_service()) {
        return;
    }
    CPU_FOREACH(cpu) {
        /* One that sleeps dirties nothing; dirtylimit_slept() comes back. */
        if (dirtylimit_of(cpu) && !qatomic_read(&cpu->slowdown.queued)) {
            next_ns = MIN(next_ns, look(cpu, now_ns));
        }
    }
    timer_mod_ns(dirtylimit.look_timer, now_ns + next_ns);
}

void dirtylimit_ring_full(CPUState *cpu)
{
    if (dirtylimit_of(cpu)) {
        look(cpu, clock_ns());
    }
}

int64_t dirtylimit_debt_ns(CPUState *cpu, int64_t now_ns)
{
    return dirty_bucket_owed_ns(&cpu->slowdown.dirty.bucket,
                                dirtylimit_of(cpu), now_ns);
}

void dirtylimit_slept(CPUState *cpu, int64_t slept_ns)
{
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;

    qatomic_set_i64(&dirty->slept_ns, dirty->slept_ns + slept_ns);
    if (have_ring() && dirtylimit_in_service()) {
        dirty->looked_ns = clock_ns();
        timer_mod_anticipate_ns(dirtylimit.look_timer,
                                dirty->looked_ns + LOOK_MIN_NS);
    }
}

/* --- Limits --- */

static uint64_t user_limit(CPUState *cpu)
{
    uint64_t own_bytes_per_s = cpu->slowdown.dirty.user_limit_bytes_per_s;

    if (own_bytes_per_s == OWN_LIMIT_NONE) {
        return 0;
    }
    return own_bytes_per_s ? own_bytes_per_s : dirtylimit.all_bytes_per_s;
}

static uint64_t smaller_limit(CPUState *cpu)
{
    uint64_t user = user_limit(cpu);
    uint64_t migration = cpu->slowdown.dirty.migration_limit_bytes_per_s;

    return user && migration ? MIN(user, migration) : user | migration;
}

static void start_service(void)
{
    if (dirtylimit_in_service()) {
        return;
    }
    start_metering(PERIOD_NS);
    qatomic_set(&dirtylimit.in_service, true);
    if (have_ring()) {
        timer_mod_ns(dirtylimit.look_timer, clock_ns() + LOOK_MAX_NS);
    }
}

/* Put the limits of a vCPU into force.  Returns: true if it may run sooner. */
static bool apply(CPUState *cpu)
{
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;
    uint64_t old = dirtylimit_of(cpu);
    uint64_t new = smaller_limit(cpu);
    int64_t now_ns = clock_ns();

    if (new == old) {
        return false;
    }
    if (!old) {
        /* What was dirtied before is none of this limit's business. */
        start_service();
        dirty->charged_pages = dirtylimit_vcpu_pages(cpu);
        dirty->looked_ns = now_ns;
    }
    trace_dirtylimit_set(cpu->cpu_index, user_limit(cpu),
                         dirty->migration_limit_bytes_per_s);
    dirty_bucket_relimit(&dirty->bucket, old, new, now_ns);
    qatomic_set_u64(&dirty->limit_bytes_per_s, new);
    return old && (!new || new > old);
}

/*
 * The limits of all vCPUs, those plugged since included.  Service ends with the
 * last limit; the meters stop with the period they are in.
 */
static void apply_all(void)
{
    CPUState *cpu;
    bool wake = false, any = false;

    CPU_FOREACH(cpu) {
        wake |= apply(cpu);
        any |= dirtylimit_of(cpu) != 0;
    }
    if (!any) {
        qatomic_set(&dirtylimit.in_service, false);
    }
    if (wake) {
        vcpu_slowdown_wake();
    }
}

void dirtylimit_set_user_limit(CPUState *cpu, uint64_t bytes_per_s)
{
    if (cpu) {
        cpu->slowdown.dirty.user_limit_bytes_per_s =
            bytes_per_s ? bytes_per_s : OWN_LIMIT_NONE;
    } else {
        dirtylimit.all_bytes_per_s = bytes_per_s;
        CPU_FOREACH(cpu) {
            cpu->slowdown.dirty.user_limit_bytes_per_s = 0;
        }
    }
    apply_all();
}

void dirtylimit_set_migration_limit(CPUState *cpu, uint64_t bytes_per_s)
{
    if (cpu->slowdown.dirty.migration_limit_bytes_per_s != bytes_per_s) {
        cpu->slowdown.dirty.migration_limit_bytes_per_s = bytes_per_s;
        if (apply(cpu)) {
            vcpu_slowdown_wake();
        }
    }
}

void dirtylimit_clear_migration_limits(void)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        cpu->slowdown.dirty.migration_limit_bytes_per_s = 0;
    }
    apply_all();
}

/* --- Periods --- */

static void end_of_period(void *unused)
{
    CPUState *cpu;
    int64_t now_ns = clock_ns();

    apply_all();
    if (!dirtylimit_in_service() && !dirtylimit.all_bytes_per_s &&
        !dirtylimit.measurements) {
        stop_metering();
        return;
    }
    CPU_FOREACH(cpu) {
        end_period(cpu, now_ns);
        begin_period(cpu, now_ns);
    }
    clear_dirty_bits();
    timer_mod_ns(dirtylimit.period_timer, now_ns + PERIOD_NS);
}

void dirtylimit_meter_begin(void)
{
    qemu_mutex_lock_iothread();
    dirtylimit.measurements++;
    /*
     * Half a period out of step: so n seconds from here see bits cleared n
     * times, not n times or by chance once more at their very end.
     */
    start_metering(PERIOD_NS * 3 / 2);
    qemu_mutex_unlock_iothread();
}

void dirtylimit_meter_end(void)
{
    qemu_mutex_lock_iothread();
    dirtylimit.measurements--;
    qemu_mutex_unlock_iothread();
}
