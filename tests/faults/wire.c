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
 *
 * A unix socket holds some 200 KB of what was sent and is still to go.  Over
 * TCP it is what the sender's kernel allows, megabytes, as on a real link: so
 * that it stands there and not here, little is read ahead of the rate.
 */

#include "wire.h"

#include "children.h"

#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <sys/socket.h>

/* Small, so that a slow wire is an even one; a fast one has no time for that */
#define PIECE_BYTES (16 * 1024)
#define MAX_PIECE_BYTES (256 * 1024)
#define PIECES_PER_S 1000
/* What a thread that slept for too long may make up for */
#define LATE_US 2000
/* The least that TCP gets along with over loopback, whose packets are 64 KiB */
#define MIN_RECEIVE_BYTES (64 * 1024)
#define MAX_RECEIVE_BYTES (1024 * 1024)
#define RECEIVES_PER_S 500

/* What the pumps of one wire, or of several beside each other, share */
typedef struct Line {
    gint wires;
    GMutex lock;
    /* Guarded by lock */
    guint64 rate_bytes_per_s;
    gint64 free_at_us;          /* when the line has sent what it took */
} Line;

struct Wire {
    char *dir;
    char *uri;
    GSocket *listener;
    GCancellable *stop;
    GThread *acceptor;
    Line *line;
    gboolean is_tcp;

    GMutex lock;
    GCond changed;
    /* Guarded by lock */
    char *target_path;
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

static Line *line_new(void)
{
    Line *line = g_new0(Line, 1);

    line->wires = 1;
    g_mutex_init(&line->lock);
    return line;
}

static void line_unref(Line *line)
{
    if (line && g_atomic_int_dec_and_test(&line->wires)) {
        g_mutex_clear(&line->lock);
        g_free(line);
    }
}

/* Returns when @bytes will have gone, in turn with what others send */
static gint64 line_take(Line *line, gsize bytes)
{
    gint64 free_at_us;

    g_mutex_lock(&line->lock);
    line->free_at_us = MAX(line->free_at_us,
                           g_get_monotonic_time() - LATE_US);
    if (line->rate_bytes_per_s) {
        line->free_at_us += bytes * G_USEC_PER_SEC / line->rate_bytes_per_s;
    }
    free_at_us = line->free_at_us;
    g_mutex_unlock(&line->lock);
    return free_at_us;
}

static gsize line_piece_bytes(Line *line)
{
    guint64 bytes;

    g_mutex_lock(&line->lock);
    bytes = line->rate_bytes_per_s ? line->rate_bytes_per_s / PIECES_PER_S :
                                     PIECE_BYTES;
    g_mutex_unlock(&line->lock);
    return CLAMP(bytes, PIECE_BYTES, MAX_PIECE_BYTES);
}

/* Waits until @bytes have gone; FALSE if the wire is cut */
static gboolean wire_pass(Wire *wire, gsize bytes)
{
    gint64 gone_us = line_take(wire->line, bytes);
    gboolean cut;

    g_mutex_lock(&wire->lock);
    while (!wire->cut &&
           (wire->stalled || gone_us > g_get_monotonic_time())) {
        if (wire->stalled) {
            g_cond_wait(&wire->changed, &wire->lock);
        } else {
            g_cond_wait_until(&wire->changed, &wire->lock, gone_us);
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
    g_autofree char *data = g_malloc(MAX_PIECE_BYTES);
    gboolean ok = TRUE;
    gssize n;

    while (ok && (n = g_socket_receive(pump->from, data,
                                       line_piece_bytes(pump->wire->line),
                                       NULL, NULL)) > 0) {
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
        g_autoptr(GSocketAddress) address = NULL;
        g_autoptr(GSocket) target = unix_socket(NULL);

        g_mutex_lock(&wire->lock);
        address = g_unix_socket_address_new(wire->target_path);
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

static gboolean listen_on(Wire *wire, GSocketAddress *address, GError **errp)
{
    return wire->listener &&
           g_socket_bind(wire->listener, address, FALSE, errp) &&
           g_socket_listen(wire->listener, errp);
}

static gboolean listen_unix(Wire *wire, GError **errp)
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
    return listen_on(wire, address, errp);
}

static gboolean listen_tcp(Wire *wire, GError **errp)
{
    g_autoptr(GSocketAddress) any =
        g_inet_socket_address_new_from_string("127.0.0.1", 0);
    g_autoptr(GSocketAddress) address = NULL;

    wire->listener = g_socket_new(G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM,
                                  G_SOCKET_PROTOCOL_TCP, errp);
    wire->is_tcp = TRUE;
    if (!wire->listener || !listen_on(wire, any, errp) ||
        !(address = g_socket_get_local_address(wire->listener, errp))) {
        return FALSE;
    }
    wire->uri = g_strdup_printf("tcp:127.0.0.1:%u",
        g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(address)));
    return TRUE;
}

void wire_set_target(Wire *wire, const char *target_uri)
{
    g_mutex_lock(&wire->lock);
    g_free(wire->target_path);
    wire->target_path = g_strdup(target_uri + strlen("unix:"));
    g_mutex_unlock(&wire->lock);
}

static Wire *make_wire(const char *target_uri, Line *line,
                       gboolean (*start)(Wire *, GError **), GError **errp)
{
    g_autoptr(Wire) wire = g_new0(Wire, 1);

    g_mutex_init(&wire->lock);
    g_cond_init(&wire->changed);
    wire->line = line;
    wire->pumps = g_ptr_array_new_with_free_func(pump_free);
    wire->stop = g_cancellable_new();
    if (target_uri) {
        wire_set_target(wire, target_uri);
    }
    if (!start(wire, errp)) {
        return NULL;
    }
    wire->acceptor = g_thread_new("wire", acceptor_main, wire);
    return g_steal_pointer(&wire);
}

Wire *wire_new(const char *target_uri, GError **errp)
{
    return make_wire(target_uri, line_new(), listen_unix, errp);
}

Wire *wire_new_tcp(const char *target_uri, Wire *beside, GError **errp)
{
    Line *line = beside ? beside->line : line_new();

    if (beside) {
        g_atomic_int_inc(&line->wires);
    }
    return make_wire(target_uri, line, listen_tcp, errp);
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
    line_unref(wire->line);
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
    g_mutex_lock(&wire->line->lock);
    wire->line->rate_bytes_per_s = bytes_per_s;
    wire->line->free_at_us = 0;
    g_mutex_unlock(&wire->line->lock);
    if (wire->is_tcp) {
        /* Of connections to come: no window that was offered is taken back */
        g_socket_set_option(wire->listener, SOL_SOCKET, SO_RCVBUF,
                            bytes_per_s ? CLAMP(bytes_per_s / RECEIVES_PER_S,
                                                MIN_RECEIVE_BYTES,
                                                MAX_RECEIVE_BYTES) :
                                          MAX_RECEIVE_BYTES, NULL);
    }
}

void wire_stall(Wire *wire, gboolean stalled)
{
    g_mutex_lock(&wire->lock);
    wire->stalled = stalled;
    g_cond_broadcast(&wire->changed);
    g_mutex_unlock(&wire->lock);
}

/*
 * TCP tells a sender only once the socket is closed: to shut it down leaves
 * data that nobody will ever read in the sender's queue.
 */
void wire_cut(Wire *wire)
{
    g_autoptr(GPtrArray) pumps =
        g_ptr_array_new_with_free_func(pump_free);

    g_mutex_lock(&wire->lock);
    wire->cut = TRUE;
    for (guint i = 0; i < wire->pumps->len; i++) {
        Pump *pump = g_ptr_array_index(wire->pumps, i);

        g_socket_shutdown(pump->from, TRUE, TRUE, NULL);
    }
    g_cond_broadcast(&wire->changed);
    g_ptr_array_extend_and_steal(pumps, g_steal_pointer(&wire->pumps));
    wire->pumps = g_ptr_array_new_with_free_func(pump_free);
    g_mutex_unlock(&wire->lock);
}
