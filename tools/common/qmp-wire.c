/*
 * The socket below a QMP client: messages, one a line, by a deadline
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * QEMU ends each message with a newline and puts none inside (unless asked
 * for "pretty" output), so a message is a line.  That is what lets a frame
 * that arrives in pieces, or several in one read, be told apart without an
 * incremental JSON parser.
 */

#include "qmp-wire.h"

#include <gio/gunixsocketaddress.h>
#include <string.h>
#include <sys/socket.h>

/*
 * Longest message taken.  query-qmp-schema is some 200 KiB; what exceeds
 * this is not QMP, and would otherwise be buffered until memory ends.
 */
#define MAX_MESSAGE_BYTES (16 * 1024 * 1024)

/* How often a socket that is not there yet is tried again */
#define CONNECT_RETRY_MS 20

struct QmpWire {
    GSocketConnection *connection;
    GSocket *socket;
    GByteArray *inbox;
    size_t scanned_bytes;   /* start of the inbox known to hold no newline */
    GError *broken;         /* why no further call can succeed */
};

gboolean qmp_wire_fail(QmpWire *wire, QmpErrorCode code, const char *message,
                       GError **errp)
{
    if (!wire->broken) {
        wire->broken = g_error_new_literal(QMP_ERROR, code, message);
    }
    g_propagate_error(errp, g_error_copy(wire->broken));
    return FALSE;
}

GPid qmp_wire_peer(QmpWire *wire)
{
    /* Linux's struct ucred, which <sys/socket.h> has for _GNU_SOURCE alone */
    struct { gint32 pid; guint32 uid, gid; } peer = { 0 };
    socklen_t length = sizeof(peer);

    if (getsockopt(g_socket_get_fd(wire->socket), SOL_SOCKET, SO_PEERCRED,
                   &peer, &length) < 0) {
        return 0;
    }
    return peer.pid;
}

static gboolean check_usable(QmpWire *wire, GError **errp)
{
    if (wire->broken) {
        g_propagate_error(errp, g_error_copy(wire->broken));
        return FALSE;
    }
    return TRUE;
}

/* TRUE once the socket can do @condition (or has failed: the I/O tells) */
static gboolean wait_socket(QmpWire *wire, GIOCondition condition,
                            gint64 deadline_us, GError **errp)
{
    gint64 left_us = MAX(deadline_us - g_get_monotonic_time(), 0);
    g_autoptr(GError) error = NULL;

    if (g_socket_condition_timed_wait(wire->socket, condition, left_us, NULL,
                                      &error)) {
        return TRUE;
    }
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT)) {
        g_set_error_literal(errp, QMP_ERROR, QMP_ERROR_TIMEOUT,
                            "QEMU did not answer in time");
        return FALSE;
    }
    return qmp_wire_fail(wire, QMP_ERROR_CLOSED, error->message, errp);
}

gboolean qmp_wire_send(QmpWire *wire, const char *text, gint64 deadline_us,
                       GError **errp)
{
    gsize size_bytes = strlen(text);
    gsize sent_bytes = 0;

    if (!check_usable(wire, errp)) {
        return FALSE;
    }
    while (sent_bytes < size_bytes) {
        g_autoptr(GError) error = NULL;
        gssize n;

        if (!wait_socket(wire, G_IO_OUT, deadline_us, errp)) {
            if (sent_bytes) {
                /* Half a command is out: what follows would be garbage */
                g_clear_error(errp);
                return qmp_wire_fail(wire, QMP_ERROR_CLOSED,
                                     "QEMU stopped reading in the middle "
                                     "of a command", errp);
            }
            return FALSE;
        }
        n = g_socket_send(wire->socket, text + sent_bytes,
                          size_bytes - sent_bytes, NULL, &error);
        if (n < 0) {
            if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)) {
                continue;
            }
            return qmp_wire_fail(wire, QMP_ERROR_CLOSED, error->message, errp);
        }
        sent_bytes += n;
    }
    return TRUE;
}

static gboolean receive_some(QmpWire *wire, gint64 deadline_us,
                             GError **errp)
{
    g_autoptr(GError) error = NULL;
    char buffer[4096];
    gssize n;

    if (!wait_socket(wire, G_IO_IN, deadline_us, errp)) {
        return FALSE;
    }
    n = g_socket_receive(wire->socket, buffer, sizeof(buffer), NULL, &error);
    if (n > 0) {
        g_byte_array_append(wire->inbox, (guint8 *)buffer, n);
        if (wire->inbox->len > MAX_MESSAGE_BYTES) {
            return qmp_wire_fail(wire, QMP_ERROR_PROTOCOL,
                                 "a message has no end", errp);
        }
        return TRUE;
    }
    if (n < 0 && g_error_matches(error, G_IO_ERROR,
                                 G_IO_ERROR_WOULD_BLOCK)) {
        return TRUE;
    }
    return qmp_wire_fail(wire, QMP_ERROR_CLOSED,
                         n < 0 ? error->message
                               : "QEMU closed the connection", errp);
}

/* The next complete line without its newline, or NULL if there is none */
static char *take_line(QmpWire *wire)
{
    guint8 *start = wire->inbox->data;
    guint8 *newline = NULL;
    size_t length_bytes;
    char *line;

    if (wire->inbox->len > wire->scanned_bytes) {
        newline = memchr(start + wire->scanned_bytes, '\n',
                         wire->inbox->len - wire->scanned_bytes);
    }
    if (!newline) {
        wire->scanned_bytes = wire->inbox->len;
        return NULL;
    }
    length_bytes = newline - start;
    line = g_strndup((char *)start, length_bytes);
    g_byte_array_remove_range(wire->inbox, 0, length_bytes + 1);
    wire->scanned_bytes = 0;
    return g_strstrip(line);
}

static JsonObject *parse_message(QmpWire *wire, const char *line,
                                 GError **errp)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonNode) node = json_from_string(line, &error);

    if (!node || !JSON_NODE_HOLDS_OBJECT(node)) {
        g_autofree char *message =
            g_strdup_printf("not a QMP message: '%.80s'%s%s", line,
                            error ? ": " : "", error ? error->message : "");

        qmp_wire_fail(wire, QMP_ERROR_PROTOCOL, message, errp);
        return NULL;
    }
    return json_node_dup_object(node);
}

JsonObject *qmp_wire_receive(QmpWire *wire, gint64 deadline_us, GError **errp)
{
    if (!check_usable(wire, errp)) {
        return NULL;
    }
    for (;;) {
        g_autofree char *line = take_line(wire);

        if (!line) {
            if (!receive_some(wire, deadline_us, errp)) {
                return NULL;
            }
        } else if (*line) {
            return parse_message(wire, line, errp);
        }
    }
}

static GSocketConnection *connect_socket(const char *path,
                                         gint64 deadline_us, GError **errp)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);

    /* A second is the least GSocketClient can be given */
    g_socket_client_set_timeout(client, 1);
    for (;;) {
        g_autoptr(GError) error = NULL;
        GSocketConnection *connection =
            g_socket_client_connect(client, G_SOCKET_CONNECTABLE(address),
                                    NULL, &error);

        if (connection) {
            return connection;
        }
        if (g_get_monotonic_time() >= deadline_us) {
            g_set_error(errp, QMP_ERROR, QMP_ERROR_TIMEOUT,
                        "cannot connect to %s: %s", path, error->message);
            return NULL;
        }
        g_usleep(CONNECT_RETRY_MS * 1000);
    }
}

QmpWire *qmp_wire_connect(const char *path, gint64 deadline_us,
                          GError **errp)
{
    GSocketConnection *connection = connect_socket(path, deadline_us, errp);
    QmpWire *wire;

    if (!connection) {
        return NULL;
    }
    wire = g_new0(QmpWire, 1);
    wire->connection = connection;
    wire->socket = g_socket_connection_get_socket(connection);
    g_socket_set_blocking(wire->socket, FALSE);
    g_socket_set_timeout(wire->socket, 0);
    wire->inbox = g_byte_array_new();
    return wire;
}

void qmp_wire_free(QmpWire *wire)
{
    if (wire) {
        g_byte_array_unref(wire->inbox);
        g_object_unref(wire->connection);
        g_clear_error(&wire->broken);
        g_free(wire);
    }
}
