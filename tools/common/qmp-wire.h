/*
 * The socket below a QMP client: messages, one a line, by a deadline
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * For qmp.c alone.  Deadlines are times of g_get_monotonic_time().  After an
 * error other than QMP_ERROR_TIMEOUT the wire is broken: each further call
 * fails at once, and tells the first cause.
 */

#ifndef CONVERGE_QMP_WIRE_H
#define CONVERGE_QMP_WIRE_H

#include "qmp.h"

typedef struct QmpWire QmpWire;

/* Waits for the socket to appear and accept */
QmpWire *qmp_wire_connect(const char *path, gint64 deadline_us,
                          GError **errp);
void qmp_wire_free(QmpWire *wire);

/* The process that listens at the other end; 0: cannot be told */
GPid qmp_wire_peer(QmpWire *wire);

/* @text ends with the newline that ends the message */
gboolean qmp_wire_send(QmpWire *wire, const char *text, gint64 deadline_us,
                       GError **errp);

JsonObject *qmp_wire_receive(QmpWire *wire, gint64 deadline_us,
                             GError **errp);

/*
 * Breaks the wire, as what came over it is not QMP.  Remembered, so that
 * later calls tell the cause and not EPIPE.  Returns FALSE.
 */
gboolean qmp_wire_fail(QmpWire *wire, QmpErrorCode code, const char *message,
                       GError **errp);

#endif
