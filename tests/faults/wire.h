/*
 * A link between two QEMUs that can be slow, stall, or break
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * A proxy in threads of its own: the source migrates to it, and it passes on
 * what it gets, both ways, connection by connection.
 */

#ifndef CONVERGE_FAULTS_WIRE_H
#define CONVERGE_FAULTS_WIRE_H

#include <gio/gio.h>

typedef struct Wire Wire;

/*
 * Listens in a directory of its own; connects to the unix socket of
 * @target_uri, "unix:PATH", for each connection that it accepts.
 */
Wire *wire_new(const char *target_uri, GError **errp);

/*
 * The same over TCP, with the kernel's own buffers at the sender.  @target_uri
 * may be NULL until wire_set_target().  @beside (NULL: none) and this one share
 * one line: one rate for both of them.
 */
Wire *wire_new_tcp(const char *target_uri, Wire *beside, GError **errp);

/* Where connections go that come from now on */
void wire_set_target(Wire *wire, const char *target_uri);

/* Cuts it and ends its threads */
void wire_free(Wire *wire);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Wire, wire_free)

const char *wire_uri(Wire *wire);

/*
 * All connections together, those of wires beside it too, from the next piece
 * on; 0: as fast as it goes.  Over TCP to be called before they connect.
 */
void wire_set_rate(Wire *wire, guint64 bytes_per_s);

/* Nothing gets through until it is called again with FALSE */
void wire_stall(Wire *wire, gboolean stalled);

/* Breaks all connections, and each later one at once */
void wire_cut(Wire *wire);

#endif
