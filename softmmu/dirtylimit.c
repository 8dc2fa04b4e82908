/*
 * Limit how fast single vCPUs dirty pages
 *
 *   TCG: vCPU thread, slow path       KVM's ring: the vCPU's own look at it
 *            |                                  |
 *            +----> charge the vCPU's bucket <--+
 *                          | in debt
 *                          v
 *                   the vCPU sleeps (vcpu-slowdown.c)
 *
 * What is charged is a page that adds to a migration's work.  One that waits to
 * be sent already is free, where the meter knows which page it was; if it turns
 * out at the next sync that it was sent after that write, it is charged late.
 *
 * TCG tells of each page at once.  KVM stops a vCPU only when its ring is
 * full, and 65536 pages are 51 s worth of a limit of 5 MB/s.  So a KVM vCPU
 * with a limit has its own alarm call it out of guest code, to look at what
 * stands in its ring, when it may have used up what it saved: between
 * LOOK_MIN_NS and LOOK_MAX_NS after the last look, by the speed that was seen.
 *
 * Locks.  The bucket is lock-free and the limit in force atomic, for they are
 * met in guest code; all else is guarded by the BQL.
 *
 * Rejected: to adjust a vCPU's sleeps once a second by the rate of the last
 * second.  It has no answer to a writer that changes faster, and none below
 * the noise of one measurement.  And a timer of the main loop that looks at the
 * rings of all vCPUs: at 10 kHz it kept the BQL from everybody else.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "cpu.h"
#include "exec/cputlb.h"
#include "exec/target_page.h"
#include "sysemu/dirty-count.h"
#include "sysemu/dirty-meter.h"
#include "sysemu/dirtylimit.h"
#include "sysemu/kvm.h"
#include "sysemu/tcg.h"
#include "sysemu/vcpu-interrupts.h"
#include "trace.h"

/* A vCPU cannot dirty more than some 200 kB in so long. */
#define LOOK_MIN_NS         (100 * SCALE_US)
/* So long a vCPU that wrote little may write flat out before it is seen. */
#define LOOK_MAX_NS         (10 * SCALE_MS)
/* One that wrote nothing at all may be idle, and is woken up by each look. */
#define LOOK_IDLE_NS        (20 * SCALE_MS)

/* A limit of this vCPU's own: none, whatever is set for all. */
#define OWN_LIMIT_NONE      UINT64_MAX

/* Guarded by the BQL. */
static struct {
    /* Some vCPU, or one plugged later, has a limit (atomic reads). */
    bool in_service;
    /* The user's, for vCPUs without one of their own. */
    uint64_t all_bytes_per_s;
    /* The meters know that they are to tell when a period ends. */
    bool is_told;
} dirtylimit;

static int64_t clock_ns(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
}

bool dirtylimit_available(Error **errp)
{
    if (dirty_meter_in_use()) {
        return true;
    }
    error_setg(errp, "It cannot be counted here what each vCPU dirties: this "
               "KVM counts no write faults (kvm_intel does with pml=0), and "
               "QEMU was started without KVM's dirty ring; start it with "
               "'-accel kvm,dirty-ring-size=4096', or with '-accel tcg'");
    return false;
}

bool dirtylimit_by_ring(void)
{
    return kvm_enabled() && kvm_dirty_ring_enabled();
}

bool dirtylimit_in_service(void)
{
    return qatomic_read(&dirtylimit.in_service);
}

uint64_t dirtylimit_of(CPUState *cpu)
{
    return qatomic_read_u64(&cpu->slowdown.dirty.limit_bytes_per_s);
}

/* --- Charging --- */

/* Returns: whether the vCPU is in debt. */
static bool charge_bytes(CPUState *cpu, uint64_t limit_bytes_per_s,
                         uint64_t bytes, int64_t now_ns)
{
    return dirty_bucket_charge(&cpu->slowdown.dirty.bucket, limit_bytes_per_s,
                               bytes, now_ns);
}

static bool charge_pages(CPUState *cpu, uint64_t limit_bytes_per_s,
                         uint64_t pages, int64_t now_ns)
{
    return charge_bytes(cpu, limit_bytes_per_s, pages * TARGET_PAGE_SIZE,
                        now_ns);
}

/*
 * To hold a vCPU that is out to serve an interrupt (vcpu-reprieve.c), before it
 * writes: the instruction starts anew when it goes on.
 *
 * That is right only if it has done nothing yet, and that a write may fault is
 * no proof of it.  TCG does what crosses a page byte by byte, after a look at
 * both pages, so a read-modify-write would be done twice.  Nor is it the first
 * byte of a page alone: a sync in another thread makes a page clean again
 * between any two writes of one instruction (CMPXCHG16B's halves, the bytes of
 * what is not aligned, INS after it has read its port, a task switch).
 *
 * So it is done for what is known to be safe: a single write of more than a
 * byte, which TCG does at once where it is aligned, by an instruction that is
 * nothing but this write.  All that comes with size 1 is let pass: bytes of
 * larger writes, page walks, helpers that ask for a page first and write later.
 * An atomic access comes with its size, but is none of these instructions, even
 * where it is done step by step.  What is let pass is charged.
 */
static void stop_before_write(CPUState *cpu, unsigned bytes, uintptr_t host_pc)
{
#ifdef CONFIG_TCG
    if (bytes > 1 && host_pc && vcpu_is_at_plain_store(cpu, host_pc)) {
        cpu->slowdown.due = true;
        cpu_exit(cpu);
        cpu_loop_exit_restore(cpu, host_pc);
    }
#endif
}

void dirtylimit_page_dirtied(CPUState *cpu, ram_addr_t addr, unsigned bytes,
                             uintptr_t host_pc)
{
    uint64_t limit_bytes_per_s = dirtylimit_of(cpu);
    bool is_out = unlikely(limit_bytes_per_s) && cpu->slowdown.reprieve.out;

    if (is_out) {
        stop_before_write(cpu, bytes, host_pc);
    }
    if (dirty_count_page(cpu, addr) && unlikely(limit_bytes_per_s) &&
        charge_pages(cpu, limit_bytes_per_s, 1, clock_ns()) &&
        /* Held amid the handler, it would not have served the interrupt. */
        !(is_out && vcpu_masks_interrupts(cpu))) {
        vcpu_slowdown_request(cpu);
    }
}

void dirtylimit_charge_late(CPUState *cpu, uint64_t bytes)
{
    uint64_t limit_bytes_per_s = dirtylimit_of(cpu);

    if (bytes && limit_bytes_per_s && cpu->created && !cpu->unplug &&
        charge_bytes(cpu, limit_bytes_per_s, bytes, clock_ns())) {
        vcpu_slowdown_request(cpu);
    }
}

/* When to look at a polled meter again, by what the last look has seen. */
static int64_t look_delay_ns(VcpuDirtyBucket *dirty, uint64_t pages,
                             uint64_t limit_bytes_per_s, int64_t now_ns)
{
    int64_t ran_ns = MAX(now_ns - dirty->looked_ns, 1);
    double speed = (double)pages * TARGET_PAGE_SIZE * NANOSECONDS_PER_SECOND /
                   ran_ns;
    double until_paid_ns;

    dirty->speed_bytes_per_s = MAX(speed, dirty->speed_bytes_per_s * 0.875);
    if (dirty->speed_bytes_per_s <= limit_bytes_per_s) {
        return pages ? LOOK_MAX_NS : LOOK_IDLE_NS;
    }
    until_paid_ns = now_ns - qatomic_read_i64(&dirty->bucket.paid_until_ns);
    until_paid_ns *= (double)limit_bytes_per_s / dirty->speed_bytes_per_s;
    return MIN(MAX(until_paid_ns, LOOK_MIN_NS), LOOK_MAX_NS);
}

/* Charge what a polled meter has counted since the last look. */
static void look(CPUState *cpu, int64_t now_ns)
{
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;
    uint64_t limit_bytes_per_s = dirtylimit_of(cpu);
    uint64_t total_pages, pages;

    if (!limit_bytes_per_s || !dirty_meter_is_polled()) {
        return;
    }
    total_pages = dirty_meter_vcpu_pages(cpu);
    pages = total_pages - dirty->charged_pages;
    if (pages) {
        charge_pages(cpu, limit_bytes_per_s, pages, now_ns);
    }
    dirty->look_delay_ns = look_delay_ns(dirty, pages, limit_bytes_per_s,
                                         now_ns);
    dirty->charged_pages = total_pages;
    dirty->looked_ns = now_ns;
}

/* The vCPU goes on, after a look and maybe a sleep. */
static int64_t next_look_ns(CPUState *cpu, int64_t now_ns)
{
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;

    if (!dirtylimit_of(cpu) || !dirty_meter_is_polled()) {
        return 0;
    }
    /* Having slept it has next to nothing saved up. */
    if (now_ns - dirty->looked_ns >= SCALE_MS) {
        dirty->looked_ns = now_ns;
        return LOOK_MIN_NS;
    }
    return MAX(dirty->look_delay_ns, LOOK_MIN_NS);
}

void dirtylimit_ring_full(CPUState *cpu)
{
    if (dirtylimit_of(cpu)) {
        vcpu_slowdown_request(cpu);
    }
}

static int64_t debt_ns(CPUState *cpu, int64_t now_ns)
{
    return dirty_bucket_owed_ns(&cpu->slowdown.dirty.bucket,
                                dirtylimit_of(cpu), now_ns);
}

static void slept(CPUState *cpu, int64_t slept_ns)
{
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;

    if (dirty_bucket_is_paying(&dirty->bucket)) {
        qatomic_set_i64(&dirty->slept_ns, dirty->slept_ns + slept_ns);
    }
}

static const VcpuDebtor limit_debtor = {
    .owed_ns = debt_ns,
    .slept = slept,
    .charge = look,
    .go_on = next_look_ns,
};

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

static void refresh(void);

/* vCPUs may have been plugged or unplugged. */
static void period_ends(Notifier *unused, void *nothing)
{
    refresh();
}

static Notifier period_end = { .notify = period_ends };

static void start_service(void)
{
    if (dirtylimit_in_service()) {
        return;
    }
    vcpu_slowdown_register(&limit_debtor);
    if (!dirtylimit.is_told) {
        dirty_meter_notify_period_ends(&period_end);
        dirtylimit.is_told = true;
    }
    dirty_meter_get();
    qatomic_set(&dirtylimit.in_service, true);
}

/* Put the limits of a vCPU into force. */
static void apply(CPUState *cpu)
{
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;
    uint64_t old = dirtylimit_of(cpu);
    uint64_t new = smaller_limit(cpu);
    int64_t now_ns = clock_ns();

    if (new == old) {
        return;
    }
    if (!old) {
        /* What was dirtied before is none of this limit's business. */
        start_service();
        dirty->charged_pages = dirty_meter_vcpu_pages(cpu);
        dirty->looked_ns = now_ns;
    }
    trace_dirtylimit_set(cpu->cpu_index, user_limit(cpu),
                         dirty->migration_limit_bytes_per_s);
    dirty_bucket_relimit(&dirty->bucket, old, new, now_ns);
    qatomic_set_u64(&dirty->limit_bytes_per_s, new);
    if (old && (!new || new > old)) {
        vcpu_slowdown_wake(cpu);
    }
    if (!old && cpu->created && !cpu->unplug && dirty_meter_is_polled()) {
        /* From now on its alarm calls it to look. */
        vcpu_slowdown_request(cpu);
    }
}

/* Put what is set into force. */
static void refresh(void)
{
    CPUState *cpu;
    bool limited = dirtylimit.all_bytes_per_s != 0;

    if (limited) {
        start_service();
    }
    CPU_FOREACH(cpu) {
        apply(cpu);
        limited |= dirtylimit_of(cpu) != 0;
    }
    if (!limited && dirtylimit_in_service()) {
        qatomic_set(&dirtylimit.in_service, false);
        dirty_meter_put();
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
    refresh();
}

void dirtylimit_set_migration_limit(CPUState *cpu, uint64_t bytes_per_s)
{
    if (cpu->slowdown.dirty.migration_limit_bytes_per_s != bytes_per_s) {
        cpu->slowdown.dirty.migration_limit_bytes_per_s = bytes_per_s;
        apply(cpu);
    }
}

void dirtylimit_clear_migration_limits(void)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        cpu->slowdown.dirty.migration_limit_bytes_per_s = 0;
    }
    refresh();
}

/* --- What is told of them --- */

/* How long a vCPU takes to dirty as many pages as its ring holds, 0 for ever. */
static double ring_full_us(double rate_bytes_per_s)
{
    double ring_bytes = dirtylimit_by_ring() ?
                        (double)kvm_dirty_ring_size() * TARGET_PAGE_SIZE : 0;

    return rate_bytes_per_s > 0 ? ring_bytes * 1e6 / rate_bytes_per_s : 0;
}

uint64_t dirtylimit_ring_full_time(void)
{
    double sum_bytes_per_s = 0;
    unsigned n = 0;
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        sum_bytes_per_s += dirty_meter_vcpu_rate(cpu);
        n++;
    }
    return n ? ring_full_us(sum_bytes_per_s / n) : 0;
}

uint64_t dirtylimit_throttle_time_per_round(void)
{
    double most_us = 0;
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        most_us = MAX(most_us, cpu->slowdown.dirty.slept_part *
                               ring_full_us(dirty_meter_vcpu_rate(cpu)));
    }
    return most_us;
}
