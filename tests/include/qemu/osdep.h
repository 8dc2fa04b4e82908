/*
 * What the convergence engine takes from QEMU's header of this name
 *
 * The engine is pure C, and this is all of QEMU that it may see: a file of
 * the engine that needs more does not compile in the unit tests and in the
 * simulator, and is in the wrong place.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef CONVERGE_TESTS_OSDEP_H
#define CONVERGE_TESTS_OSDEP_H

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <glib.h>

#define QEMU_BUILD_BUG_ON(condition) \
    _Static_assert(!(condition), "build bug: " #condition)

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(array) G_N_ELEMENTS(array)
#endif

#ifndef MIN_CONST
#define MIN_CONST(a, b) MIN(a, b)
#define MAX_CONST(a, b) MAX(a, b)
#endif

#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))

#endif /* CONVERGE_TESTS_OSDEP_H */
