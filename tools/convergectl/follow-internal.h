/*
 * What following a migration and showing it share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_FOLLOW_INTERNAL_H
#define CONVERGECTL_FOLLOW_INTERNAL_H

#include "follow.h"
#include "terminal.h"
#include "track.h"

typedef struct Follow {
    QmpClient *qmp;
    const FollowOptions *options;
    Terminal *terminal;
    Track *track;
    Look *look;                     /* the last one; NULL before the first */
    int signal_fd;
    gint64 start_us;
    gint64 heard_us;                /* when QEMU last answered */
    gint64 cancel_us;               /* when we cancelled; 0: not */
    gint64 next_line_ms;
    char *shown_state;              /* of the last line that told a state */
    gboolean reason_shown;          /* ... and whether it had a reason */
    gboolean endless_shown;         /* ... and told that it does not converge */
    char *event_status;             /* of the last MIGRATION event */
    gboolean asking;                /* whether to cancel */
    gboolean introduced;            /* the recording tells whose it is */
    gboolean waited;                /* and so have seen it begin */
    gboolean begun;                 /* the migration to follow is there */
    gboolean over;
    ExitStatus status;
} Follow;

gint64 follow_ms_since(gint64 us);

/* No further look will be taken */
void follow_end(Follow *f, ExitStatus status);

/* The block again, where there is one: something but the look has changed */
void follow_draw(Follow *f);

/* The last look, in whatever form is wanted */
void follow_show(Follow *f);

/* How it ended; after follow_end() */
void follow_tell(Follow *f, const char *outcome, const char *text);

#endif
