/*
 * A migration tried out on paper: the convergence engine, and a guest that
 * writes as the real one was measured to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * The very engine that decides in QEMU decides here, on a virtual clock (see
 * tests/sim).  So what is foretold of a policy is what that policy does.
 */

#ifndef CONVERGECTL_REHEARSAL_H
#define CONVERGECTL_REHEARSAL_H

#include "dirty-rate.h"
#include "forecast.h"

typedef struct RehearsalSpec {
    double ram_bytes;
    double touched_bytes;           /* of it; the rest goes for next to nothing */
    double bandwidth_bytes_per_s;
    double downtime_s;
    WriteModel model;
    /* Of the model's rate: by devices, which no slow-down of vCPUs reaches */
    double devices_part;
    /* Who writes; NULL where that cannot be told */
    const GArray *vcpus;            /* VcpuRate */
} RehearsalSpec;

typedef struct Rehearsal {
    gboolean completes;
    double total_s;
    double downtime_s;
    unsigned passes;                /* without a policy; else 0 */
    unsigned throttle_pct;          /* the most */
    gboolean limited;               /* the vCPUs that write, by what they dirty */
    double lost_s;                  /* of the work of all vCPUs together */
    /* If the guest were stopped after the first pass over its RAM */
    double stop_total_s;
    double stop_downtime_s;
} Rehearsal;

/* Nobody is slowed; and QEMU 7.2's own auto-converge */
#define REHEARSAL_FREE "none"
#define REHEARSAL_STOCK "stock"
#define REHEARSAL_AUTO "auto"

/*
 * @factor: the guest writes so much more, or less, than the model says; above
 * 1, one of which only the least is known writes flat out.
 */
Rehearsal rehearse(const RehearsalSpec *spec, const char *policy,
                   double factor);

#endif
