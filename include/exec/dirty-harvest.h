/*
 * What a sync of a RAM block's dirty bitmap took out of it
 *
 * The sync clears dirty bits a word at a time and must not end there:
 *
 * - TCG's vCPUs keep in their TLBs that a page is dirty already and that a
 *   write to it need not be seen.  Once the bit is cleared that is no longer
 *   so.  A vCPU that is not told goes on writing unseen, its page is not sent
 *   again, and the guest arrives with stale memory.
 * - The pages it found, whether or not they already waited to be sent, are the
 *   guest's true dirty rate, which the sync's own result saturates away.
 *
 * For include/exec/ram_addr.h alone, which is included in many places: keep
 * this header light.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef EXEC_DIRTY_HARVEST_H
#define EXEC_DIRTY_HARVEST_H

#include "qemu/host-utils.h"

/* Zero-initialised: nothing harvested yet. */
typedef struct DirtyHarvest {
    uint64_t pages;
    /* First and last word of the block's bitmap that had a bit set. */
    uint64_t first_word;
    uint64_t last_word;
} DirtyHarvest;

/**
 * dirty_harvest_word: note the dirty bits taken out of one word
 * @word: its index in the bitmap of the block, in ascending order
 */
static inline void dirty_harvest_word(DirtyHarvest *harvest, uint64_t word,
                                      unsigned long bits)
{
    if (!harvest->pages) {
        harvest->first_word = word;
    }
    harvest->last_word = word;
    harvest->pages += ctpopl(bits);
}

/**
 * dirty_harvest_finish: have writes to the harvested pages seen again
 *
 * Called with the RCU read lock held, after the last word.
 */
void dirty_harvest_finish(RAMBlock *block, const DirtyHarvest *harvest);

/**
 * dirty_harvest_page: count one page whose bit was cleared, and its writers
 * told, by other means
 */
void dirty_harvest_page(void);

/**
 * dirty_harvest_total_pages: pages found dirty by all syncs so far
 *
 * A page counts once a sync that found it dirty.  Any thread.
 */
uint64_t dirty_harvest_total_pages(void);

#endif /* EXEC_DIRTY_HARVEST_H */
