/*
 * Faults: the state is written to where there is no room
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "fault.h"

#include "children.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/mount.h>
#include <unistd.h>

#define END_TIMEOUT_S 30

/* Deadlines and stop conditions must not reach these either */
static gboolean migrate_to(FaultRun *run, const char *uri, GError **errp)
{
    static const char *const settings[] = {
        "dirty-sync-period=200", "convergence-timeout=1", NULL,
    };
    MigrateSpec migration = fault_usual_migration(run);
    World *world = fault_world(run, errp);

    migration.settings = settings;
    return world &&
           migrate_side_configure(world_qmp(world), &migration, errp) &&
           migrate_run_with_uri(world_qmp(world), "migrate", uri, errp);
}

/* Failed, and says why */
static gboolean fails_and_runs_on(FaultRun *run, const char *uri,
                                  GError **errp)
{
    JsonObject *info;
    gboolean failed;

    if (!migrate_to(run, uri, errp)) {
        return FALSE;
    }
    info = world_wait_end(run->world, END_TIMEOUT_S, errp);
    if (!info) {
        return FALSE;
    }
    failed = g_str_equal(migrate_info_status(info), "failed");
    if (!failed) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "the migration did not fail: it is '%s'",
                    migrate_info_status(info));
    }
    json_object_unref(info);
    return failed &&
           world_settle(run->world, WORLD_SOURCE, END_TIMEOUT_S, errp);
}

static gboolean into_a_command(FaultRun *run, GError **errp)
{
    return fails_and_runs_on(run, run->fault->text, errp);
}

/* A file system of 8 MiB that is gone with the last of those who use it */
static int open_small(GError **errp)
{
    g_autofree char *dir = g_dir_make_tmp("converge-disk-XXXXXX", errp);
    int fd = -1;

    if (!dir) {
        return -1;
    }
    if (mount("tmpfs", dir, "tmpfs", 0, "size=8m") == 0) {
        fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        umount2(dir, MNT_DETACH);
    }
    if (fd < 0) {
        g_set_error(errp, FAULT_SKIP, 0, "no small tmpfs can be mounted: %s",
                    g_strerror(errno));
    }
    g_rmdir(dir);
    return fd;
}

static gboolean into_a_small_disk(FaultRun *run, GError **errp)
{
    g_autofree char *uri = NULL;
    int disk = open_small(errp);
    gboolean ok;

    if (disk < 0) {
        return FALSE;
    }
    uri = g_strdup_printf("exec:cat >/proc/%d/fd/%d/state", getpid(), disk);
    ok = fails_and_runs_on(run, uri, errp);
    close(disk);
    return ok;
}

const Fault file_faults[] = {
    { "disk full, /dev/full", 1, 20, into_a_command, 0,
      "exec:cat >/dev/full" },
    { "disk full, tmpfs of 8 MiB", 0, 20, into_a_small_disk },
    { "command ends in the midst of it", 0, 20, into_a_command, 0,
      "exec:head -c 9000000 >/dev/null" },
    { "command that is not there", 0, 20, into_a_command, 0,
      "exec:/does/not/exist" },
    { NULL }
};
