/*
 * Slow single vCPUs down by sleeps in their own threads
 *
 * Whoever makes vCPUs sleep keeps an account of what each vCPU owes, and
 * registers here as a debtor: cpu-throttle does (a share of the run time), and
 * dirtylimit (the price of the pages that were dirtied).  This module knows
 * none of them.  It is the only place where a vCPU pays, so that one sleep
 * serves all debts (the longest one counts, not their sum), and so that there
 * is one set of rules for waking it.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSEMU_VCPU_SLOWDOWN_H
#define SYSEMU_VCPU_SLOWDOWN_H

#include "sysemu/dirtylimit-bucket.h"
#include "sysemu/vcpu-pause.h"

/*
 * cpu-throttle's account of one vCPU thread; see softmmu/cpu-throttle.c.
 * Touched by that thread alone, with the BQL held; others read with the BQL.
 */
typedef struct VcpuThrottleAccount {
    /* The percentage that this account goes by, 0 = not throttled. */
    int pct;
    /* Asked of this vCPU alone, if the number is the current one (atomic). */
    int single_pct;
    unsigned single_nr;
    /* Slices in a row in which the vCPU was idle. */
    int idle_slices;
    /* When the run slice began: wall clock, and CPU time of the thread. */
    int64_t slice_start_ns;
    int64_t slice_start_cpu_ns;
    /* CPU time when it ended, and what was slept since. */
    int64_t slice_end_cpu_ns;
    int64_t paid_ns;
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
    /*
     * Pages that this vCPU was the first to write since the last harvest of
     * the dirty bitmap are counted in CPUState's dirty_pages; here those of
     * them that did not wait to be sent anyway (both atomic, one writer).
     */
    uint64_t new_pages;
    /* As they stood at the last harvest (atomic). */
    uint64_t harvested_touched_pages;
    uint64_t harvested_new_pages;

    /* The BQL guards the rest. */

    /* Set by the user for this vCPU; 0 = what is set for all vCPUs. */
    uint64_t user_limit_bytes_per_s;
    /* Set by a migration, 0 = none. */
    uint64_t migration_limit_bytes_per_s;
    /* The rate of the last period, and where the current one began. */
    uint64_t rate_bytes_per_s;
    uint64_t rated_pages;
    int64_t rated_ns;
    /* How much of the last period it slept for the limit; where it began. */
    double slept_part;
    int64_t rated_slept_ns;
    /* A meter that is polled: charged up to here, when, how fast. */
    uint64_t charged_pages;
    int64_t looked_ns;
    uint64_t speed_bytes_per_s;
    int64_t look_delay_ns;
    /* KVM's ring: the first entry that was not looked at. */
    uint32_t ring_seen;
    /* KVM's statistics: the file, where the faults stand in it, 0 = not open. */
    int stats_fd;
    off_t stats_at;
    uint64_t faults_seen;
} VcpuDirtyBucket;

/* What a held vCPU gets for interrupts; see softmmu/vcpu-reprieve.c (BQL). */
typedef struct VcpuReprieve {
    /* It is out for one; its own thread reads that in guest code, too. */
    bool out;
    /* How long this one, or the next one, is at most. */
    int64_t length_ns;
    /* When this one began, or the last one ended, 0 = never. */
    int64_t since_ns;
    /* When there may be another. */
    int64_t not_before_ns;
    /* How long after this look for interrupts the next one is. */
    int64_t look_ns;
    /* What those of this hold may still add to what is owed. */
    int64_t left_ns;
    /* What was owed when this one began. */
    int64_t owed_ns;
} VcpuReprieve;

/* What CPUState holds of all this; zero-initialised with it. */
typedef struct VcpuSlowdown {
    /* A work item that says so is on its way to the vCPU (atomic). */
    bool requested;
    /* The vCPU is to pay, now (its thread; BQL). */
    bool due;
    /* When it is to look at its debts again, 0 = never (BQL). */
    int64_t due_ns;
    /* Its own alarm goes off then; the main loop need not be punctual (BQL). */
    bool alarmed;
    VcpuPause pause;
    VcpuReprieve reprieve;
    VcpuThrottleAccount throttle;
    VcpuDirtyBucket dirty;
} VcpuSlowdown;

/*
 * Who makes vCPUs sleep.  All members are called with the BQL held, by the
 * vCPU's own thread unless said otherwise.
 */
typedef struct VcpuDebtor {
    /*
     * One account for each thread, whichever of its vCPUs runs: asked only of
     * the vCPU that vcpu_slowdown_payer() names.  Else each vCPU has one.
     */
    bool by_thread;
    /* Required: how long the vCPU still has to sleep. */
    int64_t (*owed_ns)(CPUState *cpu, int64_t now_ns);
    /* Required: it has slept, for this debt or for another one. */
    void (*slept)(CPUState *cpu, int64_t slept_ns);
    /* Optional: it has left guest code; charge it for what it did there. */
    void (*charge)(CPUState *cpu, int64_t now_ns);
    /*
     * Optional: it is about to go on.  Returns: in how many ns it has to leave
     * guest code again to be charged, 0 for no need.
     */
    int64_t (*go_on)(CPUState *cpu, int64_t now_ns);
    /*
     * Optional: the vCPU does not know yet what was asked of it.  Main loop's
     * thread, or whoever called vcpu_slowdown_changed().
     */
    bool (*is_news)(CPUState *cpu);
    /* Optional: vCPUs that are plugged are to be found.  As is_news. */
    bool (*is_active)(void);
} VcpuDebtor;

/**
 * vcpu_slowdown_register: have vCPUs pay what they owe to @debtor, too
 *
 * Once is enough, again does no harm.  BQL held, or before there are threads.
 */
void vcpu_slowdown_register(const VcpuDebtor *debtor);

/**
 * vcpu_slowdown_init: make ready, before any vCPU exists
 */
void vcpu_slowdown_init(void);

/**
 * vcpu_slowdown_request: have a vCPU pay what it owes, soon
 * @cpu: the vCPU
 *
 * Marks it with async_run_on_cpu(), which calls it out of guest code; it pays
 * once it has served all work that other threads queued on it.  Any thread, no
 * lock needed; not before the vCPU's thread exists.
 */
void vcpu_slowdown_request(CPUState *cpu);

/**
 * vcpu_slowdown_left_guest: have the vCPU pay if that is due
 * @cpu: the vCPU
 *
 * Sleeps.  In the vCPU's thread, which has left guest code and served its queue
 * of work; BQL held.
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
 * vcpu_slowdown_changed: have all vCPUs take over what was asked of them
 *
 * Those for which it is news wake, or leave guest code.  Any thread: at once if the
 * caller holds the BQL, as soon as the main loop has it otherwise.
 */
void vcpu_slowdown_changed(void);

/**
 * vcpu_slowdown_threads: how many threads run vCPUs
 *
 * As of the last change, or 100 ms ago.  BQL held.
 */
int vcpu_slowdown_threads(void);

/**
 * vcpu_slowdown_forget_pauses: begin to look for the longest pause anew
 *
 * vcpu_slowdown_longest_pause_ns: the longest time since then for which any
 * vCPU was made to sleep for 95 % of it or more (vcpu-pause.h)
 *
 * One that goes on counts up to the end of its last sleep.  BQL held.
 */
void vcpu_slowdown_forget_pauses(void);
int64_t vcpu_slowdown_longest_pause_ns(void);

/**
 * vcpu_slowdown_payer: who pays for a vCPU's thread
 * @cpu: the vCPU
 *
 * Returns: @cpu, or where one thread runs all vCPUs (round-robin TCG, icount)
 * the first of them.
 */
CPUState *vcpu_slowdown_payer(CPUState *cpu);

#endif /* SYSEMU_VCPU_SLOWDOWN_H */
