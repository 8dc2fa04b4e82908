/*
 * Convergence engine, QEMU side: the migration that runs
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/qapi-events-convergence.h"
#include "qemu/main-loop.h"
#include "migration/convergence.h"
#include "sysemu/cpu-throttle.h"
#include "sysemu/dirtylimit.h"
#include "sysemu/runstate.h"
#include "convergence-base.h"
#include "convergence-run.h"
#include "migration.h"
#include "ram.h"

QEMU_BUILD_BUG_ON((int)CONVERGENCE_STATE_OFF != (int)CONVERGENCE_PHASE_OFF);
QEMU_BUILD_BUG_ON((int)CONVERGENCE_STATE_TIMED_OUT !=
                  (int)CONVERGENCE_PHASE_TIMED_OUT);
QEMU_BUILD_BUG_ON((int)CONVERGENCE_STATE__MAX !=
                  (int)CONVERGENCE_PHASE__MAX);

ConvergenceRun convergence;

static void __attribute__((__constructor__)) convergence_init_lock(void)
{
    qemu_mutex_init(&convergence.lock);
}

bool convergence_run_has_condition(const ConvergenceParams *params)
{
    return params->timeout_s || params->max_iterations ||
           params->max_transfer_pct;
}

bool convergence_run_wants_engine(const ConvergenceParams *params)
{
    return params->auto_converge || convergence_run_has_condition(params);
}

/*
 * A state written to a file, by virsh save or a snapshot, is no migration that
 * has to end by some time; nor is one of a guest that stands still.  A pipe may
 * lead to either.  What a client has set for this migration, it has set for
 * this pipe; what holds for all of a guest's migrations, by -global, is not
 * meant for its snapshots.
 */
bool convergence_run_channel_has_deadline(void)
{
    return convergence.channel == CONVERGENCE_CHANNEL_LINK ||
           (convergence.channel == CONVERGENCE_CHANNEL_PIPE &&
            convergence.conditions_by_client);
}

bool convergence_run_has_deadline(void)
{
    return runstate_is_running() && convergence_run_channel_has_deadline();
}

void convergence_run_take_user_params(MigrationState *s)
{
    uint64_t timeout_s = convergence.user.timeout_s;

    convergence_params_get(s, convergence_sampler_meter(&convergence.sampler),
                           &convergence.user);
    convergence.conditions_by_client = convergence_params_by_client();
    convergence.user_bandwidth_bytes_per_s = s->parameters.max_bandwidth;
    if (!qatomic_read(&convergence.running)) {
        convergence.timeout_from_ns = 0;
    } else if (convergence.user.timeout_s != timeout_s) {
        convergence.timeout_from_ns = convergence_now_ns();
    }
    convergence.user.timeout_from_ns = convergence.timeout_from_ns;
}

void convergence_run_refresh_params(void)
{
    convergence.params = convergence.user;
    if (!convergence_run_has_deadline()) {
        convergence.params.timeout_s = 0;
        convergence.params.max_iterations = 0;
        convergence.params.max_transfer_pct = 0;
        convergence.params.switchover_bytes_per_s = 0;
    }
}

ConvergenceProgress convergence_run_progress(void)
{
    return (ConvergenceProgress) {
        .now_ns = convergence_now_ns(),
        .passes = convergence.passes,
        .sent_bytes = migration_transferred_bytes(),
        .ram_bytes = convergence.present_bytes,
        .remaining_bytes = ram_bytes_remaining(),
    };
}

ConvergenceLinkLook convergence_run_look_at_link(MigrationState *s)
{
    ConvergenceLinkLook look = convergence_stream_look(s, convergence_now_ns());
    ConvergenceLinkView view;

    look.cap_bytes_per_s = convergence.user_bandwidth_bytes_per_s;
    convergence_link_look(&convergence.link, &look);
    view = convergence_link_view(&convergence.link, look.now_ns);
    view.devices_bytes = convergence_devices_bytes();
    convergence_engine_see_link(&convergence.engine, &view);
    convergence.queued_bytes = look.queued_bytes;
    return look;
}

int64_t convergence_run_threshold_bytes(uint64_t queued_bytes)
{
    return convergence_engine_threshold_bytes(
        &convergence.engine, &convergence.params,
        convergence.engine.deadline.downtime_limit_ms,
        convergence.bandwidth_bytes_per_ms * 1000, queued_bytes);
}

bool convergence_run_stops_now(void)
{
    const ConvergenceDeadline *deadline = &convergence.engine.deadline;

    return deadline->stop != CONVERGENCE_STOP_NONE &&
           deadline->action == CONVERGENCE_ACTION_STOP;
}

void convergence_run_report(ConvergencePhase phase, const char *reason)
{
    g_strlcpy(convergence.reason, reason, sizeof(convergence.reason));
    if (phase != convergence.phase) {
        convergence.phase = phase;
        qapi_event_send_migration_convergence((ConvergenceState)phase,
                                              convergence.reason);
    }
}

void convergence_run_report_decision(const ConvergenceDecision *decision)
{
    const ConvergenceDeadline *deadline = &convergence.engine.deadline;

    if (deadline->stop == CONVERGENCE_STOP_NONE && !convergence.still) {
        convergence_run_report(decision->told, decision->reason);
    }
}

void convergence_run_note_downtime(ConvergenceDowntimePart part)
{
    MigrationState *s = migrate_get_current();

    if (qatomic_read(&convergence.running) &&
        !qatomic_read(&convergence.may_slow) &&
        runstate_check(RUN_STATE_FINISH_MIGRATE) &&
        s->state == MIGRATION_STATUS_ACTIVE) {
        convergence_downtime_part(s, part, convergence_now_ns());
    }
}

bool convergence_run_is_over(const MigrationState *s)
{
    return convergence.gives_up || s->state == MIGRATION_STATUS_FAILED ||
           s->state == MIGRATION_STATUS_CANCELLING;
}

void convergence_run_lift_slowdown(void)
{
    cpu_throttle_stop();
    dirtylimit_clear_migration_limits();
}
