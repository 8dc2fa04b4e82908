/*
 * A vCPU that the emulated virtualization has lost
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Where SVM is emulated, an interrupt now and then ends a guest's run right
 * after VMRUN, before the host's registers are the guest's.  What is saved as the
 * guest's is the host's instruction behind VMRUN, in its module kvm_amd.  That
 * vCPU never goes on, with a stock QEMU either.  On hardware there is no such
 * thing.
 */

#ifndef CONVERGE_LOST_VCPU_H
#define CONVERGE_LOST_VCPU_H

#include "vm.h"

/*
 * What is to be said of it if one of the vCPUs stands still where this host has
 * its module kvm_amd; else NULL.  Takes a tenth of a second if it seems so.  The
 * guest must run: one that is paused may stand anywhere.
 */
const char *lost_vcpu_in(Vm *vm);

/*
 * Whether it is so, by texts.
 *
 * @before, @after: what "info registers -a" says, and some time later
 * @modules: what /proc/modules has, as root sees it
 */
gboolean lost_vcpu_is_told(const char *before, const char *after,
                           const char *modules);

#endif
