/*
 * The workloads that QEMUs are compared on
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Guests of the ladder are small, so that 15 rungs with stock, which needs a
 * multiple of everybody's time, take half an hour and not half a day.  Where
 * a vCPU only computes it shows who pays for a slow-down.
 */

#include "workloads.h"

#include <string.h>

/*
 * One rung: @mib of memory dirtied at @mb_per_s, over a link of 64 MB/s.  By
 * touching pages: a guest under TCG does not write whole ones at 1280 MB/s.
 */
#define RUNG(set, times, mib, mb_per_s, mem, flags)                     \
    { "ladder-" set "-" times, "ladder",                                \
      #mib " MiB dirtied at " times " x the link",                      \
      "touch:" #mib ":" #mb_per_s ",compute", mem, 2, 64, flags }

#define LADDER(set, mib, mem)                                           \
    RUNG(set, "0.5", mib, 32, mem, 0),                                  \
    RUNG(set, "1", mib, 64, mem, 0),                                    \
    RUNG(set, "2", mib, 128, mem, WORKLOAD_TO_END),                     \
    RUNG(set, "5", mib, 320, mem, 0),                                   \
    RUNG(set, "20", mib, 1280, mem, 0)

const Workload bench_workloads[] = {
    { "paced", "reference", "256 MiB written at 100 MB/s",
      "write:256:100,compute", 512, 2, 64, WORKLOAD_QUICK | WORKLOAD_STEP |
      WORKLOAD_TO_END },
    { "flat-out", "reference", "128 MiB written flat out",
      "write:128:0,compute", 512, 2, 64, WORKLOAD_QUICK | WORKLOAD_STEP |
      WORKLOAD_TO_END },

    { "half", "shape", "96 MiB written at half of the link's rate",
      "write:96:32,compute", 256, 2, 64, WORKLOAD_STEP },
    { "bursts", "shape", "96 MiB: 1 s at 200 MB/s, 1 s of rest",
      "burst:96:200:1000:1000,compute", 256, 2, 64, WORKLOAD_STEP |
      WORKLOAD_TO_END },
    { "phases", "shape", "4 s of 96 MiB at 150 MB/s, 4 s of 16 MiB at 20 MB/s",
      "phase:96:150:16:20:4000,compute", 256, 2, 64, WORKLOAD_STEP },
    { "hot-cold", "shape", "128 MiB at 100 MB/s, 90 % to 10 % of the pages",
      "hot:128:10:90:100,compute", 256, 2, 64, WORKLOAD_STEP },

    { "link-32", "link", "128 MiB written at 100 MB/s, link 32 MB/s",
      "write:128:100,compute", 256, 2, 32, 0 },
    { "link-64", "link", "128 MiB written at 100 MB/s, link 64 MB/s",
      "write:128:100,compute", 256, 2, 64, WORKLOAD_TO_END },
    { "link-128", "link", "128 MiB written at 200 MB/s, link 128 MB/s",
      "write:128:200,compute", 256, 2, 128, 0 },

    { "wire-4", "wire", "16 MiB written at 8 MB/s, wire of 4 MB/s",
      "write:16:8,compute", 96, 2, 4, WORKLOAD_WIRE | WORKLOAD_TO_END },
    { "wire-40", "wire", "96 MiB written at 80 MB/s, wire of 40 MB/s",
      "write:96:80,compute", 256, 2, 40, WORKLOAD_WIRE },
    { "wire-400", "wire", "192 MiB touched at 800 MB/s, wire of 400 MB/s",
      "touch:192:800,compute", 320, 2, 400, WORKLOAD_WIRE },
    { "wire-wavers", "wire", "64 MiB at 30 MB/s, wire of 40 and 13 MB/s",
      "write:64:30,compute", 256, 2, 40, WORKLOAD_WIRE | WORKLOAD_WAVERS },

    { "disk", "devices", "a vCPU reads 96 MiB of a disk at 100 MB/s",
      "read-disk:96:100,compute", 256, 2, 64, WORKLOAD_STEP |
      WORKLOAD_TO_END },
    { "disk-writer", "devices", "one reads 96 MiB of a disk, one writes 64 MiB",
      "read-disk:96:100,write:64:100,compute", 320, 3, 64, 0 },

    { "vcpus-1", "vcpus", "one vCPU, it writes 96 MiB at 150 MB/s",
      "write:96:150", 256, 1, 64, WORKLOAD_TO_END },
    { "vcpus-3", "vcpus", "of three vCPUs one writes at 150 MB/s",
      "write:96:150,compute,read:16", 256, 3, 64, 0 },
    { "vcpus-4", "vcpus", "of four vCPUs two write, at 120 and 20 MB/s",
      "write:80:120,write:16:20,compute,compute", 256, 4, 64, 0 },

    LADDER("32", 32, 160),
    LADDER("96", 96, 256),
    LADDER("192", 192, 320),

    { "redis", "program", "redis-server under redis-benchmark's SETs",
      "redis:64,redis-load,compute", 512, 3, 32, WORKLOAD_PROGRAMS },
    { "sqlite", "program", "sqlite3, inserts in transactions",
      "sqlite:32,compute", 512, 2, 32, WORKLOAD_PROGRAMS },
    { "compile", "program", "two compilers, file after file",
      "compile:200,compile:200,compute", 512, 3, 32, WORKLOAD_PROGRAMS },
    { "stress", "program", "stress-ng --vm 1 --vm-bytes 96M",
      "stress:96,compute", 512, 2, 32, WORKLOAD_PROGRAMS |
      WORKLOAD_TO_END },
};

const unsigned bench_nr_workloads = G_N_ELEMENTS(bench_workloads);

static gboolean is_called(const Workload *workload, const char *name)
{
    return g_str_equal(workload->name, name) ||
           g_str_equal(workload->group, name);
}

gboolean bench_workload_chosen(const Workload *workload, const char *only)
{
    g_auto(GStrv) names = g_strsplit(only ?: "", ",", -1);

    for (char **name = names; *name; name++) {
        if (is_called(workload, *name)) {
            return TRUE;
        }
    }
    return !only;
}

gboolean bench_check_names(const char *only, GError **errp)
{
    g_auto(GStrv) names = g_strsplit(only ?: "", ",", -1);

    for (char **name = names; *name; name++) {
        unsigned i = 0;

        while (i < bench_nr_workloads &&
               !is_called(&bench_workloads[i], *name)) {
            i++;
        }
        if (i == bench_nr_workloads) {
            g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "no workload and no group is called '%s'; --list "
                        "shows them", *name);
            return FALSE;
        }
    }
    return TRUE;
}
