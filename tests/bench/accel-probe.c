/*
 * Does a guest come up on this accelerator?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * For scripts: one line that says why or why not, and the exit status.
 */

#include "accel.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    const char *accel = argc > 2 ? argv[2] : "kvm";
    int limit_ms = argc > 3 ? atoi(argv[3]) * 1000 : ACCEL_PROBE_MS;
    g_autoptr(GError) error = NULL;

    if (argc < 2 || argc > 4 || limit_ms <= 0) {
        fprintf(stderr, "usage: accel-probe QEMU [ACCEL [SECONDS]]\n");
        return 2;
    }
    if (!accel_comes_up(argv[1], accel, limit_ms, &error)) {
        printf("%s: %s\n", accel, error->message);
        return 1;
    }
    printf("%s: a trial guest came up on it\n", accel);
    return 0;
}
