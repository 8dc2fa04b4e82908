/*
 * Convergence engine, QEMU side: what monitors are told
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONVERGENCE_INFO_H
#define MIGRATION_CONVERGENCE_INFO_H

#include "qapi/qapi-types-migration.h"
#include "migration/convergence-engine.h"
#include "convergence-sample.h"

#define CONVERGENCE_REASON_FILE \
    "convergence-timeout and stop conditions have no effect: the stream goes " \
    "to a file, or to a pipe without a client having set them"

/* A migration as it stands, for a look at it. */
typedef struct ConvergenceView {
    const ConvergenceEngine *engine;
    const ConvergenceSampler *sampler;
    const char *policy;
    ConvergencePhase phase;     /* as last reported */
    const char *reason;
    uint64_t passes;
    uint64_t syncs;
    int progress_pct;
    bool may_slow;              /* not yet at the switch-over, and it moves */
    bool still;                 /* nothing is sent */
    bool no_deadline;           /* although one is set: not on this channel */
    int64_t longest_pause_ns;   /* of a vCPU, so far */
    int64_t now_ns;
    int64_t total_ms;           /* so far, the set-up included */
} ConvergenceView;

/**
 * convergence_info_new: the convergence member of query-migrate's answer
 * @view: the migration; the caller holds what guards it
 * @status: the migration's status
 *
 * Returns: newly allocated.
 */
ConvergenceInfo *convergence_info_new(const ConvergenceView *view,
                                      MigrationStatus status);

#endif /* MIGRATION_CONVERGENCE_INFO_H */
