/*
 * One live migration between two QEMUs on this host, measured
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Knows nothing of policies beyond a name to set: the same code measures
 * our QEMU, Debian's and any other.
 */

#ifndef CONVERGE_BENCH_MIGRATE_H
#define CONVERGE_BENCH_MIGRATE_H

#include "guest-work.h"
#include "qmp.h"
#include "wire.h"

#define MIGRATE_MAX_METERED 4

typedef struct MigrateSample {
    gint64 at_ms;               /* since the migration was started */
    int throttle_pct;
    guint64 remaining_bytes;
    guint64 sent_bytes;
    guint64 passes;             /* completed passes or syncs, as QEMU has it */
    /*
     * What QEMU itself foretells at that moment.  Stock QEMU knows only
     * expected_downtime_ms; what it does not tell is NULL, or -1.
     */
    gint64 expected_downtime_ms;
    const char *state, *meter;  /* of our engine, interned */
    gint64 predicted_total_ms, predicted_downtime_ms;
    guint64 dirty_bytes_per_s, drain_bytes_per_s;
    gboolean bulk_pass;         /* of our engine: the first pass goes on */
    /* Where single vCPUs are metered; of the first of them */
    unsigned nr_metered;
    guint64 vcpu_dirty_bytes_per_s[MIGRATE_MAX_METERED];
    guint64 vcpu_limit_bytes_per_s[MIGRATE_MAX_METERED];
} MigrateSample;

/* @info is the whole reply of query-migrate, valid during the call */
typedef void (*MigrateProgressFunc)(void *opaque, const MigrateSample *sample,
                                    JsonObject *info);

typedef struct MigrateSpec {
    const char *qemu;
    const char *label;              /* for people: "stock", "ours" */
    const char *policy;             /* convergence-policy; NULL: not set */
    const char *accel;              /* NULL: tcg */
    const char *load;
    gboolean programs, clocks;      /* as in VmConfig */
    unsigned mem_mib;
    unsigned smp;
    guint64 bandwidth_bytes_per_s;
    /* Goes over this TCP wire, whose target it sets; NULL: directly */
    Wire *wire;
    gboolean uncapped;              /* no max-bandwidth: the wire is slower */
    unsigned downtime_limit_ms;
    unsigned cap_s;                 /* given up, and so reported, after this */
    unsigned baseline_ms;           /* undisturbed run before; 0: 2000 */
    unsigned poll_ms;               /* between query-migrate; 0: 100 */
    gboolean no_auto_converge;
    gboolean pin;                   /* readers on a CPU of their own: pin.h */
    const char *const *settings;    /* further parameters: "name=value" */
    const char *const *capabilities; /* further capabilities to enable */
    const char *const *qemu_args;   /* further arguments of both QEMUs */
    MigrateProgressFunc on_progress;
    void *opaque;
} MigrateSpec;

typedef enum MigrateOutcome {
    MIGRATE_COMPLETED,
    MIGRATE_CAPPED,             /* still running at cap_s; then cancelled */
    MIGRATE_FAILED,             /* why is QEMU's error-desc or ours */
} MigrateOutcome;

typedef struct MigrateResult {
    MigrateOutcome outcome;
    char *why;                  /* NULL unless MIGRATE_FAILED */
    /* vCPUs that slept for half of their time or more in the last look: "0,3" */
    char *slowed;
    gint64 total_ms;            /* when capped: the cap */
    gint64 downtime_ms;         /* as QEMU has it; -1: none measured */
    double felt_downtime_ms;    /* as the guest has it; -1: not known */
    gint64 expected_downtime_ms; /* as foretold last before the switch-over */
    guint64 sent_bytes;
    guint64 passes;
    int max_throttle_pct;
    gint64 longest_pause_ms;    /* of a vCPU, as QEMU has it; -1: not told */
    GArray *timeline;           /* MigrateSample */
    unsigned nr_vcpus;
    GuestWorkVcpu vcpus[GUEST_WORK_MAX_VCPUS];
    GuestWorkLatency latencies[GUEST_WORK_LATENCIES];
    double max_silence_ms;      /* of any vCPU, the downtime included */
    GArray *work_timeline;      /* GuestWorkSpan */
    guint64 bad_pages;
    /* CPU time of the source's QEMU meanwhile, and of its main thread */
    guint64 cpu_ns, main_thread_ns;
    /*
     * Share of the undisturbed run in which the vCPUs waited for a CPU of
     * the host.  Well above nothing, the host was busy with other work and
     * "undisturbed" was not: the guest's losses come out too small.
     */
    double host_wait_pct;
    /* Of the host's CPUs, taken by others from then on; -1: not known */
    double host_others_pct;
} MigrateResult;

/* From here on a result is to be shown with a warning */
#define MIGRATE_HOST_WAIT_WARN_PCT 10
#define MIGRATE_HOST_OTHERS_WARN_PCT 5

/*
 * What stopping the guest would take: the yardstick for every slow-down.
 *
 * Measured in a run of its own, without auto-converge and with a downtime
 * limit of 1 ms (a larger one makes QEMU end the bulk pass early), at the
 * first look at which dirty-sync-count has reached 2, that is after the
 * bulk pass and the bitmap sync at its end:
 *
 *   F = time so far + ram.remaining / bandwidth
 *   C = (ram.normal x page size) / bandwidth
 *
 * F: the guest stopped after the bulk pass.  Looking late is harmless: what
 * was sent meanwhile is missing from ram.remaining and in the time so far.
 * C: the guest stopped at the start; `normal` counts the pages of the bulk
 * pass that were not zero.
 */
typedef struct MigrateFloor {
    double bulk_pass_s;
    guint64 dirty_bytes;        /* after the bulk pass */
    guint64 nonzero_bytes;
    double f_s;
    double c_s;
} MigrateFloor;

/*
 * Runs one migration.  NULL only if it could not be run at all (no guest, no
 * QEMU, a parameter refused); a migration that failed is a result.
 */
MigrateResult *migrate_run(const MigrateSpec *spec, GError **errp);
void migrate_result_free(MigrateResult *result);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MigrateResult, migrate_result_free)

gboolean migrate_measure_floor(const MigrateSpec *spec, MigrateFloor *floor,
                               GError **errp);

/* TRUE if the QEMU can be set to that convergence-policy */
gboolean migrate_has_policy(const char *qemu, const char *policy);

#endif
