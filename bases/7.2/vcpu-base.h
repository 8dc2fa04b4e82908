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
    cpu_exit(cpu);
}

#endif /* SYSTEM_VCPU_BASE_H */
