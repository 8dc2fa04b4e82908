/*
 * An evacuation as it will go, guests taken in a given order
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "evacuation-internal.h"

#include <math.h>

/*
 * Of a guest's forecast: nine of ten real ends were within 26 %
 * (docs/devel/convergence-model.rst, section 7).
 */
#define GUEST_ERROR 0.26

/* Of a set-up that takes no time the next is asked for no more often. */
#define LEAST_SETUP_S 1

/* A guest on its way, as the forecast has it */
typedef struct Walker {
    EvacuationGuest guest;
    unsigned index;
    double left_s;                  /* of a stage that sends nothing */
    double began_s;                 /* its bulk pass */
} Walker;

typedef struct Walk {
    const EvacuationTerms *terms;
    EvacuationPlan *plan;
    Walker *walkers;                /* that run, in the order of their start */
    EvacuationRun *runs;            /* the same for the rule */
    unsigned n_running;
    double now_s;
    double *error_squares;          /* of each host's guests so far */
    gboolean *ask;                  /* of each link: whether one may begin */
    double ask_all_s;               /* when, of all of them */
} Walk;

static void look(Walk *walk)
{
    for (unsigned i = 0; i < walk->n_running; i++) {
        const Walker *w = &walk->walkers[i];

        walk->runs[i].source = w->guest.source;
        walk->runs[i].destination = w->guest.destination;
        walk->runs[i].stage = w->guest.stage;
    }
    evacuation_share(walk->terms, walk->runs, walk->n_running);
    for (unsigned i = 0; i < walk->n_running; i++) {
        const Walker *w = &walk->walkers[i];
        EvacuationGuest guest = w->guest;

        guest.stage_s = walk->now_s - w->began_s;
        walk->runs[i].setup_left_s =
            guest.stage == EVACUATION_SETUP ? w->left_s : 0;
        walk->runs[i].left_bytes =
            evacuation_left_bytes(&guest,
                                  evacuation_full_rate(walk->terms, &guest));
    }
}

static void begin(Walk *walk, const EvacuationGuest *guest, unsigned index)
{
    Walker *w = &walk->walkers[walk->n_running++];

    *w = (Walker) {
        .guest = *guest, .index = index,
        .left_s = walk->terms->setup_s,
        .began_s = walk->now_s,
    };
    if (guest->stage == EVACUATION_WAITING) {
        w->guest.stage = EVACUATION_SETUP;
        w->guest.left_bytes = guest->data_bytes;
    } else if (guest->stage == EVACUATION_SETUP) {
        w->left_s = MAX(walk->terms->setup_s - guest->stage_s, 0);
        w->guest.left_bytes = guest->data_bytes;
    } else if (guest->stage == EVACUATION_FINISH) {
        w->left_s = walk->terms->finish_s;
    } else {
        w->began_s = -guest->stage_s;
    }
    walk->plan->times[index].start_s = walk->now_s;
    look(walk);
}

/* How long until the next of them is through with its stage */
static double next_change_s(const Walk *walk)
{
    double s = HUGE_VAL;

    for (unsigned i = 0; i < walk->n_running; i++) {
        const Walker *w = &walk->walkers[i];
        double rate = walk->runs[i].rate_bytes_per_s;

        s = MIN(s, !evacuation_sends(w->guest.stage) ? w->left_s :
                   rate > 0 ? w->guest.left_bytes / rate : HUGE_VAL);
    }
    return s;
}

static void enter_tail(Walk *walk, Walker *w)
{
    const EvacuationTerms *terms = walk->terms;
    double rate = evacuation_full_rate(terms, &w->guest);
    EvacuationTimes *times = &walk->plan->times[w->index];

    if (terms->even) {
        rate = walk->runs[w - walk->walkers].rate_bytes_per_s;
    }
    w->guest.left_bytes = evacuation_tail_bytes(
        &w->guest.writes,
        write_model_dirtied(&w->guest.writes, walk->now_s - w->began_s),
        rate, terms->downtime_s, &times->stuck);
    w->guest.stage = EVACUATION_TAIL;
    times->tail_s = walk->now_s;
}

static void leave(Walk *walk, Walker *w)
{
    EvacuationTimes *times = &walk->plan->times[w->index];
    double *squares = &walk->error_squares[w->guest.source];
    double own_s = (walk->now_s - times->start_s) * GUEST_ERROR;
    double link_s = walk->now_s * walk->terms->link_error;

    *squares += own_s * own_s;
    w->guest.stage = EVACUATION_GONE;
    times->end_s = walk->now_s;
    times->error_s = sqrt(MIN(*squares, walk->now_s * walk->now_s *
                              GUEST_ERROR * GUEST_ERROR)) + link_s;
    if (times->end_s >= walk->plan->end_s) {
        walk->plan->end_s = times->end_s;
        walk->plan->error_s = times->error_s;
    }
}

static void next_stage(Walk *walk, Walker *w)
{
    switch (w->guest.stage) {
    case EVACUATION_SETUP:
        w->guest.stage = EVACUATION_BULK;
        w->began_s = walk->now_s;
        break;
    case EVACUATION_BULK:
        enter_tail(walk, w);
        break;
    case EVACUATION_TAIL:
        w->guest.stage = EVACUATION_FINISH;
        w->left_s = walk->terms->finish_s;
        break;
    default:
        leave(walk, w);
        break;
    }
}

/* Lets time pass until something changes. */
static void step(Walk *walk)
{
    double s = next_change_s(walk);
    gboolean ask_all;
    unsigned kept = 0;

    s = MIN(s, MAX(walk->ask_all_s - walk->now_s, EVACUATION_NOW_S));
    walk->now_s += s;
    ask_all = walk->now_s >= walk->ask_all_s;
    if (ask_all) {
        walk->ask_all_s = walk->now_s +
                          MAX(walk->terms->setup_s, LEAST_SETUP_S) / 4;
    }
    for (unsigned link = 0; link < walk->terms->n_links; link++) {
        walk->ask[link] = ask_all;
    }
    for (unsigned i = 0; i < walk->n_running; i++) {
        Walker *w = &walk->walkers[i];
        double rate = walk->runs[i].rate_bytes_per_s;
        gboolean over;

        if (evacuation_sends(w->guest.stage)) {
            w->guest.left_bytes -= rate * s;
            over = w->guest.left_bytes <= rate * EVACUATION_NOW_S;
        } else {
            w->left_s -= s;
            over = w->left_s <= EVACUATION_NOW_S;
        }
        if (over) {
            walk->ask[w->guest.source] = TRUE;
            next_stage(walk, w);
        }
    }
    for (unsigned i = 0; i < walk->n_running; i++) {
        if (walk->walkers[i].guest.stage != EVACUATION_GONE) {
            walk->walkers[kept++] = walk->walkers[i];
        }
    }
    walk->n_running = kept;
    look(walk);
}

/*
 * Begins what may begin.  Those that wait for a host's link are in one queue a
 * host: @next of each, through @queue, is the guest after it.
 */
static unsigned begin_some(Walk *walk, const EvacuationGuest *guests,
                           const unsigned *queue, unsigned *next,
                           unsigned none)
{
    unsigned begun = 0;

    for (unsigned link = 0; link < walk->terms->n_links; link++) {
        while (next[link] != none && walk->ask[link] &&
               evacuation_may_start(walk->terms, walk->runs, walk->n_running,
                                    link, guests[next[link]].destination)) {
            unsigned index = next[link];

            next[link] = queue[index];
            begin(walk, &guests[index], index);
            begun++;
        }
    }
    return begun;
}

EvacuationPlan *evacuation_foresee(const EvacuationTerms *terms,
                                   const EvacuationGuest *guests, unsigned n,
                                   const unsigned *order)
{
    EvacuationPlan *plan = g_new0(EvacuationPlan, 1);
    g_autofree Walker *walkers = g_new0(Walker, n);
    g_autofree EvacuationRun *runs = g_new0(EvacuationRun, n);
    g_autofree double *squares = g_new0(double, terms->n_links);
    g_autofree gboolean *ask = g_new(gboolean, terms->n_links);
    g_autofree unsigned *queue = g_new(unsigned, n);
    g_autofree unsigned *next = g_new(unsigned, terms->n_links);
    Walk walk = { .terms = terms, .plan = plan, .walkers = walkers,
                  .runs = runs, .error_squares = squares };
    unsigned waiting = 0;

    walk.ask = ask;
    plan->n = n;
    plan->order = g_memdup2(order, n * sizeof(*order));
    plan->times = g_new0(EvacuationTimes, n);
    for (unsigned link = 0; link < terms->n_links; link++) {
        next[link] = n;
        ask[link] = TRUE;
    }
    for (unsigned i = n; i-- > 0; ) {
        const EvacuationGuest *guest = &guests[order[i]];

        if (guest->stage == EVACUATION_WAITING) {
            queue[order[i]] = next[guest->source];
            next[guest->source] = order[i];
            waiting++;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        const EvacuationGuest *guest = &guests[order[i]];

        if (guest->stage != EVACUATION_WAITING &&
            guest->stage != EVACUATION_GONE) {
            begin(&walk, guest, order[i]);
        }
    }
    while (waiting || walk.n_running) {
        waiting -= begin_some(&walk, guests, queue, next, n);
        if (!walk.n_running || !isfinite(next_change_s(&walk))) {
            /* A link that carries nothing: there is no end. */
            plan->end_s = plan->error_s = HUGE_VAL;
            break;
        }
        step(&walk);
    }
    return plan;
}
