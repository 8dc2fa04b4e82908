/*
 * Faults: links on which the downtime that the guest feels is not QEMU's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Over TCP, with the buffers that the kernel gives a sender: some 4 MB, which
 * are a third of a second and more of most of these links.  A guest of its own
 * each time, and what counts is for how long its clock stood still.  Hosts that
 * run this are shared: one try of three has to be within the limit and a margin
 * that is well below what the fault would take.
 */

#include "fault.h"

#include <stdio.h>

#define TRIES 3
#define CAP_S 60
#define UNCAPPED_BYTES_PER_S 1000000000000
#define MB 1000000

typedef struct Trial {
    const char *load;
    const char *policy;
    guint64 wire_bytes_per_s;   /* 0: as fast as it goes */
    guint64 cap_bytes_per_s;    /* max-bandwidth; 0: none */
    unsigned limit_ms;
    unsigned margin_ms;
    /* Then the wire has a tenth of that; 0: never */
    unsigned falls_after_ms;
    /* When the queue is waited for: stands still, and then breaks */
    gboolean breaks;
    const char *const *capabilities;
    gboolean unslowed;          /* and the guest is never slowed */
    int guests;                 /* at once, over one line; 0: one */
} Trial;

#define MAX_GUESTS 2

static const char *const multifd[] = { "multifd", NULL };

static const Trial trials[] = {
    { "write:1:1,compute", "predictive", .wire_bytes_per_s = 12 * MB,
      .limit_ms = 100, .margin_ms = 150 },
    { "write:1:1,compute", "predictive", .wire_bytes_per_s = 12 * MB,
      .limit_ms = 100, .margin_ms = 150, .capabilities = multifd },
    { "write:4:4,compute", "predictive", .wire_bytes_per_s = 4 * MB,
      .limit_ms = 300, .margin_ms = 200 },
    { "write:16:20,compute", "dirty-limit", .wire_bytes_per_s = 40 * MB,
      .limit_ms = 300, .margin_ms = 100, .falls_after_ms = 1000 },
    { "write:20:100,compute", "predictive", .cap_bytes_per_s = 32 * MB,
      .limit_ms = 500, .margin_ms = 100, .unslowed = TRUE },
    { "write:16:20,compute", "predictive", .wire_bytes_per_s = 16 * MB,
      .limit_ms = 300, .margin_ms = 100, .guests = 2 },
    { "compute,compute", "predictive", .wire_bytes_per_s = 4 * MB,
      .limit_ms = 300, .breaks = TRUE },
};

typedef struct Guest {
    MigrateSpec spec;
    MigrateResult *result;
    GError *error;
} Guest;

static void *guest_main(void *opaque)
{
    Guest *guest = opaque;

    guest->result = migrate_run(&guest->spec, &guest->error);
    return NULL;
}

typedef struct Fall {
    Wire *wire;
    const Trial *trial;
    gint64 stalled_ms;          /* 0: not yet */
} Fall;

/* Below the threshold of 4 MB/s and 300 ms, for the second of the queue */
#define NEAR_END_BYTES (300 * 1000)
#define STALL_MS 1000

/* The source sends nothing, and waits for what it handed over */
static void let_break(Fall *fall, const MigrateSample *sample)
{
    if (!fall->stalled_ms && sample->sent_bytes &&
        sample->remaining_bytes < NEAR_END_BYTES) {
        wire_stall(fall->wire, TRUE);
        fall->stalled_ms = sample->at_ms;
    } else if (fall->stalled_ms &&
               sample->at_ms > fall->stalled_ms + STALL_MS) {
        wire_cut(fall->wire);
    }
}

/* From the first sign of the migration on */
static void let_fall(void *opaque, const MigrateSample *sample,
                     JsonObject *info)
{
    Fall *fall = opaque;

    if (fall->trial->breaks) {
        let_break(fall, sample);
    }
    if (fall->trial->falls_after_ms &&
        sample->at_ms >= fall->trial->falls_after_ms) {
        wire_set_rate(fall->wire, fall->trial->wire_bytes_per_s / 10);
    }
}

static MigrateSpec make_spec(const FaultRun *run, const Trial *trial,
                             Wire *wire, Fall *fall)
{
    return (MigrateSpec) {
        .qemu = run->options->qemu, .label = "qemu", .policy = trial->policy,
        .accel = run->options->accel, .load = trial->load, .mem_mib = 96,
        .smp = 2, .cap_s = CAP_S, .baseline_ms = 100, .wire = wire,
        .bandwidth_bytes_per_s = trial->cap_bytes_per_s ?:
                                 UNCAPPED_BYTES_PER_S,
        .downtime_limit_ms = trial->limit_ms,
        .capabilities = trial->capabilities,
        .qemu_args = run->options->qemu_args,
        .on_progress = let_fall, .opaque = fall,
    };
}

static gboolean check_guest(const Trial *trial, const MigrateResult *result,
                            GError **errp)
{
    if (trial->breaks) {
        if (result->outcome == MIGRATE_FAILED) {
            return TRUE;
        }
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED, "%s",
                    result->outcome == MIGRATE_CAPPED ? "it waits for ever" :
                    "completed over a broken connection");
    } else if (result->outcome != MIGRATE_COMPLETED) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "not completed: %s", result->why ?: "not in time");
    } else if (result->felt_downtime_ms > trial->limit_ms +
                                          trial->margin_ms) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "the guest stood still for %.0f ms, the limit is %u ms, "
                    "and QEMU says %" G_GINT64_FORMAT,
                    result->felt_downtime_ms, trial->limit_ms,
                    result->downtime_ms);
    } else if (trial->unslowed && result->max_throttle_pct) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "slowed down to %d %%", result->max_throttle_pct);
    } else {
        return TRUE;
    }
    return FALSE;
}

static gboolean try_once(FaultRun *run, const Trial *trial, GError **errp)
{
    g_autoptr(Wire) first = wire_new_tcp(NULL, NULL, errp);
    g_autoptr(Wire) second = first ? wire_new_tcp(NULL, first, errp) : NULL;
    Wire *wires[MAX_GUESTS] = { first, second };
    Fall fall = { .wire = first, .trial = trial };
    Guest guests[MAX_GUESTS] = { };
    GThread *threads[MAX_GUESTS];
    gboolean ok = TRUE;
    int n = trial->guests ?: 1;

    if (!second) {
        return FALSE;
    }
    for (int i = 0; i < n; i++) {
        wire_set_rate(wires[i], trial->wire_bytes_per_s);
        guests[i].spec = make_spec(run, trial, wires[i], &fall);
        threads[i] = g_thread_new("guest", guest_main, &guests[i]);
    }
    for (int i = 0; i < n; i++) {
        g_thread_join(threads[i]);
    }
    for (int i = 0; i < n; i++) {
        if (guests[i].error) {
            if (ok) {
                g_propagate_error(errp, g_steal_pointer(&guests[i].error));
            }
            g_clear_error(&guests[i].error);
            ok = FALSE;
        } else {
            ok = ok && check_guest(trial, guests[i].result, errp);
            migrate_result_free(guests[i].result);
        }
    }
    return ok;
}

static gboolean downtime_is_the_guests(FaultRun *run, GError **errp)
{
    const Trial *trial = &trials[run->fault->detail];

    for (int i = 1; i < TRIES; i++) {
        g_autoptr(GError) error = NULL;

        if (try_once(run, trial, &error)) {
            return TRUE;
        }
        printf("# try %d: %s\n", i, error->message);
    }
    return try_once(run, trial, errp);
}

const Fault downtime_faults[] = {
    { "downtime felt over 12 MB/s", 1, 6, downtime_is_the_guests, 0 },
    { "downtime felt over 12 MB/s, multifd", 0, 6, downtime_is_the_guests, 1 },
    { "downtime felt over 4 MB/s", 0, 4, downtime_is_the_guests, 2 },
    { "downtime felt, link falls tenfold", 0, 6, downtime_is_the_guests, 3 },
    { "hot set that fits, max-bandwidth below the wire's", 0, 6,
      downtime_is_the_guests, 4 },
    { "downtime felt by two on one line", 0, 6, downtime_is_the_guests, 5 },
    { "connection cut while a queue is waited for", 0, 6,
      downtime_is_the_guests, 6 },
    { NULL }
};
