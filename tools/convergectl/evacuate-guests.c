/*
 * Emptying a host: which guests there are, and what they write
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "evacuate-internal.h"

#include "format.h"

#include <fnmatch.h>

/* Two windows, for forecast.h's model; libvirt takes whole seconds. */
#define FIRST_WINDOW_S 1
#define SECOND_WINDOW_S 3
#define MEASURE_SLACK_S 20

/* Of QEMU's own memory, which is not the guest's. */
#define OVERHEAD_BYTES (48.0 * 1024 * 1024)
#define LEAST_DATA_BYTES (16.0 * 1024 * 1024)

void evacuate_guest_free(void *opaque)
{
    EvacuateGuest *guest = opaque;

    domain_move_free(guest->move);
    if (guest->domain) {
        virDomainFree(guest->domain);
    }
    g_free(guest->name);
    g_free(guest->why);
    g_free(guest);
}

static gboolean matches(char **patterns, const char *name)
{
    for (int i = 0; patterns && patterns[i]; i++) {
        if (fnmatch(patterns[i], name, 0) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean is_wanted(const EvacuateOptions *options, const char *name)
{
    return (!options->only || matches(options->only, name)) &&
           !matches(options->except, name);
}

static double ram_bytes(virDomainPtr domain)
{
    virDomainInfo info = { 0 };

    virDomainGetInfo(domain, &info);
    return info.memory * 1024.0;
}

/* The destination that was given least so far */
static unsigned next_destination(const Evacuation *e)
{
    unsigned n = g_strv_length(e->options->destinations), best = 0;
    g_autofree double *bytes = g_new0(double, n);

    for (guint i = 0; i < e->guests->len; i++) {
        bytes[GUEST(e, i)->known.destination - 1] +=
            GUEST(e, i)->known.data_bytes;
    }
    for (unsigned d = 1; d < n; d++) {
        best = bytes[d] < bytes[best] ? d : best;
    }
    return best + 1;
}

static void add_guest(Evacuation *e, virDomainPtr domain)
{
    EvacuateGuest *guest = g_new0(EvacuateGuest, 1);
    double all = ram_bytes(domain);
    double used = domain_memory_in_use_bytes(domain) - OVERHEAD_BYTES;

    virDomainRef(domain);
    guest->domain = domain;
    guest->name = format_sanitize(virDomainGetName(domain));
    virDomainGetUUIDString(domain, guest->uuid);
    guest->why = g_strdup("");
    guest->takes = 1;
    guest->known.data_bytes = CLAMP(used, MIN(LEAST_DATA_BYTES, all), all);
    guest->known.writes.working_set_bytes = all;
    guest->known.destination = next_destination(e);
    g_ptr_array_add(e->guests, guest);
}

gboolean evacuate_find_guests(Evacuation *e)
{
    virDomainPtr *domains = NULL;
    int n = virConnectListAllDomains(e->source, &domains,
                                     VIR_CONNECT_LIST_DOMAINS_ACTIVE);

    for (int i = 0; i < n; i++) {
        if (is_wanted(e->options, virDomainGetName(domains[i]))) {
            add_guest(e, domains[i]);
        }
        virDomainFree(domains[i]);
    }
    free(domains);
    return n >= 0;
}

/* All guests at once: @bytes of each, negative where it cannot be told. */
static void measure_all(Evacuation *e, int window_s, double *bytes)
{
    gint64 began_us = g_get_monotonic_time();
    guint open = 0;

    for (guint i = 0; i < e->guests->len; i++) {
        bytes[i] = domain_measure(GUEST(e, i)->domain, window_s) ? -1 : -2;
        open += bytes[i] == -1;
    }
    while (open && seconds_since(began_us) < window_s + MEASURE_SLACK_S) {
        g_usleep(100 * 1000);
        for (guint i = 0; i < e->guests->len; i++) {
            if (bytes[i] == -1) {
                bytes[i] = domain_measured_bytes(GUEST(e, i)->domain,
                                                 window_s);
                open -= bytes[i] >= 0;
            }
        }
    }
}

void evacuate_measure_guests(Evacuation *e)
{
    g_autofree double *first = g_new(double, e->guests->len + 1);
    g_autofree double *second = g_new(double, e->guests->len + 1);

    measure_all(e, FIRST_WINDOW_S, first);
    measure_all(e, SECOND_WINDOW_S, second);
    for (guint i = 0; i < e->guests->len; i++) {
        EvacuationGuest *known = &GUEST(e, i)->known;

        if (first[i] >= 0 && second[i] >= 0) {
            known->writes = write_model_fit(first[i], FIRST_WINDOW_S,
                                            second[i], SECOND_WINDOW_S,
                                            known->data_bytes);
        }
    }
}
