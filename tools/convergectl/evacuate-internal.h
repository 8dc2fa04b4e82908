/*
 * Emptying a host: what the files that do it share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_EVACUATE_INTERNAL_H
#define CONVERGECTL_EVACUATE_INTERNAL_H

#include "evacuate.h"

#define GUEST(e, i) ((EvacuateGuest *)(e)->guests->pdata[i])

static inline double seconds_since(gint64 us)
{
    return (g_get_monotonic_time() - us) / 1e6;
}

/* evacuate-guests.c */

/* Of Evacuation.guests; frees its domain, too */
void evacuate_guest_free(void *guest);

/* Those that run, and are wanted.  FALSE if libvirt does not say. */
gboolean evacuate_find_guests(Evacuation *e);

/* What each of them writes; takes some seconds */
void evacuate_measure_guests(Evacuation *e);

/* evacuate-link.c */

/* All links carry that, as far as is known */
void evacuate_set_link(Evacuation *e, double bytes_per_s);

/*
 * Rates of those that send, in the order in which they began.  @runs, @who: as
 * many as there are guests; @who: which guest that is.  Returns how many.
 */
guint evacuate_make_runs(const Evacuation *e, EvacuationRun *runs, guint *who);

/* Tells libvirt, where a rate is another one than before */
void evacuate_share_link(Evacuation *e, const EvacuationRun *runs,
                         const guint *who, guint n);

/* What the link carries, from a look after @s seconds */
void evacuate_see_link(Evacuation *e, EvacuateShow *show, double s);

#endif
