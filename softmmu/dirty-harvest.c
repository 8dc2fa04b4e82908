/*
 * What a sync of a RAM block's dirty bitmap took out of it
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/stats64.h"
#include "cpu.h"
#include "exec/dirty-harvest.h"
#include "exec/exec-all.h"
#include "exec/ramblock.h"
#include "sysemu/tcg.h"

static Stat64 total_pages;

/*
 * What a vCPU dirties from here on belongs to the next harvest.  By the end of
 * the sync, which waits for all vCPUs, that can be all of its memory again.
 */
static void note_vcpus(void)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        qatomic_set_u64(&cpu->slowdown.dirty.harvested_pages,
                        qatomic_read_u64(&cpu->dirty_pages));
    }
}

/*
 * Flags the entries of all TLBs that point into a range of the block, which is
 * a walk over each TLB, whatever the range: so it is done once for the span of
 * what was dirty, not word by word.  A vCPU that is amid a store finishes it;
 * the sync's caller waits for that in memory_global_after_dirty_log_sync().
 */
static void flag_tlbs(RAMBlock *block, const DirtyHarvest *harvest)
{
    uint64_t word_bytes = (uint64_t)BITS_PER_LONG << TARGET_PAGE_BITS;
    uintptr_t host = (uintptr_t)block->host + harvest->first_word * word_bytes;
    uint64_t words = harvest->last_word - harvest->first_word + 1;
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        tlb_reset_dirty(cpu, host, words * word_bytes);
    }
}

void dirty_harvest_finish(RAMBlock *block, const DirtyHarvest *harvest)
{
    if (!harvest->pages) {
        return;
    }
    stat64_add(&total_pages, harvest->pages);
    note_vcpus();
    if (tcg_enabled()) {
        flag_tlbs(block, harvest);
    }
}

void dirty_harvest_page(void)
{
    stat64_add(&total_pages, 1);
}

uint64_t dirty_harvest_total_pages(void)
{
    return stat64_get(&total_pages);
}
