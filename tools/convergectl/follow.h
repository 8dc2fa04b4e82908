/*
 * Following a migration to its end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_FOLLOW_H
#define CONVERGECTL_FOLLOW_H

#include "exit-status.h"
#include "qmp.h"
#include "recording.h"

typedef enum FollowOutput {
    FOLLOW_AUTO,            /* a block on a terminal, else lines */
    FOLLOW_PLAIN,
    FOLLOW_JSON,
    FOLLOW_SILENT,          /* the recording is all the output there is */
} FollowOutput;

typedef struct FollowOptions {
    const char *title;
    const char *guest;      /* to be recorded, if QEMU knows no name */
    FollowOutput output;
    int interval_ms;
    gboolean cancel;        /* at once */
    gboolean owner;         /* we started it: an interrupt offers to cancel */
    int silence_s;          /* that long QEMU may be silent; 0: the usual */
    int wait_s;             /* for one to begin; 0: do not, < 0: for ever */
    Recording *recording;   /* NULL: none */
    /* That the destination must have, too: to be told if it fails; or NULL */
    const char *shared_capabilities;
} FollowOptions;

/* Never returns without having said, on stdout or stderr, what came of it */
ExitStatus follow(QmpClient *qmp, const FollowOptions *options);

#endif
