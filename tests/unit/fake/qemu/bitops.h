/*
 * Single bits of a bitmap
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FAKE_BITOPS_H
#define FAKE_BITOPS_H

#define BITS_PER_LONG 64

static inline bool test_bit(long n, const unsigned long *bitmap)
{
    return bitmap[n / BITS_PER_LONG] >> (n % BITS_PER_LONG) & 1;
}

#endif /* FAKE_BITOPS_H */
