/*
 * A link between two QEMUs that can be slow, stall, or break
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * A connection is two pumps, one for each direction.  When the source has
 * sent all and closes, the target still reads the rest; when the target
 * closes, there is nobody left to read and the source is told at once, also
 * while the wire is stalled.
 */

#include "wire.h"

#include "children.h"

#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>

/* Small, so that a slow wire is an even one */
#define PIECE_BYTES (16 * 1024)

struct Wire {
    char *dir;
    char *uri;
    char *target_path;
    GSocket *listener;
    GCancellable *stop;
    GThread *acceptor;

    GMutex lock;
    GCond changed;
    /* Guarded by lock */
    guint64 rate_bytes_per_s;
    gint64 free_at_us;          /* when the wire has sent what it took */
    gboolean stalled;
    gboolean cut;
    GPtrArray *pumps;
};

typedef struct Pump {
    Wire *wire;
    GSocket *from;
    GSocket *to;
    gboolean from_source;
    GThread *thread;
} Pump;

static void pump_free(void *opaque)
{
    Pump *pump = opaque;

    g_thread_join(pump->thread);
    g_object_unref(pump->from);
    g_object_unref(pump->to);
    g_free(pump);
}

/* Waits until @bytes may go; FALSE if the wire is cut */
static gboolean wire_pass(Wire *wire, gsize bytes)
{
    gint64 now_us;
    gboolean cut;

    g_mutex_lock(&wire->lock);
    now_us = g_get_monotonic_time();
    wire->free_at_us = MAX(wire->free_at_us, now_us);
    if (wire->rate_bytes_per_s) {
        wire->free_at_us += bytes * G_USEC_PER_SEC / wire->rate_bytes_per_s;
    }
    while (!wire->cut &&
           (wire->stalled || wire->free_at_us > g_get_monotonic_time())) {
        if (wire->stalled) {
            g_cond_wait(&wire->changed, &wire->lock);
        } else {
            g_cond_wait_until(&wire->changed, &wire->lock, wire->free_at_us);
        }
    }
    cut = wire->cut;
    g_mutex_unlock(&wire->lock);
    return !cut;
}

static gboolean send_all(GSocket *socket, const char *data, gsize bytes)
{
    while (bytes) {
        gssize n = g_socket_send(socket, data, bytes, NULL, NULL);

        if (n <= 0) {
            return FALSE;
        }
        data += n;
        bytes -= n;
    }
    return TRUE;
}

static void *pump_main(void *opaque)
{
    Pump *pump = opaque;
    char data[PIECE_BYTES];
    gboolean ok = TRUE;
    gssize n;

    while (ok && (n = g_socket_receive(pump->from, data, sizeof(data), NULL,
                                       NULL)) > 0) {
        ok = wire_pass(pump->wire, n) && send_all(pump->to, data, n);
    }
    if (ok && pump->from_source) {
        g_socket_shutdown(pump->to, FALSE, TRUE, NULL);
    } else {
        g_socket_shutdown(pump->from, TRUE, TRUE, NULL);
        g_socket_shutdown(pump->to, TRUE, TRUE, NULL);
    }
    return NULL;
}

/* Under lock: wire_cut() finds either no pump or a whole one */
static void add_pump(Wire *wire, GSocket *from, GSocket *to,
                     gboolean from_source)
{
    Pump *pump = g_new0(Pump, 1);

    *pump = (Pump) {
        .wire = wire, .from = g_object_ref(from), .to = g_object_ref(to),
        .from_source = from_source,
    };
    g_ptr_array_add(wire->pumps, pump);
    pump->thread = g_thread_new("pump", pump_main, pump);
}

static GSocket *unix_socket(GError **errp)
{
    return g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM,
                        G_SOCKET_PROTOCOL_DEFAULT, errp);
}

static void *acceptor_main(void *opaque)
{
    Wire *wire = opaque;
    GSocket *source;

    while ((source = g_socket_accept(wire->listener, wire->stop, NULL))) {
        g_autoptr(GSocketAddress) address =
            g_unix_socket_address_new(wire->target_path);
        g_autoptr(GSocket) target = unix_socket(NULL);

        g_mutex_lock(&wire->lock);
        if (!wire->cut && target &&
            g_socket_connect(target, address, NULL, NULL)) {
            add_pump(wire, source, target, TRUE);
            add_pump(wire, target, source, FALSE);
        }
        g_mutex_unlock(&wire->lock);
        g_object_unref(source);
    }
    return NULL;
}

static gboolean start_listening(Wire *wire, GError **errp)
{
    g_autofree char *path = NULL;
    g_autoptr(GSocketAddress) address = NULL;

    wire->dir = g_dir_make_tmp("converge-wire-XXXXXX", errp);
    if (!wire->dir) {
        return FALSE;
    }
    children_add_dir(wire->dir);
    path = g_build_filename(wire->dir, "wire.sock", NULL);
    wire->uri = g_strconcat("unix:", path, NULL);
    address = g_unix_socket_address_new(path);
    wire->listener = unix_socket(errp);
    return wire->listener &&
           g_socket_bind(wire->listener, address, FALSE, errp) &&
           g_socket_listen(wire->listener, errp);
}

Wire *wire_new(const char *target_uri, GError **errp)
{
    g_autoptr(Wire) wire = g_new0(Wire, 1);

    g_mutex_init(&wire->lock);
    g_cond_init(&wire->changed);
    wire->pumps = g_ptr_array_new_with_free_func(pump_free);
    wire->stop = g_cancellable_new();
    wire->target_path = g_strdup(target_uri + strlen("unix:"));
    if (!start_listening(wire, errp)) {
        return NULL;
    }
    wire->acceptor = g_thread_new("wire", acceptor_main, wire);
    return g_steal_pointer(&wire);
}

void wire_free(Wire *wire)
{
    if (!wire) {
        return;
    }
    wire_cut(wire);
    g_cancellable_cancel(wire->stop);
    if (wire->acceptor) {
        g_thread_join(wire->acceptor);
    }
    g_ptr_array_unref(wire->pumps);
    g_clear_object(&wire->listener);
    g_object_unref(wire->stop);
    if (wire->dir) {
        children_remove_dir(wire->dir);
    }
    g_free(wire->dir);
    g_free(wire->uri);
    g_free(wire->target_path);
    g_cond_clear(&wire->changed);
    g_mutex_clear(&wire->lock);
    g_free(wire);
}

const char *wire_uri(Wire *wire)
{
    return wire->uri;
}

void wire_set_rate(Wire *wire, guint64 bytes_per_s)
{
    g_mutex_lock(&wire->lock);
    wire->rate_bytes_per_s = bytes_per_s;
    wire->free_at_us = 0;
    g_cond_broadcast(&wire->changed);
    g_mutex_unlock(&wire->lock);
}

void wire_stall(Wire *wire, gboolean stalled)
{
    g_mutex_lock(&wire->lock);
    wire->stalled = stalled;
    g_cond_broadcast(&wire->changed);
    g_mutex_unlock(&wire->lock);
}

void wire_cut(Wire *wire)
{
    g_mutex_lock(&wire->lock);
    wire->cut = TRUE;
    for (guint i = 0; i < wire->pumps->len; i++) {
        Pump *pump = g_ptr_array_index(wire->pumps, i);

        g_socket_shutdown(pump->from, TRUE, TRUE, NULL);
    }
    g_cond_broadcast(&wire->changed);
    g_mutex_unlock(&wire->lock);
}
