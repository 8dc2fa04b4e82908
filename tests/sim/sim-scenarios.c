/*
 * Simulator: the scenarios, each with the claim it shows and its bounds
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "sim-scenarios.h"

#define MIB (1024.0 * 1024)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)
#define GB_PER_S 1e9

/* The guest of the measurements: 512 MiB, some 352 MB of it not zero. */
#define SMALL_GUEST .ram_bytes = 512 * MIB, .zero_bytes = 184e6, .n_vcpus = 2
/* 64 MB/s by max-bandwidth, over a wire that could do much more. */
#define SLOW_LINK { .rate_bytes_per_s = 10 * GBIT_PER_S, \
                    .cap_bytes_per_s = 64 * MB_PER_S }
/* The guest in which KVM's faults were seen first. */
#define KVM_GUEST .ram_bytes = 128 * MIB, .zero_bytes = 20e6, .n_vcpus = 2
#define KVM_BITMAP { .manual = true, .chunk_bytes = 256 * 1024 }
#define IN_ORDER(size, rate) .bytes = (size), .rate_bytes_per_s = (rate), \
                             .in_order = true, .begin = 0.25, .end = 0.75
/* Any vCPU that runs rewrites some pages within ms of a sync. */
#define REWRITERS(n, pages) \
    { .bytes = (n) * (pages) * SIM_PAGE_BYTES, .in_order = true, \
      .rate_bytes_per_s = (n) * (pages) * SIM_PAGE_BYTES / 0.02, \
      .capacity_bytes_per_s = 1e12, .n_vcpus = (n), \
      .begin = 0.75, .end = 1 }
/* All vCPUs but one do nothing else. */
#define READERS(n, size, rate) \
    .ram_bytes = 640 * MIB, .zero_bytes = 60e6, .n_vcpus = (n), .sets = { \
        { .bytes = (size), .rate_bytes_per_s = (rate), .n_vcpus = 1 }, \
        REWRITERS(n, 200) }
#define LINK_MB(n) { .rate_bytes_per_s = 10 * GBIT_PER_S, \
                     .cap_bytes_per_s = (n) * MB_PER_S }
#define LINK_GBIT(n) { .rate_bytes_per_s = (n) * GBIT_PER_S }

#define USUAL .max_floors = 1.5, .max_lost_stops = 1.5, \
              .max_reversals = 1, .reversals_asserted = true
/* To try devices, or to ask who has them write, is a swing of its own. */
#define TRIED .max_floors = 1.5, .max_lost_stops = 1.5, \
              .max_reversals = 2, .reversals_asserted = true
/*
 * A writer that dirties a part of what the link carries, of a set that is sent in
 * 4 s, and of one in 5 s by four vCPUs.  When predictive cut each to a fifth of
 * the link, it lost so many vCPU seconds; half of that is allowed.
 */
#define NEAR_SMALL(pct, was_lost_s) { \
        .name = "near-small-" #pct, \
        .claim = "a writer at " #pct " % of the link loses little", \
        .guest = { SMALL_GUEST, .sets = { \
            { .bytes = 256 * MIB, .rate_bytes_per_s = 0.64 * (pct) * \
              MB_PER_S, .n_vcpus = 1 } } }, \
        .link = SLOW_LINK, .downtime_limit_ms = 300, .limit_s = 200, \
        .predictive = { .max_floors = 1.35, .max_lost_s = (was_lost_s) / 2, \
                        .max_reversals = 1, .reversals_asserted = true }, \
        .dirty_limit = { LIMITED } }
#define NEAR_LARGE(pct, was_lost_s) { \
        .name = "near-large-" #pct, \
        .claim = "a writer at " #pct " % of 10 Gb/s loses little", \
        .guest = { .ram_bytes = 16 * GIB, .zero_bytes = 4 * GIB, \
                   .n_vcpus = 4, .sets = { \
            { .bytes = 6 * GIB, .rate_bytes_per_s = 0.0125 * (pct) * \
              GB_PER_S, .n_vcpus = 4 } } }, \
        .link = LINK_GBIT(10), .downtime_limit_ms = 300, .limit_s = 200, \
        .predictive = { .max_floors = 1.35, .max_lost_s = (was_lost_s) / 2, \
                        .max_reversals = 1, .reversals_asserted = true }, \
        .dirty_limit = { LIMITED } }
#define LIMITED .max_floors = 1.2, .max_lost_stops = 1.2

const SimScenario sim_scenarios[] = {
    NEAR_SMALL(55, 0.1),
    NEAR_LARGE(55, 2.2),
    NEAR_SMALL(60, 0.60),
    NEAR_LARGE(60, 5.7),
    NEAR_SMALL(70, 0.90),
    NEAR_LARGE(70, 7.0),
    NEAR_SMALL(80, 1.4),
    NEAR_LARGE(80, 8.1),
    NEAR_SMALL(90, 2.0),
    NEAR_LARGE(90, 12.0),
    NEAR_SMALL(95, 2.1),
    NEAR_LARGE(95, 12.4),
    {
        .name = "reference-paced",
        .claim = "256 MiB at 100 MB/s over 64 MB/s ends near the floor",
        .guest = { SMALL_GUEST, .sets = {
            { .bytes = 256 * MIB, .rate_bytes_per_s = 100 * MB_PER_S,
              .capacity_bytes_per_s = 1.5 * GB_PER_S, .n_vcpus = 1 } } },
        .link = SLOW_LINK, .downtime_limit_ms = 300, .limit_s = 200,
        .predictive = { USUAL },
        .dirty_limit = { LIMITED, .max_reader_lost_s = 0.3 },
    }, {
        .name = "reference-flat-out",
        .claim = "128 MiB flat out over 64 MB/s: stock takes five floors",
        .guest = { SMALL_GUEST, .sets = {
            { .bytes = 128 * MIB, .rate_bytes_per_s = 2 * GB_PER_S,
              .n_vcpus = 1 } } },
        .link = SLOW_LINK, .downtime_limit_ms = 300, .limit_s = 200,
        .predictive = { USUAL },
        .dirty_limit = { LIMITED, .max_reader_lost_s = 0.3 },
    }, {
        .name = "lumpy-paced",
        .claim = "a writer that writes in lumps makes no throttle swing",
        .guest = { SMALL_GUEST, .sets = {
            { .bytes = 256 * MIB, .rate_bytes_per_s = 100 * MB_PER_S,
              .capacity_bytes_per_s = 1.5 * GB_PER_S, .n_vcpus = 1,
              .lumps = 1 } } },
        .link = SLOW_LINK, .downtime_limit_ms = 300, .limit_s = 200,
        .predictive = { USUAL },
        .dirty_limit = { LIMITED, .max_reader_lost_s = 0.3 },
    }, {
        .name = "half-of-link",
        .claim = "dirtying half of what the link drains needs no throttle",
        .guest = { SMALL_GUEST, .sets = {
            { .bytes = 256 * MIB, .rate_bytes_per_s = 32 * MB_PER_S,
              .capacity_bytes_per_s = 1.5 * GB_PER_S, .n_vcpus = 1 } } },
        .link = SLOW_LINK, .downtime_limit_ms = 300, .limit_s = 200,
        .predictive = { .no_slowdown = true, .max_floors = 1.6 },
        .dirty_limit = { .no_slowdown = true, .max_floors = 1.6 },
    }, {
        .name = "half-of-link-jitter",
        .claim = "a jittery link alone is no reason to throttle",
        .guest = { SMALL_GUEST, .sets = {
            { .bytes = 256 * MIB, .rate_bytes_per_s = 28 * MB_PER_S,
              .capacity_bytes_per_s = 1.5 * GB_PER_S, .n_vcpus = 1 } } },
        .link = { .rate_bytes_per_s = 64 * MB_PER_S, .jitter = 0.3 },
        .downtime_limit_ms = 300, .limit_s = 200,
        .predictive = { .no_slowdown = true, .max_floors = 1.6 },
        .dirty_limit = { .no_slowdown = true, .max_floors = 1.6 },
    }, {
        .name = "idle",
        .claim = "an idle guest is left alone and takes one pass",
        .guest = { .ram_bytes = 8 * GIB, .zero_bytes = 4 * GIB,
                   .n_vcpus = 4 },
        .link = LINK_GBIT(10), .downtime_limit_ms = 300, .limit_s = 600,
        .predictive = { .no_slowdown = true, .max_floors = 1.1 },
        .dirty_limit = { .no_slowdown = true, .max_floors = 1.1 },
    }, {
        .name = "hot-set-fits-downtime",
        .claim = "a hot set that fits the downtime limit needs no throttle",
        .guest = { .ram_bytes = 16 * GIB, .zero_bytes = 4 * GIB,
                   .n_vcpus = 4, .sets = {
            { .bytes = 128 * MIB, .rate_bytes_per_s = 4 * GB_PER_S,
              .n_vcpus = 4 } } },
        .link = LINK_GBIT(10), .downtime_limit_ms = 300, .limit_s = 600,
        .predictive = { .no_slowdown = true, .max_floors = 1.2 },
        .dirty_limit = { .no_slowdown = true, .max_floors = 1.2 },
    }, {
        .name = "hot-cold-90-10",
        .claim = "a hot tenth with nine tenths of the writes",
        .guest = { .ram_bytes = 8 * GIB, .zero_bytes = 2 * GIB,
                   .n_vcpus = 4, .sets = {
            { .bytes = 0.4 * GIB, .rate_bytes_per_s = 3.6 * GB_PER_S,
              .n_vcpus = 4 },
            { .bytes = 3.6 * GIB, .rate_bytes_per_s = 0.4 * GB_PER_S,
              .n_vcpus = 4 } } },
        .link = LINK_GBIT(10), .downtime_limit_ms = 300, .limit_s = 600,
        .predictive = { USUAL }, .dirty_limit = { LIMITED },
    }, {
        .name = "bursts",
        .claim = "one second on, one second off",
        .guest = { SMALL_GUEST, .sets = {
            { .bytes = 200 * MIB, .rate_bytes_per_s = 400 * MB_PER_S,
              .on_s = 1, .off_s = 1, .n_vcpus = 1 } } },
        .link = SLOW_LINK, .downtime_limit_ms = 300, .limit_s = 200,
        .predictive = { .max_floors = 1.5, .max_lost_stops = 1.5 },
        .dirty_limit = { LIMITED },
    }, {
        .name = "slow-bursts",
        .claim = "ten seconds on, ten seconds off: given back in between",
        .guest = { .ram_bytes = 4 * GIB, .zero_bytes = 1 * GIB,
                   .n_vcpus = 4, .sets = {
            { .bytes = 1 * GIB, .rate_bytes_per_s = 800 * MB_PER_S,
              .on_s = 10, .off_s = 10, .n_vcpus = 2 } } },
        .link = LINK_GBIT(1), .downtime_limit_ms = 300, .limit_s = 600,
        .predictive = { .max_floors = 1.5, .max_lost_stops = 1.5 },
        .dirty_limit = { LIMITED },
    }, {
        .name = "two-phases",
        .claim = "busy after the bulk pass has begun, busier later",
        .guest = { SMALL_GUEST, .sets = {
            { .bytes = 100 * MIB, .rate_bytes_per_s = 20 * MB_PER_S,
              .n_vcpus = 1, .until_s = 6 },
            { .bytes = 150 * MIB, .rate_bytes_per_s = 500 * MB_PER_S,
              .n_vcpus = 1, .from_s = 6 } } },
        .link = SLOW_LINK, .downtime_limit_ms = 300, .limit_s = 200,
        .predictive = { .max_reversals = 1, .reversals_asserted = true },
    }, {
        .name = "calms-down",
        .claim = "a guest that calms down has its time back at once",
        .guest = { .ram_bytes = 8 * GIB, .zero_bytes = 1 * GIB,
                   .n_vcpus = 4, .sets = {
            { .bytes = 4 * GIB, .rate_bytes_per_s = 1 * GB_PER_S,
              .n_vcpus = 4, .until_s = 65 } } },
        .link = LINK_GBIT(1), .downtime_limit_ms = 300, .limit_s = 600,
        .predictive = { .max_floors = 1.3, .max_lost_stops = 0.6,
                        .released = true },
        .dirty_limit = { LIMITED },
    }, {
        .name = "growing",
        .claim = "a working set that grows by 20 MB/s all the time",
        .guest = { .ram_bytes = 8 * GIB, .zero_bytes = 1 * GIB,
                   .n_vcpus = 4, .sets = {
            { .bytes = 0.5 * GIB, .rate_bytes_per_s = 500 * MB_PER_S,
              .growth_bytes_per_s = 20 * MB_PER_S, .n_vcpus = 2 } } },
        .link = LINK_GBIT(1), .downtime_limit_ms = 300, .limit_s = 600,
        .predictive = { USUAL }, .dirty_limit = { LIMITED },
    }, {
        .name = "paced-writer",
        .claim = "a writer that waits most of the time is found out",
        .guest = { .ram_bytes = 4 * GIB, .zero_bytes = 1 * GIB,
                   .n_vcpus = 4, .sets = {
            { .bytes = 2 * GIB, .rate_bytes_per_s = 200 * MB_PER_S,
              .capacity_bytes_per_s = 4 * GB_PER_S, .n_vcpus = 2 } } },
        .link = LINK_GBIT(1), .downtime_limit_ms = 300, .limit_s = 600,
        .predictive = { USUAL }, .dirty_limit = { LIMITED },
    }, {
        .name = "deaf-writer",
        .claim = "where the most throttle is too little, it is not kept up",
        .guest = { .ram_bytes = 4 * GIB, .zero_bytes = 1 * GIB,
                   .n_vcpus = 4, .sets = {
            { .bytes = 2 * GIB, .rate_bytes_per_s = 400 * MB_PER_S,
              .capacity_bytes_per_s = 60 * GB_PER_S, .n_vcpus = 4 } } },
        .link = LINK_GBIT(1), .downtime_limit_ms = 300, .limit_s = 300,
        .predictive = { .stuck = true, .released = true, .max_lost_s = 30 },
        .dirty_limit = { LIMITED },
    }, {
        .name = "devices-below-link",
        .claim = "DMA takes 40 % of the link; what is left is shared",
        .guest = { .ram_bytes = 8 * GIB, .zero_bytes = 1 * GIB,
                   .n_vcpus = 4, .sets = {
            { .bytes = 1 * GIB, .rate_bytes_per_s = 50 * MB_PER_S },
            { .bytes = 1 * GIB, .rate_bytes_per_s = 600 * MB_PER_S,
              .n_vcpus = 2 } } },
        .link = LINK_GBIT(1), .downtime_limit_ms = 300, .limit_s = 600,
        .predictive = { USUAL },
        .dirty_limit = { LIMITED },
    }, {
        .name = "devices-above-link",
        .claim = "a NIC alone outpaces the link: tried now and then, and told",
        .guest = { .ram_bytes = 8 * GIB, .zero_bytes = 1 * GIB,
                   .n_vcpus = 4, .sets = {
            { .bytes = 4 * GIB, .rate_bytes_per_s = 200 * MB_PER_S },
            { .bytes = 1 * GIB, .rate_bytes_per_s = 10 * MB_PER_S,
              .n_vcpus = 2 } } },
        .link = LINK_GBIT(1), .downtime_limit_ms = 300, .limit_s = 300,
        .predictive = { .stuck = true, .released = true, .max_lost_s = 14 },
        .dirty_limit = { .stuck = true, .no_slowdown = true },
        .auto_differs = true,
        .automatic = { .stuck = true, .released = true, .max_lost_s = 14 },
    }, {
        .name = "disk-reader",
        .claim = "a guest that reads its disk, at 18 times the link: it ends",
        .guest = { SMALL_GUEST, .sets = {
            { .bytes = 256 * MIB, .rate_bytes_per_s = 145 * MB_PER_S,
              .n_vcpus = 1, .dma = true } } },
        .link = LINK_MB(8), .downtime_limit_ms = 300, .limit_s = 300,
        .predictive = { USUAL },
        .dirty_limit = { .stuck = true, .no_slowdown = true },
        .auto_differs = true, .automatic = { TRIED },
    }, {
        .name = "disk-reader-that-waits",
        .claim = "one that waits for its disk nine tenths of the time",
        .guest = { .ram_bytes = 16 * GIB, .zero_bytes = 2 * GIB,
                   .n_vcpus = 8, .sets = {
            { .bytes = 8 * GIB, .rate_bytes_per_s = 2 * GB_PER_S,
              .capacity_bytes_per_s = 20 * GB_PER_S, .n_vcpus = 1,
              .dma = true } } },
        .link = LINK_GBIT(10), .downtime_limit_ms = 300, .limit_s = 300,
        .predictive = { TRIED },
        .dirty_limit = { .stuck = true, .no_slowdown = true },
        .auto_differs = true, .automatic = { TRIED },
    }, {
        .name = "disk-reader-and-writer",
        .claim = "a vCPU writes while another one reads the disk",
        .guest = { .ram_bytes = 8 * GIB, .zero_bytes = 1 * GIB,
                   .n_vcpus = 4, .sets = {
            { .bytes = 2 * GIB, .rate_bytes_per_s = 500 * MB_PER_S,
              .n_vcpus = 1, .dma = true },
            { .bytes = 1 * GIB, .rate_bytes_per_s = 600 * MB_PER_S,
              .first_vcpu = 1, .n_vcpus = 1 } } },
        .link = LINK_GBIT(1), .downtime_limit_ms = 300, .limit_s = 600,
        .predictive = { USUAL },
        .dirty_limit = { .stuck = true, .no_slowdown = true },
        .auto_differs = true, .automatic = { TRIED },
    }, {
        .name = "disk-reader-and-nic",
        .claim = "a NIC takes 40 % of the link, a disk reader three times it",
        .guest = { .ram_bytes = 8 * GIB, .zero_bytes = 1 * GIB,
                   .n_vcpus = 4, .sets = {
            { .bytes = 1 * GIB, .rate_bytes_per_s = 50 * MB_PER_S },
            { .bytes = 2 * GIB, .rate_bytes_per_s = 375 * MB_PER_S,
              .n_vcpus = 2, .dma = true } } },
        .link = LINK_GBIT(1), .downtime_limit_ms = 300, .limit_s = 600,
        .predictive = { USUAL },
        .dirty_limit = { .stuck = true, .no_slowdown = true },
        .auto_differs = true, .automatic = { TRIED },
    }, {
        .name = "disk-reader-slow",
        .claim = "0.8 of the link by a disk: shortened, as if a vCPU wrote it",
        .guest = { .ram_bytes = 8 * GIB, .zero_bytes = 1 * GIB,
                   .n_vcpus = 4, .sets = {
            { .bytes = 2 * GIB, .rate_bytes_per_s = 100 * MB_PER_S,
              .n_vcpus = 1, .dma = true } } },
        .link = LINK_GBIT(1), .downtime_limit_ms = 300, .limit_s = 600,
        .predictive = { TRIED },
        .dirty_limit = { .no_slowdown = true },
        .auto_differs = true, .automatic = { TRIED },
    }, {
        .name = "disk-reader-deep-queue",
        .claim = "requests enough for a disk in 1 % of the time: stuck, and let"
                 " be",
        .guest = { .ram_bytes = 8 * GIB, .zero_bytes = 1 * GIB,
                   .n_vcpus = 4, .sets = {
            { .bytes = 4 * GIB, .rate_bytes_per_s = 400 * MB_PER_S,
              .capacity_bytes_per_s = 60 * GB_PER_S, .n_vcpus = 1,
              .dma = true } } },
        .link = LINK_GBIT(1), .downtime_limit_ms = 300, .limit_s = 300,
        .predictive = { .stuck = true, .released = true, .max_lost_s = 14 },
        .dirty_limit = { .stuck = true, .no_slowdown = true },
        .auto_differs = true,
        .automatic = { .stuck = true, .released = true, .max_lost_s = 14 },
    }, {
        .name = "nic-then-disk-reader",
        .claim = "a NIC that outpaces the link for 40 s, then a disk reader",
        .guest = { SMALL_GUEST, .sets = {
            { .bytes = 256 * MIB, .rate_bytes_per_s = 100 * MB_PER_S,
              .until_s = 40 },
            { .bytes = 64 * MIB, .rate_bytes_per_s = 145 * MB_PER_S,
              .from_s = 40, .n_vcpus = 1, .dma = true } } },
        .link = LINK_MB(64), .downtime_limit_ms = 300, .limit_s = 300,
        .predictive = { .says_stuck = true, .ends_by_s = 85,
                        .max_lost_s = 10 },
        .dirty_limit = { .stuck = true, .no_slowdown = true },
        .auto_differs = true,
        .automatic = { .says_stuck = true, .ends_by_s = 85,
                       .max_lost_s = 10 },
    }, {
        .name = "slow-link-1gbit",
        .claim = "32 GiB of an in-memory database over 1 Gb/s",
        .guest = { .ram_bytes = 32 * GIB, .zero_bytes = 8 * GIB,
                   .n_vcpus = 8, .sets = {
            { .bytes = 1 * GIB, .rate_bytes_per_s = 400 * MB_PER_S,
              .n_vcpus = 8 } } },
        .link = LINK_GBIT(1), .downtime_limit_ms = 300, .limit_s = 1200,
        .predictive = { USUAL }, .dirty_limit = { LIMITED },
    }, {
        .name = "jittery-link",
        .claim = "a link that jitters by 40 %: no oscillation, in the limit",
        .guest = { .ram_bytes = 8 * GIB, .zero_bytes = 2 * GIB,
                   .n_vcpus = 4, .sets = {
            { .bytes = 1 * GIB, .rate_bytes_per_s = 1 * GB_PER_S,
              .n_vcpus = 4 } } },
        .link = { .rate_bytes_per_s = 2.5 * GBIT_PER_S, .jitter = 0.4 },
        .downtime_limit_ms = 300, .limit_s = 600,
        .predictive = { USUAL }, .dirty_limit = { LIMITED },
    }, {
        .name = "link-drop",
        .claim = "a link that loses 80 % of its rate for five seconds",
        .guest = { .ram_bytes = 8 * GIB, .zero_bytes = 2 * GIB,
                   .n_vcpus = 4, .sets = {
            { .bytes = 2 * GIB, .rate_bytes_per_s = 1 * GB_PER_S,
              .n_vcpus = 4 } } },
        .link = { .rate_bytes_per_s = 2.5 * GBIT_PER_S,
                  .drop_from_s = 22, .drop_until_s = 27, .drop_to = 0.2 },
        .downtime_limit_ms = 300, .limit_s = 600,
        .predictive = { .max_floors = 1.5, .max_lost_stops = 1.5 },
    }, {
        .name = "skewed-8-vcpus",
        .claim = "two writers of eight: limits spare the other six",
        .guest = { .ram_bytes = 16 * GIB, .zero_bytes = 4 * GIB,
                   .n_vcpus = 8, .sets = {
            { .bytes = 2 * GIB, .rate_bytes_per_s = 3 * GB_PER_S,
              .n_vcpus = 2 } } },
        .link = LINK_GBIT(10), .downtime_limit_ms = 300, .limit_s = 600,
        .predictive = { USUAL },
        .dirty_limit = { LIMITED, .max_reader_lost_s = 0.3 },
    }, {
        .name = "one-vcpu",
        .claim = "the smallest guest there is",
        .guest = { .ram_bytes = 512 * MIB, .zero_bytes = 100 * MIB,
                   .n_vcpus = 1, .sets = {
            { .bytes = 300 * MIB, .rate_bytes_per_s = 1 * GB_PER_S,
              .n_vcpus = 1 } } },
        .link = LINK_GBIT(1), .downtime_limit_ms = 50, .limit_s = 200,
        .predictive = { USUAL }, .dirty_limit = { LIMITED },
    }, {
        .name = "downtime-50ms",
        .claim = "a limit of 50 ms is met",
        .guest = { .ram_bytes = 16 * GIB, .zero_bytes = 4 * GIB,
                   .n_vcpus = 8, .sets = {
            { .bytes = 1 * GIB, .rate_bytes_per_s = 2 * GB_PER_S,
              .n_vcpus = 8 } } },
        .link = { .rate_bytes_per_s = 10 * GBIT_PER_S, .jitter = 0.05 },
        .downtime_limit_ms = 50, .limit_s = 600,
        .predictive = { USUAL }, .dirty_limit = { LIMITED },
    }, {
        .name = "downtime-1000ms",
        .claim = "a second of downtime makes a saw-tooth guest easy",
        .guest = { .ram_bytes = 16 * GIB, .zero_bytes = 4 * GIB,
                   .n_vcpus = 8, .sets = {
            { .bytes = 4 * GIB, .rate_bytes_per_s = 2 * GB_PER_S,
              .n_vcpus = 8 } } },
        .link = LINK_GBIT(10), .downtime_limit_ms = 1000, .limit_s = 600,
        .predictive = { USUAL }, .dirty_limit = { LIMITED },
    }, {
        .name = "huge-set",
        .claim = "a guest that rewrites most of its RAM in the bulk pass",
        .guest = { .ram_bytes = 32 * GIB, .zero_bytes = 2 * GIB,
                   .n_vcpus = 16, .sets = {
            { .bytes = 26 * GIB, .rate_bytes_per_s = 6 * GB_PER_S,
              .n_vcpus = 16 } } },
        .link = LINK_GBIT(10), .downtime_limit_ms = 300, .limit_s = 600,
        .predictive = { USUAL }, .dirty_limit = { LIMITED },
    }, {
        .name = "half-set",
        .claim = "a guest that rewrites half of its RAM in the bulk pass",
        .guest = { .ram_bytes = 32 * GIB, .zero_bytes = 2 * GIB,
                   .n_vcpus = 16, .sets = {
            { .bytes = 15 * GIB, .rate_bytes_per_s = 6 * GB_PER_S,
              .n_vcpus = 16 } } },
        .link = LINK_GBIT(10), .downtime_limit_ms = 300, .limit_s = 600,
        .predictive = { USUAL }, .dirty_limit = { LIMITED },
    }, {
        .name = "half-set-slow",
        .claim = "the same over 1 Gb/s: the work lost bounds the hurry",
        .guest = { .ram_bytes = 32 * GIB, .zero_bytes = 2 * GIB,
                   .n_vcpus = 16, .sets = {
            { .bytes = 15 * GIB, .rate_bytes_per_s = 3 * GB_PER_S,
              .n_vcpus = 16 } } },
        .link = LINK_GBIT(1), .downtime_limit_ms = 300, .limit_s = 1200,
        .predictive = { USUAL },
        .dirty_limit = { .max_floors = 1.2, .max_lost_stops = 1.4 },
    }, {
        .name = "writer-25gbit",
        .claim = "4 GiB over 25 Gb/s: done before step is half-way up",
        .guest = { .ram_bytes = 4 * GIB, .zero_bytes = 1 * GIB,
                   .n_vcpus = 4, .sets = {
            { .bytes = 2 * GIB, .rate_bytes_per_s = 12 * GB_PER_S,
              .n_vcpus = 4 } } },
        .link = LINK_GBIT(25), .downtime_limit_ms = 100, .limit_s = 200,
        .predictive = { USUAL }, .dirty_limit = { LIMITED },
    }, {
        .name = "writer-40gbit",
        .claim = "8 GiB over 40 Gb/s",
        .guest = { .ram_bytes = 8 * GIB, .zero_bytes = 2 * GIB,
                   .n_vcpus = 8, .sets = {
            { .bytes = 4 * GIB, .rate_bytes_per_s = 40 * GB_PER_S,
              .n_vcpus = 8 } } },
        .link = LINK_GBIT(40), .downtime_limit_ms = 100, .limit_s = 200,
        .predictive = { USUAL }, .dirty_limit = { LIMITED },
    }, {
        .name = "writer-100gbit",
        .claim = "16 GiB over 100 Gb/s",
        .guest = { .ram_bytes = 16 * GIB, .zero_bytes = 4 * GIB,
                   .n_vcpus = 16, .sets = {
            { .bytes = 8 * GIB, .rate_bytes_per_s = 100 * GB_PER_S,
              .n_vcpus = 16 } } },
        .link = LINK_GBIT(100), .downtime_limit_ms = 100, .limit_s = 200,
        .predictive = { USUAL }, .dirty_limit = { LIMITED },
    }, {
        .name = "small-guest-10gbit",
        .claim = "1 GiB over 10 Gb/s",
        .guest = { .ram_bytes = 1 * GIB, .zero_bytes = 0.2 * GIB,
                   .n_vcpus = 2, .sets = {
            { .bytes = 0.7 * GIB, .rate_bytes_per_s = 8 * GB_PER_S,
              .n_vcpus = 2 } } },
        .link = LINK_GBIT(10), .downtime_limit_ms = 50, .limit_s = 200,
        .predictive = { USUAL }, .dirty_limit = { LIMITED },
    }, {
        .name = "huge-set-slow",
        .claim = "most of RAM rewritten over 1 Gb/s: early halt is cheapest",
        .guest = { .ram_bytes = 32 * GIB, .zero_bytes = 2 * GIB,
                   .n_vcpus = 16, .sets = {
            { .bytes = 26 * GIB, .rate_bytes_per_s = 3 * GB_PER_S,
              .n_vcpus = 16 } } },
        .link = LINK_GBIT(1), .downtime_limit_ms = 300, .limit_s = 1200,
        .predictive = { USUAL },
        .dirty_limit = { .max_floors = 1.2, .max_lost_stops = 1.4 },
    }, {
        .name = "tib-100gbit",
        .claim = "1 TiB, 64 vCPUs, 100 Gb/s",
        .guest = { .ram_bytes = 1 * TIB, .zero_bytes = 0.2 * TIB,
                   .n_vcpus = 64, .sets = {
            { .bytes = 40 * GIB, .rate_bytes_per_s = 30 * GB_PER_S,
              .n_vcpus = 32 } } },
        .link = LINK_GBIT(100), .downtime_limit_ms = 300, .limit_s = 1200,
        .predictive = { USUAL }, .dirty_limit = { LIMITED },
    }, {
        .name = "12tib-400gbit",
        .claim = "12 TiB, 288 vCPUs, 400 Gb/s: syncs cost 0.6 s",
        .guest = { .ram_bytes = 12 * TIB, .zero_bytes = 2 * TIB,
                   .n_vcpus = 288, .sets = {
            { .bytes = 400 * GIB, .rate_bytes_per_s = 120 * GB_PER_S,
              .n_vcpus = 200 } } },
        .link = LINK_GBIT(400), .downtime_limit_ms = 1000, .limit_s = 2400,
        .predictive = { .max_floors = 1.5, .max_lost_stops = 1.6 },
        .dirty_limit = { .max_floors = 1.3 },
    }, {
        .name = "bandwidth-32",
        .claim = "the paced reference guest at half of the bandwidth",
        .guest = { SMALL_GUEST, .sets = {
            { .bytes = 256 * MIB, .rate_bytes_per_s = 100 * MB_PER_S,
              .capacity_bytes_per_s = 1.5 * GB_PER_S, .n_vcpus = 1 } } },
        .link = { .rate_bytes_per_s = 10 * GBIT_PER_S,
                  .cap_bytes_per_s = 32 * MB_PER_S },
        .downtime_limit_ms = 300, .limit_s = 200,
        .predictive = { USUAL }, .dirty_limit = { LIMITED },
    }, {
        .name = "bandwidth-128",
        .claim = "the paced reference guest at twice the bandwidth",
        .guest = { SMALL_GUEST, .sets = {
            { .bytes = 256 * MIB, .rate_bytes_per_s = 100 * MB_PER_S,
              .capacity_bytes_per_s = 1.5 * GB_PER_S, .n_vcpus = 1 } } },
        .link = { .rate_bytes_per_s = 10 * GBIT_PER_S,
                  .cap_bytes_per_s = 128 * MB_PER_S },
        .downtime_limit_ms = 300, .limit_s = 200,
        .predictive = { USUAL }, .dirty_limit = { LIMITED },
    }, {
        .name = "kvm-slow-writer",
        .claim = "4 MB/s over 12 MB/s on KVM's bitmap: nobody is slowed",
        .guest = { KVM_GUEST, .sets = {
            { IN_ORDER(64 * MIB, 4 * MB_PER_S), .n_vcpus = 1 },
            REWRITERS(2, 200) } },
        .log = KVM_BITMAP, .link = LINK_MB(12),
        .downtime_limit_ms = 300, .limit_s = 200,
        .predictive = { .no_slowdown = true, .max_floors = 1.2 },
    }, {
        .name = "kvm-slow-writer-1gib",
        .claim = "the same with one chunk for all of it",
        .guest = { KVM_GUEST, .sets = {
            { IN_ORDER(64 * MIB, 4 * MB_PER_S), .n_vcpus = 1 },
            REWRITERS(2, 200) } },
        .log = { .manual = true }, .link = LINK_MB(12),
        .downtime_limit_ms = 300, .limit_s = 200,
        .predictive = { .no_slowdown = true, .max_floors = 1.2 },
    }, {
        .name = "kvm-flat-out",
        .claim = "a writer flat out over 16 MB/s on KVM's bitmap",
        .guest = { KVM_GUEST, .sets = {
            { IN_ORDER(64 * MIB, 800 * MB_PER_S), .n_vcpus = 1 },
            REWRITERS(2, 200) } },
        .log = KVM_BITMAP, .link = LINK_MB(16),
        .downtime_limit_ms = 300, .limit_s = 200,
        .predictive = { .max_floors = 1.2, .max_lost_stops = 1.8,
                        .max_reversals = 0, .reversals_asserted = true },
    }, {
        .name = "faster-than-syncs",
        .claim = "a writer that is through before anything is sent pays, too",
        .guest = { .ram_bytes = 256 * MIB, .zero_bytes = 60e6, .n_vcpus = 4,
                   .sets = {
            { IN_ORDER(128 * MIB, 40 * GB_PER_S), .n_vcpus = 1 },
            REWRITERS(4, 50) } },
        .log = { .by_page = true }, .link = LINK_MB(64),
        .downtime_limit_ms = 100, .limit_s = 120,
        .predictive = { .stuck = true },
        .dirty_limit = { LIMITED, .max_reader_lost_s = 0.3 },
    }, {
        .name = "readers-2-slow",
        .claim = "what two vCPUs rewrite after each sync makes neither sleep",
        .guest = { READERS(2, 64 * MIB, 400 * MB_PER_S) },
        .log = { .by_page = true }, .link = LINK_MB(16),
        .downtime_limit_ms = 300, .limit_s = 120,
        .dirty_limit = { LIMITED, .max_reader_lost_s = 0.3 },
    }, {
        .name = "readers-2-10gbit",
        .claim = "the same over 10 Gb/s",
        .guest = { READERS(2, 400 * MIB, 8 * GB_PER_S) },
        .log = { .by_page = true }, .link = LINK_GBIT(10),
        .downtime_limit_ms = 100, .limit_s = 60,
        .predictive = { USUAL },
        .dirty_limit = { LIMITED, .max_reader_lost_s = 0.1 },
    }, {
        .name = "readers-128-slow",
        .claim = "what 128 rewrite does not fit the downtime: stuck, unslowed",
        .guest = { READERS(128, 64 * MIB, 400 * MB_PER_S) },
        .log = { .by_page = true }, .link = LINK_MB(16),
        .downtime_limit_ms = 300, .limit_s = 120,
        .predictive = { .stuck = true, .released = true },
        .dirty_limit = { .stuck = true },
    }, {
        .name = "readers-128-10gbit",
        .claim = "what 128 rewrite fits the downtime over 10 Gb/s",
        .guest = { READERS(128, 400 * MIB, 8 * GB_PER_S) },
        .log = { .by_page = true }, .link = LINK_GBIT(10),
        .downtime_limit_ms = 200, .limit_s = 60,
        .predictive = { USUAL },
        .dirty_limit = { LIMITED, .max_reader_lost_s = 0.2 },
    },
};

const SimNamedLog sim_logs[] = {
    { "sets", { 0 } },
    { "exact", { .by_page = true } },
    { "manual", { .manual = true } },
    { "manual-256k", { .manual = true, .chunk_bytes = 256 * 1024 } },
};

const unsigned sim_n_logs = G_N_ELEMENTS(sim_logs);

const SimNamedLog *sim_log_find(const char *name)
{
    for (unsigned i = 0; i < sim_n_logs; i++) {
        if (!strcmp(sim_logs[i].name, name)) {
            return &sim_logs[i];
        }
    }
    return NULL;
}

const unsigned sim_n_scenarios = G_N_ELEMENTS(sim_scenarios);

const SimScenario *sim_scenario_find(const char *name)
{
    for (unsigned i = 0; i < sim_n_scenarios; i++) {
        if (!strcmp(sim_scenarios[i].name, name)) {
            return &sim_scenarios[i];
        }
    }
    return NULL;
}

SimSpec sim_scenario_spec(const SimScenario *scenario)
{
    return (SimSpec) {
        .guest = &scenario->guest,
        .log = scenario->log,
        .meter = scenario->meter,
        .link = &scenario->link,
        .downtime_limit_ms = scenario->downtime_limit_ms,
        .limit_s = scenario->limit_s,
        .seed = 1,
    };
}
