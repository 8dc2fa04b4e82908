/*
 * How many dirtied pages stand in a vCPU's dirty ring
 *
 * A look from the outside, over plain memory: it takes no entry out, so it
 * needs neither the lock nor the ioctl that harvesting a ring does.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSEMU_DIRTY_RING_H
#define SYSEMU_DIRTY_RING_H

/* The layout of KVM's struct kvm_dirty_gfn. */
typedef struct DirtyRingEntry {
    uint32_t flags;
    uint32_t slot;
    uint64_t offset;
} DirtyRingEntry;

#define DIRTY_RING_ENTRY_DIRTY  (1u << 0)
#define DIRTY_RING_ENTRY_RESET  (1u << 1)

/**
 * dirty_ring_pending: count the dirtied entries not collected yet
 * @ring: the entries
 * @size: how many there are, a power of two
 * @fetch: the next entry to collect; counts on past @size
 * @known: how many were there at an earlier look, less those collected since;
 *         0 if unknown.  A hint that saves time, never believed
 *
 * Dirtied entries follow @fetch without a gap.  So this looks ahead in steps
 * that double and then halves the rest: some 2 log2(new entries) reads, however
 * large the ring.  A producer may append meanwhile; the count is then one that
 * was true at some time during the call.  Nobody may collect meanwhile.
 */
uint32_t dirty_ring_pending(const DirtyRingEntry *ring, uint32_t size,
                            uint32_t fetch, uint32_t known);

#endif /* SYSEMU_DIRTY_RING_H */
