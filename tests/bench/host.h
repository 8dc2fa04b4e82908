/*
 * The host that figures were taken on, described
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGE_BENCH_HOST_H
#define CONVERGE_BENCH_HOST_H

#include <glib.h>

/*
 * A line of JSON: CPU model, CPUs, memory, kernel, system, date, and the
 * versions of the two QEMUs.  Free it.
 */
char *host_json(const char *qemu, const char *peer, const char *accel);

#endif
