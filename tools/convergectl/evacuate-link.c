/*
 * Emptying a host: what the link carries, and who gets how much of it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "evacuate-internal.h"

#include "format.h"

#include <math.h>

/* What a link must be off by, and for how long, to be another one. */
#define LINK_LOW 0.8
#define LINK_HIGH 1.1
#define LINK_S 4
/* One that is full may carry more: so much is tried. */
#define LINK_TRY 1.6

/* Until the rate of one that has begun to send means something. */
#define GET_GOING_S 2

void evacuate_set_link(Evacuation *e, double bytes_per_s)
{
    for (unsigned l = 0; l < e->terms.n_links; l++) {
        e->links_bytes_per_s[l] = bytes_per_s;
    }
}

/* Rates of those that send, in the order in which they began */
guint evacuate_make_runs(const Evacuation *e, EvacuationRun *runs, guint *who)
{
    guint n = 0;

    for (guint i = 0; i < e->guests->len; i++) {
        if (GUEST(e, i)->fate == EVACUATE_RUNS) {
            who[n++] = i;
        }
    }
    for (guint i = 1; i < n; i++) {
        for (guint j = i; j > 0 && GUEST(e, who[j])->began_us <
             GUEST(e, who[j - 1])->began_us; j--) {
            guint swapped = who[j];

            who[j] = who[j - 1];
            who[j - 1] = swapped;
        }
    }
    for (guint i = 0; i < n; i++) {
        const EvacuateGuest *guest = GUEST(e, who[i]);
        double full = MIN(e->links_bytes_per_s[0],
                          e->terms.stream_bytes_per_s);

        runs[i] = (EvacuationRun) {
            .source = 0, .destination = guest->known.destination,
            .stage = guest->known.stage,
            .setup_left_s = guest->known.stage == EVACUATION_SETUP
                ? MAX(e->terms.setup_s - seconds_since(guest->began_us), 0)
                : 0,
            .left_bytes = evacuation_left_bytes(&guest->known, full),
            .takes = guest->takes,
        };
    }
    evacuation_share(&e->terms, runs, n);
    return n;
}

void evacuate_share_link(Evacuation *e, const EvacuationRun *runs,
                         const guint *who, guint n)
{
    for (guint i = 0; i < n; i++) {
        EvacuateGuest *guest = GUEST(e, who[i]);
        double rate = runs[i].rate_bytes_per_s;

        /* The first may find out that the link carries more. */
        if (i == 0 && !e->options->link_bytes_per_s) {
            rate *= 2;
        }
        if (guest->known.stage != EVACUATION_SETUP &&
            fabs(rate - guest->allowed_bytes_per_s) >
            0.05 * guest->allowed_bytes_per_s) {
            domain_set_speed(guest->domain, rate);
            guest->allowed_bytes_per_s = rate;
        }
    }
}

/* What all carry, and what they were to: those that have got going. */
static double see_rates(const Evacuation *e, double *asked, guint *n)
{
    double link = e->links_bytes_per_s[0], carried = 0;

    *asked = *n = 0;
    for (guint i = 0; i < e->guests->len; i++) {
        const EvacuateGuest *guest = GUEST(e, i);

        if (guest->fate == EVACUATE_RUNS && guest->sends_us &&
            seconds_since(guest->sends_us) > GET_GOING_S) {
            ++*n;
            carried += guest->rate_bytes_per_s;
            *asked += MIN(guest->allowed_bytes_per_s, link);
        }
    }
    *asked = MIN(*asked, link);
    return carried;
}

/*
 * What the link carries.  One that carries less than it is asked to by a fifth,
 * for four seconds, is another one.  Where nobody said what it carries, the
 * first guest tells; after that more is tried as long as it is full.
 */
void evacuate_see_link(Evacuation *e, EvacuateShow *show, double s)
{
    double link = e->links_bytes_per_s[0], asked;
    guint n;
    double carried = see_rates(e, &asked, &n);
    char now[FORMAT_MAX], before[FORMAT_MAX];

    if (!e->link_known) {
        if (carried > 0) {
            e->link_known = TRUE;
            e->terms.stream_bytes_per_s = carried;
            evacuate_set_link(e, carried * LINK_TRY);
            evacuate_show_event(show, e, NULL, "one guest is sent at %s",
                                format_rate(now, carried));
        }
        return;
    }
    if (carried > link * LINK_HIGH) {
        evacuate_set_link(e, carried);
        e->terms.stream_bytes_per_s = MAX(e->terms.stream_bytes_per_s,
                                          carried / MAX(n, 1));
        return;
    }
    e->least_link_s = asked >= link * 0.9 && carried < asked * LINK_LOW &&
                      carried > 0 ? e->least_link_s + s : 0;
    e->full_link_s = !e->link_found && carried >= asked * 0.95 &&
                     asked >= link * 0.95 ? e->full_link_s + s : 0;
    if (e->least_link_s >= LINK_S) {
        evacuate_show_event(show, e, NULL, "the link carries %s, not %s",
                            format_rate(now, carried),
                            format_rate(before, link));
        evacuate_set_link(e, carried);
        e->link_found = TRUE;
        e->least_link_s = 0;
    } else if (e->full_link_s >= LINK_S) {
        evacuate_set_link(e, link * LINK_TRY);
        e->full_link_s = 0;
    }
}
