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

/* Under a KVM of hardware the guest is up in less than two seconds */
#define ACCEL_PROBE_MS 6000

/* That a guest got to work within @limit_ms; or an error that says why not */
gboolean accel_comes_up(const char *qemu, const char *accel, int limit_ms,
                        GError **errp);

/*
 * "kvm" or "tcg", and in *@why (free it) the reason in a few words; all
 * @qemus (NULL at the end) must be able to.
 */
const char *accel_choose(const char *const *qemus, char **why);

#endif
