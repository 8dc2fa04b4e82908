/*
 * Compatibility: COLO, which follows a migration that has an end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Shown is that the migration gets there, that the engine has let go of the
 * guest by then and leaves it alone.  Not shown is a fail-over: with these
 * few settings a stock QEMU 7.2 does not answer to one either.
 */

#include "feature.h"

#include "full-speed.h"

/* Some checkpoints, of which each one stops the guest for a moment */
#define COLO_MS 3000
#define LIFT_TIMEOUT_MS 1000

static gboolean start(FaultRun *run, World *world, GError **errp)
{
    static const char *const capabilities[] = {
        "auto-converge", "x-colo", NULL,
    };
    /* The second also for a stock QEMU: --qemu and --full-qemu */
    static const char *const settings[] = {
        "dirty-sync-period=200", "x-checkpoint-delay=500", NULL,
    };
    MigrateSpec migration = fault_usual_migration(run);

    migration.capabilities = capabilities;
    migration.settings = settings + !run->options->knows_policies;
    return world_migrate(world, &migration, NULL, errp);
}

gboolean feature_colo(FaultRun *run, GError **errp)
{
    WorldSpec spec = fault_usual_world(run);
    FullSpeed look;
    World *world;
    gboolean ok;

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
    ok = feature_wait_status(world, "colo", errp) &&
         full_speed_check(&look, world_qmp(world), errp);
    if (ok) {
        g_clear_pointer(&run->world, world_free);
    }
    return ok;
}
