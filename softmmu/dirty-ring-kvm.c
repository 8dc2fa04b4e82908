/*
 * KVM's dirty rings as a meter of what single vCPUs dirty
 *
 * An entry names a memory slot and a page in it.  The page is new if neither
 * the slot's bitmap has it, which holds what was taken out of rings since the
 * last sync of the dirty log, nor a look since then.  So a look marks the page
 * in that bitmap, ahead of the harvest: nobody reads the bitmap before the next
 * sync, and that begins with a harvest of all rings.
 *
 * The BQL guards rings, slots and their bitmaps: all who harvest, sync or
 * change the memory map hold it.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "cpu.h"
#include "sysemu/dirty-ring.h"
#include "sysemu/dirtylimit.h"

#ifdef CONFIG_KVM
#include <linux/kvm.h>
#include "sysemu/kvm_int.h"

QEMU_BUILD_BUG_ON(sizeof(DirtyRingEntry) != sizeof(struct kvm_dirty_gfn));
QEMU_BUILD_BUG_ON(offsetof(DirtyRingEntry, flags) !=
                  offsetof(struct kvm_dirty_gfn, flags));
QEMU_BUILD_BUG_ON(offsetof(DirtyRingEntry, slot) !=
                  offsetof(struct kvm_dirty_gfn, slot));
QEMU_BUILD_BUG_ON(offsetof(DirtyRingEntry, offset) !=
                  offsetof(struct kvm_dirty_gfn, offset));
QEMU_BUILD_BUG_ON(DIRTY_RING_ENTRY_DIRTY != KVM_DIRTY_GFN_F_DIRTY);
QEMU_BUILD_BUG_ON(DIRTY_RING_ENTRY_RESET != KVM_DIRTY_GFN_F_RESET);

/* Returns: NULL if there is none any more that holds the page. */
static KVMSlot *find_slot(uint32_t as_and_slot, uint64_t offset)
{
    uint32_t as = as_and_slot >> 16, id = as_and_slot & 0xffff;
    KVMMemoryListener *kml;
    KVMSlot *slot;

    if (as >= kvm_state->nr_as) {
        return NULL;
    }
    kml = kvm_state->as[as].ml;
    if (id >= kml->nr_slots_allocated) {
        return NULL;
    }
    slot = &kml->slots[id];
    return slot->dirty_bmap &&
           offset < slot->memory_size / qemu_real_host_page_size() ?
           slot : NULL;
}

/* Returns: the slot if the page is new in it, else NULL. */
static KVMSlot *count_if_new(CPUState *cpu, uint32_t as_and_slot,
                             uint64_t offset)
{
    KVMSlot *slot = find_slot(as_and_slot, offset);

    if (!slot || test_bit(offset, slot->dirty_bmap)) {
        return NULL;
    }
    dirtylimit_count_page(cpu, slot->ram_start_offset +
                          offset * qemu_real_host_page_size());
    return slot;
}

static void look_at_entry(void *cpu, const DirtyRingEntry *entry)
{
    KVMSlot *slot = count_if_new(cpu, entry->slot, entry->offset);

    if (slot) {
        set_bit(entry->offset, slot->dirty_bmap);
    }
}

void dirty_ring_look(CPUState *cpu)
{
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;

    if (dirty_ring_exists(cpu)) {
        dirty->ring_seen =
            dirty_ring_walk((DirtyRingEntry *)cpu->kvm_dirty_gfns,
                            kvm_dirty_ring_size(), cpu->kvm_fetch_index,
                            dirty->ring_seen, look_at_entry, cpu);
    }
}

void dirty_ring_harvested(CPUState *cpu, uint32_t slot, uint64_t offset)
{
    count_if_new(cpu, slot, offset);
}

bool dirty_ring_exists(const CPUState *cpu)
{
    return cpu->created && cpu->kvm_dirty_gfns;
}
#else
void dirty_ring_look(CPUState *cpu)
{
}
#endif
