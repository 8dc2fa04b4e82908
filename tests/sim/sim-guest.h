/*
 * Simulator: a guest that writes
 *
 * A guest is a few working sets.  A set is W bytes of pages that its writers
 * hit evenly with w bytes of writes a second, so that of those that were clean
 *
 *     touched(t) = (W - touched) * (1 - exp(-w * t / W))
 *
 * more are dirty after t: the curve saturates, as that of real guests does.
 * No page has a name; a set knows how many of its pages are unsent, waiting to
 * be sent again, and written since the last sync, and takes these to be
 * independent of each other.  That makes 12 TiB as cheap as 512 MiB.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SIM_GUEST_H
#define SIM_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#define SIM_MAX_SETS 6
#define SIM_MAX_VCPUS 288
#define SIM_PAGE_BYTES 4096.0

/* What is not said is zero; what is zero has the meaning given. */
typedef struct SimSetSpec {
    double bytes;
    double rate_bytes_per_s;        /* of writes, all writers together */
    /*
     * What the writers could do if they did not wait: their rate follows their
     * share of the CPU only below it.  0: as much as `rate`, which follows.
     */
    double capacity_bytes_per_s;
    unsigned first_vcpu;
    unsigned n_vcpus;               /* 0: devices write it */
    double begin, end;              /* part of the RAM; 0, 0: all over it */
    double on_s, off_s;             /* bursts; 0, 0: all the time */
    double from_s, until_s;         /* phase; until 0: to the end */
    double growth_bytes_per_s;      /* of the set, from idle pages */
    double lumps;                   /* 0.9: its rate varies by +-90 % */
} SimSetSpec;

typedef struct SimGuestSpec {
    double ram_bytes;
    double zero_bytes;              /* never written, spread evenly */
    unsigned n_vcpus;
    SimSetSpec sets[SIM_MAX_SETS];
} SimGuestSpec;

typedef struct SimSet {
    double bytes;                   /* grows with growth_bytes_per_s */
    double unsent_bytes;            /* waiting for the bulk pass */
    double again_bytes;             /* sent, and dirty again */
    double logged_bytes;            /* written since the last sync */
    double begin, end;
} SimSet;

/* The last two sets are made up: idle pages, and zero pages. */
typedef struct SimGuest {
    const SimGuestSpec *spec;
    SimSet sets[SIM_MAX_SETS + 2];
    double cursor;                  /* of the bulk pass, 0 to 1 */
    /* Since the last sync, for the sample: what the vCPUs' meters counted. */
    double vcpu_new_bytes[SIM_MAX_VCPUS];
    double vcpu_touched_bytes[SIM_MAX_VCPUS];
    uint64_t random;
    /* Since the start: CPU time lost, summed up over the vCPUs. */
    double lost_vcpu_s;
    double reader_lost_s;           /* of the last vCPU alone */
} SimGuest;

typedef struct SimSlowdown {
    double throttle_pct;
    /* Newly dirtied bytes/s of each vCPU, 0 = none; NULL: no limits. */
    const uint64_t *limits_bytes_per_s;
} SimSlowdown;

typedef struct SimSync {
    double dirtied_bytes;           /* newly */
    double touched_bytes;
} SimSync;

typedef struct SimDrain {
    double page_bytes;
    double zero_bytes;
    double wire_bytes;
} SimDrain;

void sim_guest_init(SimGuest *guest, const SimGuestSpec *spec);

/* Let it run from @now_s (since the start of the migration) for @dt_s. */
void sim_guest_run(SimGuest *guest, double now_s, double dt_s,
                   const SimSlowdown *slowdown);

/* Move what was written since the last one into what is to be sent. */
SimSync sim_guest_sync(SimGuest *guest);

/*
 * Send up to @wire_bytes, or as many pages as can be looked at: @scan_bytes.
 */
SimDrain sim_guest_drain(SimGuest *guest, double wire_bytes,
                         double scan_bytes);

bool sim_guest_in_bulk_pass(const SimGuest *guest);
double sim_guest_remaining_bytes(const SimGuest *guest);
double sim_guest_unsent_bytes(const SimGuest *guest);
/* The part of it that was never touched, and is zero. */
double sim_guest_unsent_empty_bytes(const SimGuest *guest);

#endif /* SIM_GUEST_H */
