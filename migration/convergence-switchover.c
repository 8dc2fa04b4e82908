/*
 * Convergence engine, QEMU side: what a switch-over sends, and for how long
 *
 *   guest stops | last sync | pages | devices | what still stands in the queue
 *   <-------- what QEMU calls the downtime --> <- the guest waits for that, too
 *
 * A socket takes megabytes before it blocks, and what it has taken is "sent"
 * for QEMU.  On a slow link that is more than a downtime's worth, and a page
 * that is sent after it waits for all of it.  So the queue is asked for.
 *
 * The channels of multifd are known to their file alone.  They are connected to
 * the very address that the stream is connected to, and are found by that among
 * the open files: a hook would have to tell of each that comes and goes.
 *
 * What devices send is known when they have sent it: to have them write their
 * state for a trial disturbs the guest.  Most of it is the description of the
 * format, which grows with the number of devices and vCPUs, not with what the
 * guest does; so until the first switch-over it is reckoned from those numbers.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "hw/core/cpu.h"
#include "hw/qdev-core.h"
#include "convergence-base.h"
#include "convergence-channel.h"
#include "convergence-switchover.h"
#include "trace.h"
#ifdef CONFIG_LINUX
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#endif

/* The stream and 255 channels of multifd, which is the most that it has. */
#define MAX_SOCKETS 256
/* Channels may be connected late; to look for them takes a ms or so. */
#define SEARCH_NS (1000 * 1000 * 1000LL)
/*
 * Machines "pc" of one to four vCPUs, with few and with many devices, sent 111
 * to 350 KB: 9.4 KB more for each vCPU, and 4 to 8 KB for each device, of which
 * 3 are its description.
 */
#define BYTES_PER_VCPU 9400
#define BYTES_PER_DEVICE 5000
/* Part of Linux's interface; the C library's tcp_info may end before it. */
#define TCP_INFO_BUSY_US_OFFSET 168

static struct {
    /* Migration thread. */
    int fds[MAX_SOCKETS];       /* the first is the stream's own */
    unsigned n_fds;
    unsigned n_channels;        /* that there should be */
    struct sockaddr_storage peer;
    socklen_t peer_size;
    int64_t searched_ns;
    int64_t begin_ns[CONVERGENCE_DOWNTIME_PARTS];
    uint64_t begin_bytes[CONVERGENCE_DOWNTIME_PARTS];
    /* By number, of this guest; and what was sent when it was so many. */
    uint64_t reckoned_devices_bytes;
    uint64_t known_devices_bytes;   /* 0: not known */
    uint64_t known_reckoned_bytes;
} stream;

#ifdef CONFIG_LINUX
static bool has_peer(int fd, const struct sockaddr_storage *peer,
                     socklen_t peer_size)
{
    struct sockaddr_storage other = { 0 };
    socklen_t size = sizeof(other);

    return !getpeername(fd, (struct sockaddr *)&other, &size) &&
           size == peer_size && !memcmp(&other, peer, size);
}

/* Those of no name are all alike. */
static bool has_name(void)
{
    return stream.peer_size > sizeof(sa_family_t);
}

static void find_channels(void)
{
    const char *name;
    GDir *dir = has_name() ? g_dir_open("/proc/self/fd", 0, NULL) : NULL;

    stream.n_fds = 1;
    while (dir && (name = g_dir_read_name(dir)) &&
           stream.n_fds < MAX_SOCKETS) {
        int fd = atoi(name);

        if (fd != stream.fds[0] &&
            has_peer(fd, &stream.peer, stream.peer_size)) {
            stream.fds[stream.n_fds++] = fd;
        }
    }
    if (dir) {
        g_dir_close(dir);
    }
}

/* 0 where the host does not tell */
static uint64_t ask(int fd, unsigned long request, bool *known)
{
    int bytes = 0;

    *known = !ioctl(fd, request, &bytes) && bytes >= 0;
    return *known ? bytes : 0;
}

static int64_t busy_ns(int fd)
{
    char info[TCP_INFO_BUSY_US_OFFSET + sizeof(uint64_t)];
    socklen_t size = sizeof(info);
    uint64_t us;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &size) ||
        size < sizeof(info)) {
        return -1;
    }
    memcpy(&us, info + TCP_INFO_BUSY_US_OFFSET, sizeof(us));
    return us * SCALE_US;
}

static void look_at_socket(int fd, ConvergenceLinkLook *look)
{
    bool known, unsent_known;
    uint64_t queued_bytes = ask(fd, SIOCOUTQ, &known);
    uint64_t unsent_bytes = ask(fd, SIOCOUTQNSD, &unsent_known);

    look->queue_known |= known;
    look->queued_bytes += queued_bytes;
    /* A unix socket's is with the receiver, which has not read it. */
    look->unsent_bytes += unsent_known ? unsent_bytes : queued_bytes;
    look->busy_ns = MAX(look->busy_ns, busy_ns(fd));
}

/* A channel may be gone, and its number another file's. */
static bool is_ours(unsigned i)
{
    return !i || has_peer(stream.fds[i], &stream.peer, stream.peer_size);
}

static void look_at_sockets(ConvergenceLinkLook *look)
{
    if (stream.n_fds && stream.n_fds < stream.n_channels &&
        look->now_ns > stream.searched_ns + SEARCH_NS) {
        stream.searched_ns = look->now_ns;
        find_channels();
    }
    for (unsigned i = 0; i < stream.n_fds; i++) {
        if (is_ours(i)) {
            look_at_socket(stream.fds[i], look);
        }
    }
}

static void find_sockets(MigrationState *s)
{
    int fd = convergence_channel_socket(s);

    stream.n_fds = 0;
    stream.searched_ns = 0;
    stream.n_channels = migrate_multifd() ? 1 + migrate_multifd_channels()
                                              : 1;
    memset(&stream.peer, 0, sizeof(stream.peer));
    stream.peer_size = sizeof(stream.peer);
    if (fd >= 0) {
        stream.fds[stream.n_fds++] = fd;
        if (getpeername(fd, (struct sockaddr *)&stream.peer,
                        &stream.peer_size)) {
            stream.peer_size = 0;
        }
    }
}

bool convergence_stream_broken(void)
{
    for (unsigned i = 0; i < stream.n_fds; i++) {
        struct pollfd look = { .fd = stream.fds[i] };

        /* Errors are told unasked; unlike SO_ERROR this leaves them there. */
        if (is_ours(i) && poll(&look, 1, 0) == 1 &&
            look.revents & (POLLERR | POLLHUP | POLLNVAL)) {
            return true;
        }
    }
    return false;
}
#else
bool convergence_stream_broken(void)
{
    return false;
}

static void look_at_sockets(ConvergenceLinkLook *look)
{
}

static void find_sockets(MigrationState *s)
{
}
#endif

static int count_device(Object *obj, void *opaque)
{
    uint64_t *bytes = opaque;

    if (object_dynamic_cast(obj, TYPE_DEVICE) &&
        DEVICE_GET_CLASS(obj)->vmsd) {
        *bytes += BYTES_PER_DEVICE;
    }
    return 0;
}

static uint64_t reckon_devices(void)
{
    uint64_t bytes = 0;
    CPUState *cpu;

    object_child_foreach_recursive(object_get_root(), count_device, &bytes);
    CPU_FOREACH(cpu) {
        bytes += BYTES_PER_VCPU;
    }
    return bytes;
}

uint64_t convergence_devices_bytes(void)
{
    /* Devices may have been plugged since. */
    return stream.known_devices_bytes ?
           stream.known_devices_bytes * stream.reckoned_devices_bytes /
           stream.known_reckoned_bytes : stream.reckoned_devices_bytes;
}

void convergence_stream_start(MigrationState *s)
{
    find_sockets(s);
    memset(stream.begin_ns, 0, sizeof(stream.begin_ns));
    stream.reckoned_devices_bytes = MAX(reckon_devices(), 1);
}

ConvergenceLinkLook convergence_stream_look(MigrationState *s, int64_t now_ns)
{
    ConvergenceLinkLook look = {
        .now_ns = now_ns,
        .busy_ns = -1,
        .sent_bytes = qemu_file_transferred(s->to_dst_file) +
                      stat64_get(&mig_stats.multifd_bytes),
    };

    look_at_sockets(&look);
    return look;
}

void convergence_downtime_part(MigrationState *s, ConvergenceDowntimePart part,
                               int64_t now_ns)
{
    stream.begin_ns[part] = now_ns;
    stream.begin_bytes[part] =
        qemu_file_transferred(s->to_dst_file);
}

static int64_t part_us(ConvergenceDowntimePart from, int64_t end_ns)
{
    return (end_ns - stream.begin_ns[from]) / SCALE_US;
}

void convergence_downtime_end(MigrationState *s, int64_t now_ns,
                              double wire_bytes_per_s)
{
    const int64_t *begin_ns = stream.begin_ns;
    uint64_t queued_bytes;
    int64_t devices_bytes, rest_us;

    for (unsigned i = 0; i < CONVERGENCE_DOWNTIME_PARTS; i++) {
        if (!begin_ns[i]) {
            return;
        }
    }
    if (s->state != MIGRATION_STATUS_COMPLETED ||
        qatomic_read(&s->start_postcopy)) {
        return;
    }
    devices_bytes = qemu_file_transferred(s->to_dst_file) -
                    stream.begin_bytes[CONVERGENCE_DOWNTIME_DEVICES];
    queued_bytes = convergence_stream_look(s, now_ns).queued_bytes;
    /* That the guest stands still for beyond what QEMU calls the downtime. */
    rest_us = wire_bytes_per_s >= 1 ?
              MIN(queued_bytes * 1e6 / wire_bytes_per_s, 1e15) : 0;
    trace_convergence_downtime(
        stream.begin_ns[CONVERGENCE_DOWNTIME_STOPPED] / SCALE_US -
        s->downtime_start * 1000,
        part_us(CONVERGENCE_DOWNTIME_STOPPED,
                begin_ns[CONVERGENCE_DOWNTIME_SYNC]),
        part_us(CONVERGENCE_DOWNTIME_SYNC,
                begin_ns[CONVERGENCE_DOWNTIME_PAGES]),
        part_us(CONVERGENCE_DOWNTIME_PAGES,
                begin_ns[CONVERGENCE_DOWNTIME_DEVICES]),
        stream.begin_bytes[CONVERGENCE_DOWNTIME_DEVICES] -
        stream.begin_bytes[CONVERGENCE_DOWNTIME_PAGES],
        part_us(CONVERGENCE_DOWNTIME_DEVICES, now_ns), devices_bytes,
        convergence_devices_bytes(), rest_us, queued_bytes);
    stream.known_devices_bytes = MAX(devices_bytes, 1);
    stream.known_reckoned_bytes = stream.reckoned_devices_bytes;
}
