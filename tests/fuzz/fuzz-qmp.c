/*
 * libFuzzer target: a QMP server that says anything
 *
 * The input is what the server says, a connection's worth of it.  The client
 * must neither wait for long nor take what is no reply for one.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qmp.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The server has said all and hung up when the client asks: no wait at all */
#define TIMEOUT_MS 1000
#define TOO_LONG_US (5 * G_USEC_PER_SEC)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Server {
    const uint8_t *data;
    size_t size;
    int listener;
} Server;

static void *serve(void *opaque)
{
    Server *server = opaque;
    int fd = accept(server->listener, NULL, NULL);
    ssize_t n = send(fd, server->data, server->size, MSG_NOSIGNAL);

    (void)n;    /* The client may have hung up before. */
    shutdown(fd, SHUT_WR);
    close(fd);
    return NULL;
}

static int listen_at(struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    g_snprintf(address->sun_path, sizeof(address->sun_path),
               "%s/fuzz-qmp-%d", g_get_tmp_dir(), (int)getpid());
    unlink(address->sun_path);
    if (bind(fd, (struct sockaddr *)address, sizeof(*address)) ||
        listen(fd, 1)) {
        abort();
    }
    return fd;
}

static void use(QmpClient *qmp)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) reply = qmp_query(qmp, "query-migrate", &error);
    g_autoptr(JsonObject) event = NULL;

    if (!reply == !error) {
        abort();
    }
    event = qmp_next_event(qmp, 0, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sockaddr_un address = { .sun_family = AF_UNIX };
    static int listener = -1;
    Server server = { .data = data, .size = size };
    gint64 start_us = g_get_monotonic_time();
    g_autoptr(QmpClient) qmp = NULL;
    GThread *thread;

    if (listener < 0) {
        listener = listen_at(&address);
    }
    server.listener = listener;
    thread = g_thread_new("server", serve, &server);
    qmp = qmp_connect(address.sun_path, TIMEOUT_MS, NULL);
    if (qmp) {
        use(qmp);
    }
    g_thread_join(thread);
    if (g_get_monotonic_time() - start_us > TOO_LONG_US) {
        abort();
    }
    return 0;
}
