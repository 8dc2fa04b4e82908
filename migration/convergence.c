/*
 * Convergence engine, QEMU side: a migration's life
 *
 *   RAM save loop --(sample)--> engine --(decision)--> actuators, monitors
 *
 * It begins and ends here.  Meanwhile convergence-sync.c makes samples and
 * applies decisions, convergence-watch.c sees to deadlines; what they share is
 * in convergence-run.c.
 *
 * Threads: the migration thread does everything but what must not wait for it.
 * The main thread answers the monitors, lifts the slow-down on a cancel, and
 * watches: a migration thread that sits in a blocked send sees no deadline.
 * The lock is taken after the BQL, never before it.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "migration/convergence.h"
#include "sysemu/dirty-count.h"
#include "sysemu/runstate.h"
#include "sysemu/vcpu-slowdown.h"
#include "convergence-base.h"
#include "convergence-info.h"
#include "convergence-run.h"
#include "migration.h"
#include "qemu-file.h"
#include "ram.h"
#include "trace.h"

void convergence_params_changed(void)
{
    QEMU_LOCK_GUARD(&convergence.lock);
    convergence_run_take_user_params(migrate_get_current());
}

void convergence_forget(void)
{
    QEMU_LOCK_GUARD(&convergence.lock);
    convergence.known = false;
}

void convergence_start(MigrationState *s)
{
    int64_t now = convergence_now_ns();
    ConvergenceProgress progress;
    uint64_t remaining_bytes = ram_bytes_remaining();
    ConvergenceUntouched untouched = { 0 };
    /* Of use to policies alone; one that is chosen later does without. */
    uint64_t untouched_bytes = migrate_auto_converge() ?
                               convergence_untouched_bytes(&untouched) : 0;
    int64_t census_ns = convergence_now_ns() - now;
    char begin[CONVERGENCE_REASON_MAX_BYTES];

    bql_lock();
    qemu_mutex_lock(&convergence.lock);
    convergence.sampler.meter_dropped = false;
    convergence_run_take_user_params(s);
    convergence.channel = convergence_channel_of(s);
    convergence_run_refresh_params();
    convergence.known = convergence_run_wants_engine(&convergence.user) ||
                        convergence_run_has_deadline();
    convergence_engine_init(&convergence.engine, now);
    convergence.phase = CONVERGENCE_PHASE_OFF;
    convergence_run_report(CONVERGENCE_PHASE_OFF, CONVERGENCE_REASON_OFF);
    convergence.sent_bytes = 0;
    convergence.sent_ns = now;
    convergence.still = false;
    convergence.gives_up = false;
    convergence.guest_stopped = false;
    vcpu_slowdown_forget_pauses();
    convergence.passes = 0;
    convergence.syncs = 1;
    convergence.census_due = false;
    convergence.pass_sent = false;
    convergence.pass_count = (PassCount) { 0 };
    convergence.pass_remaining_bytes = remaining_bytes;
    convergence.progress_pct = 0;
    convergence.present_bytes = convergence_present_bytes();
    convergence_sampler_start(&convergence.sampler, now);
    convergence.sampler.untouched = untouched;
    convergence_sampler_set_untouched(&convergence.sampler, now, census_ns,
                                      untouched_bytes);
    convergence_link_init(&convergence.link);
    convergence.bandwidth_bytes_per_ms = 0;
    convergence_stream_start(s);
    convergence_run_look_at_link(s);
    trace_convergence_start(remaining_bytes, untouched_bytes, census_ns);
    progress = convergence_run_progress();
    convergence_engine_deadline(&convergence.engine, &convergence.params,
                                &progress);
    /* The sync that found all of RAM dirty was just before this. */
    qatomic_set_i64(&convergence.next_sync_ns, now +
                    convergence_engine_first_sync_ns(&convergence.engine,
                                                     &convergence.params,
                                                     convergence.sync_busy_ns));
    if (convergence.params.auto_converge) {
        snprintf(begin, sizeof(begin), "%.1f MB remain: the first look at the "
                 "guest is still to come", remaining_bytes / 1e6);
        convergence_run_report(CONVERGENCE_PHASE_WATCHING, begin);
    }
    qemu_mutex_unlock(&convergence.lock);

    dirty_count_set_migrating(true);
    qatomic_set(&convergence.see_rewrites, false);
    qatomic_set(&convergence.may_slow, true);
    qatomic_set(&convergence.running, true);
    convergence_watch_start();
    bql_unlock();
}

void convergence_switchover(void)
{
    bool locked = bql_locked();

    if (!qatomic_read(&convergence.running)) {
        return;
    }
    if (!locked) {
        bql_lock();
    }
    /* A decision under way is over by now: it is made with the BQL held. */
    qatomic_set(&convergence.may_slow, false);
    convergence.guest_stopped |= runstate_check(RUN_STATE_FINISH_MIGRATE);
    convergence_run_note_downtime(CONVERGENCE_DOWNTIME_STOPPED);
    convergence_run_lift_slowdown();
    /* Once more at the end, when those that slept have woken. */
    convergence.longest_pause_ns = vcpu_slowdown_longest_pause_ns();
    if (!locked) {
        bql_unlock();
    }
}

/* In postcopy the return path's thread waits to be told to recover. */
static bool may_wait_for_return_path(const MigrationState *s)
{
    return convergence_run_is_over(s) && !(convergence.guest_stopped &&
                           qatomic_read(&s->start_postcopy));
}

void convergence_end(void)
{
    MigrationState *s = migrate_get_current();

    if (qatomic_read(&convergence.running)) {
        convergence_downtime_end(s, convergence_now_ns(),
                                 convergence.engine.model.wire_bytes_per_s);
    }
    convergence_switchover();
    qatomic_set(&convergence.running, false);
    dirty_count_set_migrating(false);
    if (may_wait_for_return_path(s)) {
        convergence_channel_end_return_path(s);
    }
}

bool convergence_is_ending(const MigrationState *s)
{
    return convergence_base_is_ending(s);
}

bool convergence_is_over(MigrationState *s)
{
    return qatomic_read(&convergence.running) &&
           (convergence_run_is_over(s) ||
            (qatomic_read(&convergence.may_slow) &&
             qemu_file_get_error(s->to_dst_file)));
}

void convergence_fill_info(MigrationInfo *info)
{
    QEMU_LOCK_GUARD(&convergence.lock);
    if (!convergence.known) {
        return;
    }
    if (info->has_expected_downtime && qatomic_read(&convergence.running) &&
        convergence.engine.decision.predicted) {
        info->expected_downtime =
            convergence.engine.decision.predicted_downtime_ms;
    }
    convergence_base_set_info(info, convergence_info_new(&(ConvergenceView) {
        .engine = &convergence.engine,
        .sampler = &convergence.sampler,
        .policy = convergence.engine.policy ?
                  convergence.engine.policy->name :
                  convergence.params.policy->name,
        .phase = convergence.phase,
        .reason = convergence.reason,
        .passes = convergence.passes,
        .syncs = convergence.syncs,
        .progress_pct = convergence.progress_pct,
        .may_slow = qatomic_read(&convergence.may_slow) &&
                    !convergence.still,
        .still = convergence.still,
        .no_deadline = convergence_run_has_condition(&convergence.user) &&
                       !convergence_run_channel_has_deadline(),
        .longest_pause_ns = qatomic_read(&convergence.running) ?
                            vcpu_slowdown_longest_pause_ns() :
                            convergence.longest_pause_ns,
        .now_ns = convergence_now_ns(),
        .total_ms = info->has_total_time ? info->total_time : 0,
    }, info->status));
}
