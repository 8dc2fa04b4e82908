/*
 * Compatibility: what its files share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "feature.h"

#include <unistd.h>

#define STATUS_TIMEOUT_S 60
#define POLL_US (10 * 1000)

JsonObject *feature_arguments(const char *text)
{
    g_autoptr(JsonNode) node = json_from_string(text, NULL);

    g_assert(node);
    return json_node_dup_object(node);
}

gboolean feature_run(QmpClient *qmp, const char *command, const char *text,
                     GError **errp)
{
    return qmp_run(qmp, command, feature_arguments(text), errp);
}

gboolean feature_has_full_qemu(FaultRun *run, GError **errp)
{
    const char *qemu = run->options->full_qemu;

    if (access(qemu, X_OK) == 0) {
        return TRUE;
    }
    g_set_error(errp, FAULT_SKIP, 0,
                "no %s; make check-long SUITE=compatibility makes it", qemu);
    return FALSE;
}

gboolean feature_wait_status(World *world, const char *status, GError **errp)
{
    gint64 deadline_us = g_get_monotonic_time() +
                         STATUS_TIMEOUT_S * G_USEC_PER_SEC;
    g_autofree char *last = NULL;

    while (g_get_monotonic_time() < deadline_us) {
        JsonObject *info = qmp_query(world_qmp(world), "query-migrate", errp);

        if (!info) {
            return FALSE;
        }
        g_free(last);
        last = g_strdup(migrate_info_status(info));
        json_object_unref(info);
        if (g_str_equal(last, status)) {
            return TRUE;
        }
        g_usleep(POLL_US);
    }
    g_set_error(errp, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                "the migration did not come to '%s' within %d s: it is '%s'",
                status, STATUS_TIMEOUT_S, last);
    return FALSE;
}
