/*
 * Compatibility: COLO, which follows a migration that has an end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * The guest runs on both sides from then on, by design, and the primary
 * stops at each checkpoint.  The engine has let go of it by then.
 */

#include "feature.h"

#include "full-speed.h"

#include <signal.h>

/* Some checkpoints, of which each one stops the guest for a moment */
#define COLO_MS 3000
#define LIFT_TIMEOUT_MS 1000
#define FAILOVER_TIMEOUT_S 60

static gboolean start(FaultRun *run, World *world, GError **errp)
{
    static const char *const capabilities[] = {
        "auto-converge", "x-colo", NULL,
    };
    static const char *const settings[] = {
        "dirty-sync-period=200", "x-checkpoint-delay=500", NULL,
    };
    MigrateSpec migration = fault_usual_migration(run);

    migration.capabilities = capabilities;
    migration.settings = settings;
    return world_migrate(world, &migration, NULL, errp);
}

/* The secondary is lost, and the primary goes on alone */
static gboolean fail_over(World *world, GError **errp)
{
    kill(vm_pid(world_other(world)), SIGKILL);
    return feature_run(world_qmp(world), "x-colo-lost-heartbeat", "{}",
                       errp) &&
           world_settle(world, WORLD_SOURCE, FAILOVER_TIMEOUT_S, errp);
}

gboolean feature_colo(FaultRun *run, GError **errp)
{
    WorldSpec spec = fault_usual_world(run);
    FullSpeed look;
    World *world;

    spec.qemu = run->options->full_qemu;
    if (!feature_has_full_qemu(run, errp)) {
        return FALSE;
    }
    world = fault_world_with(run, &spec, errp);
    if (!world || !world_add_destination(world, NULL, errp) ||
        !start(run, world, errp) ||
        !feature_wait_status(world, "colo", errp) ||
        !full_speed_wait(&look, world_qmp(world), LIFT_TIMEOUT_MS, errp)) {
        return FALSE;
    }
    g_usleep(COLO_MS * 1000);
    return fail_over(world, errp);
}
