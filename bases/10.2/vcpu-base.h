/*
 * vCPU slow-down: what QEMU has under another shape
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_VCPU_BASE_H
#define SYSTEM_VCPU_BASE_H

#include "hw/core/cpu.h"

/*
 * Ask TCG's vCPU, whose thread this is, to leave guest code.  Safe in the
 * handler of a signal.
 */
static inline void vcpu_base_ask_out(CPUState *cpu)
{
    /* What cpu_exit() does, and not its kick, which takes locks. */
    qatomic_store_release(&cpu->exit_request, true);
    qatomic_store_release(&cpu->neg.icount_decr.u16.high, -1);
}

#endif /* SYSTEM_VCPU_BASE_H */
