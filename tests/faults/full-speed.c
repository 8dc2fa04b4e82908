/*
 * Does a QEMU still slow its guest down?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "full-speed.h"

#include "migrate-pair.h"

/* A sleep is 95 ms at most; whoever wakes from one accounts for it */
#define LAST_SLEEP_US (150 * 1000)

#define POLL_US (10 * 1000)

static JsonArray *array_of(JsonNode *node)
{
    return JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
}

static gboolean add_throttles(FullSpeed *look, JsonNode *reply, GError **errp)
{
    JsonArray *list = array_of(reply);

    look->slept_ns = 0;
    for (guint i = 0; list && i < json_array_get_length(list); i++) {
        JsonObject *vcpu = json_array_get_object_element(list, i);
        gint64 pct = migrate_info_int(vcpu, NULL, "percentage");

        look->slept_ns += migrate_info_int(vcpu, NULL, "slept-ns");
        if (pct) {
            g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                        "vCPU %u is still throttled by %" G_GINT64_FORMAT
                        " %%", i, pct);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean check_no_limits(QmpClient *qmp, GError **errp)
{
    JsonNode *reply = qmp_execute(qmp, "query-vcpu-dirty-limit", NULL, errp);
    JsonArray *list = reply ? array_of(reply) : NULL;
    guint left = list ? json_array_get_length(list) : 0;

    if (left) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "%u vCPUs still have a dirty limit", left);
    }
    g_clear_pointer(&reply, json_node_unref);
    return list && !left;
}

static gboolean take_look(FullSpeed *look, QmpClient *qmp, GError **errp)
{
    g_autoptr(GError) error = NULL;
    JsonNode *reply = qmp_execute(qmp, "query-cpu-throttle", NULL, &error);
    gboolean ok;

    *look = (FullSpeed) { .known = reply != NULL };
    if (!reply) {
        if (g_error_matches(error, QMP_ERROR, QMP_ERROR_COMMAND_NOT_FOUND)) {
            return TRUE;
        }
        g_propagate_error(errp, g_steal_pointer(&error));
        return FALSE;
    }
    ok = add_throttles(look, reply, errp) && check_no_limits(qmp, errp);
    json_node_unref(reply);
    return ok;
}

gboolean full_speed_wait(FullSpeed *look, QmpClient *qmp, int timeout_ms,
                         GError **errp)
{
    gint64 deadline_us = g_get_monotonic_time() + timeout_ms * 1000LL;

    while (g_get_monotonic_time() < deadline_us) {
        if (take_look(look, qmp, NULL)) {
            break;
        }
        g_usleep(POLL_US);
    }
    g_usleep(LAST_SLEEP_US);
    return take_look(look, qmp, errp);
}

gboolean full_speed_check(const FullSpeed *before, QmpClient *qmp,
                          GError **errp)
{
    FullSpeed now;
    gint64 last_ns;

    if (!take_look(&now, qmp, errp)) {
        return FALSE;
    }
    if (now.slept_ns != before->slept_ns) {
        /* One that the host kept waiting accounts late for its last sleep */
        last_ns = now.slept_ns;
        g_usleep(2 * LAST_SLEEP_US);
        if (!take_look(&now, qmp, errp)) {
            return FALSE;
        }
        if (now.slept_ns != last_ns) {
            g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                        "vCPUs still sleep after the throttle was lifted: for "
                        "%" G_GINT64_FORMAT " ns in %d ms",
                        now.slept_ns - last_ns, 2 * LAST_SLEEP_US / 1000);
            return FALSE;
        }
    }
    return TRUE;
}
