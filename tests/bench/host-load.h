/*
 * What else the host did while a migration was measured
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGE_BENCH_HOST_LOAD_H
#define CONVERGE_BENCH_HOST_LOAD_H

#include "migrate-pair.h"

/*
 * CPU time that was not spent by this program and the two QEMUs: by others,
 * or by other guests of the hypervisor below ("steal").
 */
typedef struct HostLoad {
    gint64 at_us;
    gint64 busy_ticks;          /* of the whole host, since it was started */
    gint64 our_ticks;
    gboolean known;
} HostLoad;

HostLoad host_load_now(const MigratePair *pair);

/*
 * Others' share of all CPUs of the host since @before, in percent; -1 where
 * the kernel does not tell, or one of the QEMUs is gone.
 */
double host_load_others_pct(const HostLoad *before, const MigratePair *pair);

#endif
