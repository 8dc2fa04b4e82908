/*
 * Convergence engine, QEMU side: what a switch-over sends, and for how long
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONVERGENCE_SWITCHOVER_H
#define MIGRATION_CONVERGENCE_SWITCHOVER_H

#include "migration/convergence-engine.h"

/**
 * convergence_stream_start: a migration begins to send RAM
 *
 * Finds the sockets of its stream, and reckons what devices will send.
 * Migration thread, BQL held.
 */
void convergence_stream_start(MigrationState *s);

/**
 * convergence_stream_look: what the stream was handed, and what of it stands in
 * the send queues of its sockets
 *
 * Nothing stands there where the stream is no socket, or the host does not
 * tell; cap_bytes_per_s is left to the caller.  A few system calls.  Migration
 * thread, no lock needed.
 */
ConvergenceLinkLook convergence_stream_look(MigrationState *s, int64_t now_ns);

/**
 * convergence_stream_broken: whether a socket of the stream is dead
 *
 * What stood in its queue stays there for ever; who sends will be told.
 * Migration thread, no lock needed.
 */
bool convergence_stream_broken(void);

/**
 * convergence_devices_bytes: what devices will send at the switch-over
 *
 * By what they sent at the last one of this guest, or by their number.  No lock
 * needed.
 */
uint64_t convergence_devices_bytes(void);

/* The parts of a downtime, in their order; each is noted when it begins. */
typedef enum ConvergenceDowntimePart {
    CONVERGENCE_DOWNTIME_STOPPED,   /* the guest stands still */
    CONVERGENCE_DOWNTIME_SYNC,      /* the last look at the dirty bitmap */
    CONVERGENCE_DOWNTIME_PAGES,
    CONVERGENCE_DOWNTIME_DEVICES,   /* after the last page; noted again */
    CONVERGENCE_DOWNTIME_PARTS,
} ConvergenceDowntimePart;

/**
 * convergence_downtime_part: a part of the downtime begins
 *
 * Of no meaning before convergence_stream_start().  Migration thread.
 */
void convergence_downtime_part(MigrationState *s, ConvergenceDowntimePart part,
                               int64_t now_ns);

/**
 * convergence_downtime_end: the migration has ended
 *
 * If it was completed without postcopy: traces what the downtime was spent on,
 * and remembers what devices sent.  Migration thread.
 */
void convergence_downtime_end(MigrationState *s, int64_t now_ns,
                              double wire_bytes_per_s);

#endif /* MIGRATION_CONVERGENCE_SWITCHOVER_H */
