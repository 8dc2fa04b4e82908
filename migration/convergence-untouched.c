/*
 * Convergence engine, QEMU side: guest RAM that is not there, or was never
 * touched
 *
 * What the host never gave memory for reads as zero and takes no time on the
 * wire.  In a young guest, or a generously sized one, that is most of its RAM,
 * and a forecast that takes it for work is off by as much.
 *
 *   untouched = pages that wait to be sent, and that the host has not mapped
 *             + those among them that it has mapped, but holds nothing for
 *             - those that were swapped out
 *
 * The second is for a guest that was migrated before, or in vain: reading a
 * page maps the host's page of zeroes there, which mincore() takes for memory
 * and the process's account does not.
 *
 * Pages that do not wait are no work, and what they are does not matter: memory
 * that is not plugged (virtio-mem), and what the guest said is free.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/rcu.h"
#include "qemu/units.h"
#include "qapi/qapi-commands-machine.h"
#include "exec/cpu-common.h"
#include "system/memory.h"
#include "system/ramblock.h"
#include "exec/target_page.h"
#include "hw/boards.h"
#include "hw/mem/memory-device.h"
#include "migration/convergence.h"
#include "migration.h"
#include "ram.h"

static void add_discarded(MemoryRegionSection *section, void *opaque)
{
    uint64_t *discarded_bytes = opaque;

    *discarded_bytes += int128_get64(section->size);
}

static int add_discarded_of(RAMBlock *block, void *opaque)
{
    if (block->mr && memory_region_has_ram_discard_manager(block->mr)) {
        MemoryRegionSection all = {
            .mr = block->mr,
            .size = int128_make64(qemu_ram_get_used_length(block)),
        };

        ram_discard_manager_replay_discarded(
            memory_region_get_ram_discard_manager(block->mr), &all,
            add_discarded, opaque);
    }
    return 0;
}

/* What a balloon may be filled with: the machine's RAM and its DIMMs. */
static uint64_t ram_under_balloon_bytes(void)
{
    MemoryDeviceInfoList *devices = qmp_memory_device_list();
    uint64_t bytes = MACHINE(qdev_get_machine())->ram_size;

    for (MemoryDeviceInfoList *d = devices; d; d = d->next) {
        if (d->value->type == MEMORY_DEVICE_INFO_KIND_DIMM) {
            bytes += d->value->u.dimm.data->size;
        }
    }
    qapi_free_MemoryDeviceInfoList(devices);
    return bytes;
}

static uint64_t ballooned_bytes(void)
{
    g_autoptr(BalloonInfo) balloon = qmp_query_balloon(NULL);
    uint64_t ram_bytes = balloon ? ram_under_balloon_bytes() : 0;

    return balloon && balloon->actual < ram_bytes ?
           ram_bytes - balloon->actual : 0;
}

uint64_t convergence_present_bytes(void)
{
    uint64_t absent_bytes = ballooned_bytes();
    uint64_t ram_bytes = ram_bytes_total();

    WITH_RCU_READ_LOCK_GUARD() {
        foreach_not_ignored_block(add_discarded_of, &absent_bytes);
    }
    return ram_bytes > absent_bytes ? ram_bytes - absent_bytes : 0;
}

#ifdef CONFIG_LINUX
#include <sys/mman.h>

/* What is asked about in one go. */
#define CHUNK_BYTES (2 * MiB)
/*
 * So many chunks, spread evenly, are looked at: all of 8 GiB, and of more
 * a part that settles the share within 2 %.  Each takes some microseconds.
 */
#define CHUNKS_MAX 4096

typedef struct Census {
    /* Chunks in which something waits. */
    uint64_t chunks;
    uint64_t chunk_step;        /* look at each so many'th of them */
    uint64_t nth;
    uint64_t waiting_bytes;
    /* Of those looked at. */
    uint64_t mapped_bytes;
    uint64_t unmapped_bytes;
    bool unknown;
    /* A byte a page, for pages of 4 KiB and larger ones. */
    unsigned char mapped[CHUNK_BYTES / (4 * KiB)];
} Census;

static uint64_t waiting_bytes(RAMBlock *block, uint64_t at, size_t bytes)
{
    size_t page_bytes = qemu_target_page_size();

    return bitmap_count_one_with_offset(block->bmap, at / page_bytes,
                                        bytes / page_bytes) * page_bytes;
}

static void look_at(RAMBlock *block, uint64_t at, size_t bytes,
                    Census *census)
{
    uint8_t *host = qemu_ram_get_host_addr(block);
    size_t host_page_bytes = qemu_real_host_page_size();
    size_t page_bytes = qemu_target_page_size();

    if (mincore(host + at, bytes, census->mapped) != 0) {
        /* The host does not say. */
        census->unknown = true;
        return;
    }
    for (size_t i = 0; i < bytes; i += page_bytes) {
        if (!test_bit((at + i) / page_bytes, block->bmap)) {
            continue;
        }
        if (census->mapped[i / host_page_bytes] & 1) {
            census->mapped_bytes += page_bytes;
        } else {
            census->unmapped_bytes += page_bytes;
        }
    }
}

/* Counts chunks, and where chunk_step is set looks at some. */
static int for_chunks(RAMBlock *block, void *opaque)
{
    Census *census = opaque;
    uint64_t bytes = block->bmap ? qemu_ram_get_used_length(block) : 0;

    for (uint64_t at = 0; at < bytes; at += CHUNK_BYTES) {
        size_t chunk_bytes = MIN(CHUNK_BYTES, bytes - at);
        uint64_t waiting = waiting_bytes(block, at, chunk_bytes);

        if (!waiting) {
            continue;
        }
        if (!census->chunk_step) {
            census->chunks++;
            census->waiting_bytes += waiting;
            /* Of shared memory, what was swapped out looks like a hole. */
            census->unknown |= qemu_ram_is_shared(block);
        } else if (census->nth++ % census->chunk_step == 0) {
            look_at(block, at, chunk_bytes, census);
        }
    }
    return 0;
}

/* A line of /proc/self/status, in bytes. */
static uint64_t process_bytes(const char *status, const char *name)
{
    const char *line = strstr(status, name);
    uint64_t kib = 0;

    if (line) {
        sscanf(line + strlen(name), ": %" SCNu64, &kib);
    }
    return kib * KiB;
}

static double part(double bytes, double of_bytes)
{
    return of_bytes > 0 ? MIN(MAX(bytes, 0) / of_bytes, 1) : 0;
}

/* What mincore() is wrong about, by the process's account. */
static bool take_account(ConvergenceUntouched *untouched,
                         double mapped_bytes, double unmapped_bytes)
{
    g_autofree char *status = NULL;
    uint64_t held_bytes;

    if (!g_file_get_contents("/proc/self/status", &status, NULL, NULL)) {
        return false;
    }
    held_bytes = process_bytes(status, "\nVmRSS") +
                 process_bytes(status, "\nHugetlbPages");
    untouched->zero_part = part(mapped_bytes - held_bytes, mapped_bytes);
    untouched->swapped_part = part(process_bytes(status, "\nVmSwap"),
                                   unmapped_bytes);
    untouched->has_account = true;
    return true;
}

uint64_t convergence_untouched_bytes(ConvergenceUntouched *untouched)
{
    Census census = { 0 };
    double all_per_seen;

    RCU_READ_LOCK_GUARD();
    foreach_not_ignored_block(for_chunks, &census);
    if (census.unknown || !census.chunks) {
        return 0;
    }
    census.chunk_step = 1 + census.chunks / CHUNKS_MAX;
    foreach_not_ignored_block(for_chunks, &census);
    if (census.unknown || !(census.mapped_bytes + census.unmapped_bytes)) {
        return 0;
    }
    all_per_seen = (double)census.waiting_bytes /
                   (census.mapped_bytes + census.unmapped_bytes);
    /* Later, what was sent as a page of zeroes counts as mapped, too. */
    if (!untouched->has_account &&
        !take_account(untouched, census.mapped_bytes * all_per_seen,
                      census.unmapped_bytes * all_per_seen)) {
        return 0;
    }
    return (census.unmapped_bytes * (1 - untouched->swapped_part) +
            census.mapped_bytes * untouched->zero_part) * all_per_seen;
}
#else
uint64_t convergence_untouched_bytes(ConvergenceUntouched *untouched)
{
    return 0;
}
#endif
