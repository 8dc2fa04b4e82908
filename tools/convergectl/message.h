/*
 * What convergectl says, to people and to programs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_MESSAGE_H
#define CONVERGECTL_MESSAGE_H

#include "exit-status.h"
#include "track.h"

/* To stderr, one line, after "convergectl: error: " and "convergectl: " */
void message_error(const char *format, ...) G_GNUC_PRINTF(1, 2);
void message_note(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* JSON lines on stdout: an event of QEMU, and the last line of all */
void message_json_event(JsonObject *event);
void message_json_verdict(const char *outcome, ExitStatus status,
                          const char *text, const Look *look,
                          const Track *track);

#endif
