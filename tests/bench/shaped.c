/*
 * A wire for one migration of the benchmark, steady or not
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "shaped.h"

/* So long it carries all, and so long a part of it */
#define WAVERS_MS 3000
#define WAVERS_TO 3

struct Shaped {
    Wire *wire;
    guint64 bytes_per_s;
    GThread *thread;            /* NULL: it does not waver */
    GMutex lock;                /* of what follows */
    GCond ends_now;
    gboolean ends;
};

static void *waver(void *opaque)
{
    Shaped *shaped = opaque;
    gboolean slow = FALSE;
    gint64 until_us = g_get_monotonic_time() + WAVERS_MS * 1000LL;

    g_mutex_lock(&shaped->lock);
    while (!shaped->ends) {
        if (g_cond_wait_until(&shaped->ends_now, &shaped->lock, until_us)) {
            continue;
        }
        until_us += WAVERS_MS * 1000LL;
        slow = !slow;
        wire_set_rate(shaped->wire,
                      shaped->bytes_per_s / (slow ? WAVERS_TO : 1));
    }
    g_mutex_unlock(&shaped->lock);
    return NULL;
}

Shaped *shaped_new(guint64 bytes_per_s, gboolean wavers, GError **errp)
{
    Wire *wire = wire_new_tcp(NULL, NULL, errp);
    Shaped *shaped;

    if (!wire) {
        return NULL;
    }
    shaped = g_new0(Shaped, 1);
    shaped->wire = wire;
    shaped->bytes_per_s = bytes_per_s;
    g_mutex_init(&shaped->lock);
    g_cond_init(&shaped->ends_now);
    wire_set_rate(wire, bytes_per_s);
    if (wavers) {
        shaped->thread = g_thread_new("wavers", waver, shaped);
    }
    return shaped;
}

void shaped_free(Shaped *shaped)
{
    if (!shaped) {
        return;
    }
    if (shaped->thread) {
        g_mutex_lock(&shaped->lock);
        shaped->ends = TRUE;
        g_cond_signal(&shaped->ends_now);
        g_mutex_unlock(&shaped->lock);
        g_thread_join(shaped->thread);
    }
    wire_free(shaped->wire);
    g_mutex_clear(&shaped->lock);
    g_cond_clear(&shaped->ends_now);
    g_free(shaped);
}

Wire *shaped_wire(Shaped *shaped)
{
    return shaped->wire;
}
