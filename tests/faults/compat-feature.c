/*
 * Compatibility: the other features of migration beside each policy
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * The guest moves, intact and at full speed; the policy goes round with the
 * rounds.  TLS is tried on a QEMU that was built with it.  Once the link stands
 * still for good, the migration is given up by its deadline instead.
 */

#include "fault.h"

#include "children.h"
#include "feature.h"

#include <glib/gstdio.h>
#include <string.h>

#define END_TIMEOUT_S 120
/* The deadline has passed by then; the rest is to see the guest at work */
#define GIVEN_UP_TIMEOUT_S 20
#define PSK_LINE "qemu:0123456789abcdef0123456789abcdef\n"

/* What has no steps of its own but its capabilities and settings */
static const struct Plain {
    const char *capabilities[4];
    const char *settings[4];
} plain[] = {
    [FEATURE_MULTIFD] = { { "auto-converge", "multifd" },
                          { "dirty-sync-period=200" } },
    [FEATURE_MULTIFD_ZLIB] = { { "auto-converge", "multifd" },
                               { "dirty-sync-period=200",
                                 "multifd-compression=zlib" } },
    [FEATURE_XBZRLE] = { { "auto-converge", "xbzrle" },
                         { "dirty-sync-period=200",
                           "xbzrle-cache-size=33554432" } },
    [FEATURE_COMPRESS] = { { "auto-converge", "compress" },
                           { "dirty-sync-period=200",
                             "compress-threads=2" } },
    [FEATURE_RETURN_PATH] = { { "auto-converge", "return-path" },
                              { "dirty-sync-period=200" } },
    [FEATURE_PAUSE] = { { "auto-converge", "pause-before-switchover" },
                        { "dirty-sync-period=200" } },
    [FEATURE_POSTCOPY] = { { "auto-converge", "postcopy-ram" },
                           { "dirty-sync-period=200" } },
    [FEATURE_BITMAPS] = { { "auto-converge", "dirty-bitmaps" },
                          { "dirty-sync-period=200" } },
    [FEATURE_TLS] = { { "auto-converge" },
                      { "dirty-sync-period=200", "tls-creds=tls0" } },
    [FEATURE_MULTIFD_TLS] = { { "auto-converge", "multifd" },
                              { "dirty-sync-period=200",
                                "tls-creds=tls0" } },
};

/* The pair is up and the feature's own objects are about to be added */
static World *feature_world(FaultRun *run, const char *qemu, GError **errp)
{
    WorldSpec spec = fault_usual_world(run);
    World *world;

    spec.qemu = qemu;
    world = fault_world_with(run, &spec, errp);
    return world && world_add_destination(world, NULL, errp) ? world : NULL;
}

static gboolean start(FaultRun *run, World *world, GError **errp)
{
    const struct Plain *feature = &plain[run->fault->detail];
    MigrateSpec migration = fault_usual_migration(run);

    migration.capabilities = feature->capabilities;
    migration.settings = feature->settings;
    return world_migrate(world, &migration, NULL, errp);
}

static gboolean set_deadline(World *world, const char *arguments,
                             GError **errp)
{
    return feature_run(world_qmp(world), "migrate-set-parameters", arguments,
                       errp);
}

/* The link stands still, and nobody but the deadline ends that */
static gboolean give_up(FaultRun *run, World *world, GError **errp)
{
    if (!fault_wait_phase(run, PHASE_SLOWED, errp)) {
        return FALSE;
    }
    wire_stall(world->wire, TRUE);
    return set_deadline(world, "{\"convergence-timeout\": 1,"
                        " \"convergence-timeout-action\": \"abort\"}",
                        errp) &&
           world_settle(world, WORLD_SOURCE, GIVEN_UP_TIMEOUT_S, errp) &&
           set_deadline(world, "{\"convergence-timeout\": 0,"
                        " \"convergence-timeout-action\": \"downtime\"}",
                        errp);
}

static gboolean arrive(FaultRun *run, World *world, GError **errp)
{
    return run->fault->text ? give_up(run, world, errp) :
           world_settle(world, WORLD_DESTINATION, END_TIMEOUT_S, errp);
}

static gboolean plain_feature(FaultRun *run, GError **errp)
{
    World *world = feature_world(run, run->options->qemu, errp);

    return world && start(run, world, errp) && arrive(run, world, errp);
}

static gboolean pause_feature(FaultRun *run, GError **errp)
{
    World *world = feature_world(run, run->options->qemu, errp);

    return world && start(run, world, errp) &&
           fault_wait_phase(run, PHASE_NEAR_END, errp) &&
           fault_let_go(world, errp) && arrive(run, world, errp);
}

/* The throttle ends as postcopy begins, and what is left arrives later */
static gboolean postcopy_feature(FaultRun *run, GError **errp)
{
    World *world = feature_world(run, run->options->qemu, errp);
    g_autoptr(GError) error = NULL;

    if (!world) {
        return FALSE;
    }
    if (!start(run, world, &error)) {
        gboolean closed =
            strstr(error->message, "ostcopy is not supported") != NULL;

        if (closed) {
            g_set_error(errp, FAULT_SKIP, 0, "%s: userfaultfd is closed to "
                        "this user", error->message);
        } else {
            g_propagate_error(errp, g_steal_pointer(&error));
        }
        return FALSE;
    }
    return fault_wait_phase(run, PHASE_SLOWED, errp) &&
           feature_run(world_qmp(world), "migrate-start-postcopy", "{}",
                       errp) &&
           arrive(run, world, errp);
}

static gboolean add_bitmap_node(QmpClient *qmp, GError **errp)
{
    return feature_run(qmp, "blockdev-add", "{\"driver\": \"null-co\","
                       " \"node-name\": \"disk0\", \"size\": 1048576}", errp);
}

static gboolean has_bitmap(QmpClient *qmp, GError **errp)
{
    g_autoptr(JsonNode) reply = qmp_execute(qmp, "query-named-block-nodes",
                                            NULL, errp);
    g_autofree char *text = reply ? json_to_string(reply, FALSE) : NULL;
    gboolean found = text && strstr(text, "\"name\":\"bitmap0\"");

    if (text && !found) {
        g_set_error_literal(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                            "the dirty bitmap has not arrived");
    }
    return found;
}

static gboolean bitmap_feature(FaultRun *run, GError **errp)
{
    World *world = feature_world(run, run->options->qemu, errp);
    gboolean first = !run->round;

    return world &&
           (!first || (add_bitmap_node(world_qmp(world), errp) &&
                       feature_run(world_qmp(world),
                                   "block-dirty-bitmap-add",
                                   "{\"node\": \"disk0\","
                                   " \"name\": \"bitmap0\"}", errp))) &&
           add_bitmap_node(vm_qmp(world_other(world)), errp) &&
           start(run, world, errp) && arrive(run, world, errp) &&
           has_bitmap(world_qmp(world), errp);
}

static gboolean add_credentials(QmpClient *qmp, const char *dir,
                                const char *endpoint, GError **errp)
{
    g_autofree char *object = g_strdup_printf(
        "{\"qom-type\": \"tls-creds-psk\", \"id\": \"tls0\","
        " \"endpoint\": \"%s\", \"dir\": \"%s\"}", endpoint, dir);

    /* The holder has the other end's, from when it was the destination */
    qmp_run(qmp, "object-del", feature_arguments("{\"id\": \"tls0\"}"), NULL);
    return feature_run(qmp, "object-add", object, errp);
}

static gboolean with_credentials(FaultRun *run, const char *dir,
                                 GError **errp)
{
    g_autofree char *keys = g_build_filename(dir, "keys.psk", NULL);
    World *world = feature_world(run, run->options->full_qemu, errp);

    return world && g_file_set_contents(keys, PSK_LINE, -1, errp) &&
           add_credentials(world_qmp(world), dir, "client", errp) &&
           add_credentials(vm_qmp(world_other(world)), dir, "server",
                           errp) &&
           start(run, world, errp) && arrive(run, world, errp);
}

static gboolean tls_feature(FaultRun *run, GError **errp)
{
    g_autofree char *dir = NULL;
    gboolean ok;

    if (!feature_has_full_qemu(run, errp)) {
        return FALSE;
    }
    dir = g_dir_make_tmp("converge-tls-XXXXXX", errp);
    if (!dir) {
        return FALSE;
    }
    children_add_dir(dir);
    ok = with_credentials(run, dir, errp);
    children_remove_dir(dir);
    return ok;
}

const Fault feature_faults[] = {
    { "with multifd", 0, 8, plain_feature, FEATURE_MULTIFD },
    { "with multifd and zlib", 0, 8, plain_feature, FEATURE_MULTIFD_ZLIB },
    { "with xbzrle", 0, 8, plain_feature, FEATURE_XBZRLE },
    { "with compress", 0, 8, plain_feature, FEATURE_COMPRESS },
    { "with return-path", 0, 8, plain_feature, FEATURE_RETURN_PATH },
    { "with pause-before-switchover", 0, 8, pause_feature, FEATURE_PAUSE },
    { "with postcopy", 0, 8, postcopy_feature, FEATURE_POSTCOPY },
    { "with dirty bitmaps", 0, 8, bitmap_feature, FEATURE_BITMAPS },
    { "with TLS", 0, 8, tls_feature, FEATURE_TLS },
    { "with multifd over TLS", 0, 8, tls_feature, FEATURE_MULTIFD_TLS },
    { "given up on a dead link with multifd", 0, 8, plain_feature,
      FEATURE_MULTIFD, "given up" },
    { "given up on a dead link with compress", 0, 8, plain_feature,
      FEATURE_COMPRESS, "given up" },
    { "given up on a dead link with return-path", 0, 8, plain_feature,
      FEATURE_RETURN_PATH, "given up" },
    { "given up on a dead link with TLS", 0, 8, tls_feature, FEATURE_TLS,
      "given up" },
    { "given up on a dead link with multifd over TLS", 0, 8, tls_feature,
      FEATURE_MULTIFD_TLS, "given up" },
    { NULL }
};
