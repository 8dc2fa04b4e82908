/*
 * Convergence engine, QEMU side: deadlines, and a link that stands still
 *
 * The migration thread looks at its deadline ten times a second.  While it sits
 * in a blocked send it does not, and the main thread does: the guest is not to
 * be slowed for a link that carries nothing.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "migration/convergence.h"
#include "convergence-base.h"
#include "convergence-run.h"
#include "migration.h"

#define WATCH_PERIOD_MS 250
/*
 * A migration thread that has not looked at the deadline for so long, where it
 * does ten times a second, sits in a blocked send.
 */
#define BLOCKED_NS      NANOSECONDS_PER_SECOND
/* After so long with nothing sent, slowing the guest down is of no use. */
#define STILL_NS        (5 * NANOSECONDS_PER_SECOND)

/* For so long that whoever waits for the link may wait for ever. */
static bool stands_still(void)
{
    return convergence_now_ns() - convergence.sent_ns >= BLOCKED_NS;
}

/*
 * Both sides hear of it by their sockets, also a migration thread that sits in
 * a blocked send.  It says itself that the migration has failed: it alone knows
 * whether the guest has been stopped meanwhile, and what has to be undone then.
 */
static void abort_migration(MigrationState *s, const char *why)
{
    Error *err = NULL;

    error_setg(&err, "Migration given up: %s", why);
    migrate_set_error(s, err);
    error_free(err);
    convergence.gives_up = true;
    convergence_channel_shut(s);
}

/* Returns the threshold; INT64_MAX to switch over whatever remains. */
static int64_t take_action(MigrationState *s,
                           const ConvergenceDeadline *deadline,
                           const ConvergenceProgress *progress,
                           int64_t threshold_bytes)
{
    char why[CONVERGENCE_REASON_MAX_BYTES];

    if (convergence.gives_up ||
        (stands_still() && deadline->action != CONVERGENCE_ACTION_ABORT)) {
        /* Once the guest has stopped for a dead link there is no way back. */
        return threshold_bytes;
    }
    convergence_stop_describe(deadline, &convergence.params, progress, why,
                              sizeof(why));
    convergence.known = true;
    convergence_run_report(CONVERGENCE_PHASE_TIMED_OUT, why);

    switch (deadline->action) {
    case CONVERGENCE_ACTION_STOP:
        return INT64_MAX;
    case CONVERGENCE_ACTION_POSTCOPY:
        qatomic_set(&s->start_postcopy, true);
        break;
    case CONVERGENCE_ACTION_ABORT:
        abort_migration(s, why);
        break;
    default:
        break;
    }
    return threshold_bytes;
}

int64_t convergence_tick(MigrationState *s, double bandwidth_bytes_per_ms)
{
    const ConvergenceDeadline *deadline;
    ConvergenceProgress progress;
    int64_t threshold_bytes;

    if (!qatomic_read(&convergence.running)) {
        return bandwidth_bytes_per_ms * s->parameters.downtime_limit;
    }
    qatomic_set_i64(&convergence.ticked_ns, convergence_now_ns());
    QEMU_LOCK_GUARD(&convergence.lock);
    threshold_bytes = bandwidth_bytes_per_ms *
                      convergence.user.downtime_limit_ms;
    if (s->state != MIGRATION_STATUS_ACTIVE) {
        return threshold_bytes;
    }
    convergence.bandwidth_bytes_per_ms = bandwidth_bytes_per_ms;
    convergence_run_refresh_params();
    progress = convergence_run_progress();
    deadline = convergence_engine_deadline(&convergence.engine,
                                           &convergence.params, &progress);
    if (!convergence_run_wants_engine(&convergence.params)) {
        /* As in later QEMUs, whose clients know it. */
        return convergence.params.switchover_bytes_per_s ?
               MIN(convergence.params.switchover_bytes_per_s / 1000.0 *
                   convergence.params.downtime_limit_ms, INT64_MAX / 2) :
               threshold_bytes;
    }
    convergence_run_look_at_link(s);
    convergence.known = true;
    threshold_bytes = convergence_run_threshold_bytes(0);
    if (deadline->stop != CONVERGENCE_STOP_NONE) {
        threshold_bytes = take_action(s, deadline, &progress,
                                      threshold_bytes);
    } else if (convergence.phase == CONVERGENCE_PHASE_TIMED_OUT) {
        /* The user moved the deadline away. */
        convergence_run_report_decision(&convergence.engine.decision);
    }
    return threshold_bytes;
}

/*
 * What the link carries while nobody is slowed is no measure of what it carries
 * in between, nor of what the guest dirties under a throttle: such a sample is
 * passed over, and the last decision is in force again.
 */
static void stand_still(void)
{
    if (!convergence.still) {
        convergence.still = true;
        convergence_sampler_interrupt(&convergence.sampler);
        convergence_run_lift_slowdown();
    }
}

static void move_again(int64_t now)
{
    if (convergence.still) {
        convergence.still = false;
        convergence_run_report_decision(&convergence.engine.decision);
        /* The guest is to be slowed again: at once. */
        qatomic_set_i64(&convergence.next_sync_ns, now);
    }
}

bool convergence_watch_notice_sends(MigrationState *s, int64_t now)
{
    uint64_t sent_bytes = convergence_channel_sent_bytes(s);
    bool moves = sent_bytes != convergence.sent_bytes ||
                 convergence.queued_bytes != convergence.seen_queued_bytes;

    if (moves) {
        convergence.sent_bytes = sent_bytes;
        convergence.seen_queued_bytes = convergence.queued_bytes;
        convergence.sent_ns = now;
        move_again(now);
    } else if (now - convergence.sent_ns >= STILL_NS) {
        stand_still();
    }
    return moves;
}

static void report_still(int64_t now)
{
    const ConvergenceDeadline *deadline = &convergence.engine.deadline;
    bool met = deadline->stop != CONVERGENCE_STOP_NONE;
    char reason[CONVERGENCE_REASON_MAX_BYTES];
    g_autofree char *condition = NULL;

    if (met) {
        ConvergenceProgress progress = convergence_run_progress();

        convergence_stop_describe(deadline, &convergence.params, &progress,
                                  reason, sizeof(reason));
        condition = g_strdup(reason);
    }
    snprintf(reason, sizeof(reason), "nothing was sent for %" PRId64 " s: the "
             "destination or the link stands still; the guest is not slowed "
             "down until it moves again%s%s",
             (int64_t)((now - convergence.sent_ns) / NANOSECONDS_PER_SECOND),
             met ? "; " : "", condition ?: "");
    convergence_run_report(met ? CONVERGENCE_PHASE_TIMED_OUT :
                           CONVERGENCE_PHASE_STUCK, reason);
}

/*
 * For a migration thread that cannot.  Once postcopy was asked for, the guest
 * may be on its way, and nothing is given up from here.  BQL held.
 */
static void look_at_deadline(MigrationState *s)
{
    const ConvergenceDeadline *deadline;
    ConvergenceProgress progress = convergence_run_progress();
    bool postcopy = qatomic_read(&s->start_postcopy);

    convergence_run_refresh_params();
    deadline = convergence_engine_deadline(&convergence.engine,
                                           &convergence.params, &progress);
    if (deadline->stop == CONVERGENCE_STOP_NONE) {
        return;
    }
    if (deadline->action != CONVERGENCE_ACTION_ABORT) {
        stand_still();
    } else if (!postcopy) {
        take_action(s, deadline, &progress, 0);
    }
}

/*
 * Who is held to see who writes, or whether devices follow, is held for looks
 * of a quarter of a second.  A look that does not come is no reason to go on
 * with it; it tells nothing.
 */
static void end_overdue_probe(int64_t now)
{
    const ConvergenceEngine *engine = &convergence.engine;
    int64_t due_ns = qatomic_read_i64(&convergence.next_sync_ns);

    if ((engine->estimate.probing || engine->devices.trying) && due_ns &&
        now - due_ns >= WATCH_PERIOD_MS * SCALE_MS) {
        convergence_sampler_interrupt(&convergence.sampler);
        convergence_run_lift_slowdown();
        convergence_run_report(convergence.phase, "nothing is sent, so vCPUs "
                               "are no longer held to see who writes");
    }
}

static void watch_one_that_runs(MigrationState *s, int64_t now)
{
    end_overdue_probe(now);
    if (now - qatomic_read_i64(&convergence.ticked_ns) >= BLOCKED_NS ||
        stands_still()) {
        look_at_deadline(s);
    }
    if (convergence.still && !convergence.gives_up &&
        convergence.channel != CONVERGENCE_CHANNEL_FILE &&
        convergence_run_wants_engine(&convergence.params)) {
        report_still(now);
    }
}

static void set_watch(void)
{
    timer_mod(convergence.watch_timer,
              qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + WATCH_PERIOD_MS);
}

static void watch(void *opaque)
{
    MigrationState *s = migrate_get_current();
    int64_t now = convergence_now_ns();
    bool moves;

    if (!qatomic_read(&convergence.running)) {
        return;
    }
    set_watch();
    QEMU_LOCK_GUARD(&convergence.lock);
    moves = convergence_watch_notice_sends(s, now);
    if (convergence_run_is_over(s)) {
        /* What still moves ends by itself. */
        convergence_run_lift_slowdown();
        if (!moves) {
            convergence_channel_shut(s);
        }
    } else if (s->state == MIGRATION_STATUS_ACTIVE &&
               qatomic_read(&convergence.may_slow)) {
        watch_one_that_runs(s, now);
    }
}

void convergence_watch_start(void)
{
    if (!convergence.watch_timer) {
        convergence.watch_timer = timer_new_ms(QEMU_CLOCK_REALTIME, watch,
                                               NULL);
    }
    qatomic_set_i64(&convergence.ticked_ns, convergence_now_ns());
    set_watch();
}
