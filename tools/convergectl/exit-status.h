/*
 * What convergectl's exit status says; scripts rely on it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_EXIT_STATUS_H
#define CONVERGECTL_EXIT_STATUS_H

typedef enum ExitStatus {
    EXIT_COMPLETED = 0,     /* or, without a migration: done as asked */
    EXIT_FAILED = 1,        /* the migration failed, or could not start */
    EXIT_USAGE = 2,         /* the command line is wrong */
    EXIT_CANCELLED = 3,     /* by us or by somebody else */
    EXIT_LOST = 4,          /* no, or no more, connection to QEMU */
    EXIT_DETACHED = 5,      /* the migration still runs, unobserved */
    EXIT_NO_CONVERGENCE = 6, /* check: it would not converge */
    EXIT_UNTOLD = 7,        /* check: the guest does not run, or migrates */
    EXIT_SOME_LEFT = 8,     /* evacuate: some guests are still there */
} ExitStatus;

#endif
