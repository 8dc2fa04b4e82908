/*
 * Stand-in for QEMU's header in tests of the vCPU slow-down
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FAKE_OSDEP_H
#define FAKE_OSDEP_H

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <glib.h>

typedef struct CPUState CPUState;

#endif /* FAKE_OSDEP_H */
