/*
 * Slow single vCPUs down by sleeps in their own threads
 *
 * Two actuators make a vCPU sleep: cpu-throttle (a share of its run time) and
 * dirtylimit (the price of the pages that it dirtied).  Each keeps an account
 * of what the vCPU owes; this module is the only place where a vCPU pays, so
 * that one sleep serves both debts (the longer one counts, not their sum), and
 * so that there is one set of rules for waking it.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSEMU_VCPU_SLOWDOWN_H
#define SYSEMU_VCPU_SLOWDOWN_H

#include "sysemu/dirtylimit-bucket.h"

/*
 * cpu-throttle's account of one vCPU thread; see softmmu/cpu-throttle.c.
 * Touched by that thread alone, with the BQL held; others read with the BQL.
 */
typedef struct VcpuThrottleAccount {
    /* The percentage that this account goes by, 0 = not throttled. */
    int pct;
    /* Slices in a row in which the vCPU was idle. */
    int idle_slices;
    /* When the run slice began: wall clock, and CPU time of the thread. */
    int64_t slice_start_ns;
    int64_t slice_start_cpu_ns;
    /* Sleep owed; below zero, sleep paid in advance. */
    int64_t debt_ns;
    /* Totals since the throttle was last started. */
    int64_t ran_ns;
    int64_t slept_ns;
} VcpuThrottleAccount;

/* dirtylimit's share of one vCPU; see softmmu/dirtylimit.c. */
typedef struct VcpuDirtyBucket {
    /* The limit in force, 0 = none (atomic; written with the BQL). */
    uint64_t limit_bytes_per_s;
    DirtyBucket bucket;
    /* Total time slept for the limit, by the vCPU thread (atomic reads). */
    int64_t slept_ns;
    /* CPUState's dirty_pages, as they stood at the last harvest (atomic). */
    uint64_t harvested_pages;

    /* The BQL guards the rest. */

    /* Set by the user for this vCPU; 0 = what is set for all vCPUs. */
    uint64_t user_limit_bytes_per_s;
    /* Set by a migration, 0 = none. */
    uint64_t migration_limit_bytes_per_s;
    /* The rate of the last period, and where the current one began. */
    uint64_t rate_bytes_per_s;
    uint64_t rated_pages;
    int64_t rated_ns;
    /* The look into KVM's ring: charged up to here, when, how fast. */
    uint64_t charged_pages;
    int64_t looked_ns;
    uint64_t speed_bytes_per_s;
    /* Where an earlier look found the end of what stands in the ring. */
    uint32_t ring_end;
} VcpuDirtyBucket;

/* What CPUState holds of all this; zero-initialised with it. */
typedef struct VcpuSlowdown {
    /* The work item that sleeps is queued or runs (atomic). */
    bool queued;
    /* When the vCPU is to look at its debts again, 0 = never (BQL). */
    int64_t due_ns;
    /* Its own alarm goes off then; the main loop need not be punctual (BQL). */
    bool alarmed;
    VcpuThrottleAccount throttle;
    VcpuDirtyBucket dirty;
} VcpuSlowdown;

/**
 * vcpu_slowdown_init: make ready, before any vCPU exists
 */
void vcpu_slowdown_init(void);

/**
 * vcpu_slowdown_request: have a vCPU pay what it owes, soon
 * @cpu: the vCPU
 *
 * Queues the sleep on the vCPU's thread with async_run_on_cpu(), unless it is
 * queued already, and kicks the vCPU out of guest code.  Any thread, no lock
 * needed; not before the vCPU's thread exists.
 */
void vcpu_slowdown_request(CPUState *cpu);

/**
 * vcpu_slowdown_left_guest: have the vCPU pay if its run slice has ended
 * @cpu: the vCPU
 *
 * Sleeps.  In the vCPU's thread, which has left guest code; BQL held.
 */
void vcpu_slowdown_left_guest(CPUState *cpu);

/**
 * vcpu_slowdown_wake: have a sleeping vCPU look at its debts again
 * @cpu: the vCPU
 *
 * For whoever lifted or raised a limit of it.  Any thread; BQL held.
 */
void vcpu_slowdown_wake(CPUState *cpu);

/**
 * vcpu_slowdown_throttle_changed: have all vCPUs take a new percentage over
 *
 * Sleepers wake, vCPUs in guest code leave it.  Any thread: at once if the
 * caller holds the BQL, as soon as the main loop has it otherwise.
 */
void vcpu_slowdown_throttle_changed(void);

/**
 * vcpu_slowdown_threads: how many threads run vCPUs
 *
 * As of the last change of the throttle, or 100 ms ago.  BQL held.
 */
int vcpu_slowdown_threads(void);

/**
 * vcpu_slowdown_payer: who keeps the throttle account of a vCPU's thread
 * @cpu: the vCPU
 *
 * Returns: @cpu, or where one thread runs all vCPUs (round-robin TCG, icount)
 * the first of them.
 */
CPUState *vcpu_slowdown_payer(CPUState *cpu);

#endif /* SYSEMU_VCPU_SLOWDOWN_H */
