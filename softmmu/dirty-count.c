/*
 * Count what single vCPUs dirty, and what of it adds to a migration's work
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "cpu.h"
#include "system/memory.h"
#include "system/ram_addr.h"
#include "system/ramblock.h"
#include "sysemu/dirty-count.h"

/*
 * The migration's bitmap is there, and so many threads look at it (atomic).  No
 * RCU: a vCPU of TCG is in a read section for as long as it is in guest code,
 * which can be for ever.
 */
static bool migrating;
static int askers;

void dirty_count_set_migrating(bool now)
{
    qatomic_set(&migrating, now);
    /* Pairs with the barrier in waits(). */
    smp_mb();
    while (!now && qatomic_read(&askers)) {
        /* Some instructions, on a vCPU's thread that may be preempted. */
        g_thread_yield();
    }
}

/* Called within an RCU read section, as the list of blocks is. */
static bool is_set_in_bitmap(ram_addr_t addr)
{
    RAMBlock *block;

    RAMBLOCK_FOREACH(block) {
        if (addr - block->offset < block->used_length) {
            return block->bmap &&
                   test_bit((addr - block->offset) >> TARGET_PAGE_BITS,
                            block->bmap);
        }
    }
    return false;
}

/* Whether a page waits to be sent; false while there is no migration. */
static bool waits(ram_addr_t addr)
{
    bool is_set;

    if (!qatomic_read(&migrating)) {
        return false;
    }
    RCU_READ_LOCK_GUARD();
    qatomic_inc(&askers);
    smp_mb();
    is_set = qatomic_read(&migrating) && is_set_in_bitmap(addr);
    qatomic_dec(&askers);
    return is_set;
}

static void count(uint64_t *counter, uint64_t pages)
{
    /* One thread at a time: this vCPU's own, or who holds the BQL. */
    qatomic_set_u64(counter, qatomic_read_u64(counter) + pages);
}

bool dirty_count_page(CPUState *cpu, ram_addr_t addr)
{
    count(&cpu->dirty_pages, 1);
    if (waits(addr)) {
        return false;
    }
    count(&cpu->slowdown.dirty.new_pages, 1);
    return true;
}

void dirty_count_pages(CPUState *cpu, uint64_t pages)
{
    count(&cpu->dirty_pages, pages);
    count(&cpu->slowdown.dirty.new_pages, pages);
}
