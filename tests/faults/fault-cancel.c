/*
 * Faults: the source is told to cancel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * At a random moment the migration may have completed already; then the
 * guest runs at the destination, which is the source of the next round.
 */

#include "fault.h"

#include <string.h>

#define END_TIMEOUT_S 30

/* Of the usual migration: a little longer than it takes */
#define LATEST_MS 5000

/* How close to the moment of the switch-over the narrow rounds come */
#define NARROW_US 3000

static gboolean cancel_in_phase(FaultRun *run, GError **errp)
{
    return fault_world_by_word(run, errp) && fault_migrate(run, errp) &&
           fault_wait_phase(run, run->fault->detail, errp) &&
           fault_cancel(run->world, errp) &&
           world_settle(run->world, WORLD_EITHER, END_TIMEOUT_S, errp);
}

static gboolean cancel_at_random(FaultRun *run, GError **errp)
{
    if (!fault_world_by_word(run, errp) || !fault_migrate(run, errp)) {
        return FALSE;
    }
    g_usleep(g_rand_int_range(run->random, 0, LATEST_MS) * 1000);
    return fault_cancel(run->world, errp) &&
           world_settle(run->world, WORLD_EITHER, END_TIMEOUT_S, errp);
}

/* In the wait before the switch-over the guest stands; it must go on */
static gboolean cancel_paused(FaultRun *run, GError **errp)
{
    MigrateSpec migration = fault_paused_migration(run);

    return fault_migrate_as(run, &migration, errp) &&
           fault_wait_phase(run, PHASE_NEAR_END, errp) &&
           fault_cancel(run->world, errp) &&
           world_settle(run->world, WORLD_SOURCE, END_TIMEOUT_S, errp);
}

/* Around the last byte, and the destination's word that it has all */
static gboolean cancel_at_the_end(FaultRun *run, GError **errp)
{
    static const char *const capabilities[] = {
        "auto-converge", "return-path", NULL,
    };
    MigrateSpec migration = fault_usual_migration(run);

    if (run->round & 1) {
        migration.capabilities = capabilities;
    }
    migration.downtime_limit_ms = 1000;
    if (!fault_migrate_as(run, &migration, errp) ||
        !fault_wait_phase(run, PHASE_NEAR_END, errp)) {
        return FALSE;
    }
    g_usleep(g_rand_int_range(run->random, 0, NARROW_US));
    return fault_cancel(run->world, errp) &&
           world_settle(run->world, WORLD_EITHER, END_TIMEOUT_S, errp);
}

static gboolean cancel_as_it_switches(FaultRun *run, GError **errp)
{
    return fault_world_by_word(run, errp) && cancel_at_the_end(run, errp);
}

/*
 * Only by name, with --rounds: shows what by_word is for.  With --qemu and
 * a stock QEMU it shows the same.
 */
static gboolean cancel_unguarded(FaultRun *run, GError **errp)
{
    return cancel_at_the_end(run, errp);
}

const Fault cancel_faults[] = {
    { "cancel, set-up", 0, 20, cancel_in_phase, PHASE_SETUP },
    { "cancel, bulk pass", 0, 20, cancel_in_phase, PHASE_BULK },
    { "cancel, throttling", 1, 20, cancel_in_phase, PHASE_SLOWED },
    { "cancel, near switch-over", 1, 20, cancel_in_phase, PHASE_NEAR_END },
    { "cancel, paused before the switch-over", 0, 20, cancel_paused },
    { "cancel, as it switches over", 0, 60, cancel_as_it_switches },
    { "cancel, destination starts by itself", 0, 0, cancel_unguarded },
    { "cancel, random moment", 4, 300, cancel_at_random },
    { NULL }
};
