/*
 * Simulator: a guest that writes
 *
 * What a guest is, and what the migration loop wants of it.  There are two
 * models behind it:
 *
 *   sim-sets.c   knows how many pages of a working set are in which state, and
 *                none of them by name: 12 TiB are as cheap as 512 MiB;
 *   sim-pages.c  knows each page, KVM's dirty log with its chunks, and where
 *                the sender is: for what depends on that.
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

/* On the wire: a page and its header, and the header of a zero page. */
#define SIM_WIRE_PER_PAGE_BYTE ((SIM_PAGE_BYTES + 8) / SIM_PAGE_BYTES)
#define SIM_WIRE_PER_ZERO_BYTE (9 / SIM_PAGE_BYTES)

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
    unsigned n_vcpus;               /* 0: devices, whatever vCPUs do */
    double begin, end;              /* part of the RAM; 0, 0: all over it */
    double on_s, off_s;             /* bursts; 0, 0: all the time */
    double from_s, until_s;         /* phase; until 0: to the end */
    double growth_bytes_per_s;      /* of the set, from idle pages */
    double lumps;                   /* 0.9: its rate varies by +-90 % */
    double lump_s;                  /* for so long each; 0: as short as can be */
    double wander_s;                /* writers go on to the next vCPU that often */
    bool lockstep;                  /* writers wait for the slowest of them */
    /*
     * Its vCPUs ask for it and devices write it: at a rate that follows the
     * vCPUs, charged to none of them.
     */
    bool dma;
    /* In order, each writer its own part, round after round; else by chance. */
    bool in_order;
} SimSetSpec;

typedef struct SimGuestSpec {
    double ram_bytes;
    double zero_bytes;              /* never written, spread evenly */
    unsigned n_vcpus;
    SimSetSpec sets[SIM_MAX_SETS];
} SimGuestSpec;

/* How a sync learns what was written; all zero: by sets, all that was. */
typedef struct SimLogSpec {
    bool by_page;                   /* page by page; implied by what follows */
    /* KVM's bitmap, cleared by hand (sim-log.h), instead of TCG or a ring. */
    bool manual;
    double chunk_bytes;             /* of a manual one; 0: 1 GiB, QEMU's own */
    /* A fault, for tests: whatever is reported is taken for a write. */
    bool counts_reports;
} SimLogSpec;

typedef struct SimSlowdown {
    double throttle_pct;
    /* Of each vCPU; NULL: as above, all of them. */
    const uint8_t *throttles_pct;
    /* Newly dirtied bytes/s of each vCPU, 0 = none; NULL: no limits. */
    const uint64_t *limits_bytes_per_s;
} SimSlowdown;

/* As in a sample; and what nobody but a simulator knows. */
typedef struct SimSync {
    double dirtied_bytes;
    double touched_bytes;
    double unseen_bytes;
    double written_bytes;           /* different pages that were written */
} SimSync;

typedef struct SimDrain {
    double page_bytes;
    double zero_bytes;
    double wire_bytes;
} SimDrain;

typedef struct SimGuestOps SimGuestOps;

typedef struct SimGuest {
    const SimGuestSpec *spec;
    SimLogSpec log;
    const SimGuestOps *ops;
    void *model;
    /* Since the last sync: what the vCPUs' meters counted. */
    double vcpu_new_bytes[SIM_MAX_VCPUS];
    double vcpu_touched_bytes[SIM_MAX_VCPUS];
    double vcpu_ran_s[SIM_MAX_VCPUS];
    /* Since the start: CPU time lost, and writes that the log made fault. */
    double vcpu_lost_s[SIM_MAX_VCPUS];
    uint64_t faults;                /* counted page by page alone */
} SimGuest;

/* A model; each member as the function of its name below. */
struct SimGuestOps {
    void *(*create)(SimGuest *guest);
    void (*destroy)(SimGuest *guest);   /* may be NULL */
    void (*run)(SimGuest *guest, double now_s, double dt_s,
                const SimSlowdown *slowdown);
    SimSync (*sync)(SimGuest *guest);
    void (*see_rewrites)(SimGuest *guest);
    void (*charge_late)(SimGuest *guest, unsigned vcpu, double now_s,
                        uint64_t bytes);    /* may be NULL */
    SimDrain (*drain)(SimGuest *guest, double wire_bytes, double scan_bytes);
    bool (*in_bulk_pass)(const SimGuest *guest);
    double (*remaining_bytes)(const SimGuest *guest);
    double (*unsent_bytes)(const SimGuest *guest);
    double (*unsent_empty_bytes)(const SimGuest *guest);
    /* Sending and running take turns this often. */
    double turn_s;
};

extern const SimGuestOps sim_sets_ops, sim_pages_ops;

void sim_guest_init(SimGuest *guest, const SimGuestSpec *spec,
                    const SimLogSpec *log);
void sim_guest_free(SimGuest *guest);

/* Let it run from @now_s (since the start of the migration) for @dt_s. */
void sim_guest_run(SimGuest *guest, double now_s, double dt_s,
                   const SimSlowdown *slowdown);

/* Move what was written since the last one into what is to be sent. */
SimSync sim_guest_sync(SimGuest *guest);

/* Have the next sync see also what is written again while it waits. */
void sim_guest_see_rewrites(SimGuest *guest);

/* Have a vCPU pay for what its meter took for free, by the limit it has. */
void sim_guest_charge_late(SimGuest *guest, unsigned vcpu, double now_s,
                           uint64_t bytes);

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

/* All vCPUs lose that much more. */
void sim_guest_lose(SimGuest *guest, double s);
double sim_guest_lost_s(const SimGuest *guest);

/* For the models: which vCPU a writer of a set is on, devices not asked. */
unsigned sim_set_vcpu(const SimGuestSpec *spec, const SimSetSpec *set,
                      unsigned writer, double now_s);

/* The part of its time that a vCPU is left by what throttles it. */
double sim_vcpu_share(const SimSlowdown *slowdown, unsigned vcpu);

/*
 * What one writer of a set would write, if no limit stops it; of devices: all.
 */
double sim_set_rate(const SimGuestSpec *spec, const SimSetSpec *set,
                    unsigned writer, double now_s,
                    const SimSlowdown *slowdown);

#endif /* SIM_GUEST_H */
