/*
 * Meter of what single vCPUs dirty: the faults that KVM counts for each
 *
 * While the dirty log is on, KVM write-protects each page that it was cleared
 * of, and the first write to it faults.  Such a fault is resolved without KVM's
 * locks, and counted: `pf_fast` of the vCPU's statistics.  So its difference is
 * the number of pages that the vCPU was the first to write.  Which pages, nobody
 * knows: one that waits to be sent and whose log was cleared counts again.
 *
 * Where the processor logs writes itself (Intel's PML) nothing is protected and
 * nothing faults.  The module's parameter tells; where that cannot be read, a
 * migration finds out, as the bitmap says that more was written.
 *
 * The statistics are read from the vCPU's own descriptor, opened once, 8 bytes
 * each time; QEMU needs no privilege for it.  What was counted before the first
 * look, while there was no log, is in the first difference and no more: who
 * wants a rate looks twice.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "cpu.h"
#include "sysemu/dirty-count.h"
#include "sysemu/dirty-meter.h"
#include "sysemu/kvm.h"

#ifdef CONFIG_KVM
#include <linux/kvm.h>

#define STATISTIC       "pf_fast"
#define PML_PARAMETER   "/sys/module/kvm_intel/parameters/pml"

static bool read_at(int fd, void *buffer, size_t bytes, off_t offset)
{
    return pread(fd, buffer, bytes, offset) == (ssize_t)bytes;
}

/* Returns: where the statistic stands in the file, 0 if there is none. */
static off_t find_statistic(int fd)
{
    struct kvm_stats_header header;
    g_autofree struct kvm_stats_desc *desc = NULL;
    size_t bytes;

    if (!read_at(fd, &header, sizeof(header), 0)) {
        return 0;
    }
    bytes = sizeof(*desc) + header.name_size;
    /* One byte more, which stays 0: the name's end. */
    desc = g_malloc0(bytes + 1);
    for (uint32_t i = 0; i < header.num_desc; i++) {
        if (!read_at(fd, desc, bytes, header.desc_offset + i * bytes)) {
            return 0;
        }
        if (g_str_equal(desc->name, STATISTIC)) {
            return header.data_offset + desc->offset;
        }
    }
    return 0;
}

static void close_statistics(CPUState *cpu)
{
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;

    if (dirty->stats_at) {
        close(dirty->stats_fd);
        dirty->stats_at = 0;
    }
}

static bool read_faults(CPUState *cpu, uint64_t *faults)
{
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;

    return dirty->stats_at &&
           read_at(dirty->stats_fd, faults, sizeof(*faults), dirty->stats_at);
}

static bool processor_logs(void)
{
    g_autofree char *text = NULL;

    return g_file_get_contents(PML_PARAMETER, &text, NULL, NULL) &&
           (text[0] == 'Y' || text[0] == '1');
}

static bool can_be_had(void)
{
    return kvm_enabled() && !kvm_dirty_ring_enabled() && !processor_logs();
}

/*
 * In the vCPU's own thread and before it runs: from another one, KVM would have
 * the call wait until the vCPU leaves guest code.
 */
static void open_statistics(CPUState *cpu)
{
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;
    int fd;

    if (!can_be_had()) {
        return;
    }
    fd = kvm_vcpu_ioctl(cpu, KVM_GET_STATS_FD, NULL);
    if (fd < 0) {
        return;
    }
    dirty->stats_fd = fd;
    dirty->stats_at = find_statistic(fd);
    if (!dirty->stats_at) {
        close(fd);
    } else if (!read_faults(cpu, &dirty->faults_seen)) {
        close_statistics(cpu);
    }
}

static void look(CPUState *cpu)
{
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;
    uint64_t faults;

    if (read_faults(cpu, &faults)) {
        dirty_count_pages(cpu, faults - dirty->faults_seen);
        dirty->faults_seen = faults;
    }
}

static bool is_available(void)
{
    if (first_cpu && first_cpu->created) {
        return first_cpu->slowdown.dirty.stats_at;
    }
    /* The command line is being read: there is no vCPU to ask yet. */
#ifdef TARGET_I386
    return can_be_had() &&
           kvm_check_extension(kvm_state, KVM_CAP_BINARY_STATS_FD) > 0;
#else
    return false;
#endif
}
#else
static void look(CPUState *cpu)
{
}

static void open_statistics(CPUState *cpu)
{
}

static void close_statistics(CPUState *cpu)
{
}

static bool is_available(void)
{
    return false;
}
#endif

const DirtyMeter dirty_meter_faults = {
    .name = "faults",
    .is_available = is_available,
    .may_miss = true,
    .look = look,
    .vcpu_comes = open_statistics,
    .vcpu_leaves = close_statistics,
};
