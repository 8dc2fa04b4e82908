/*
 * What the unit tests of the convergence engine share
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef CONVERGENCE_FIXTURE_H
#define CONVERGENCE_FIXTURE_H

#include "convergence-internal.h"

#define SECOND_NS NS_PER_S
#define MB(n) ((uint64_t)((n) * 1000000.0))
#define GIB (1ULL << 30)
#define TIB (1ULL << 40)

/* A host that has been up for 104 days: no clock starts at zero. */
#define FIRST_NS (104 * 86400 * SECOND_NS + 12345)

/* The defaults of QEMU's parameters, and a policy. */
static inline ConvergenceParams fixture_params(const char *policy)
{
    return (ConvergenceParams) {
        .auto_converge = true,
        .policy = convergence_policy_find(policy),
        .initial_throttle_pct = 20,
        .throttle_increment_pct = 10,
        .max_throttle_pct = 99,
        .trigger_threshold_pct = 50,
        .sync_period_ms = 1000,
        .downtime_limit_ms = 300,
        .max_downtime_ms = 5000,
    };
}

/*
 * One interval after the bulk pass of a 1 GiB guest, over a link without
 * compression: all rates in MB/s, every page dirtied was clean before.
 */
static inline ConvergenceSample fixture_sample(ConvergenceEngine *engine,
                                               int64_t interval_ns,
                                               double dirtied_mb_per_s,
                                               double drained_mb_per_s)
{
    double s = (double)interval_ns / SECOND_NS;

    return (ConvergenceSample) {
        .now_ns = engine->model.last_sample_ns + interval_ns,
        .interval_ns = interval_ns,
        .dirtied_bytes = MB(dirtied_mb_per_s * s),
        .touched_bytes = MB(dirtied_mb_per_s * s),
        .drained_bytes = MB(drained_mb_per_s * s),
        .wire_bytes = MB(drained_mb_per_s * s),
        .remaining_bytes = MB(500),
        .ram_bytes = GIB,
        .throttle_pct = engine->decision.throttle_pct,
        .valid = true,
    };
}

#endif /* CONVERGENCE_FIXTURE_H */
