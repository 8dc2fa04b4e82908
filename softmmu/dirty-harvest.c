/*
 * What a sync of a RAM block's dirty bitmap took out of it
 *
 * Each vCPU flags the entries of its TLB itself, as work of its own thread.
 * To do that for them, from here, takes the lock of each TLB, which spins: with
 * more vCPUs than host CPUs its holder may well not be running, and the caller,
 * which has the BQL, waits for half a second.
 *
 * All entries are flagged, not those of one range: of the others most are
 * flagged anyway, and the rest cost one slow write each.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/stats64.h"
#include "cpu.h"
#include "exec/dirty-harvest.h"
#include "exec/exec-all.h"
#include "exec/ram_addr.h"
#include "exec/ramblock.h"
#include "sysemu/replay.h"
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

static void flag_tlb(CPUState *cpu, run_on_cpu_data unused)
{
    tlb_reset_dirty(cpu, 0, RAM_ADDR_MAX);
}

static void flag_tlbs(void)
{
    CPUState *cpu;

    if (!tcg_enabled()) {
        return;
    }
    CPU_FOREACH(cpu) {
        if (replay_mode == REPLAY_MODE_NONE) {
            async_run_on_cpu(cpu, flag_tlb, RUN_ON_CPU_NULL);
        } else {
            /* One thread for all, and no waiting for it after a sync. */
            flag_tlb(cpu, RUN_ON_CPU_NULL);
        }
    }
}

void dirty_harvest_finish(const DirtyHarvest *harvest)
{
    if (harvest->pages) {
        stat64_add(&total_pages, harvest->pages);
        note_vcpus();
        flag_tlbs();
    }
}

void dirty_harvest_discard(RAMBlock *block)
{
    DirtyMemoryBlocks *dirty =
        qatomic_rcu_read(&ram_list.dirty_memory[DIRTY_MEMORY_MIGRATION]);
    unsigned long page = block->offset >> TARGET_PAGE_BITS;
    unsigned long end = page + (block->used_length >> TARGET_PAGE_BITS);
    bool any = false;

    while (page < end) {
        unsigned long first = page % DIRTY_MEMORY_BLOCK_SIZE;
        unsigned long n = MIN(end - page, DIRTY_MEMORY_BLOCK_SIZE - first);

        any |= bitmap_test_and_clear_atomic(
            dirty->blocks[page / DIRTY_MEMORY_BLOCK_SIZE], first, n);
        page += n;
    }
    if (any) {
        flag_tlbs();
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
