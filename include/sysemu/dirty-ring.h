/*
 * KVM's dirty rings as a meter of what single vCPUs dirty
 *
 * KVM writes an entry into a vCPU's ring for each mark_page_dirty() on its
 * behalf.  That is more than the pages that it newly dirtied: KVM's own writes
 * (steal time, clock pages) push an entry each time, and each page in use is
 * pushed again after a ring was reset, which happens once a second and whenever
 * some ring is full.  So entries are not counted but looked at: one counts if
 * its page is new since the last harvest of the dirty bitmap.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSEMU_DIRTY_RING_H
#define SYSEMU_DIRTY_RING_H

#include "exec/cpu-common.h"

/* The layout of KVM's struct kvm_dirty_gfn. */
typedef struct DirtyRingEntry {
    uint32_t flags;
    uint32_t slot;
    uint64_t offset;
} DirtyRingEntry;

#define DIRTY_RING_ENTRY_DIRTY  (1u << 0)
#define DIRTY_RING_ENTRY_RESET  (1u << 1)

/**
 * dirty_ring_walk: visit entries that were not harvested yet
 * @ring: the entries
 * @size: how many there are, a power of two
 * @fetch: the next entry to harvest; counts on past @size
 * @seen: what the last walk returned; entries before it are passed over, unless
 *        they were harvested since
 * @visit: called for each entry, in order
 *
 * Dirtied entries follow @fetch without a gap.  The producer, in the kernel,
 * may append meanwhile; nobody may harvest.  Returns: the next entry.
 */
typedef void DirtyRingVisit(void *opaque, const DirtyRingEntry *entry);
uint32_t dirty_ring_walk(const DirtyRingEntry *ring, uint32_t size,
                         uint32_t fetch, uint32_t seen, DirtyRingVisit *visit,
                         void *opaque);

/**
 * dirty_ring_harvested: count an entry that is being taken out of a ring,
 * unless a look has counted it already
 * @slot: as in the entry
 * @offset: as in the entry, in pages
 *
 * Called before its page is marked in the slot's bitmap, with the BQL held.
 */
void dirty_ring_harvested(CPUState *cpu, uint32_t slot, uint64_t offset);

/**
 * dirty_ring_reset: have KVM protect the pages of harvested entries again
 * @entries: how many were harvested since the last reset
 *
 * Until it has done so with all of them.  BQL held.
 */
void dirty_ring_reset(uint64_t entries);

#endif /* SYSEMU_DIRTY_RING_H */
