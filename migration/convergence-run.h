/*
 * Convergence engine, QEMU side: the migration that runs
 *
 * What convergence.c, convergence-sync.c, -queue.c and -watch.c share, and no
 * one else sees.  One migration runs at a time, so there is one of it.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONVERGENCE_RUN_H
#define MIGRATION_CONVERGENCE_RUN_H

#include "qemu/timer.h"
#include "migration/convergence-engine.h"
#include "convergence-channel.h"
#include "convergence-sample.h"
#include "convergence-switchover.h"

/* Migration thread: which syncs clients are told of as the end of a pass. */
typedef struct PassCount {
    bool owed;                  /* a pass ended, and no sync was told of */
    bool ahead;                 /* one was before the pass came to its end */
    bool counts;                /* the sync under way is told of */
} PassCount;

typedef struct ConvergenceRun {
    QemuMutex lock;
    /* The migration thread is between convergence_start and _end (atomic). */
    bool running;
    /* The guest may be slowed (atomic): not yet at the switch-over. */
    bool may_slow;
    /* When the next sync is due (atomic, read without the lock). */
    int64_t next_sync_ns;
    /* Clear the log of what waits before the next page is sent (atomic). */
    bool see_rewrites;
    /* When the migration thread last looked at the deadline (atomic). */
    int64_t ticked_ns;
    /* Migration thread: ask the host again what was never touched. */
    bool census_due;
    /* Migration thread: what the last sync was busy for. */
    int64_t sync_busy_ns;
    QEMUTimer *watch_timer;

    /* Under `lock`. */
    bool known;                 /* there is something to report */
    ConvergenceChannel channel;
    bool conditions_by_client;  /* set since QEMU was started */
    ConvergenceEngine engine;
    ConvergenceParams user;     /* as the user has set them */
    uint64_t user_bandwidth_bytes_per_s;
    int64_t timeout_from_ns;    /* when it was last changed in flight */
    ConvergenceParams params;   /* as they are in force */
    ConvergencePhase phase;     /* last reported */
    char reason[CONVERGENCE_REASON_MAX_BYTES];
    uint64_t passes;
    uint64_t syncs;             /* that which began the migration included */
    /* Migration thread: whether anything was sent since the last pass. */
    bool pass_sent;
    uint64_t pass_remaining_bytes;
    PassCount pass_count;
    int progress_pct;
    uint64_t present_bytes;     /* that the guest has */
    ConvergenceSampler sampler;
    double bandwidth_bytes_per_ms;  /* as upstream last measured it */
    ConvergenceLink link;
    uint64_t queued_bytes;      /* as last looked at */
    /* What had been sent, and when it was last seen to have changed. */
    uint64_t sent_bytes;
    uint64_t seen_queued_bytes;
    int64_t sent_ns;
    bool still;                 /* for so long that the slow-down is lifted */
    bool gives_up;              /* the thread has been made to end */
    bool guest_stopped;         /* for the switch-over, or for postcopy */

    /* By the end of the migration: of a vCPU (BQL). */
    int64_t longest_pause_ns;
} ConvergenceRun;

extern ConvergenceRun convergence;

static inline int64_t convergence_now_ns(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
}

/* With convergence.lock held, if nothing else is said: */

/* A limit of time, of passes or of what is sent is set. */
bool convergence_run_has_condition(const ConvergenceParams *params);

/* Something is to be decided: a deadline is of use with no policy, too. */
bool convergence_run_wants_engine(const ConvergenceParams *params);

/* Limits hold for where the state goes: see convergence-channel.h. */
bool convergence_run_channel_has_deadline(void);

/* They hold, and the guest runs. */
bool convergence_run_has_deadline(void);

/*
 * The user's settings are copied.  QEMU's own copy is the main thread's, and
 * the migration thread has no BQL.  Main thread, or BQL held.
 */
void convergence_run_take_user_params(MigrationState *s);

/* convergence.params: the user's settings as far as they are in force. */
void convergence_run_refresh_params(void);

/* How far the migration has come, for its deadline. */
ConvergenceProgress convergence_run_progress(void);

/*
 * What the link did since the last look is told to the engine.  Also right
 * before the switch-over: the queue may have filled up since.
 */
ConvergenceLinkLook convergence_run_look_at_link(MigrationState *s);

/* Bytes that may remain at the switch-over with so many in the send queue. */
int64_t convergence_run_threshold_bytes(uint64_t queued_bytes);

/* A limit was met, and the guest is to be stopped for it. */
bool convergence_run_stops_now(void);

/* What monitors are told from now on; an event, if the state is another one. */
void convergence_run_report(ConvergencePhase phase, const char *reason);

/* The same, of a decision, unless there is something else to tell. */
void convergence_run_report_decision(const ConvergenceDecision *decision);

/* The migration ends without success; its thread may not know it yet. */
bool convergence_run_is_over(const MigrationState *s);

/*
 * A part of the downtime begins.  Not on a cancel, in the main thread: the
 * guest runs on.  No lock is needed.
 */
void convergence_run_note_downtime(ConvergenceDowntimePart part);

/* All vCPUs run at full speed.  BQL held. */
void convergence_run_lift_slowdown(void);

/**
 * convergence_queue_count: the threshold takes in what the queue holds
 *
 * It was made before this sync, and knows of no queue.  QEMU compares with it
 * right after the sync.  Migration thread, convergence.lock held.
 */
void convergence_queue_count(MigrationState *s, uint64_t queued_bytes);

/**
 * convergence_queue_wait: until little of what was sent waits to be carried
 *
 * Meanwhile the link is busy, and pages that are written again are not sent in
 * vain.  Returns at once where nothing is to be waited for.  Migration thread,
 * no lock held.
 */
void convergence_queue_wait(MigrationState *s);

/**
 * convergence_watch_start: the main thread looks after this migration
 *
 * Until it has ended.  Main loop's timer; BQL held.
 */
void convergence_watch_start(void);

/**
 * convergence_watch_notice_sends: whether anything was sent since the last call
 *
 * After STILL_NS without, the slow-down is lifted; it is in force again as soon
 * as the link moves.  BQL and convergence.lock held.
 */
bool convergence_watch_notice_sends(MigrationState *s, int64_t now);

#endif /* MIGRATION_CONVERGENCE_RUN_H */
