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
} DirtyHarvest;

/**
 * dirty_harvest_word: note the dirty bits taken out of one word
 */
static inline void dirty_harvest_word(DirtyHarvest *harvest,
                                      unsigned long bits)
{
    harvest->pages += ctpopl(bits);
}

/**
 * dirty_harvest_finish: have writes to the harvested pages seen again
 *
 * In force when memory_global_after_dirty_log_sync() returns, which waits for
 * each vCPU.  Called after the last word of a block.
 */
void dirty_harvest_finish(const DirtyHarvest *harvest);

/**
 * dirty_harvest_discard: have the next write to each page of a block seen
 *
 * Clears the migration's dirty bits, which no migration may be using.  Called
 * with the BQL and the RCU read lock held; in force soon after.
 */
void dirty_harvest_discard(RAMBlock *block);

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
