/*
 * The order of those that will put back what a QEMU was set to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Each keeps what it found, which may be what another one has set.  So they put
 * it back in the reverse order of their coming: the first has the last word.
 * A place is a name that the kernel forgets with the process that holds it.
 */

#ifndef CONVERGECTL_GUARD_PLACE_H
#define CONVERGECTL_GUARD_PLACE_H

#include <glib.h>

typedef struct GuardPlace {
    int fd;                     /* -1: none */
    int number;                 /* from 1 on */
} GuardPlace;

/*
 * The next place at the QMP socket @path.  To be taken while connected to it,
 * before it is asked what it is set to: nobody else is then.
 */
GuardPlace guard_place_take(const char *path);

/* Somebody has come after that one; with 0: anybody is there */
gboolean guard_place_is_followed(const char *path, int number);

#endif
