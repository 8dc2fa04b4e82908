/*
 * Faults: what is done to a migration, and how often it was survived
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGE_FAULTS_FAULT_H
#define CONVERGE_FAULTS_FAULT_H

#include "world.h"

typedef struct FaultOptions {
    const char *qemu;
    gboolean knows_policies;    /* FALSE: it is a stock one */
    const char *peer;           /* a stock QEMU 7.2 */
    const char *full_qemu;      /* ours, built with TLS */
    gboolean long_run;
    unsigned seed;
    unsigned rounds;            /* 0: as many as the fault asks for */
    const char *accel;          /* value of -accel; NULL: tcg */
    const char *const *qemu_args;   /* further arguments of all QEMUs */
} FaultOptions;

/* Single vCPUs can be limited in what they dirty */
gboolean fault_has_meter(const FaultOptions *options);

typedef struct FaultRun FaultRun;

/*
 * One group of faults is one array, ended by a fault without a name.  What
 * `rounds` of a run are 0 for is left out of that run.
 */
typedef struct Fault {
    const char *name;
    unsigned short_rounds;
    unsigned long_rounds;
    gboolean (*run)(FaultRun *run, GError **errp);
    int detail;                 /* the function's own */
    const char *text;           /* the same */
} Fault;

struct FaultRun {
    const FaultOptions *options;
    const Fault *fault;
    unsigned round;             /* from 0 */
    GRand *random;              /* seeded for this round */
    World *world;               /* left by the last round, or by the last
                                   fault of the group; NULL after a failure */
};

/* An error that is none: the fault cannot be tried here, and why not */
#define FAULT_SKIP fault_skip_quark()
GQuark fault_skip_quark(void);

extern const Fault checks_faults[];
extern const Fault killed_faults[];
extern const Fault cancel_faults[];
extern const Fault link_faults[];
extern const Fault downtime_faults[];
extern const Fault file_faults[];
extern const Fault guest_faults[];
extern const Fault vcpu_faults[];
extern const Fault snapshot_faults[];
extern const Fault settings_faults[];
extern const Fault peer_faults[];
extern const Fault feature_faults[];

/*
 * The last round's world, or a new one of the usual guest, which checks and
 * writes 32 MiB flat out beside a vCPU that computes
 */
World *fault_world(FaultRun *run, GError **errp);

/* One like @spec: the last round's, if it is, or a new one */
World *fault_world_with(FaultRun *run, const WorldSpec *spec, GError **errp);

/* The usual one, whose destination waits to be told to start the guest */
World *fault_world_by_word(FaultRun *run, GError **errp);
WorldSpec fault_usual_world(FaultRun *run);

/*
 * The usual migration: it does not converge without a slow-down.  The policy
 * goes round with the rounds.
 */
MigrateSpec fault_usual_migration(FaultRun *run);

/* The same, and it waits for migrate-continue before the switch-over */
MigrateSpec fault_paused_migration(FaultRun *run);

/* Has it go on, once it waits there */
gboolean fault_let_go(World *world, GError **errp);

/* Brings world and destination up where they are not, and sets it off */
gboolean fault_migrate_as(FaultRun *run, const MigrateSpec *migration,
                          GError **errp);

/* The usual migration */
gboolean fault_migrate(FaultRun *run, GError **errp);

/* How far a migration has come */
typedef enum FaultPhase {
    PHASE_SETUP,
    PHASE_BULK,
    PHASE_SLOWED,
    PHASE_NEAR_END,
    PHASE_SWITCHOVER,
} FaultPhase;

/*
 * Waits until the migration is there, or beyond it.  PHASE_SWITCHOVER needs
 * a migration with pause-before-switchover; the wire is stalled and QEMU in
 * the midst of its last writes, during which it answers no monitor.
 */
gboolean fault_wait_phase(FaultRun *run, FaultPhase phase, GError **errp);

/* migrate_cancel */
gboolean fault_cancel(World *world, GError **errp);

#endif
