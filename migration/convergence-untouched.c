/*
 * Convergence engine, QEMU side: guest RAM that was never touched
 *
 * What the host never gave memory for reads as zero and takes no time on the
 * wire.  In a young guest, or a generously sized one, that is most of its RAM,
 * and a forecast that takes it for work is off by as much.
 *
 *   untouched = RAM - min(pages that the host has mapped,
 *                         what the process holds in memory) - swapped out
 *
 * The second part of min() is for a guest that was migrated before, or in
 * vain: reading a page maps the host's page of zeroes there, which mincore()
 * takes for memory and the process's account does not.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "qemu/units.h"
#include "exec/cpu-common.h"
#include "migration/convergence.h"
#include "migration.h"

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
    uint64_t chunk_step;        /* look at each so many'th chunk */
    uint64_t ram_bytes;
    uint64_t seen_bytes;
    uint64_t mapped_bytes;      /* of those seen */
    bool unknown;
    /* A byte a page, for pages of 4 KiB and larger ones. */
    unsigned char mapped[CHUNK_BYTES / (4 * KiB)];
} Census;

/* False: the host does not say. */
static bool count_mapped(const uint8_t *host, size_t bytes, Census *census)
{
    size_t page_bytes = qemu_real_host_page_size();
    size_t n = DIV_ROUND_UP(bytes, page_bytes);

    if (mincore((void *)host, bytes, census->mapped) != 0) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        census->mapped_bytes += census->mapped[i] & 1 ? page_bytes : 0;
    }
    census->seen_bytes += n * page_bytes;
    return true;
}

static int add_size(RAMBlock *block, void *opaque)
{
    Census *census = opaque;

    census->ram_bytes += qemu_ram_get_used_length(block);
    /* Of shared memory, parts that were swapped out look like holes. */
    census->unknown |= qemu_ram_is_shared(block);
    return 0;
}

static int add_mapped(RAMBlock *block, void *opaque)
{
    Census *census = opaque;
    uint8_t *host = qemu_ram_get_host_addr(block);
    uint64_t bytes = qemu_ram_get_used_length(block);

    for (uint64_t at = 0; host && at < bytes;
         at += CHUNK_BYTES * census->chunk_step) {
        if (!count_mapped(host + at, MIN(CHUNK_BYTES, bytes - at), census)) {
            census->unknown = true;
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

uint64_t convergence_untouched_bytes(void)
{
    Census census = { 0 };
    g_autofree char *status = NULL;
    uint64_t held_bytes, swapped_bytes, mapped_bytes, touched_bytes;

    if (!g_file_get_contents("/proc/self/status", &status, NULL, NULL)) {
        return 0;
    }
    held_bytes = process_bytes(status, "\nVmRSS") +
                 process_bytes(status, "\nHugetlbPages");
    swapped_bytes = process_bytes(status, "\nVmSwap");

    RCU_READ_LOCK_GUARD();
    foreach_not_ignored_block(add_size, &census);
    if (census.unknown) {
        return 0;
    }
    census.chunk_step = 1 + census.ram_bytes / (CHUNK_BYTES * CHUNKS_MAX);
    foreach_not_ignored_block(add_mapped, &census);
    if (census.unknown || !census.seen_bytes) {
        return 0;
    }
    mapped_bytes = (double)census.mapped_bytes / census.seen_bytes *
                   census.ram_bytes;
    touched_bytes = MIN(mapped_bytes, held_bytes) + swapped_bytes;
    return census.ram_bytes - MIN(census.ram_bytes, touched_bytes);
}
#else
uint64_t convergence_untouched_bytes(void)
{
    return 0;
}
#endif
