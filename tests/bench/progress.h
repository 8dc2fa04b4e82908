/*
 * A running migration, shown to a person
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * On a terminal a block of lines that is drawn over; anywhere else one
 * plain line a second, so that a log stays a log.
 */

#ifndef CONVERGE_BENCH_PROGRESS_H
#define CONVERGE_BENCH_PROGRESS_H

#include "migrate.h"

typedef struct Progress Progress;

Progress *progress_new(const char *title, guint64 bandwidth_bytes_per_s);
void progress_free(Progress *progress);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Progress, progress_free)

/* A MigrateProgressFunc; @opaque is the Progress */
void progress_show(void *opaque, const MigrateSample *sample,
                   JsonObject *info);

/* What a query-migrate reply says; exposed for tests */
typedef struct ProgressView {
    const char *phase;
    int percent;
    double elapsed_s;
    double sent_mb, remaining_mb;
    double dirty_mb_per_s, drain_mb_per_s;
    int throttle_pct;
    char vcpus[64];             /* "0/57 %", "" if not told */
    const char *reason;         /* NULL if not told; as long-lived as info */
} ProgressView;

/*
 * @drained_bytes_per_s stands in for the drain rate where QEMU does not
 * tell one.
 */
ProgressView progress_view(const MigrateSample *sample, JsonObject *info,
                           double drained_bytes_per_s);

#endif
