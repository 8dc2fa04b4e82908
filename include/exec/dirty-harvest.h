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
 * That second point needs care with KVM's bitmap log under manual protection,
 * which most guests have:
 *
 *      sync        chunk cleared,      sync            sync
 *                  then sent
 *   log ##########|................|..#..#......|.....##..#......|
 *       all set:   none             written      the same ones are reported
 *       says       set              since then   again, and what came since
 *       nothing
 *
 * There a bit stands until its chunk is cleared, which QEMU does before it
 * sends the first page of the chunk.  In a chunk that was cleared since the
 * last sync each bit is a page that was written.  In any other chunk only a
 * page that did not wait is known to have been written; of those that waited
 * already nobody can tell.  They are counted apart, as not seen.
 *
 * Beside include/exec/ram_addr.h, which is included in many places, only
 * migration/convergence*.c and softmmu/dirty-period.c use this: keep it light.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef EXEC_DIRTY_HARVEST_H
#define EXEC_DIRTY_HARVEST_H

#include "qemu/bitops.h"
#include "qemu/host-utils.h"
#include "system/ramblock.h"

/* The sync of one block; dirty_harvest_begin() makes it. */
typedef struct DirtyHarvest {
    const RAMBlock *block;
    /* The log reports a page until its chunk is cleared. */
    bool manual;
    /* Seen written since the last sync. */
    uint64_t pages;
    /* Waited already, and may have been written again or not. */
    uint64_t unseen_pages;
} DirtyHarvest;

/**
 * dirty_harvest_begin: a sync of one block begins
 */
DirtyHarvest dirty_harvest_begin(const RAMBlock *block);

/**
 * dirty_harvest_word: note the dirty bits taken out of one word
 * @word: its index in the block's bitmap, which has not got @bits yet
 */
static inline void dirty_harvest_word(DirtyHarvest *harvest,
                                      unsigned long word, unsigned long bits)
{
    const RAMBlock *block = harvest->block;

    /* A chunk is 64 pages at least, so a word lies in one. */
    if (harvest->manual && block->clear_bmap &&
        test_bit(word * BITS_PER_LONG >> block->clear_bmap_shift,
                 block->clear_bmap)) {
        harvest->unseen_pages += ctpopl(bits & block->bmap[word]);
        bits &= ~block->bmap[word];
    }
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
 * Clears the migration's dirty bits, and KVM's log of them, which no migration
 * may be using.  Called with the BQL and the RCU read lock held, after a sync of
 * the dirty log; in force soon after.
 */
void dirty_harvest_discard(RAMBlock *block);

/**
 * dirty_harvest_count: how many pages of a block have their dirty bit set
 *
 * Called with the RCU read lock held.
 */
uint64_t dirty_harvest_count(RAMBlock *block);

/**
 * dirty_harvest_page: count one page whose bit was cleared, and its writers
 * told, by other means
 */
void dirty_harvest_page(void);

/**
 * dirty_harvest_total_pages: pages that all syncs so far saw written
 *
 * A page counts once a sync that saw it.  Any thread.
 */
uint64_t dirty_harvest_total_pages(void);

/**
 * dirty_harvest_total_unseen_pages: pages that all syncs so far could not tell
 * of whether they were written again.  Any thread.
 */
uint64_t dirty_harvest_total_unseen_pages(void);

/**
 * dirty_harvest_see_rewrites: have writes to pages that wait seen, too
 *
 * Clears the log of all chunks with such pages, ahead of their being sent.
 * Does nothing where no log is cleared by hand.  Takes some ms for each GiB
 * that waits.  Migration thread, with the lock of the migration's bitmap and
 * without the BQL.
 */
void dirty_harvest_see_rewrites(void);

#endif /* EXEC_DIRTY_HARVEST_H */
