/*
 * Bits of a word
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FAKE_HOST_UTILS_H
#define FAKE_HOST_UTILS_H

static inline int ctpopl(unsigned long word)
{
    return __builtin_popcountl(word);
}

#endif /* FAKE_HOST_UTILS_H */
