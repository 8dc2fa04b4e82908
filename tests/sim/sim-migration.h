/*
 * Simulator: the migration loop around the engine
 *
 *   each slice (50 ms; 100 ms under a bandwidth cap, as QEMU's loop has it):
 *       sync the bitmap if the engine's time has come, or if what remains is
 *           below the threshold, once the sender's queue is short; make the
 *           sample, ask the engine
 *       switch over if what remains is still below it
 *       else send for a slice, and let the guest run meanwhile
 *       each 100 ms: measure the bandwidth, ask for the threshold
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SIM_MIGRATION_H
#define SIM_MIGRATION_H

#include "migration/convergence-engine.h"
#include "sim-guest.h"
#include "sim-link.h"

/*
 * Beside the engine's policies: QEMU 7.2's own trigger, no slow-down, and what
 * users set to have one chosen.
 */
#define SIM_POLICY_STOCK "stock"
#define SIM_POLICY_NONE  "none"
#define SIM_POLICY_AUTO  "auto"

/* One line of the record, after a sync. */
typedef struct SimRecord {
    double at_s;
    double remaining_bytes;
    double dirty_bytes_per_s;       /* as this sync saw it */
    double told_bytes_per_s;        /* as query-migrate tells it */
    double true_bytes_per_s;
    bool sees_rewrites;
    double drain_bytes_per_s;
    unsigned throttle_pct;
    ConvergencePhase phase;
    bool predicted;
    double predicted_total_s;
    bool bulk_pass;
} SimRecord;

/* The stop conditions, as the user sets them. */
typedef struct SimDeadline {
    uint64_t timeout_s;
    uint64_t max_downtime_ms;       /* 0: 5000, the default */
    uint64_t max_transfer_pct;
    ConvergenceAction action;
} SimDeadline;

/* What tells vCPUs apart. */
typedef enum SimMeter {
    SIM_METER_USUAL,        /* pages, or nothing where KVM's bitmap is the log */
    SIM_METER_NONE,
    SIM_METER_PAGES,        /* as TCG, KVM's ring and its faults */
    SIM_METER_ESTIMATE,
    SIM_METER_MAX,
} SimMeter;

/* Returns: SIM_METER_MAX if there is none of that name. */
SimMeter sim_meter_find(const char *name);

typedef struct SimSpec {
    const SimGuestSpec *guest;
    SimLogSpec log;
    SimMeter meter;
    const SimLinkSpec *link;
    double downtime_limit_ms;
    double limit_s;                 /* give up after that */
    SimDeadline deadline;           /* all zero: none */
    uint64_t seed;
    bool keep_record;
    FILE *trace;                    /* decisions, for `replay`; or NULL */
} SimSpec;

typedef struct SimResult {
    bool completed;
    bool aborted;                   /* by the deadline */
    bool to_postcopy;               /* likewise */
    uint64_t limit_in_force_ms;
    ConvergenceStop stop;
    double total_s;
    double bulk_s;                  /* when the bulk pass ended */
    double bulk_left_bytes;         /* and what was dirty by then */
    double downtime_ms;
    double lost_vcpu_s;
    double reader_lost_s;           /* by the last vCPU */
    double wire_bytes;
    unsigned max_throttle_pct;
    unsigned last_throttle_pct;
    /* Ups that follow downs and the reverse, while it was settled. */
    unsigned reversals;
    bool limited;                   /* vCPUs had limits */
    /* Changes of the state that is told; and the longest time for which it was
       `converging` while more remained than at any look of that time. */
    unsigned state_changes;
    double falsely_converging_s;
    bool stuck;
    char reason[CONVERGENCE_REASON_MAX_BYTES];
} SimResult;

typedef struct SimMigration {
    SimSpec spec;
    SimGuest guest;
    SimLink link;
    ConvergenceEngine engine;
    ConvergenceParams params;
    ConvergenceVcpu *vcpus;
    uint64_t *limits_bytes_per_s;
    uint8_t *throttles_pct;
    SimSlowdown slowdown;
    int64_t start_ns, now_ns, next_sync_ns, last_sync_ns;
    /* Since the last sync. */
    SimDrain drained;
    uint64_t synced_remaining_bytes;
    /* Since the last measurement of the bandwidth. */
    int64_t tick_ns;
    double tick_wire_bytes;
    double threshold_bytes;
    double bandwidth_bytes_per_s;   /* as last measured */
    /* With a queue: what stands in it, and how long it did not stand empty. */
    double queued_bytes;
    double busy_ns;
    ConvergenceLink seen_link;
    bool is_stock;
    unsigned stock_bad_periods;
    int64_t stock_period_ns;
    double stock_dirtied_bytes, stock_wire_bytes;
    int last_direction;
    ConvergencePhase told;
    int64_t shrank_ns;              /* when what remains was last seen to */
    uint64_t least_remaining_bytes; /* ... and to what, since it is told */
    GArray *record;                 /* of SimRecord */
    bool done;
    SimResult result;
} SimMigration;

/* Returns false if there is no such policy. */
bool sim_migration_init(SimMigration *m, const SimSpec *spec,
                        const char *policy);

/* One slice; @share is the part of the link that is this migration's. */
void sim_migration_slice(SimMigration *m, double share);

void sim_migration_free(SimMigration *m);

/* From begin to end on a link of its own; the record is @m's. */
SimResult sim_migration_run(SimMigration *m, const SimSpec *spec,
                            const char *policy);

/* What stopping the guest after the bulk pass would take. */
typedef struct SimFloor {
    double total_s;                 /* F */
    double lost_vcpu_s;
} SimFloor;

SimFloor sim_floor(const SimSpec *spec);

#endif /* SIM_MIGRATION_H */
