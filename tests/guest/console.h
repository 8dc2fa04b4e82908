/*
 * Lines to the host: whole, checksummed, and never worth waiting for
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GUEST_CONSOLE_H
#define GUEST_CONSOLE_H

#include <stdbool.h>

#define CONSOLE_LINE_BYTES 3072

/* Before any thread starts.  False if @path is not a terminal we can open. */
bool console_open(const char *path);

/*
 * Send one line.  @must_arrive waits (at most some seconds) for a host that
 * does not read; without it such a line is dropped, since a report that is
 * late is worth less than a load that goes on.  Any thread may call.
 */
void console_say(bool must_arrive, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Wait until the host has taken what was said. */
void console_drain(void);

#endif
