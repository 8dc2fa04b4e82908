/*
 * A QMP command to a guest of libvirt's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * libvirt holds the guest's only QMP socket.  What it passes on, virsh does.
 */

#include "qmp-domain.h"

/* What timeout(1) returns when it had to end the command */
#define TIMED_OUT 124

static JsonObject *parse(const char *text, GError **errp)
{
    g_autoptr(JsonNode) node = json_from_string(text, NULL);

    if (!node || !JSON_NODE_HOLDS_OBJECT(node)) {
        g_set_error_literal(errp, QMP_ERROR, QMP_ERROR_PROTOCOL,
                            "virsh gives no QMP message back");
        return NULL;
    }
    return json_node_dup_object(node);
}

JsonObject *qmp_domain_ask(const char *domain, const char *json,
                           int timeout_ms, GError **errp)
{
    g_autofree char *limit_s = g_strdup_printf("%.1f", timeout_ms / 1e3);
    const char *argv[] = {
        "timeout", limit_s, "virsh", "--quiet", "qemu-monitor-command",
        "--domain", domain, "--cmd", json, NULL
    };
    g_autofree char *out = NULL, *err = NULL;
    g_autoptr(GError) error = NULL;
    int status;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL,
                      NULL, &out, &err, &status, &error)) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_CLOSED, "%s", error->message);
        return NULL;
    }
    if (g_spawn_check_wait_status(status, &error)) {
        return parse(out, errp);
    }
    if (g_error_matches(error, G_SPAWN_EXIT_ERROR, TIMED_OUT)) {
        g_set_error_literal(errp, QMP_ERROR, QMP_ERROR_TIMEOUT,
                            "QEMU did not answer in time");
    } else {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_CLOSED, "virsh: %s",
                    *g_strstrip(err) ? err : error->message);
    }
    return NULL;
}
