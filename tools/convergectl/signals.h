/*
 * Signals as something to be polled
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * A handler could not ask a question or send a command; the loop that
 * follows a migration can.  Children started after signals_open() inherit
 * the blocked signals: start none.
 */

#ifndef CONVERGECTL_SIGNALS_H
#define CONVERGECTL_SIGNALS_H

/* SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP and SIGWINCH; -1 on failure */
int signals_open(void);

/* The next one that came, 0 if none */
int signals_next(int fd);

/* As they were before */
void signals_close(int fd);

#endif
