/*
 * Faults: snapshots of a guest that is slowed, and while it migrates
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * A snapshot is saved by the code that migrates.  Settings of migrations
 * must not reach it, throttles and limits set by hand must live through it.
 */

#include "fault.h"

#include "children.h"

#include <string.h>

#define DISK_BYTES (4 * 1024 * 1024)
#define END_TIMEOUT_S 60
#define JOB_TIMEOUT_MS 60000
#define THROTTLE_PCT 50

/* An HMP command that says nothing when it succeeds */
static gboolean hmp(World *world, const char *line, GError **errp)
{
    g_autofree char *said = qmp_hmp(world_qmp(world), line, errp);

    if (said && *g_strstrip(said)) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED, "%s: %s", line,
                    said);
        return FALSE;
    }
    return said != NULL;
}

/* @text: the arguments, as JSON */
static gboolean run_json(QmpClient *qmp, const char *command,
                         const char *text, GError **errp)
{
    g_autoptr(JsonNode) node = json_from_string(text, errp);

    return node && qmp_run(qmp, command, json_node_dup_object(node), errp);
}

/* The job's state is "concluded" at the end, with an error or without */
static gboolean finish_job(QmpClient *qmp, const char *id, GError **errp)
{
    gint64 deadline_us = g_get_monotonic_time() + JOB_TIMEOUT_MS * 1000LL;
    g_autofree char *dismiss = g_strdup_printf("{\"id\": \"%s\"}", id);

    while (g_get_monotonic_time() < deadline_us) {
        g_autoptr(JsonNode) reply = qmp_execute(qmp, "query-jobs", NULL,
                                                errp);
        JsonObject *job;

        if (!reply) {
            return FALSE;
        }
        job = json_array_get_object_element(json_node_get_array(reply), 0);
        if (g_str_equal(migrate_info_status(job), "concluded")) {
            const char *why = json_object_get_string_member_with_default(
                job, "error", NULL);

            if (why) {
                g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                            "job %s: %s", id, why);
            }
            return run_json(qmp, "job-dismiss", dismiss, NULL) && !why;
        }
        g_usleep(20 * 1000);
    }
    g_set_error(errp, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                "job %s does not end within %d s", id, JOB_TIMEOUT_MS / 1000);
    return FALSE;
}

/* QEMU formats its own disk: no other program is needed */
static gboolean add_disk(QmpClient *qmp, const char *path, GError **errp)
{
    g_autofree char *file = g_strdup_printf(
        "{\"driver\": \"file\", \"node-name\": \"file0\","
        " \"filename\": \"%s\"}", path);
    g_autofree char *format = g_strdup_printf(
        "{\"job-id\": \"format\", \"options\": {\"driver\": \"qcow2\","
        " \"file\": \"file0\", \"size\": %d}}", DISK_BYTES);

    return g_file_set_contents(path, "", 0, errp) &&
           run_json(qmp, "blockdev-add", file, errp) &&
           run_json(qmp, "blockdev-create", format, errp) &&
           finish_job(qmp, "format", errp) &&
           run_json(qmp, "blockdev-add", "{\"driver\": \"qcow2\","
                    " \"node-name\": \"disk0\", \"file\": \"file0\"}",
                    errp);
}

static gboolean throttle(World *world, int pct, GError **errp)
{
    JsonObject *arguments = json_object_new();

    json_object_set_int_member(arguments, "percentage", pct);
    return qmp_run(world_qmp(world), "set-cpu-throttle", arguments, errp);
}

/* A deadline that ends a migration at once, and must not end a snapshot */
static gboolean set_deadline(World *world, GError **errp)
{
    return run_json(world_qmp(world), "migrate-set-parameters",
                    "{\"convergence-timeout\": 1,"
                    " \"convergence-max-transfer\": 1,"
                    " \"convergence-timeout-action\": \"abort\"}", errp) &&
           run_json(world_qmp(world), "migrate-set-capabilities",
                    "{\"capabilities\": [{\"capability\": \"auto-converge\","
                    " \"state\": true}]}", errp);
}

static gboolean check_throttle(World *world, gint64 wanted, GError **errp)
{
    g_autoptr(JsonNode) reply = qmp_execute(world_qmp(world),
                                            "query-cpu-throttle", NULL, errp);
    gint64 pct;

    if (!reply) {
        return FALSE;
    }
    pct = migrate_info_int(json_array_get_object_element(
                               json_node_get_array(reply), 0),
                           NULL, "percentage");
    if (pct != wanted) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "the throttle is %" G_GINT64_FORMAT " %% and not %"
                    G_GINT64_FORMAT, pct, wanted);
    }
    return pct == wanted;
}

typedef gboolean (*SnapshotFunc)(World *world, const char *verb,
                                 GError **errp);
typedef gboolean (*DiskFunc)(FaultRun *run, GError **errp);

static gboolean by_hmp(World *world, const char *verb, GError **errp)
{
    g_autofree char *line = g_strconcat(verb, "vm snap0", NULL);

    return hmp(world, line, errp);
}

static gboolean by_job(World *world, const char *verb, GError **errp)
{
    g_autofree char *command = g_strconcat("snapshot-", verb, NULL);

    return run_json(world_qmp(world), command,
                    "{\"job-id\": \"snap\", \"tag\": \"snap1\","
                    " \"vmstate\": \"disk0\", \"devices\": [\"disk0\"]}",
                    errp) &&
           finish_job(world_qmp(world), "snap", errp);
}

static gboolean save_and_load(World *world, SnapshotFunc snapshot,
                              GError **errp)
{
    if (!throttle(world, THROTTLE_PCT, errp) ||
        !set_deadline(world, errp) || !snapshot(world, "save", errp) ||
        !check_throttle(world, THROTTLE_PCT, errp) ||
        !throttle(world, 0, errp) || !world_check_guest(world, errp) ||
        !throttle(world, THROTTLE_PCT, errp) ||
        !snapshot(world, "load", errp)) {
        return FALSE;
    }
    /* The job leaves the guest stopped */
    guest_watch_forget(world->watch);
    return qmp_run(world_qmp(world), "cont", NULL, errp) &&
           check_throttle(world, THROTTLE_PCT, errp) &&
           throttle(world, 0, errp) && world_check_guest(world, errp);
}

static gboolean save_and_load_by_hmp(FaultRun *run, GError **errp)
{
    return save_and_load(run->world, by_hmp, errp);
}

static gboolean save_and_load_by_job(FaultRun *run, GError **errp)
{
    return save_and_load(run->world, by_job, errp);
}

/* Refused by QEMU, and the migration goes on */
static gboolean save_while_migrating(FaultRun *run, GError **errp)
{
    MigrateSpec migration = fault_paused_migration(run);
    g_autofree char *said = NULL;

    if (!fault_migrate_as(run, &migration, errp) ||
        !fault_wait_phase(run, PHASE_SLOWED, errp)) {
        return FALSE;
    }
    said = qmp_hmp(world_qmp(run->world), "savevm snap2", errp);
    if (!said) {
        return FALSE;
    }
    if (!strstr(said, "migration process in progress")) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "savevm in the midst of a migration says '%s'", said);
        return FALSE;
    }
    return fault_let_go(run->world, errp) &&
           world_settle(run->world, WORLD_DESTINATION, END_TIMEOUT_S, errp);
}

/* A disk, and with it the world, for one round */
static gboolean with_a_disk(FaultRun *run, DiskFunc func, GError **errp)
{
    g_autofree char *dir = g_dir_make_tmp("converge-snap-XXXXXX", errp);
    g_autofree char *path = dir ? g_build_filename(dir, "disk", NULL) : NULL;
    World *world;
    gboolean ok;

    if (!dir) {
        return FALSE;
    }
    children_add_dir(dir);
    world = fault_world(run, errp);
    ok = world && add_disk(world_qmp(world), path, errp) && func(run, errp);
    if (ok) {
        g_clear_pointer(&run->world, world_free);
    }
    children_remove_dir(dir);
    return ok;
}

static gboolean savevm_and_loadvm(FaultRun *run, GError **errp)
{
    return with_a_disk(run, save_and_load_by_hmp, errp);
}

static gboolean snapshot_jobs(FaultRun *run, GError **errp)
{
    return with_a_disk(run, save_and_load_by_job, errp);
}

static gboolean savevm_while_migrating(FaultRun *run, GError **errp)
{
    return with_a_disk(run, save_while_migrating, errp);
}

const Fault snapshot_faults[] = {
    { "savevm and loadvm while throttled", 1, 8, savevm_and_loadvm },
    { "snapshot-save and -load while throttled", 0, 8, snapshot_jobs },
    { "savevm while migrating", 0, 8, savevm_while_migrating },
    { NULL }
};
