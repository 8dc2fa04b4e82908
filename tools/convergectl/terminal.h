/*
 * The terminal we write to: its size, its keys, a block drawn over itself
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Where stdout is no terminal nothing here writes anything.
 */

#ifndef CONVERGECTL_TERMINAL_H
#define CONVERGECTL_TERMINAL_H

#include "canvas.h"

typedef struct Terminal Terminal;

Terminal *terminal_open(void);

/* Stands in where none is wanted: draws nothing, has no keys */
Terminal *terminal_none(void);

/* Leaves the last block where it is and gives the terminal back as it was */
void terminal_close(Terminal *terminal);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Terminal, terminal_close)

/* Blocks can be drawn; else: write lines */
gboolean terminal_is_live(const Terminal *terminal);

/* As it is now: who watches may resize it at any moment */
Looks terminal_looks(const Terminal *terminal);

/* In the place of the block before */
void terminal_draw(Terminal *terminal, const Canvas *canvas);

/* To be polled for keys; -1 if there is no keyboard to ask at */
int terminal_key_fd(const Terminal *terminal);

/* A key that has been pressed, 0 if none */
char terminal_key(Terminal *terminal);

/* Around a stop (Ctrl-Z): as it was before us, and ours again */
void terminal_suspend(Terminal *terminal);
void terminal_resume(Terminal *terminal);

#endif
