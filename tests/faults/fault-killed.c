/*
 * Faults: the destination dies, the connection breaks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Whatever it was about, the guest runs on at the source: by itself, or, if
 * the source already calls the migration completed, once it is told to.
 */

#include "fault.h"
#include "feature.h"

#include <signal.h>

#define END_TIMEOUT_S 30

static gboolean migrate_to_phase(FaultRun *run, GError **errp)
{
    MigrateSpec migration = run->fault->detail == PHASE_SWITCHOVER ?
                            fault_paused_migration(run) :
                            fault_usual_migration(run);

    return fault_world_by_word(run, errp) &&
           fault_migrate_as(run, &migration, errp) &&
           fault_wait_phase(run, run->fault->detail, errp);
}

static gboolean destination_killed(FaultRun *run, GError **errp)
{
    if (!migrate_to_phase(run, errp)) {
        return FALSE;
    }
    kill(vm_pid(world_other(run->world)), SIGKILL);
    return world_settle(run->world, WORLD_SOURCE, END_TIMEOUT_S, errp);
}

/* All of the guest is there, and the source has called it completed */
static gboolean killed_before_the_word(FaultRun *run, GError **errp)
{
    if (!fault_world_by_word(run, errp) || !fault_migrate(run, errp) ||
        !feature_wait_status(run->world, "completed", errp)) {
        return FALSE;
    }
    kill(vm_pid(world_other(run->world)), SIGKILL);
    return world_settle(run->world, WORLD_SOURCE, END_TIMEOUT_S, errp);
}

/* On a host that stalled us the last byte may have gone before the cut */
static gboolean is_completed(World *world, gboolean *completed, GError **errp)
{
    JsonObject *info = qmp_query(world_qmp(world), "query-migrate", errp);

    if (!info) {
        return FALSE;
    }
    *completed = g_str_equal(migrate_info_status(info), "completed");
    json_object_unref(info);
    return TRUE;
}

static gboolean connection_cut(FaultRun *run, GError **errp)
{
    gboolean completed;

    if (!migrate_to_phase(run, errp)) {
        return FALSE;
    }
    wire_cut(run->world->wire);
    if (!is_completed(run->world, &completed, errp)) {
        return FALSE;
    }
    return world_settle(run->world, completed ? WORLD_EITHER : WORLD_SOURCE,
                        END_TIMEOUT_S, errp);
}

const Fault killed_faults[] = {
    { "destination killed, set-up", 1, 20, destination_killed, PHASE_SETUP },
    { "destination killed, bulk pass", 0, 20, destination_killed,
      PHASE_BULK },
    { "destination killed, throttling", 1, 20, destination_killed,
      PHASE_SLOWED },
    { "destination killed, near switch-over", 0, 20, destination_killed,
      PHASE_NEAR_END },
    { "destination killed, in the switch-over", 1, 20, destination_killed,
      PHASE_SWITCHOVER },
    { "destination killed, not yet told to go on", 0, 20,
      killed_before_the_word },
    { "connection cut, set-up", 0, 20, connection_cut, PHASE_SETUP },
    { "connection cut, bulk pass", 0, 20, connection_cut, PHASE_BULK },
    { "connection cut, throttling", 0, 20, connection_cut, PHASE_SLOWED },
    { "connection cut, near switch-over", 0, 20, connection_cut,
      PHASE_NEAR_END },
    { "connection cut, in the switch-over", 1, 20, connection_cut,
      PHASE_SWITCHOVER },
    { NULL }
};
