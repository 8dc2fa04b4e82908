/*
 * Convergence engine, QEMU side: the channels of a migration
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONVERGENCE_CHANNEL_H
#define MIGRATION_CONVERGENCE_CHANNEL_H

typedef struct MigrationState MigrationState;

/**
 * convergence_channel_is_file: the stream goes to a file or a device
 * @s: a migration that has its main channel
 *
 * A pipe is none: whoever reads it, a tunnel for one, may be slow.  Any thread,
 * no lock needed.
 */
bool convergence_channel_is_file(MigrationState *s);

/**
 * convergence_channel_sent_bytes: what all channels have taken so far
 * @s: the migration
 *
 * Counts a buffer once all of it was taken, so that it stands still while a
 * send is blocked.  Main thread, BQL held: no other one closes channels.
 */
uint64_t convergence_channel_sent_bytes(MigrationState *s);

/**
 * convergence_channel_shut: nothing more is sent, nor received
 * @s: a migration that has been given up: no longer active
 *
 * Ends each send that is blocked, and has the other side hear of it: also the
 * multifd and postcopy channels.  A pipe cannot be shut down; where Linux lets
 * us, it is made large enough for what is being written.  Any thread, BQL held
 * or not.
 */
void convergence_channel_shut(MigrationState *s);

/**
 * convergence_channel_end_return_path: wait for the return path's thread
 * @s: a migration that has failed or was cancelled in precopy
 *
 * It holds the socket open, and would take the next migration's return path for
 * its own.  Migration thread, BQL not held.
 */
void convergence_channel_end_return_path(MigrationState *s);

#endif /* MIGRATION_CONVERGENCE_CHANNEL_H */
