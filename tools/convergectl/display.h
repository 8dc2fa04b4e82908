/*
 * A migration, told to people: a block, a line, a verdict
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_DISPLAY_H
#define CONVERGECTL_DISPLAY_H

#include "canvas.h"
#include "exit-status.h"
#include "track.h"

typedef struct DisplayText {
    const char *title;      /* what goes where */
    const char *notice;     /* NULL; else what is asked of, or to be known by,
                               who watches */
} DisplayText;

/* The block that is drawn over and over on a terminal */
void display_block(Canvas *canvas, const DisplayText *text,
                   const Look *look, const Track *track);

/* One line for a log, without a newline */
char *display_line(const Look *look, const Track *track);

/* How the migration ended, without a newline, in one sentence */
char *display_verdict(const Look *look, const Track *track);

/* What @look's status is to scripts, if it is an end */
ExitStatus display_exit_status(const Look *look);

#endif
