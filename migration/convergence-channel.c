/*
 * Convergence engine, QEMU side: the channels of a migration
 *
 * A migration that is given up has to end although its thread sits in a send
 * that a dead host will never take, and the other side has to hear of it.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/qapi-commands-yank.h"
#include "qemu/yank.h"
#include "qemu/units.h"
#include "io/channel-file.h"
#include "io/channel-socket.h"
#include "io/channel-tls.h"
#include "convergence-base.h"
#include "convergence-channel.h"
#ifdef CONFIG_LINUX
#include <sys/ioctl.h>
#endif

/* The file descriptor of @s if it is none of a socket, else -1. */
static int file_fd(MigrationState *s)
{
    QIOChannel *ioc = qemu_file_get_ioc(s->to_dst_file);
    Object *file = object_dynamic_cast(OBJECT(ioc), TYPE_QIO_CHANNEL_FILE);

    return file ? QIO_CHANNEL_FILE(file)->fd : -1;
}

static bool is_pipe(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

ConvergenceChannel convergence_channel_of(MigrationState *s)
{
    int fd = file_fd(s);

    return fd < 0 ? CONVERGENCE_CHANNEL_LINK :
           is_pipe(fd) ? CONVERGENCE_CHANNEL_PIPE : CONVERGENCE_CHANNEL_FILE;
}

int convergence_channel_socket(MigrationState *s)
{
    Object *ioc = OBJECT(qemu_file_get_ioc(s->to_dst_file));
    Object *tls = object_dynamic_cast(ioc, TYPE_QIO_CHANNEL_TLS);
    Object *sock = object_dynamic_cast(
        tls ? OBJECT(QIO_CHANNEL_TLS(tls)->master) : ioc,
        TYPE_QIO_CHANNEL_SOCKET);

    return sock ? QIO_CHANNEL_SOCKET(sock)->fd : -1;
}

/* What stands in the main channel's send queue, 0 where nobody tells. */
static int queued_bytes(MigrationState *s)
{
    int bytes = 0;
#ifdef CONFIG_LINUX
    int fd = convergence_channel_socket(s);

    if (fd >= 0 && ioctl(fd, TIOCOUTQ, &bytes)) {
        bytes = 0;
    }
#endif
    return bytes;
}

uint64_t convergence_channel_sent_bytes(MigrationState *s)
{
    uint64_t bytes = stat64_get(&mig_stats.multifd_bytes);

    QEMU_LOCK_GUARD(&s->qemu_file_lock);
    if (s->to_dst_file) {
        /* The other function of that name flushes the stream first. */
        bytes += qemu_file_transferred(s->to_dst_file) -
                 queued_bytes(s);
    }
    return bytes;
}

/*
 * The most that a process without privileges may ask for by default, and more
 * than one write of a stream (32 KiB and some pages).
 */
#define PIPE_BYTES MiB

static void let_pipe_take_it(int fd)
{
#ifdef F_SETPIPE_SZ
    if (fd >= 0 && is_pipe(fd)) {
        fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES);
    }
#endif
}

void convergence_channel_shut(MigrationState *s)
{
    YankInstanceList migration = { .value = MIGRATION_YANK_INSTANCE };

    WITH_QEMU_LOCK_GUARD(&s->qemu_file_lock) {
        if (s->rp_state.from_dst_file) {
            qemu_file_shutdown(s->rp_state.from_dst_file);
        }
        if (s->to_dst_file) {
            /* In this order: no write may follow the one that is blocked. */
            qemu_file_shutdown(s->to_dst_file);
            let_pipe_take_it(file_fd(s));
        }
    }
    /* All sockets, those of other channels included. */
    qmp_yank(&migration, NULL);
}

void convergence_channel_end_return_path(MigrationState *s)
{
    int shut = 0;

    if (convergence_base_cleanup_joins() || !s->rp_state.rp_thread_created) {
        return;
    }
    WITH_QEMU_LOCK_GUARD(&s->qemu_file_lock) {
        if (s->rp_state.from_dst_file) {
            shut = qemu_file_shutdown(s->rp_state.from_dst_file);
        }
    }
    /* What cannot be shut down may never end: rather leave it than hang. */
    if (shut != -ENOSYS) {
        qemu_thread_join(&s->rp_state.rp_thread);
        s->rp_state.rp_thread_created = false;
    }
}
