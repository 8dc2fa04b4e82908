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
    const char *what;           /* for people */
    const char *load;           /* last vCPU computes: who pays for it? */
    unsigned bandwidth_mb_per_s;
    gboolean reference;         /* all that QUICK=1 runs */
} Workload;

static const Workload bench_workloads[] = {
    { "paced", "256 MiB written at 100 MB/s",
      "write:256:100,compute", 64, TRUE },
    { "flat-out", "128 MiB written flat out",
      "write:128:0,compute", 64, TRUE },
    { "half", "256 MiB written at half of the link's rate",
      "write:256:32,compute", 64, FALSE },
    { "bursts", "2 s at 200 MB/s, 2 s of rest",
      "burst:128:200:2000:2000,compute", 64, FALSE },
    { "phases", "4 s of 128 MiB at 150 MB/s, 4 s of 32 MiB at 20 MB/s",
      "phase:128:150:32:20:4000,compute", 64, FALSE },
    { "hot-cold", "256 MiB at 100 MB/s, 90 % of it to 10 % of the pages",
      "hot:256:10:90:100,compute", 64, FALSE },
    { "narrow", "256 MiB written at 100 MB/s, half the link",
      "write:256:100,compute", 32, FALSE },
    { "wide", "256 MiB written at 100 MB/s, twice the link",
      "write:256:100,compute", 128, FALSE },
};

#endif
