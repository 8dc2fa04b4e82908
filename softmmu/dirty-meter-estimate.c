/*
 * Meter of what single vCPUs dirty: none at all, but an estimate
 *
 * Where nothing counts the pages of a vCPU, what all of them dirty is compared
 * with how long the thread of each one ran.  The engine does that
 * (migration/convergence-estimate.c), so there is nothing to look at here; what
 * comes of it are shares, good for throttles and not for limits of pages.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "sysemu/dirty-meter.h"

/* Where one thread runs all vCPUs, its time is nobody's. */
static bool is_available(void)
{
#ifdef CONFIG_LINUX
    CPUState *next = first_cpu ? CPU_NEXT(first_cpu) : NULL;

    return next && next->thread != first_cpu->thread;
#else
    return false;
#endif
}

const DirtyMeter dirty_meter_estimate = {
    .name = "estimate",
    .is_available = is_available,
    .only_shares = true,
};
