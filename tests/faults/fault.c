/*
 * Faults: what they have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "fault.h"

#include "feature.h"

#include <string.h>

#define VERIFY_MIB 32
#define USUAL_LOAD "verify:32:0,compute"
#define PAGES_PER_MIB 256

#define PHASE_TIMEOUT_S 60
#define POLL_US (5 * 1000)

/* Of what remains; the usual migration switches over at some 5 MB */
#define NEAR_END_BYTES (12 * 1000 * 1000)

G_DEFINE_QUARK(converge-fault-skip, fault_skip)

gboolean fault_has_meter(const FaultOptions *options)
{
    g_autofree char *pml = NULL;

    if (!options->accel || !g_str_has_prefix(options->accel, "kvm") ||
        strstr(options->accel, "dirty-ring-size")) {
        return TRUE;
    }
    /* Where the processor logs writes itself, nothing faults */
    return !g_file_get_contents("/sys/module/kvm_intel/parameters/pml", &pml,
                                NULL, NULL) || pml[0] == 'N' || pml[0] == '0';
}

WorldSpec fault_usual_world(FaultRun *run)
{
    return (WorldSpec) {
        .qemu = run->options->qemu,
        .load = USUAL_LOAD,
        .mem_mib = 128,
        .smp = "2",
        .accel = run->options->accel,
        .qemu_args = run->options->qemu_args,
        .nr_busy = 2,
        .walk_pages = VERIFY_MIB * PAGES_PER_MIB,
    };
}

/* The strings of specs are constants, or live as long as the world */
static gboolean is_like(const WorldSpec *a, const WorldSpec *b)
{
    return g_str_equal(a->qemu, b->qemu) && g_str_equal(a->smp, b->smp) &&
           g_str_equal(a->load, b->load) && a->by_word == b->by_word &&
           a->extra_args == b->extra_args && a->first_args == b->first_args;
}

World *fault_world_with(FaultRun *run, const WorldSpec *spec, GError **errp)
{
    if (run->world && !is_like(&run->world->spec, spec)) {
        g_clear_pointer(&run->world, world_free);
    }
    if (!run->world) {
        run->world = world_new(spec, errp);
    }
    return run->world;
}

World *fault_world(FaultRun *run, GError **errp)
{
    WorldSpec spec = fault_usual_world(run);

    return run->world ?: fault_world_with(run, &spec, errp);
}

World *fault_world_by_word(FaultRun *run, GError **errp)
{
    WorldSpec spec = fault_usual_world(run);

    spec.by_word = TRUE;
    return fault_world_with(run, &spec, errp);
}

MigrateSpec fault_usual_migration(FaultRun *run)
{
    static const char *const policies[] = {
        "predictive", "dirty-limit", "step", "auto",
    };
    static const char *const settings[] = {
        "dirty-sync-period=200", "cpu-throttle-increment=25", NULL,
    };
    static const char *const capabilities[] = { "auto-converge", NULL };
    MigrateSpec migration = {
        .policy = policies[run->round % G_N_ELEMENTS(policies)],
        .bandwidth_bytes_per_s = 48 * 1000 * 1000,
        .downtime_limit_ms = 100,
        .settings = settings,
        .capabilities = capabilities,
    };

    if (!fault_has_meter(run->options) &&
        g_str_equal(migration.policy, "dirty-limit")) {
        migration.policy = "auto";
    }
    if (!run->options->knows_policies) {
        migration.policy = NULL;
        migration.settings = NULL;
    }
    return migration;
}

MigrateSpec fault_paused_migration(FaultRun *run)
{
    static const char *const capabilities[] = {
        "auto-converge", "pause-before-switchover", NULL,
    };
    MigrateSpec migration = fault_usual_migration(run);

    migration.capabilities = capabilities;
    return migration;
}

gboolean fault_migrate_as(FaultRun *run, const MigrateSpec *migration,
                          GError **errp)
{
    World *world = fault_world(run, errp);

    return world &&
           (world_other(world) || world_add_destination(world, NULL, errp)) &&
           world_migrate(world, migration, NULL, errp);
}

gboolean fault_migrate(FaultRun *run, GError **errp)
{
    MigrateSpec migration = fault_usual_migration(run);

    return fault_migrate_as(run, &migration, errp);
}

static gboolean go_on(World *world, GError **errp)
{
    JsonObject *arguments = json_object_new();

    json_object_set_string_member(arguments, "state", "pre-switchover");
    return qmp_run(world_qmp(world), "migrate-continue", arguments, errp);
}

gboolean fault_let_go(World *world, GError **errp)
{
    return feature_wait_status(world, "pre-switchover", errp) &&
           go_on(world, errp);
}

static gboolean is_slowed(JsonObject *info)
{
    JsonNode *node = json_object_get_member(info, "convergence");
    JsonObject *convergence = node ? json_node_get_object(node) : NULL;
    JsonArray *vcpus = NULL;

    if (migrate_info_int(info, "convergence", "throttle-percentage") ||
        migrate_info_int(info, NULL, "cpu-throttle-percentage")) {
        return TRUE;
    }
    if (convergence && json_object_has_member(convergence, "vcpus")) {
        vcpus = json_object_get_array_member(convergence, "vcpus");
    }
    for (guint i = 0; vcpus && i < json_array_get_length(vcpus); i++) {
        JsonObject *vcpu = json_array_get_object_element(vcpus, i);

        if (migrate_info_int(vcpu, NULL, "dirty-limit")) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Also once it has gone further */
static gboolean has_come_to(JsonObject *info, FaultPhase phase)
{
    const char *status = migrate_info_status(info);
    gboolean past_bulk = migrate_info_int(info, "ram",
                                          "dirty-sync-count") > 1;

    if (g_str_equal(status, "setup")) {
        return FALSE;
    } else if (!g_str_equal(status, "active")) {
        return TRUE;
    }
    switch (phase) {
    case PHASE_BULK:
        return migrate_info_int(info, "ram", "transferred") > 1000 * 1000;
    case PHASE_SLOWED:
        return is_slowed(info);
    case PHASE_NEAR_END:
        return past_bulk &&
               migrate_info_int(info, "ram", "remaining") < NEAR_END_BYTES;
    default:
        return FALSE;
    }
}

static gboolean wait_info(World *world, FaultPhase phase, GError **errp)
{
    gint64 deadline_us = g_get_monotonic_time() +
                         PHASE_TIMEOUT_S * G_USEC_PER_SEC;

    while (g_get_monotonic_time() < deadline_us) {
        JsonObject *info = qmp_query(world_qmp(world), "query-migrate", errp);
        gboolean there = info && has_come_to(info, phase);

        if (!info) {
            return FALSE;
        }
        json_object_unref(info);
        if (there) {
            return TRUE;
        }
        g_usleep(POLL_US);
    }
    g_set_error(errp, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                "the migration did not come to phase %d within %d s", phase,
                PHASE_TIMEOUT_S);
    return FALSE;
}

static gboolean begin_switchover(World *world, GRand *random, GError **errp)
{
    wire_stall(world->wire, TRUE);
    if (!go_on(world, errp)) {
        return FALSE;
    }
    g_usleep(g_rand_int_range(random, 0, 50 * 1000));
    return TRUE;
}

gboolean fault_wait_phase(FaultRun *run, FaultPhase phase, GError **errp)
{
    if (phase == PHASE_SETUP) {
        return TRUE;
    }
    return wait_info(run->world, phase, errp) &&
           (phase != PHASE_SWITCHOVER ||
            begin_switchover(run->world, run->random, errp));
}

gboolean fault_cancel(World *world, GError **errp)
{
    return qmp_run(world_qmp(world), "migrate_cancel", NULL, errp);
}
