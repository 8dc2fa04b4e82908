/*
 * QEMU's own measurement of a guest's dirty rate
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_DIRTY_RATE_H
#define CONVERGECTL_DIRTY_RATE_H

#include "qmp.h"

#define DIRTY_RATE_BITMAP "dirty-bitmap"
#define DIRTY_RATE_BY_VCPU "dirty-ring"
#define DIRTY_RATE_SAMPLED "page-sampling"

/* QEMU tells whole MiB/s, rounded down */
#define DIRTY_RATE_STEP 1048576.0

typedef struct VcpuRate {
    int id;
    double bytes_per_s;
} VcpuRate;

typedef struct DirtyRate {
    const char *mode;           /* how it was measured */
    double seconds;
    double bytes_per_s;         /* different bytes, over that time */
    GArray *vcpus;              /* VcpuRate; empty if the mode tells none */
} DirtyRate;

/*
 * Measures for @seconds with @mode, or, if that is NULL, with the first of
 * dirty-bitmap, dirty-ring and page-sampling that this QEMU takes.
 * @ram_bytes: what the guest has.
 */
DirtyRate *dirty_rate_measure(QmpClient *qmp, const char *mode, int seconds,
                              double ram_bytes, GError **errp);
void dirty_rate_free(DirtyRate *rate);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirtyRate, dirty_rate_free)

#endif
