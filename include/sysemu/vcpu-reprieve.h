/*
 * Reprieves: a vCPU that is held goes out to serve an interrupt
 *
 * vcpu-slowdown.c asks in each sleep; softmmu/vcpu-reprieve.c has the rules.
 * All functions: the vCPU's thread, out of guest code, with the BQL held.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSEMU_VCPU_REPRIEVE_H
#define SYSEMU_VCPU_REPRIEVE_H

#include "exec/cpu-common.h"

/**
 * vcpu_reprieve_hold: the vCPU is about to be held; ends its reprieve if it is
 * out for one
 * @owed_ns: what it owes, as for all of these
 */
void vcpu_reprieve_hold(CPUState *cpu, int64_t owed_ns, int64_t now_ns);

/**
 * vcpu_reprieve_is_due: whether it is to go out
 */
bool vcpu_reprieve_is_due(CPUState *cpu, int64_t owed_ns, int64_t now_ns);

/**
 * vcpu_reprieve_look_ns: how long it may be held until the next call of
 * vcpu_reprieve_is_due(), which just said no
 *
 * Returns: INT64_MAX where only a kick, or the hold's end, can change that.
 */
int64_t vcpu_reprieve_look_ns(CPUState *cpu, int64_t owed_ns, int64_t now_ns);

/**
 * vcpu_reprieve_begin: it goes out
 *
 * Returns: when it has to be back, in ns from now.
 */
int64_t vcpu_reprieve_begin(CPUState *cpu, int64_t owed_ns, int64_t now_ns);

#endif /* SYSEMU_VCPU_REPRIEVE_H */
