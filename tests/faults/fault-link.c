/*
 * Faults: the link stalls, and changes its rate tenfold
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * No reason to give up: the migration completes, and the guest is at work
 * as long as it is at the source.
 */

#include "fault.h"

#define STALL_MS 10000
#define END_TIMEOUT_S 120

/* What the link carries, and a tenth of it */
#define FAST_BYTES_PER_S (60 * 1000 * 1000)
#define SLOW_BYTES_PER_S (FAST_BYTES_PER_S / 10)
#define CHANGES 10
#define CHANGE_MS 500

/*
 * The slow-down may be at its most: but the guest gets on, and each page it
 * meets is as it left it.
 */
static gboolean guest_gets_on(World *world, GError **errp)
{
    GuestGoal goal = { .walk_pages = 1, .nr_busy = 1 };

    return guest_watch_wait_goal(world->watch, world->holder, &goal,
                                 END_TIMEOUT_S * 1000, errp);
}

static gboolean link_stalls(FaultRun *run, GError **errp)
{
    if (!fault_migrate(run, errp) ||
        !fault_wait_phase(run, run->fault->detail, errp)) {
        return FALSE;
    }
    wire_stall(run->world->wire, TRUE);
    g_usleep(STALL_MS / 2 * 1000);
    if (!guest_gets_on(run->world, errp)) {
        return FALSE;
    }
    g_usleep(STALL_MS / 2 * 1000);
    wire_stall(run->world->wire, FALSE);
    return world_settle(run->world, WORLD_DESTINATION, END_TIMEOUT_S, errp);
}

/* Monitors wait while QEMU is at its last writes, and no longer */
static gboolean link_stalls_in_switchover(FaultRun *run, GError **errp)
{
    MigrateSpec migration = fault_paused_migration(run);

    if (!fault_migrate_as(run, &migration, errp) ||
        !fault_wait_phase(run, PHASE_SWITCHOVER, errp)) {
        return FALSE;
    }
    g_usleep(STALL_MS * 1000);
    wire_stall(run->world->wire, FALSE);
    return world_settle(run->world, WORLD_DESTINATION, END_TIMEOUT_S, errp);
}

/* Nobody tells QEMU: it has to see for itself */
static gboolean link_changes_rate(FaultRun *run, GError **errp)
{
    MigrateSpec migration = fault_usual_migration(run);
    gboolean slow = run->round & 1;

    migration.bandwidth_bytes_per_s = 10ULL * FAST_BYTES_PER_S;
    if (!fault_migrate_as(run, &migration, errp)) {
        return FALSE;
    }
    for (int i = 0; i < CHANGES; i++, slow = !slow) {
        wire_set_rate(run->world->wire, slow ? SLOW_BYTES_PER_S
                                             : FAST_BYTES_PER_S);
        g_usleep(CHANGE_MS * 1000);
    }
    wire_set_rate(run->world->wire, FAST_BYTES_PER_S);
    return world_settle(run->world, WORLD_DESTINATION, END_TIMEOUT_S, errp);
}

static gboolean set_bandwidth(World *world, guint64 bytes_per_s,
                              GError **errp)
{
    JsonObject *arguments = json_object_new();

    json_object_set_int_member(arguments, "max-bandwidth", bytes_per_s);
    return qmp_run(world_qmp(world), "migrate-set-parameters", arguments,
                   errp);
}

static gboolean bandwidth_is_changed(FaultRun *run, GError **errp)
{
    gboolean slow = run->round & 1;

    if (!fault_migrate(run, errp)) {
        return FALSE;
    }
    for (int i = 0; i < CHANGES; i++, slow = !slow) {
        if (!set_bandwidth(run->world, slow ? SLOW_BYTES_PER_S
                                            : FAST_BYTES_PER_S, errp)) {
            return FALSE;
        }
        g_usleep(CHANGE_MS * 1000);
    }
    return set_bandwidth(run->world, FAST_BYTES_PER_S, errp) &&
           world_settle(run->world, WORLD_DESTINATION, END_TIMEOUT_S, errp);
}

const Fault link_faults[] = {
    { "link stalled 10 s, bulk pass", 0, 8, link_stalls, PHASE_BULK },
    { "link stalled 10 s, throttling", 0, 8, link_stalls, PHASE_SLOWED },
    { "link stalled 10 s, in the switch-over", 0, 8,
      link_stalls_in_switchover },
    { "link rate up and down tenfold", 0, 12, link_changes_rate },
    { "max-bandwidth up and down tenfold", 0, 12, bandwidth_is_changed },
    { NULL }
};
