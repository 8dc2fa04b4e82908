/*
 * Which accelerator the test guest really runs on
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "accel.h"

#include "guest-work.h"
#include "vm.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <unistd.h>

gboolean accel_comes_up(const char *qemu, const char *accel, int limit_ms,
                        GError **errp)
{
    g_autoptr(GuestWork) work = guest_work_new();
    VmConfig config = {
        .qemu = qemu, .name = "probe", .accel = accel, .load = "compute",
        .mem_mib = 256, .smp = 1,
        .on_line = guest_work_line, .opaque = work,
    };
    Vm *vm = vm_start(&config, errp);
    gboolean ok = vm && guest_work_wait_ready(work, limit_ms, errp);

    vm_free(vm);
    return ok;
}

const char *accel_choose(const char *const *qemus, char **why)
{
    if (g_access("/dev/kvm", R_OK | W_OK) < 0) {
        *why = g_strdup_printf("/dev/kvm: %s", g_strerror(errno));
        return "tcg";
    }
    for (; *qemus; qemus++) {
        g_autoptr(GError) error = NULL;

        if (!accel_comes_up(*qemus, "kvm", ACCEL_PROBE_MS, &error)) {
            *why = g_strdup_printf("/dev/kvm is there, but on it %s",
                                   error->message);
            return "tcg";
        }
    }
    *why = g_strdup("a trial guest came up on it");
    return "kvm";
}
