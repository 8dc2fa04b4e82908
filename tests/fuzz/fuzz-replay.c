/*
 * libFuzzer target: decision traces, put to converge-sim's replay
 *
 * The input is a trace as QEMU writes it, or what became of one.  Whatever it
 * holds, the replay ends with one of its three exit statuses.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "sim-replay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *nowhere;
    static int fd = -1;
    char path[32];
    int status;

    if (fd < 0) {
        fd = memfd_create("trace", 0);
        nowhere = fopen("/dev/null", "w");
        if (fd < 0 || !nowhere) {
            abort();
        }
    }
    if (ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size) {
        abort();
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    status = sim_replay(path, nowhere);
    if (status < 0 || status > 2) {
        abort();
    }
    return 0;
}
