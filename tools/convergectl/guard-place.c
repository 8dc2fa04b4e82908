/*
 * The order of those that will put back what a QEMU was set to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "guard-place.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_PLACES 64

/*
 * A name without a file.  By the socket's inode: it may be called by more than
 * one path, and a new one at the same path is another QEMU's.
 */
static socklen_t name_of(const char *path, int number,
                         struct sockaddr_un *address)
{
    GStatBuf info;
    int length;

    if (g_stat(path, &info) != 0) {
        return 0;
    }
    *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    length = g_snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1,
                        "convergectl-%u-%" G_GUINT64_FORMAT "-%"
                        G_GUINT64_FORMAT "-%d", (unsigned)getuid(),
                        (guint64)info.st_dev, (guint64)info.st_ino, number);
    return offsetof(struct sockaddr_un, sun_path) + 1 + length;
}

static int open_socket(void)
{
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static gboolean is_taken(const char *path, int number)
{
    struct sockaddr_un address;
    socklen_t size = name_of(path, number, &address);
    int fd = size ? open_socket() : -1;
    gboolean taken;

    if (fd < 0) {
        return FALSE;
    }
    taken = connect(fd, (struct sockaddr *)&address, size) == 0;
    close(fd);
    return taken;
}

gboolean guard_place_is_followed(const char *path, int number)
{
    while (++number <= MAX_PLACES) {
        if (is_taken(path, number)) {
            return TRUE;
        }
    }
    return FALSE;
}

GuardPlace guard_place_take(const char *path)
{
    GuardPlace place = { open_socket(), MAX_PLACES };

    while (place.number > 1 && !is_taken(path, place.number - 1)) {
        place.number--;
    }
    for (; place.fd >= 0 && place.number <= MAX_PLACES; place.number++) {
        struct sockaddr_un address;
        socklen_t size = name_of(path, place.number, &address);

        if (size && bind(place.fd, (struct sockaddr *)&address, size) == 0) {
            return place;
        }
        if (!size || errno != EADDRINUSE) {
            break;
        }
    }
    if (place.fd >= 0) {
        close(place.fd);
    }
    return (GuardPlace){ -1, MAX_PLACES };
}
