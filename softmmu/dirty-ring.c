/*
 * A walk over the entries of a dirty ring
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "sysemu/dirty-ring.h"

static bool is_dirty(const DirtyRingEntry *entry)
{
    /*
     * The producer, in the kernel, stores the flags last.  An entry that was
     * collected, but not handed back to it yet, carries RESET.
     */
    return __atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) ==
           DIRTY_RING_ENTRY_DIRTY;
}

uint32_t dirty_ring_walk(const DirtyRingEntry *ring, uint32_t size,
                         uint32_t fetch, uint32_t seen, DirtyRingVisit *visit,
                         void *opaque)
{
    /* Behind @fetch if they were harvested since: then the difference wraps. */
    uint32_t known = seen - fetch;
    uint32_t n = known <= size ? known : 0;

    g_assert(size && !(size & (size - 1)));
    for (; n < size; n++) {
        const DirtyRingEntry *entry = &ring[(fetch + n) & (size - 1)];

        if (!is_dirty(entry)) {
            break;
        }
        visit(opaque, entry);
    }
    return fetch + n;
}
