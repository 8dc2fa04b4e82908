/*
 * Faults: the guest is stopped, reset, and moved to and fro meanwhile
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "fault.h"

#define END_TIMEOUT_S 90
#define READY_TIMEOUT_MS 90000
#define STOPS 8
#define THERE_AND_BACK 20

static gboolean command(World *world, const char *name, GError **errp)
{
    return qmp_run(world_qmp(world), name, NULL, errp);
}

/* Stopped guests do not sleep; those that go on are slowed as before */
static gboolean stopped_and_continued(FaultRun *run, GError **errp)
{
    if (!fault_migrate(run, errp)) {
        return FALSE;
    }
    for (int i = 0; i < STOPS; i++) {
        JsonObject *info = qmp_query(world_qmp(run->world), "query-migrate",
                                     errp);
        gboolean active = info &&
            g_str_equal(migrate_info_status(info), "active");

        g_clear_pointer(&info, json_object_unref);
        if (!active) {
            break;
        }
        /* cont is refused once the guest has gone: no fault of anybody's */
        if (!command(run->world, "stop", errp)) {
            return FALSE;
        }
        g_usleep(g_rand_int_range(run->random, 0, 200) * 1000);
        command(run->world, "cont", NULL);
        g_usleep(g_rand_int_range(run->random, 0, 400) * 1000);
    }
    return world_settle(run->world, WORLD_DESTINATION, END_TIMEOUT_S, errp);
}

/* A guest that is stopped while it is slowed arrives stopped, and goes on */
static gboolean moved_while_stopped(FaultRun *run, GError **errp)
{
    JsonObject *info;

    if (!fault_migrate(run, errp) ||
        !fault_wait_phase(run, PHASE_SLOWED, errp) ||
        !command(run->world, "stop", errp)) {
        return FALSE;
    }
    info = world_wait_end(run->world, END_TIMEOUT_S, errp);
    if (!info) {
        return FALSE;
    }
    json_object_unref(info);
    return qmp_run(vm_qmp(world_other(run->world)), "cont", NULL, errp) &&
           world_settle(run->world, WORLD_DESTINATION, END_TIMEOUT_S, errp);
}

static gboolean reset_in_phase(FaultRun *run, GError **errp)
{
    static const char *const resets[] = { "-action", "reboot=reset", NULL };
    WorldSpec spec = fault_usual_world(run);
    MigrateSpec migration = fault_paused_migration(run);

    spec.extra_args = resets;
    if (!fault_world_with(run, &spec, errp) ||
        !fault_migrate_as(run, &migration, errp) ||
        !fault_wait_phase(run, run->fault->detail, errp)) {
        return FALSE;
    }
    guest_watch_forget(run->world->watch);
    if (!command(run->world, "system_reset", errp) ||
        !fault_let_go(run->world, errp) ||
        !guest_watch_wait_ready(run->world->watch, READY_TIMEOUT_MS, errp)) {
        return FALSE;
    }
    return world_settle(run->world, WORLD_DESTINATION, END_TIMEOUT_S, errp);
}

/* One guest, to and fro, all the time */
static gboolean there_and_back(FaultRun *run, GError **errp)
{
    FaultRun step = *run;

    for (step.round = 0; step.round < 2 * THERE_AND_BACK; step.round++) {
        gboolean ok = fault_migrate(&step, errp) &&
            world_settle(step.world, WORLD_DESTINATION, END_TIMEOUT_S, errp);

        run->world = step.world;
        if (!ok) {
            g_prefix_error(errp, "migration %u: ", step.round + 1);
            return FALSE;
        }
    }
    return TRUE;
}

/* What its device dirties is three times what the wire carries */
static gboolean reads_its_disk(FaultRun *run, GError **errp)
{
    static const char *const policies[] = { "auto", "predictive" };
    WorldSpec spec = fault_usual_world(run);
    MigrateSpec migration = fault_usual_migration(run);

    g_clear_pointer(&run->world, world_free);
    spec.load = "verify:8:4,read-disk:40:60";
    spec.walk_pages = 8 * 256;
    migration.policy = policies[run->round % G_N_ELEMENTS(policies)];
    migration.bandwidth_bytes_per_s = 20 * 1000 * 1000;
    return fault_world_with(run, &spec, errp) &&
           fault_migrate_as(run, &migration, errp) &&
           world_settle(run->world, WORLD_DESTINATION, END_TIMEOUT_S, errp);
}

const Fault guest_faults[] = {
    { "stopped and continued", 1, 20, stopped_and_continued },
    { "stopped while slowed", 0, 12, moved_while_stopped },
    { "system_reset, bulk pass", 0, 8, reset_in_phase, PHASE_BULK },
    { "system_reset, throttling", 1, 8, reset_in_phase, PHASE_SLOWED },
    { "there and back 20 times", 0, 1, there_and_back },
    { "reads its disk", 0, 4, reads_its_disk },
    { NULL }
};
