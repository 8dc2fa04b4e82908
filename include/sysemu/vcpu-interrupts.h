/*
 * What interrupts wait for a vCPU that is held
 *
 * Known of x86 under TCG and KVM.  Elsewhere none is ever said to wait.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSEMU_VCPU_INTERRUPTS_H
#define SYSEMU_VCPU_INTERRUPTS_H

#include "exec/cpu-common.h"

/**
 * vcpu_interrupt_waits: whether one waits that is not of the vCPU's own timer
 *
 * Those of other vCPUs, of devices, and, where QEMU has the interrupt
 * controller, what no flag masks (NMI, SMI, INIT, SIPI).  KVM's keeps those to
 * itself: they wait for another reason to go out, or the end of the hold.
 * Whether the vCPU lets it in now is not asked.  The vCPU's thread, out of
 * guest code; BQL held.
 */
bool vcpu_interrupt_waits(CPUState *cpu);

/**
 * vcpu_interrupts_are_told: whether one that comes wakes a vCPU that waits on
 * its halt_cond
 *
 * Where KVM has the interrupt controller somebody has to look.  Any thread.
 */
bool vcpu_interrupts_are_told(void);

/**
 * vcpu_masks_interrupts: whether the vCPU lets none in, as in their handlers
 *
 * The vCPU's thread, in guest code (TCG) or out of it; no lock needed.
 */
bool vcpu_masks_interrupts(CPUState *cpu);

/**
 * vcpu_is_at_plain_store: whether it is in a program of the guest's, at an
 * instruction that writes once and does nothing else before
 * @host_pc: where it is in translated code
 *
 * TCG.  The vCPU's thread, amid guest code, which may go on as if this had not
 * been called; no lock needed.
 */
bool vcpu_is_at_plain_store(CPUState *cpu, uintptr_t host_pc);

/**
 * vcpu_nap: have the vCPU's thread wait for less than a millisecond
 *
 * The BQL is held, and let go of meanwhile.  A kick need not end it.
 */
void vcpu_nap(int64_t nap_ns);

#endif /* SYSEMU_VCPU_INTERRUPTS_H */
