/*
 * The plan of an evacuation: the best of several orders
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "evacuation-internal.h"

/* Managers' default, and how much sooner the rule has to be than that */
#define USUAL_PARALLEL 2
#define CLEARLY_SOONER 0.93

/* How long it would take alone on its links */
typedef struct Length {
    double s;
    unsigned index;
    gboolean runs;
} Length;

static double alone_s(const EvacuationTerms *terms,
                      const EvacuationGuest *guest)
{
    double rate = evacuation_full_rate(terms, guest);
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
