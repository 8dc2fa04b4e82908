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

/* Where a stream goes to. */
typedef enum ConvergenceChannel {
    CONVERGENCE_CHANNEL_LINK,   /* a socket, or whatever a command does */
    CONVERGENCE_CHANNEL_PIPE,   /* a tunnel, or somebody who writes a file */
    CONVERGENCE_CHANNEL_FILE,   /* or a device */
} ConvergenceChannel;

/**
 * convergence_channel_of: what kind the main channel is
 * @s: a migration that has one
 *
 * Any thread, no lock needed.
 */
ConvergenceChannel convergence_channel_of(MigrationState *s);

/**
 * convergence_channel_socket: the socket of the main channel, below TLS
 * @s: a migration that has one
 *
 * Returns: its file descriptor, or -1 if it is no socket.
 */
int convergence_channel_socket(MigrationState *s);

/**
 * convergence_channel_sent_bytes: what all channels have carried so far
 * @s: the migration
 *
 * As far as is known: it changes as long as something moves, also while a send
 * is blocked and the socket's queue drains.  The migration thread, or the main thread with the BQL held.
 */
uint64_t convergence_channel_sent_bytes(MigrationState *s);

/**
 * convergence_channel_shut: nothing more is sent, nor received
 * @s: a migration that has been given up: no longer active
 *
 * Ends each send that is blocked, and has the other side hear of it: also the
 * multifd and postcopy channels.  A pipe cannot be shut down; where Linux lets
 * us, it is made large enough for what is being written.  That of a command
 * (exec:) is left alone: to close it is to wait for the command.  Any thread,
 * BQL held or not.
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
