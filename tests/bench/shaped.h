/*
 * A wire for one migration of the benchmark, steady or not
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGE_BENCH_SHAPED_H
#define CONVERGE_BENCH_SHAPED_H

#include "wire.h"

typedef struct Shaped Shaped;

/*
 * A wire over TCP with the kernel's buffers.  @wavers: it carries that much for
 * some seconds, then a third of it, and so on.  NULL with an error where no
 * port can be had.
 */
Shaped *shaped_new(guint64 bytes_per_s, gboolean wavers, GError **errp);
void shaped_free(Shaped *shaped);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Shaped, shaped_free)

Wire *shaped_wire(Shaped *shaped);

#endif
