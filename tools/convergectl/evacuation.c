/*
 * The plan of an evacuation: which guest leaves when, and when all are gone
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "evacuation.h"

#include <math.h>
#include <string.h>

/* Less of a stream than that is not worth a migration of its own. */
#define WORTH_STARTING 0.05

/*
 * Of a guest's forecast: nine of ten real ends were within 26 %
 * (docs/devel/convergence-model.rst, section 7).
 */
#define GUEST_ERROR 0.26

/*
 * The engine slows a guest until what it dirties is a fifth of what is sent
 * (CONVERGENCE_RHO), by 99 % at most.
 */
#define AIM 0.2
#define LEAST_SHARE 0.01

/* One that still keeps up with the link then keeps it for so many passes. */
#define STUCK_PART 0.98
#define STUCK_PASSES 4

/* Managers' default, and how much sooner the rule has to be than that */
#define USUAL_PARALLEL 2
#define CLEARLY_SOONER 0.93

/* A time that is over, although rounding has left something of it */
#define NOW_S 1e-9

/* Set-ups take longer now and then, and whoever asks does so now and then. */
#define AHEAD 1.25

/* Of a set-up that takes no time the next is asked for no more often. */
#define LEAST_SETUP_S 1

static gboolean sends(EvacuationStage stage)
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
        n += sends(runs[i].stage) &&
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

        runs[i].rate_bytes_per_s = sends(runs[i].stage)
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
        runs[i].rate_bytes_per_s = sends(runs[i].stage)
            ? take(terms, left, runs[i].source, runs[i].destination,
                   runs[i].takes) : 0;
    }
}

gboolean evacuation_may_start(const EvacuationTerms *terms,
                              const EvacuationRun *runs, unsigned n_runs,
                              unsigned source, unsigned destination)
{
    double ahead_s = MAX(terms->setup_s * AHEAD, NOW_S);
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
        if (run->left_bytes > bytes + terms->stream_bytes_per_s * NOW_S) {
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

/* With the link for itself */
static double full_rate(const EvacuationTerms *terms,
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
            evacuation_left_bytes(&guest, full_rate(walk->terms, &guest));
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

        s = MIN(s, !sends(w->guest.stage) ? w->left_s :
                   rate > 0 ? w->guest.left_bytes / rate : HUGE_VAL);
    }
    return s;
}

static void enter_tail(Walk *walk, Walker *w)
{
    const EvacuationTerms *terms = walk->terms;
    double rate = full_rate(terms, &w->guest);
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

    s = MIN(s, MAX(walk->ask_all_s - walk->now_s, NOW_S));
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

        if (sends(w->guest.stage)) {
            w->guest.left_bytes -= rate * s;
            over = w->guest.left_bytes <= rate * NOW_S;
        } else {
            w->left_s -= s;
            over = w->left_s <= NOW_S;
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

/* How long it would take alone on its links */
typedef struct Length {
    double s;
    unsigned index;
    gboolean runs;
} Length;

static double alone_s(const EvacuationTerms *terms,
                      const EvacuationGuest *guest)
{
    double rate = full_rate(terms, guest);
    double bulk_s = guest->data_bytes / rate;
    gboolean stuck;

    return bulk_s +
           evacuation_tail_bytes(&guest->writes,
                                 write_model_dirtied(&guest->writes, bulk_s),
                                 rate, terms->downtime_s, &stuck) / rate;
}

/* Those that run come first, as they began; then the longest. */
static int longer_first(const void *a, const void *b)
{
    const Length *x = a, *y = b;

    if (x->runs != y->runs) {
        return x->runs ? -1 : 1;
    }
    if (x->runs || x->s == y->s) {
        return (x->index > y->index) - (x->index < y->index);
    }
    return x->s < y->s ? 1 : -1;
}

typedef enum Order { LONGEST_FIRST, SHORTEST_FIRST, AS_GIVEN, N_ORDERS } Order;

static void make_order(Order kind, const Length *lengths, unsigned n,
                       unsigned *order)
{
    unsigned running = 0;

    while (running < n && lengths[running].runs) {
        running++;
    }
    for (unsigned i = 0; i < n; i++) {
        unsigned from = kind == SHORTEST_FIRST && i >= running
                        ? n - 1 - (i - running) : i;

        order[i] = lengths[from].index;
    }
}

static int by_index(const void *a, const void *b)
{
    const Length *x = a, *y = b;

    if (x->runs != y->runs) {
        return x->runs ? -1 : 1;
    }
    return (x->index > y->index) - (x->index < y->index);
}

unsigned evacuation_gone_by(const EvacuationPlan *plan, double by_s)
{
    unsigned gone = 0;

    for (unsigned i = 0; i < plan->n; i++) {
        gone += plan->times[i].end_s <= by_s;
    }
    return gone;
}

static gboolean is_better(const EvacuationPlan *plan,
                          const EvacuationPlan *best, double by_s)
{
    if (by_s > 0 && MIN(plan->end_s, best->end_s) > by_s) {
        unsigned gone = evacuation_gone_by(plan, by_s);
        unsigned best_gone = evacuation_gone_by(best, by_s);

        if (gone != best_gone) {
            return gone > best_gone;
        }
    }
    return plan->end_s < best->end_s;
}

EvacuationPlan *evacuation_plan(const EvacuationTerms *terms,
                                const EvacuationGuest *guests, unsigned n,
                                double by_s)
{
    g_autofree Length *lengths = g_new(Length, n);
    g_autofree unsigned *order = g_new(unsigned, n);
    EvacuationPlan *best = NULL;

    if (!n) {
        return evacuation_foresee(terms, guests, 0, order);
    }
    for (unsigned i = 0; i < n; i++) {
        lengths[i] = (Length) {
            .s = alone_s(terms, &guests[i]), .index = i,
            .runs = guests[i].stage != EVACUATION_WAITING,
        };
    }
    /* As managers do it is in their order, too. */
    for (Order kind = terms->even ? AS_GIVEN : 0; kind < N_ORDERS; kind++) {
        EvacuationPlan *plan;

        qsort(lengths, n, sizeof(*lengths),
              kind == AS_GIVEN ? by_index : longer_first);
        make_order(kind, lengths, n, order);
        plan = evacuation_foresee(terms, guests, n, order);
        if (!best || is_better(plan, best, by_s)) {
            g_clear_pointer(&best, evacuation_plan_free);
            best = g_steal_pointer(&plan);
        }
        g_clear_pointer(&plan, evacuation_plan_free);
    }
    return best;
}

void evacuation_choose(EvacuationTerms *terms, const EvacuationGuest *guests,
                       unsigned n)
{
    EvacuationTerms usual = *terms;
    g_autoptr(EvacuationPlan) by_rule = NULL, two_by_two = NULL;

    terms->even = FALSE;
    by_rule = evacuation_plan(terms, guests, n, 0);
    usual.parallel = USUAL_PARALLEL;
    usual.even = TRUE;
    two_by_two = evacuation_plan(&usual, guests, n, 0);
    if (by_rule->end_s > two_by_two->end_s * CLEARLY_SOONER) {
        *terms = usual;
    }
}

void evacuation_plan_free(EvacuationPlan *plan)
{
    if (plan) {
        g_free(plan->order);
        g_free(plan->times);
        g_free(plan);
    }
}
