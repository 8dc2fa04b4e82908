/*
 * Which vCPUs are curves of their own
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "plot-vcpus.h"

#include "look.h"

typedef struct Slowed {
    int id;
    gint64 sum_pct;             /* over all looks */
} Slowed;

static int by_id(const void *a, const void *b)
{
    const Slowed *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

static int by_sum(const void *a, const void *b)
{
    const Slowed *x = a, *y = b;

    return x->sum_pct != y->sum_pct ? (x->sum_pct < y->sum_pct ? 1 : -1)
                                    : by_id(a, b);
}

static GArray *sum_up(const GPtrArray *looks)
{
    g_autoptr(GHashTable) places = g_hash_table_new(NULL, NULL);
    GArray *all = g_array_new(FALSE, FALSE, sizeof(Slowed));

    for (guint i = 0; i < looks->len; i++) {
        const Look *look = looks->pdata[i];

        for (guint v = 0; v < look->vcpus->len; v++) {
            const LookVcpu *vcpu = &g_array_index(look->vcpus, LookVcpu, v);
            gpointer key = GINT_TO_POINTER(vcpu->id);
            guint place = GPOINTER_TO_UINT(g_hash_table_lookup(places, key));

            /* Counted from 1: 0 is that there is none */
            if (!place) {
                Slowed slowed = { vcpu->id, 0 };

                g_array_append_val(all, slowed);
                place = all->len;
                g_hash_table_insert(places, key, GUINT_TO_POINTER(place));
            }
            g_array_index(all, Slowed, place - 1).sum_pct +=
                MAX(vcpu->throttle_pct, 0);
        }
    }
    return all;
}

PlotVcpus plot_vcpus_choose(const GPtrArray *looks)
{
    g_autoptr(GArray) all = sum_up(looks);
    PlotVcpus vcpus = { g_array_new(FALSE, FALSE, sizeof(int)), 0 };

    g_array_sort(all, by_sum);
    if (!all->len || !g_array_index(all, Slowed, 0).sum_pct) {
        return vcpus;
    }
    if (all->len > PLOT_MAX_VCPUS) {
        vcpus.others = all->len - PLOT_MAX_VCPUS;
        g_array_set_size(all, PLOT_MAX_VCPUS);
    }
    g_array_sort(all, by_id);
    for (guint i = 0; i < all->len; i++) {
        g_array_append_val(vcpus.ids, g_array_index(all, Slowed, i).id);
    }
    return vcpus;
}

void plot_vcpus_clear(PlotVcpus *vcpus)
{
    g_clear_pointer(&vcpus->ids, g_array_unref);
}

static int place_of(const PlotVcpus *vcpus, int id)
{
    for (guint i = 0; i < vcpus->ids->len; i++) {
        if (g_array_index(vcpus->ids, int, i) == id) {
            return i;
        }
    }
    return -1;
}

void plot_vcpus_values(const PlotVcpus *vcpus, const GArray *now,
                       double *values)
{
    double sum_pct = 0;
    guint n = 0;

    for (guint i = 0; i < plot_vcpus_curves(vcpus); i++) {
        values[i] = -1;
    }
    for (guint i = 0; i < now->len; i++) {
        const LookVcpu *vcpu = &g_array_index(now, LookVcpu, i);
        int place = place_of(vcpus, vcpu->id);

        if (place >= 0) {
            values[place] = vcpu->throttle_pct;
        } else {
            sum_pct += MAX(vcpu->throttle_pct, 0);
            n++;
        }
    }
    if (vcpus->others && n) {
        values[vcpus->ids->len] = sum_pct / n;
    }
}
