/*
 * The workloads that QEMUs are compared on
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGE_BENCH_WORKLOADS_H
#define CONVERGE_BENCH_WORKLOADS_H

#include <glib.h>

typedef struct Workload {
    const char *name;
    const char *group;          /* what is shown side by side; --only */
    const char *what;           /* for people */
    const char *load;           /* see tests/guest */
    unsigned mem_mib, smp;
    unsigned bandwidth_mb_per_s;
    unsigned flags;
} Workload;

#define WORKLOAD_PROGRAMS 1     /* takes the guest that has some */
#define WORKLOAD_QUICK 2        /* part of a quick run */
/*
 * With policy step as well.  It is what users of auto-converge get by
 * default, but takes stock's time where stock takes long: some will do.
 */
#define WORKLOAD_STEP 4
/* With --to-end peers may run until they end: one of each group, and more */
#define WORKLOAD_TO_END 8
/* The link is a wire with the kernel's buffers, and no cap of QEMU's */
#define WORKLOAD_WIRE 16
/* which carries a third of it every other 3 s */
#define WORKLOAD_WAVERS 32

extern const Workload bench_workloads[];
extern const unsigned bench_nr_workloads;

/*
 * TRUE if @only (names of workloads or groups, with commas between; NULL for
 * all) names it.  Alternatively an error if a name in @only is nobody's.
 */
gboolean bench_workload_chosen(const Workload *workload, const char *only);
gboolean bench_check_names(const char *only, GError **errp);

#endif
