/*
 * Lines to the host
 *
 * Each line ends in " sum=XXXX", a checksum of what stands before it.  A
 * serial line loses bytes when QEMU hands over to another process in the
 * middle of a line, and half a number is a number too; with the sum the
 * reader on the host (worklog.c) takes none of those for a report.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

#include "console.h"

#define MUST_ARRIVE_WAIT_MS 5000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int fd = -1;

/* Guarded by lock: the last line went out in part, so end it first. */
static bool torn;

bool console_open(const char *path)
{
    struct termios raw;

    fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || tcgetattr(fd, &raw)) {
        return false;
    }
    cfmakeraw(&raw);
    raw.c_cflag |= CLOCAL;
    cfsetspeed(&raw, B115200);
    return !tcsetattr(fd, TCSANOW, &raw);
}

/* Fletcher's sum: sees a byte that is missing as well as one that changed. */
static unsigned line_sum(const char *text, size_t bytes)
{
    unsigned a = 1, b = 0;

    for (size_t i = 0; i < bytes; i++) {
        a = (a + (unsigned char)text[i]) % 255;
        b = (b + a) % 255;
    }
    return b << 8 | a;
}

/* Returns the number of bytes that went out. */
static size_t send_bytes(const char *text, size_t bytes, bool must_arrive)
{
    size_t sent = 0;

    while (sent < bytes) {
        struct pollfd room = { .fd = fd, .events = POLLOUT };
        ssize_t n = write(fd, text + sent, bytes - sent);

        if (n > 0) {
            sent += n;
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (!must_arrive || poll(&room, 1, MUST_ARRIVE_WAIT_MS) <= 0) {
            break;
        }
    }
    return sent;
}

void console_say(bool must_arrive, const char *format, ...)
{
    /* The first byte is a newline, for use after a torn line. */
    char text[1 + CONSOLE_LINE_BYTES + sizeof(" sum=ffff\n")] = "\n";
    char *line = text + 1;
    size_t skip, bytes, sent;
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(line, CONSOLE_LINE_BYTES, format, args);
    va_end(args);
    if (len < 0) {
        return;
    }
    len = len < CONSOLE_LINE_BYTES ? len : CONSOLE_LINE_BYTES - 1;
    len += sprintf(line + len, " sum=%04x\n", line_sum(line, len));

    pthread_mutex_lock(&lock);
    skip = torn ? 0 : 1;
    bytes = 1 + len - skip;
    sent = send_bytes(text + skip, bytes, must_arrive);
    if (sent) {
        torn = sent < bytes;
    }
    pthread_mutex_unlock(&lock);
}

void console_drain(void)
{
    tcdrain(fd);
}
