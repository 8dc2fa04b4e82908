/*
 * A QMP client: one unix socket, blocking calls that always return
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Every call has a deadline.  A QEMU that is killed, hangs, or answers
 * with something that is not QMP becomes a GError, never a wait without
 * end.  A client belongs to one thread; it has no main loop and needs none.
 */

#ifndef CONVERGE_QMP_H
#define CONVERGE_QMP_H

#include <gio/gio.h>
#include <json-glib/json-glib.h>

#define QMP_DEFAULT_TIMEOUT_MS 10000

/*
 * What went wrong.  Codes up to QMP_ERROR_KVM_MISSING_CAP are answers of a
 * live QEMU, named after QMP's error classes; the message is QMP's `desc`.
 * After QMP_ERROR_TIMEOUT the connection stays usable: a reply that comes
 * late is told from the next one by its id.  After QMP_ERROR_CLOSED and
 * QMP_ERROR_PROTOCOL each further call fails at once, with the same reason.
 */
typedef enum QmpErrorCode {
    QMP_ERROR_GENERIC,
    QMP_ERROR_COMMAND_NOT_FOUND,
    QMP_ERROR_DEVICE_NOT_ACTIVE,
    QMP_ERROR_DEVICE_NOT_FOUND,
    QMP_ERROR_KVM_MISSING_CAP,
    QMP_ERROR_TIMEOUT,
    QMP_ERROR_CLOSED,
    QMP_ERROR_PROTOCOL,
} QmpErrorCode;

#define QMP_ERROR qmp_error_quark()
GQuark qmp_error_quark(void);

/* QMP's name of the error's class; NULL if QEMU did not send the error */
const char *qmp_error_class(const GError *error);

typedef struct QmpClient QmpClient;

/* @event is the whole message: "event", "data", "timestamp" */
typedef void (*QmpEventFunc)(const char *name, JsonObject *event,
                             void *opaque);

/*
 * Waits for the socket to appear and accept, reads the greeting and leaves
 * negotiation mode.  @timeout_ms bounds all of it, and becomes the time
 * that later commands are given.
 */
QmpClient *qmp_connect(const char *path, int timeout_ms, GError **errp);

/*
 * The same for a guest of libvirt's: each command goes through `virsh
 * qemu-monitor-command', which marks the guest as tainted.  There are no
 * events.
 */
QmpClient *qmp_open_domain(const char *name, int timeout_ms, GError **errp);
void qmp_free(QmpClient *qmp);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpClient, qmp_free)

void qmp_set_timeout(QmpClient *qmp, int timeout_ms);

/*
 * The process that opened the socket; 0 if that cannot be told.  It may be
 * another one than QEMU: libvirt opens QEMU's socket for it.
 */
GPid qmp_peer(QmpClient *qmp);

/*
 * Runs @command and returns what is under "return" (never NULL on success;
 * free with json_node_unref).  Takes ownership of @arguments, NULL for none.
 */
JsonNode *qmp_execute(QmpClient *qmp, const char *command,
                      JsonObject *arguments, GError **errp);

/* As qmp_execute(), for commands whose reply says nothing */
gboolean qmp_run(QmpClient *qmp, const char *command, JsonObject *arguments,
                 GError **errp);

/* As qmp_execute(), for commands whose reply is an object */
JsonObject *qmp_query(QmpClient *qmp, const char *command, GError **errp);

/* A line for the human monitor; returns what it printed */
char *qmp_hmp(QmpClient *qmp, const char *line, GError **errp);

/*
 * Events are seen while a call reads the socket.  Each is handed to the
 * callback at that moment, and is also kept for qmp_next_event().  The
 * callback must not use the client.
 */
void qmp_set_event_callback(QmpClient *qmp, QmpEventFunc func, void *opaque);

/*
 * The oldest event not yet taken, waiting up to @timeout_ms for one (0: only
 * what has arrived).  NULL with QMP_ERROR_TIMEOUT if none came.
 */
JsonObject *qmp_next_event(QmpClient *qmp, int timeout_ms, GError **errp);

/* Takes events until one called @name; earlier ones are dropped */
JsonObject *qmp_wait_event(QmpClient *qmp, const char *name, int timeout_ms,
                           GError **errp);

#endif
