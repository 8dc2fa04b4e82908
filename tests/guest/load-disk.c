/*
 * The load that reads a disk
 *
 * Around the page cache, into memory of its own: the device writes each page of
 * it, at a rate that follows how often it is asked.  The vCPU waits meanwhile.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "console.h"
#include "load-worker.h"

#define DISK "/dev/vda"
#define DISK_TRIES 200
#define DISK_TRY_US 10000

static int disk_fd = -1;
static uint64_t disk_pages;

bool load_open_disk(void)
{
    off_t bytes;

    /* The kernel shows it some time after the driver has come. */
    for (int i = 0; i < DISK_TRIES && disk_fd < 0; i++) {
        disk_fd = open(DISK, O_RDONLY | O_DIRECT | O_CLOEXEC);
        if (disk_fd < 0) {
            usleep(DISK_TRY_US);
        }
    }
    bytes = disk_fd < 0 ? -1 : lseek(disk_fd, 0, SEEK_END);
    disk_pages = bytes > 0 ? bytes / GUEST_PAGE_BYTES : 0;
    return disk_pages;
}

/* From where a page of its memory has its like on the disk, round and round. */
void load_read_disk(Worker *w, uint64_t page, unsigned count)
{
    char *to = (char *)w->memory + page * GUEST_PAGE_BYTES;
    uint64_t from = page % disk_pages;
    ssize_t want = (ssize_t)count * GUEST_PAGE_BYTES;

    if (from + count > disk_pages) {
        from = 0;
    }
    if (pread(disk_fd, to, want, from * GUEST_PAGE_BYTES) != want) {
        console_say(true, "error read-disk: " DISK " cannot be read at page "
                    "%llu of %llu", (unsigned long long)from,
                    (unsigned long long)disk_pages);
        for (;;) {
            pause();
        }
    }
}
