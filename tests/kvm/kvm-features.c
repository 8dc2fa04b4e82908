/*
 * What /dev/kvm offers of what Converge relies on
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Prints TAP.  Capabilities are asked of a VM, as QEMU asks for them: some
 * differ from what /dev/kvm itself says.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

typedef struct Feature {
    const char *name;
    int capability;
    int bits;                   /* that its value must have */
} Feature;

static const Feature features[] = {
    { "the dirty ring, of 4096 entries and more",
      KVM_CAP_DIRTY_LOG_RING, 0 },
    { "manual dirty-log protection, all set at first",
      KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
      KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET },
    { "statistics of each vCPU", KVM_CAP_BINARY_STATS_FD, 0 },
};

/* Bytes, of 4096 entries */
#define RING_BYTES (4096 * (int)sizeof(struct kvm_dirty_gfn))

static bool has(int vm, const Feature *f)
{
    int value = ioctl(vm, KVM_CHECK_EXTENSION, f->capability);

    if (f->capability == KVM_CAP_DIRTY_LOG_RING) {
        return value >= RING_BYTES;
    }
    return value > 0 && (value & f->bits) == f->bits;
}

/* That the descriptor can be had, and not only be asked for */
static bool vcpu_tells(int vm)
{
    int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    int stats = vcpu < 0 ? -1 : ioctl(vcpu, KVM_GET_STATS_FD, 0);
    struct kvm_stats_header header;
    bool told = stats >= 0 &&
                read(stats, &header, sizeof(header)) == sizeof(header) &&
                header.num_desc > 0;

    if (stats >= 0) {
        close(stats);
    }
    if (vcpu >= 0) {
        close(vcpu);
    }
    return told;
}

int main(void)
{
    unsigned n = 0, failed = 0;
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);

    if (vm < 0) {
        printf("not ok 1 - /dev/kvm makes a VM: %s\n1..1\n", strerror(errno));
        return 1;
    }
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        bool ok = has(vm, &features[i]);

        failed += !ok;
        printf("%sok %u - %s\n", ok ? "" : "not ", ++n, features[i].name);
    }
    if (!vcpu_tells(vm)) {
        failed++;
        printf("not ");
    }
    printf("ok %u - they can be read\n1..%u\n", n + 1, n + 1);
    close(vm);
    close(kvm);
    return failed > 0;
}
