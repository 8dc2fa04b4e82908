/*
 * Meter of what single vCPUs dirty: KVM's dirty rings
 *
 * An entry names a memory slot and a page in it.  The page is new if neither
 * the migration's dirty bits have it, nor the slot's bitmap, which holds what was
 * taken out of rings since the last sync of the log, nor a look since then.  So
 * a look marks the page in that bitmap, ahead of the harvest: whoever reads the
 * bitmap, a sync of the log or the removal of the slot, harvests all rings and
 * has them reset first.
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
#include "system/physmem.h"
#include "sysemu/dirty-count.h"
#include "sysemu/dirty-meter.h"
#include "sysemu/dirty-ring.h"
#include "sysemu/kvm.h"

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

/* Linux 6.17 and newer stop at a signal, such as a vCPU's alarm is. */
#define RESETS_IN_VAIN_MAX  1000

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

    ram_addr_t addr;

    if (!slot || test_bit(offset, slot->dirty_bmap)) {
        return NULL;
    }
    addr = slot->ram_start_offset + offset * qemu_real_host_page_size();
    /* A display's refresh syncs and protects all, too, and harvests nothing. */
    if (!physical_memory_get_dirty_flag(addr, DIRTY_MEMORY_MIGRATION)) {
        dirty_count_page(cpu, addr);
    }
    return slot;
}

static void look_at_entry(void *cpu, const DirtyRingEntry *entry)
{
    KVMSlot *slot = count_if_new(cpu, entry->slot, entry->offset);

    if (slot) {
        set_bit(entry->offset, slot->dirty_bmap);
    }
}

static void look(CPUState *cpu)
{
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;

    /* While it is being plugged or unplugged it has none. */
    if (cpu->created && cpu->kvm_dirty_gfns) {
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

void dirty_ring_reset(uint64_t entries)
{
    unsigned in_vain = 0;

    while (entries && in_vain < RESETS_IN_VAIN_MAX) {
        int ret = kvm_vm_ioctl(kvm_state, KVM_RESET_DIRTY_RINGS);

        assert(ret >= 0 || ret == -EINTR);
        assert(ret <= (int64_t)entries);
        in_vain = ret > 0 ? 0 : in_vain + 1;
        entries -= MAX(ret, 0);
    }
    /* Pages that stay unprotected would be written to unseen. */
    assert(!entries);
}

/* By the number that KVM has for a vCPU: the next entry of a ring it keeps. */
static GHashTable *kept_at;

static void vcpu_comes(CPUState *cpu)
{
    gpointer id = GUINT_TO_POINTER(kvm_arch_vcpu_id(cpu));

    if (kept_at) {
        cpu->kvm_fetch_index = GPOINTER_TO_UINT(g_hash_table_lookup(kept_at,
                                                                    id));
        cpu->slowdown.dirty.ring_seen = cpu->kvm_fetch_index;
    }
}

static void harvest_entry(void *cpu, const DirtyRingEntry *entry)
{
    look_at_entry(cpu, entry);
    qatomic_store_release((uint32_t *)&entry->flags, DIRTY_RING_ENTRY_RESET);
}

static void vcpu_leaves(CPUState *cpu)
{
    gpointer id = GUINT_TO_POINTER(kvm_arch_vcpu_id(cpu));
    uint32_t fetch = cpu->kvm_fetch_index;

    if (!cpu->kvm_dirty_gfns) {
        return;
    }
    /* All of it: what looks have seen stands there still. */
    cpu->kvm_fetch_index =
        dirty_ring_walk((DirtyRingEntry *)cpu->kvm_dirty_gfns,
                        kvm_dirty_ring_size(), fetch, fetch, harvest_entry,
                        cpu);
    dirty_ring_reset(cpu->kvm_fetch_index - fetch);
    if (!kept_at) {
        kept_at = g_hash_table_new(NULL, NULL);
    }
    g_hash_table_insert(kept_at, id, GUINT_TO_POINTER(cpu->kvm_fetch_index));
}

static bool is_available(void)
{
    return kvm_enabled() && kvm_dirty_ring_enabled();
}

const DirtyMeter dirty_meter_ring = {
    .name = "ring",
    .is_available = is_available,
    .look = look,
    .vcpu_comes = vcpu_comes,
    .vcpu_leaves = vcpu_leaves,
};
#else
static bool is_available(void)
{
    return false;
}

const DirtyMeter dirty_meter_ring = {
    .name = "ring",
    .is_available = is_available,
};
#endif
