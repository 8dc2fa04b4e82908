/*
 * Convergence engine, QEMU side: the send queue before the switch-over
 *
 * What is handed to a socket at once, with nothing remaining, is no end: QEMU
 * would stop the guest and have it wait for the queue.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/convergence.h"
#include "sysemu/runstate.h"
#include "convergence-run.h"
#include "migration.h"
#include "qemu-file.h"

/*
 * So much of it may be left when it is looked what remains: the link has
 * something to carry during the sync, and next to nothing of a downtime is
 * lost, however short that may be.
 */
#define LEFT_IN_QUEUE_MS 10.0
#define LEFT_IN_QUEUE_PART 0.05
#define QUEUE_POLL_US 2000
#define TICK_NS (100 * SCALE_MS)

void convergence_queue_count(MigrationState *s, uint64_t queued_bytes)
{
    if (convergence_run_wants_engine(&convergence.params) &&
        !convergence_run_stops_now() && s->state == MIGRATION_STATUS_ACTIVE) {
        s->threshold_size =
            MIN(s->threshold_size,
                convergence_run_threshold_bytes(queued_bytes));
    }
}

/* The end of a migration whose link stands still is not waited for. */
static bool may_wait(MigrationState *s)
{
    return s->state == MIGRATION_STATUS_ACTIVE && runstate_is_running() &&
           !qemu_file_get_error(s->to_dst_file) &&
           !convergence_stream_broken() &&
           !qatomic_read(&s->start_postcopy);
}

static bool queue_is_short(MigrationState *s)
{
    uint64_t queued_bytes;
    double rate, left_ms;

    QEMU_LOCK_GUARD(&convergence.lock);
    if (!convergence_run_wants_engine(&convergence.params) ||
        convergence_run_stops_now()) {
        return true;
    }
    queued_bytes = convergence_run_look_at_link(s).queued_bytes;
    rate = convergence.engine.link.recent_bytes_per_s ?:
           convergence.engine.model.link_bytes_per_s;
    left_ms = MIN(convergence.engine.deadline.downtime_limit_ms *
                  LEFT_IN_QUEUE_PART, LEFT_IN_QUEUE_MS);
    return queued_bytes <= rate * left_ms / 1000;
}

void convergence_queue_wait(MigrationState *s)
{
    int64_t tick_ns = convergence_now_ns() + TICK_NS;

    while (may_wait(s) && !queue_is_short(s)) {
        g_usleep(QUEUE_POLL_US);
        if (convergence_now_ns() >= tick_ns) {
            s->threshold_size =
                convergence_tick(s, convergence.bandwidth_bytes_per_ms);
            tick_ns = convergence_now_ns() + TICK_NS;
        }
    }
}
