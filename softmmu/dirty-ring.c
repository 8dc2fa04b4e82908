/*
 * How many dirtied pages stand in a vCPU's dirty ring
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "sysemu/dirty-ring.h"

/* Is the @nth entry from @fetch on (the first is 0) dirtied? */
static bool is_dirty(const DirtyRingEntry *ring, uint32_t size, uint32_t fetch,
                     uint32_t nth)
{
    const DirtyRingEntry *entry = &ring[(fetch + nth) & (size - 1)];

    /*
     * The producer, in the kernel, stores the flags last.  An entry that was
     * collected, but not handed back to it yet, carries RESET.
     */
    return __atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) ==
           DIRTY_RING_ENTRY_DIRTY;
}

uint32_t dirty_ring_pending(const DirtyRingEntry *ring, uint32_t size,
                            uint32_t fetch, uint32_t known)
{
    /* Entries below @count are dirty; entry @clean is not, or is past all. */
    uint32_t count = MIN(known, size);
    uint32_t clean = size;
    uint32_t step;

    g_assert(size && !(size & (size - 1)));

    if (count && !is_dirty(ring, size, fetch, count - 1)) {
        clean = count - 1;
        count = 0;
    }

    for (step = 1; count < clean; step *= 2) {
        uint32_t next = MIN(step, clean - count);

        if (!is_dirty(ring, size, fetch, count + next - 1)) {
            clean = count + next - 1;
            break;
        }
        count += next;
    }

    while (count < clean) {
        uint32_t middle = count + (clean - count) / 2;

        if (is_dirty(ring, size, fetch, middle)) {
            count = middle + 1;
        } else {
            clean = middle;
        }
    }
    return count;
}
