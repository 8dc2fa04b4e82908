/*
 * Which accelerator the test guest really runs on
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * That /dev/kvm exists proves little: a KVM inside of another hypervisor may
 * start and never get a Linux guest past its first instructions.  So a guest
 * is started, and KVM is taken only if it gets to work.
 */

#ifndef CONVERGE_BENCH_ACCEL_H
#define CONVERGE_BENCH_ACCEL_H

#include <glib.h>

/*
 * "kvm" or "tcg", and in *@why (free it) the reason in a few words; all
 * @qemus (NULL at the end) must be able to.
 */
const char *accel_choose(const char *const *qemus, char **why);

#endif
