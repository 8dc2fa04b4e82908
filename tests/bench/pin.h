/*
 * Host CPUs for the threads of a migration: the readers' on one of their own
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * On a host with few CPUs the vCPUs compete with the migration itself, and a
 * vCPU that never was throttled loses work to its neighbours.  That says
 * nothing of the policy that is measured.  So the vCPUs that only compute
 * get the host's last CPU for themselves, on both sides; all else shares the
 * others.
 */

#ifndef CONVERGE_BENCH_PIN_H
#define CONVERGE_BENCH_PIN_H

#include "vm.h"

/*
 * Which items of @load ("write:64:100,compute") do not write, as a bit each.
 * Bits of items beyond the 64th are not set.
 */
guint64 pin_readers(const char *load);

/* TRUE where pinning has a point: a reader and another, two CPUs for them */
gboolean pin_is_useful(const char *load);

/*
 * Pins the threads of @vm; those that QEMU starts later inherit it from the
 * main thread.  An error if the host does not allow it.
 */
gboolean pin_vm(Vm *vm, const char *load, GError **errp);

#endif
