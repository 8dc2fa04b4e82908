/*
 * An evacuation's links: who gets what of them, and who has what to send
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "evacuation-internal.h"

/* Less of a stream than that is not worth a migration of its own. */
#define WORTH_STARTING 0.05

/*
 * The engine slows a guest until what it dirties is a fifth of what is sent
 * (CONVERGENCE_RHO), by 99 % at most.
 */
#define AIM 0.2
#define LEAST_SHARE 0.01

/* One that still keeps up with the link then keeps it for so many passes. */
#define STUCK_PART 0.98
#define STUCK_PASSES 4

/* Set-ups take longer now and then, and whoever asks does so now and then. */
#define AHEAD 1.25

gboolean evacuation_sends(EvacuationStage stage)
{
    return stage == EVACUATION_BULK || stage == EVACUATION_TAIL;
}

/* What migrations that share a link evenly get of it */
static double even_share(const EvacuationTerms *terms,
                         const EvacuationRun *runs, unsigned n_runs,
                         unsigned link)
{
    unsigned n = 0;

    for (unsigned i = 0; i < n_runs; i++) {
        n += evacuation_sends(runs[i].stage) &&
             (runs[i].source == link || runs[i].destination == link);
    }
    return terms->links_bytes_per_s[link] / MAX(n, 1);
}

static void share_evenly(const EvacuationTerms *terms, EvacuationRun *runs,
                         unsigned n_runs)
{
    for (unsigned i = 0; i < n_runs; i++) {
        double source = even_share(terms, runs, n_runs, runs[i].source);
        double destination = even_share(terms, runs, n_runs,
                                        runs[i].destination);

        runs[i].rate_bytes_per_s = evacuation_sends(runs[i].stage)
            ? MIN(terms->stream_bytes_per_s, MIN(source, destination)) : 0;
    }
}

/*
 * What a migration may send of what is left of its two links.  To the others it
 * leaves also what it does not take.
 */
static double take(const EvacuationTerms *terms, double *left_bytes_per_s,
                   unsigned source, unsigned destination,
                   double takes)
{
    double rate = MIN(terms->stream_bytes_per_s,
                      MIN(left_bytes_per_s[source],
                          left_bytes_per_s[destination]));
    double taken = takes > 0 ? rate * MIN(takes, 1) : rate;

    left_bytes_per_s[source] -= taken;
    if (destination != source) {
        left_bytes_per_s[destination] -= taken;
    }
    return rate;
}

void evacuation_share(const EvacuationTerms *terms, EvacuationRun *runs,
                      unsigned n_runs)
{
    g_autofree double *left = NULL;

    if (terms->even) {
        share_evenly(terms, runs, n_runs);
        return;
    }
    left = g_memdup2(terms->links_bytes_per_s,
                     terms->n_links * sizeof(*left));
    for (unsigned i = 0; i < n_runs; i++) {
        runs[i].rate_bytes_per_s = evacuation_sends(runs[i].stage)
            ? take(terms, left, runs[i].source, runs[i].destination,
                   runs[i].takes) : 0;
    }
}

gboolean evacuation_may_start(const EvacuationTerms *terms,
                              const EvacuationRun *runs, unsigned n_runs,
                              unsigned source, unsigned destination)
{
    double ahead_s = MAX(terms->setup_s * AHEAD, EVACUATION_NOW_S);
    g_autofree double *left = NULL, *until = NULL;
    unsigned n_here = 0;

    for (unsigned i = 0; i < n_runs; i++) {
        n_here += runs[i].source == source;
    }
    if (terms->parallel) {
        return n_here < terms->parallel;
    }
    /*
     * The links as they will be when it is set up: without those that will have
     * sent all that they have to.
     */
    left = g_memdup2(terms->links_bytes_per_s,
                     terms->n_links * sizeof(*left));
    until = g_memdup2(left, terms->n_links * sizeof(*until));
    for (unsigned i = 0; i < n_runs; i++) {
        const EvacuationRun *run = &runs[i];
        double s = MAX(ahead_s - run->setup_left_s, 0);
        double bytes = MIN(MIN(run->left_bytes, terms->stream_bytes_per_s * s),
                           ahead_s * MIN(until[run->source],
                                         until[run->destination]));

        until[run->source] -= bytes / ahead_s;
        if (run->destination != run->source) {
            until[run->destination] -= bytes / ahead_s;
        }
        if (run->left_bytes >
            bytes + terms->stream_bytes_per_s * EVACUATION_NOW_S) {
            take(terms, left, run->source, run->destination, run->takes);
        }
    }
    return take(terms, left, source, destination, 0) >=
           WORTH_STARTING * MIN(terms->stream_bytes_per_s,
                                MIN(terms->links_bytes_per_s[source],
                                    terms->links_bytes_per_s[destination]));
}

/* What a guest dirties of what is sent meanwhile, slowed down to @share */
static double dirtied_part(const WriteModel *writes, double share,
                           double bytes, double rate_bytes_per_s)
{
    WriteModel slowed = *writes;

    slowed.rate_bytes_per_s *= share;
    return write_model_dirtied(&slowed, bytes / rate_bytes_per_s) / bytes;
}

double evacuation_tail_bytes(const WriteModel *writes, double dirty_bytes,
                             double rate_bytes_per_s, double downtime_s,
                             gboolean *stuck)
{
    double least_part;

    *stuck = FALSE;
    if (dirty_bytes <= downtime_s * rate_bytes_per_s) {
        return dirty_bytes;
    }
    least_part = dirtied_part(writes, LEAST_SHARE, dirty_bytes,
                              rate_bytes_per_s);
    if (least_part > STUCK_PART) {
        *stuck = TRUE;
        return STUCK_PASSES * dirty_bytes;
    }
    return dirty_bytes /
           (1 - CLAMP(dirtied_part(writes, 1, dirty_bytes, rate_bytes_per_s),
                      least_part, MAX(least_part, AIM)));
}

double evacuation_full_rate(const EvacuationTerms *terms,
                            const EvacuationGuest *guest)
{
    return MIN(terms->stream_bytes_per_s,
               MIN(terms->links_bytes_per_s[guest->source],
                   terms->links_bytes_per_s[guest->destination]));
}

double evacuation_left_bytes(const EvacuationGuest *guest,
                             double rate_bytes_per_s)
{
    double bulk_s;

    switch (guest->stage) {
    case EVACUATION_FINISH:
    case EVACUATION_GONE:
        return 0;
    case EVACUATION_TAIL:
        return guest->left_bytes;
    default:
        bulk_s = guest->stage == EVACUATION_BULK ? guest->stage_s : 0;
        bulk_s += guest->left_bytes / MAX(rate_bytes_per_s, 1);
        return guest->left_bytes + write_model_dirtied(&guest->writes, bulk_s);
    }
}
