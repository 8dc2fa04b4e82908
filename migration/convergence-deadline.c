/*
 * Convergence engine: the deadline and the stop conditions
 *
 *   downtime limit                        timeout T, action `downtime`
 *     cap |                ____________
 *      x8 |           ____|
 *      x4 |      ____|
 *      x2 |  ___|    .    .
 *      x1 |_|   .    .    .
 *         +-----T----2T---3T-----------> time
 *
 * at T the limit in force is twice the user's, at 2T four times, and so on up
 * to convergence-max-downtime.  The user's own limit is never overwritten, and
 * holds where it is above that, which then adds nothing.  The other actions
 * are taken once, when the first condition is met.  Limits of
 * passes and of bytes sent grow the downtime by one doubling, and by one more
 * for each multiple reached.
 *
 * Nothing is remembered but the start, and when the timeout was last changed,
 * from where that counts: a parameter that changes is in force at the next
 * look, in both directions.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <inttypes.h>
#include <stdio.h>
#include "convergence-internal.h"

/* 2^32 times one millisecond is more than any cap. */
#define MAX_DOUBLINGS 32

static uint64_t multiples(uint64_t value, uint64_t limit)
{
    return limit ? value / limit : 0;
}

/* A timeout that is set in flight is so long from then on. */
static uint64_t elapsed_s(const ConvergenceEngine *engine,
                          const ConvergenceParams *params, int64_t now_ns)
{
    int64_t ns = now_ns - (params->timeout_from_ns > engine->start_ns ?
                           params->timeout_from_ns : engine->start_ns);

    return ns > 0 ? ns / NS_PER_S : 0;
}

static uint64_t sent_pct(const ConvergenceProgress *progress)
{
    return progress->ram_bytes ?
           convergence_to_u64((double)progress->sent_bytes * 100 /
                              progress->ram_bytes) : 0;
}

static uint64_t grown_limit_ms(const ConvergenceParams *params,
                               uint64_t doublings)
{
    uint64_t limit_ms = params->downtime_limit_ms;

    if (doublings > MAX_DOUBLINGS) {
        doublings = MAX_DOUBLINGS;
    }
    while (doublings-- && limit_ms < params->max_downtime_ms) {
        if (limit_ms > params->max_downtime_ms / 2) {
            limit_ms = params->max_downtime_ms;
        } else {
            /* A limit of 0 would stay 0. */
            limit_ms = limit_ms ? limit_ms * 2 : 1;
        }
    }
    return limit_ms;
}

const ConvergenceDeadline *
convergence_engine_deadline(ConvergenceEngine *engine,
                            const ConvergenceParams *params,
                            const ConvergenceProgress *progress)
{
    ConvergenceDeadline *deadline = &engine->deadline;
    uint64_t by_time = multiples(elapsed_s(engine, params,
                                           progress->now_ns),
                                 params->timeout_s);
    uint64_t by_passes = multiples(progress->passes, params->max_iterations);
    uint64_t by_transfer = multiples(sent_pct(progress),
                                     params->max_transfer_pct);
    uint64_t most = by_time;

    *deadline = (ConvergenceDeadline) {
        .downtime_limit_ms = params->downtime_limit_ms,
        .action = params->timeout_action,
    };
    if (by_time) {
        deadline->stop = CONVERGENCE_STOP_TIMEOUT;
    } else if (by_passes) {
        deadline->stop = CONVERGENCE_STOP_ITERATIONS;
    } else if (by_transfer) {
        deadline->stop = CONVERGENCE_STOP_TRANSFER;
    }
    most = by_passes > most ? by_passes : most;
    most = by_transfer > most ? by_transfer : most;
    if (params->timeout_action == CONVERGENCE_ACTION_DOWNTIME) {
        deadline->downtime_limit_ms = grown_limit_ms(params, most);
    }
    return deadline;
}

static void describe_condition(const ConvergenceDeadline *deadline,
                               const ConvergenceParams *params,
                               const ConvergenceProgress *progress,
                               char *buffer, size_t size)
{
    switch (deadline->stop) {
    case CONVERGENCE_STOP_TIMEOUT:
        snprintf(buffer, size, "convergence-timeout of %" PRIu64
                 " s ran out", params->timeout_s);
        break;
    case CONVERGENCE_STOP_ITERATIONS:
        snprintf(buffer, size, "convergence-max-iterations reached: %" PRIu64
                 " of %" PRIu64 " passes over guest RAM", progress->passes,
                 params->max_iterations);
        break;
    case CONVERGENCE_STOP_TRANSFER:
        snprintf(buffer, size, "convergence-max-transfer reached: %" PRIu64
                 " %% of guest RAM sent, %" PRIu64 " %% allowed",
                 sent_pct(progress), params->max_transfer_pct);
        break;
    default:
        snprintf(buffer, size, "no stop condition is met");
        break;
    }
}

void convergence_stop_describe(const ConvergenceDeadline *deadline,
                               const ConvergenceParams *params,
                               const ConvergenceProgress *progress,
                               char *buffer, size_t size)
{
    char condition[160];

    describe_condition(deadline, params, progress, condition,
                       sizeof(condition));
    switch (deadline->action) {
    case CONVERGENCE_ACTION_DOWNTIME:
        snprintf(buffer, size, "%s: the downtime limit is %" PRIu64
                 " ms instead of %" PRIu64 " ms; %.1f MB remain", condition,
                 deadline->downtime_limit_ms, params->downtime_limit_ms,
                 progress->remaining_bytes / BYTES_PER_MB);
        break;
    case CONVERGENCE_ACTION_STOP:
        snprintf(buffer, size, "%s: switching over with %.1f MB remaining",
                 condition, progress->remaining_bytes / BYTES_PER_MB);
        break;
    case CONVERGENCE_ACTION_POSTCOPY:
        snprintf(buffer, size, "%s: starting postcopy with %.1f MB remaining",
                 condition, progress->remaining_bytes / BYTES_PER_MB);
        break;
    default:
        snprintf(buffer, size, "%s with %.1f MB remaining", condition,
                 progress->remaining_bytes / BYTES_PER_MB);
        break;
    }
}
