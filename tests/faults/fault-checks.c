/*
 * Would a fault be seen?  The checks, on guests that are not well
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "feature.h"

#include <string.h>

#define END_TIMEOUT_S 60

/* @ok and @error: what a check has said */
static gboolean is_seen(gboolean ok, GError *error, const char *wanted,
                        GError **errp)
{
    gboolean seen = !ok && strstr(error->message, wanted);

    if (!seen) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "a guest with a '%s' passes for %s", wanted,
                    ok ? "well" : error->message);
    }
    g_clear_error(&error);
    return seen;
}

static gboolean sees(World *world, const char *command, const char *text,
                     const char *wanted, GError **errp)
{
    GError *error = NULL;
    gboolean ok;

    if (!feature_run(world_qmp(world), command, text, errp)) {
        return FALSE;
    }
    ok = world_check_guest(world, &error);
    return is_seen(ok, error, wanted, errp);
}

static gboolean slow_down_is_seen(FaultRun *run, GError **errp)
{
    World *world = fault_world(run, errp);

    return world &&
           sees(world, "set-cpu-throttle", "{\"percentage\": 50}",
                "still throttled", errp) &&
           feature_run(world_qmp(world), "set-cpu-throttle",
                       "{\"percentage\": 0}", errp) &&
           sees(world, "set-vcpu-dirty-limit", "{\"dirty-rate\": 10}",
                "dirty limit", errp) &&
           feature_run(world_qmp(world), "cancel-vcpu-dirty-limit", "{}",
                       errp) &&
           world_check_guest(world, errp);
}

/* A source that is told to go on after its guest has gone */
static gboolean twin_is_seen(FaultRun *run, GError **errp)
{
    World *world = fault_world_by_word(run, errp);
    GError *error = NULL;
    gboolean ok;

    if (!world || !fault_migrate(run, errp) ||
        !feature_wait_status(world, "completed", errp) ||
        !feature_run(world_qmp(world), "cont", "{}", errp)) {
        return FALSE;
    }
    ok = world_settle(world, WORLD_EITHER, END_TIMEOUT_S, &error);
    g_clear_pointer(&run->world, world_free);
    return is_seen(ok, error, "both", errp);
}

const Fault checks_faults[] = {
    { "checked: a slow-down that is left is seen", 1, 1, slow_down_is_seen },
    { "checked: a guest on both sides is seen", 1, 1, twin_is_seen },
    { NULL }
};
