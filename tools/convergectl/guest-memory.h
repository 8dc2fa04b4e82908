/*
 * How much of a guest's RAM was ever touched
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * A migration looks at the rest, and sends next to nothing for it.
 */

#ifndef CONVERGECTL_GUEST_MEMORY_H
#define CONVERGECTL_GUEST_MEMORY_H

#include <glib.h>

/*
 * As the kernel tells of the process @pid, whose guest has @ram_bytes: at most
 * so much.  Negative if it does not tell: another user's process, or not QEMU.
 */
double guest_memory_touched(GPid pid, double ram_bytes);

/* The same, from the text of its /proc/PID/smaps */
double guest_memory_touched_of(const char *smaps, double ram_bytes);

#endif
