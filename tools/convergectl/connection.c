/*
 * Reaching a QEMU, and saying why it cannot be reached
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "connection.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

static gboolean check_path(const char *path, GError **errp)
{
    struct sockaddr_un address;
    GStatBuf info;

    if (strlen(path) >= sizeof(address.sun_path)) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_CLOSED,
                    "%s: longer than the %zu bytes that a unix socket's path "
                    "may have", path, sizeof(address.sun_path) - 1);
        return FALSE;
    }
    if (g_stat(path, &info) < 0) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_CLOSED,
                    "%s: no such socket; start QEMU with -qmp "
                    "unix:%s,server=on,wait=off", path, path);
        return FALSE;
    }
    if (!S_ISSOCK(info.st_mode)) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_CLOSED,
                    "%s: is not a unix socket", path);
        return FALSE;
    }
    return TRUE;
}

QmpClient *connection_open(const char *path, int wait_s, GError **errp)
{
    g_autoptr(GError) error = NULL;
    QmpClient *qmp;

    if (!check_path(path, errp)) {
        return NULL;
    }
    qmp = qmp_connect(path, wait_s * 1000, &error);
    if (qmp) {
        return qmp;
    }
    if (strstr(error->message, "refused")) {
        g_set_error(errp, error->domain, error->code,
                    "%s: nobody listens there; is that QEMU still running?",
                    path);
    } else if (g_error_matches(error, QMP_ERROR, QMP_ERROR_TIMEOUT) &&
               !g_str_has_prefix(error->message, "cannot connect")) {
        g_set_error(errp, error->domain, error->code,
                    "%s: no greeting within %d s. A QMP socket serves one "
                    "client at a time, and another one (libvirt, a script) "
                    "may hold it: end that one, or give QEMU a second "
                    "-qmp socket", path, wait_s);
    } else {
        g_set_error(errp, error->domain, error->code, "%s: %s", path,
                    error->message);
    }
    return NULL;
}

gboolean connection_is_lost(const GError *error)
{
    return error->domain == QMP_ERROR && error->code >= QMP_ERROR_TIMEOUT;
}

static gint64 version_part(JsonObject *version, const char *name)
{
    return json_object_get_int_member_with_default(version, name, 0);
}

char *connection_qemu_name(QmpClient *qmp)
{
    JsonObject *reply = qmp_query(qmp, "query-version", NULL);
    JsonNode *node = reply ? json_object_get_member(reply, "qemu") : NULL;
    char *name;

    if (node && JSON_NODE_HOLDS_OBJECT(node)) {
        JsonObject *version = json_node_get_object(node);

        name = g_strdup_printf("QEMU %d.%d.%d",
                               (int)version_part(version, "major"),
                               (int)version_part(version, "minor"),
                               (int)version_part(version, "micro"));
    } else {
        name = g_strdup("this QEMU");
    }
    g_clear_pointer(&reply, json_object_unref);
    return name;
}
