/*
 * Compatibility: to and from a stock QEMU 7.2
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * A stock QEMU 7.2 under TCG loses pages of a guest that writes while it is
 * migrated away: its bitmap sync does not make the vCPUs' TLBs report the
 * next write.  So a guest leaves stock stopped; what becomes of one that
 * works is shown as well, beside the same guest between two stock QEMUs.
 */

#include "feature.h"

#include <string.h>
#include <unistd.h>

#define END_TIMEOUT_S 120

/* Of stock to stock, to tell whose fault it is */
#define CONTROL_ROUNDS 5

static gboolean has_peer(FaultRun *run, GError **errp)
{
    const char *argv[] = { run->options->peer, "--version", NULL };
    g_autofree char *text = NULL;

    if (g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL,
                     NULL, NULL, &text, NULL, NULL, NULL) &&
        strstr(text, "version 7.2.")) {
        return TRUE;
    }
    g_set_error(errp, FAULT_SKIP, 0, "%s is no stock QEMU 7.2; PEER names "
                "another", run->options->peer);
    return FALSE;
}

/* What stock understands as well */
static MigrateSpec neutral(FaultRun *run)
{
    MigrateSpec spec = fault_usual_migration(run);

    spec.policy = NULL;
    spec.settings = NULL;
    spec.capabilities = NULL;
    return spec;
}

/* All of ours at once: none of it goes over the wire */
static MigrateSpec all_of_ours(FaultRun *run)
{
    static const char *const settings[] = {
        "dirty-sync-period=200", "convergence-timeout=30",
        "convergence-max-downtime=6000", "convergence-max-iterations=1000",
        "convergence-max-transfer=5000", "convergence-vcpu-limit=0",
        "avail-switchover-bandwidth=0", NULL,
    };
    MigrateSpec spec = fault_usual_migration(run);

    spec.settings = settings;
    return spec;
}

static World *world_on(FaultRun *run, const char *qemu, GError **errp)
{
    WorldSpec spec = fault_usual_world(run);

    spec.qemu = qemu;
    return fault_world_with(run, &spec, errp);
}

static gboolean ours_to_stock(FaultRun *run, GError **errp)
{
    MigrateSpec both = neutral(run), ours = all_of_ours(run);
    World *world;
    gboolean ok;

    if (!has_peer(run, errp)) {
        return FALSE;
    }
    world = world_on(run, run->options->qemu, errp);
    ok = world && world_add_destination(world, run->options->peer, errp) &&
         world_migrate(world, &both, &ours, errp) &&
         world_settle(world, WORLD_DESTINATION, END_TIMEOUT_S, errp);
    if (ok) {
        g_clear_pointer(&run->world, world_free);
    }
    return ok;
}

/* The guest works at both ends and stands still on the way */
static gboolean move_stopped(World *world, FaultRun *run, const char *to,
                             GError **errp)
{
    MigrateSpec both = neutral(run), ours = all_of_ours(run);
    JsonObject *info;

    if (!world_add_destination(world, to, errp) ||
        (run->options->qemu == to &&
         !migrate_side_configure(vm_qmp(world_other(world)), &ours, errp)) ||
        !qmp_run(world_qmp(world), "stop", NULL, errp) ||
        !world_migrate(world, &both, NULL, errp)) {
        return FALSE;
    }
    info = world_wait_end(world, END_TIMEOUT_S, errp);
    if (!info) {
        return FALSE;
    }
    json_object_unref(info);
    return qmp_run(vm_qmp(world_other(world)), "cont", NULL, errp) &&
           world_settle(world, WORLD_DESTINATION, END_TIMEOUT_S, errp);
}

static gboolean stock_to_ours_and_back(FaultRun *run, GError **errp)
{
    MigrateSpec both = neutral(run), ours = all_of_ours(run);
    World *world;

    if (!has_peer(run, errp)) {
        return FALSE;
    }
    world = world_on(run, run->options->peer, errp);
    return world && move_stopped(world, run, run->options->qemu, errp) &&
           world_add_destination(world, run->options->peer, errp) &&
           world_migrate(world, &both, &ours, errp) &&
           world_settle(world, WORLD_DESTINATION, END_TIMEOUT_S, errp);
}

/* One that works; the world is used up */
static gboolean move_working(FaultRun *run, const char *to, GError **errp)
{
    static const char *const capabilities[] = { "auto-converge", NULL };
    MigrateSpec both = neutral(run), source = neutral(run);
    World *world = world_on(run, run->options->peer, errp);
    gboolean ok;

    source.capabilities = capabilities;
    both.downtime_limit_ms = source.downtime_limit_ms = 1000;
    ok = world && world_add_destination(world, to, errp) &&
         world_migrate(world, &both, &source, errp) &&
         world_settle(world, WORLD_DESTINATION, END_TIMEOUT_S, errp);
    g_clear_pointer(&run->world, world_free);
    return ok;
}

/* Lost on the way from stock to stock as well, it is none of ours */
static gboolean blame_stock(FaultRun *run, GError *lost, GError **errp)
{
    for (int i = 0; i < CONTROL_ROUNDS; i++) {
        g_autoptr(GError) error = NULL;

        if (!move_working(run, run->options->peer, &error)) {
            g_set_error(errp, FAULT_SKIP, 0,
                        "stock loses pages under TCG: to ours, %s; to stock "
                        "itself, %s", lost->message, error->message);
            g_error_free(lost);
            return FALSE;
        }
    }
    g_propagate_prefixed_error(errp, lost, "stock to stock is well, but: ");
    return FALSE;
}

static gboolean stock_to_ours_at_work(FaultRun *run, GError **errp)
{
    GError *lost = NULL;

    if (!has_peer(run, errp)) {
        return FALSE;
    }
    return move_working(run, run->options->qemu, &lost) ||
           blame_stock(run, lost, errp);
}

/* What @qemu says to a command that names something unknown */
static char *refusal(QmpClient *qmp, const char *command, const char *text)
{
    g_autoptr(GError) error = NULL;

    if (feature_run(qmp, command, text, &error)) {
        return g_strdup("accepted");
    }
    return g_strdup_printf("%s: %s", qmp_error_class(error) ?: "no answer",
                           error->message);
}

#define UNKNOWN_CAPABILITY "{\"capabilities\": [{\"capability\":" \
                           " \"no-such\", \"state\": true}]}"

/* A client that tries ours on a stock QEMU is told so, and nothing breaks */
static gboolean unknown_to_stock(FaultRun *run, GError **errp)
{
    World *world;
    g_autofree char *policy = NULL, *ours = NULL, *stock = NULL;

    if (!has_peer(run, errp)) {
        return FALSE;
    }
    world = world_on(run, run->options->qemu, errp);
    if (!world || !world_add_destination(world, run->options->peer, errp)) {
        return FALSE;
    }
    policy = refusal(vm_qmp(world_other(world)), "migrate-set-parameters",
                     "{\"convergence-policy\": \"predictive\"}");
    stock = refusal(vm_qmp(world_other(world)), "migrate-set-capabilities",
                    UNKNOWN_CAPABILITY);
    ours = refusal(world_qmp(world), "migrate-set-capabilities",
                   UNKNOWN_CAPABILITY);
    world_drop_destination(world);
    if (!strstr(policy, "'convergence-policy' is unexpected") ||
        strcmp(stock, ours)) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "stock to a policy: '%s'; to an unknown capability: "
                    "'%s', ours to that: '%s'", policy, stock, ours);
        return FALSE;
    }
    return ours_to_stock(run, errp);
}

const Fault peer_faults[] = {
    { "ours to stock, each policy", 0, 12, ours_to_stock },
    { "stock to ours and back, stopped on the way", 0, 4,
      stock_to_ours_and_back },
    { "stock to ours, at work", 0, 1, stock_to_ours_at_work },
    { "stock is asked for what it does not know", 0, 4, unknown_to_stock },
    { NULL }
};
