/*
 * As much of a RAM block as include/exec/dirty-harvest.h takes
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FAKE_RAMBLOCK_H
#define FAKE_RAMBLOCK_H

typedef uint64_t ram_addr_t;

typedef struct RAMBlock {
    unsigned long *bmap;
    unsigned long *clear_bmap;
    uint8_t clear_bmap_shift;
} RAMBlock;

#endif /* FAKE_RAMBLOCK_H */
