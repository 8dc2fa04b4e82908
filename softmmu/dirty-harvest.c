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
#include "qemu/units.h"
#include "cpu.h"
#include "exec/dirty-harvest.h"
#include "exec/cputlb.h"
#include "system/memory.h"
#include "system/ram_addr.h"
#include "system/ramblock.h"
#include "sysemu/dirty-meter.h"
#include "sysemu/kvm.h"
#include "sysemu/replay.h"
#include "sysemu/tcg.h"

#ifdef CONFIG_KVM
#include "sysemu/kvm_int.h"
#endif

static Stat64 total_pages;
static Stat64 total_unseen_pages;

static bool log_is_cleared_by_hand(void)
{
#ifdef CONFIG_KVM
    return kvm_enabled() && kvm_state->manual_dirty_log_protect;
#else
    return false;
#endif
}

DirtyHarvest dirty_harvest_begin(const RAMBlock *block)
{
    return (DirtyHarvest) {
        .block = block,
        .manual = log_is_cleared_by_hand(),
    };
}

/*
 * What a vCPU dirties from here on belongs to the next harvest.  By the end of
 * the sync, which waits for all vCPUs, that can be all of its memory again.
 */
static void note_vcpus(void)
{
    CPUState *cpu;

    dirty_meter_look_at_all();
    CPU_FOREACH(cpu) {
        VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;

        qatomic_set_u64(&dirty->harvested_touched_pages,
                        qatomic_read_u64(&cpu->dirty_pages));
        qatomic_set_u64(&dirty->harvested_new_pages,
                        qatomic_read_u64(&dirty->new_pages));
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
    stat64_add(&total_unseen_pages, harvest->unseen_pages);
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
    if (log_is_cleared_by_hand()) {
        /* In pieces: KVM keeps vCPUs that fault waiting for each. */
        for (ram_addr_t at = 0; at < block->used_length; at += GiB) {
            memory_region_clear_dirty_bitmap(block->mr, at,
                                             MIN(GiB, block->used_length - at));
        }
    }
}

uint64_t dirty_harvest_count(RAMBlock *block)
{
    DirtyMemoryBlocks *dirty =
        qatomic_rcu_read(&ram_list.dirty_memory[DIRTY_MEMORY_MIGRATION]);
    unsigned long page = block->offset >> TARGET_PAGE_BITS;
    unsigned long end = page + (block->used_length >> TARGET_PAGE_BITS);
    uint64_t pages = 0;

    for (; page < end; page++) {
        pages += test_bit(page % DIRTY_MEMORY_BLOCK_SIZE,
                          dirty->blocks[page / DIRTY_MEMORY_BLOCK_SIZE]);
    }
    return pages;
}

void dirty_harvest_page(void)
{
    stat64_add(&total_pages, 1);
}

uint64_t dirty_harvest_total_pages(void)
{
    return stat64_get(&total_pages);
}

uint64_t dirty_harvest_total_unseen_pages(void)
{
    return stat64_get(&total_unseen_pages);
}

static void clear_log(RAMBlock *block, unsigned long first, unsigned long end)
{
    if (first < end) {
        memory_region_clear_dirty_bitmap(block->mr,
            (ram_addr_t)first << TARGET_PAGE_BITS,
            (ram_addr_t)(end - first) << TARGET_PAGE_BITS);
    }
}

/*
 * A chunk in which nothing waits has no bit in the log that was seen, and all
 * that comes is news: it can be left alone.  Chunks side by side are cleared in
 * one go, up to 1 GiB, for which KVM keeps vCPUs that fault waiting.
 */
static void clear_log_of_waiting(RAMBlock *block)
{
    unsigned long chunk_pages = 1UL << block->clear_bmap_shift;
    unsigned long most_pages = MAX(chunk_pages, GiB >> TARGET_PAGE_BITS);
    unsigned long pages = block->used_length >> TARGET_PAGE_BITS;
    unsigned long page = 0, first = 0, end = 0;

    while ((page = find_next_bit(block->bmap, pages, page)) < pages) {
        unsigned long chunk = QEMU_ALIGN_DOWN(page, chunk_pages);

        page = MIN(chunk + chunk_pages, pages);
        if (!clear_bmap_test_and_clear(block, chunk)) {
            continue;
        }
        if (chunk != end || page - first > most_pages) {
            clear_log(block, first, end);
            first = chunk;
        }
        end = page;
    }
    clear_log(block, first, end);
}

void dirty_harvest_see_rewrites(void)
{
    RAMBlock *block;

    if (!log_is_cleared_by_hand()) {
        return;
    }
    RCU_READ_LOCK_GUARD();
    RAMBLOCK_FOREACH(block) {
        if (block->bmap && block->clear_bmap) {
            clear_log_of_waiting(block);
        }
    }
}
