/*
 * The plan of an evacuation: which guest leaves when, and when all are gone
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Pure functions: no clock, no I/O, no libvirt.  convergectl evacuate and the
 * simulator run the same ones.
 *
 * The rule is one: the link is for who came first.  Each migration gets what
 * it can take, in the order in which they began, and the next gets what they
 * leave.  Another one begins as soon as something will be left once it is set
 * up.  So the link is never idle, bulk passes overlap where one of them does
 * not fill it, and a tail, which is always older than the bulk passes beside
 * it, has the link as if it were alone.
 *
 * Why not shares: in t seconds a guest dirties D(t) (forecast.h), and has to
 * send it again.  Two that share a link take twice as long each, send D(2t)
 * each instead of D(t), and are slowed down to half the rate.
 */

#ifndef CONVERGECTL_EVACUATION_H
#define CONVERGECTL_EVACUATION_H

#include "forecast.h"

typedef enum EvacuationStage {
    EVACUATION_WAITING,
    EVACUATION_SETUP,               /* nothing is sent yet */
    EVACUATION_BULK,
    EVACUATION_TAIL,                /* what was written meanwhile */
    EVACUATION_FINISH,              /* all is sent; the other side takes over */
    EVACUATION_GONE,
} EvacuationStage;

typedef struct EvacuationGuest {
    double data_bytes;              /* pages that are not zero */
    WriteModel writes;
    /* Indices of links: the one out of its host, and the one into the next. */
    unsigned source, destination;
    /* A plan may begin in the middle; all zero: it waits. */
    EvacuationStage stage;
    double left_bytes;              /* of the bulk pass, or of the tail */
    double stage_s;                 /* since set-up, or the bulk pass, began */
} EvacuationGuest;

typedef struct EvacuationTerms {
    const double *links_bytes_per_s;
    unsigned n_links;
    double stream_bytes_per_s;      /* most that one migration can send */
    double setup_s, finish_s;       /* before and after it sends */
    double downtime_s;              /* the limit */
    unsigned parallel;              /* at once from a host; 0: by the rule */
    /* As managers do it: @parallel at once, and the link shared evenly. */
    gboolean even;
    double link_error;              /* 0.05: the links' rates, +-5 % */
} EvacuationTerms;

/* One that runs, for the rule; in the order in which they began. */
typedef struct EvacuationRun {
    unsigned source, destination;
    EvacuationStage stage;
    double setup_left_s;            /* until it sends */
    double left_bytes;              /* that it will send; HUGE_VAL: unknown */
    /*
     * The part of what it may send that it was seen to take: less than 1 where
     * it comes upon zero pages.  0: not known, all of it.
     */
    double takes;
    double rate_bytes_per_s;        /* out: what it may send */
} EvacuationRun;

/* Sets the rate of each that sends. */
void evacuation_share(const EvacuationTerms *terms, EvacuationRun *runs,
                      unsigned n_runs);

/* Whether one more may begin now, from @source to @destination */
gboolean evacuation_may_start(const EvacuationTerms *terms,
                              const EvacuationRun *runs, unsigned n_runs,
                              unsigned source, unsigned destination);

/*
 * What the tail of a guest sends that left @dirty_bytes after its bulk pass,
 * at the least throttle that ends it.  @stuck: no throttle does.
 */
double evacuation_tail_bytes(const WriteModel *writes, double dirty_bytes,
                             double rate_bytes_per_s, double downtime_s,
                             gboolean *stuck);

/*
 * What a guest will send from now on, at the least, if it gets that rate.
 */
double evacuation_left_bytes(const EvacuationGuest *guest,
                             double rate_bytes_per_s);

typedef struct EvacuationTimes {
    double start_s, tail_s, end_s;  /* from now */
    double error_s;                 /* nine of ten ends are within */
    gboolean stuck;                 /* no throttle makes it converge */
} EvacuationTimes;

typedef struct EvacuationPlan {
    unsigned n;
    unsigned *order;                /* in which they begin, indices */
    EvacuationTimes *times;         /* of each guest */
    double end_s, error_s;          /* of the whole, and its band */
} EvacuationPlan;

/* What the rule leads to if they begin in the order given */
EvacuationPlan *evacuation_foresee(const EvacuationTerms *terms,
                                   const EvacuationGuest *guests, unsigned n,
                                   const unsigned *order);

/*
 * The order that ends first, of those tried; or, if that is later than
 * @by_s, the one in which most are gone by then.  0: there is no such time.
 */
EvacuationPlan *evacuation_plan(const EvacuationTerms *terms,
                                const EvacuationGuest *guests, unsigned n,
                                double by_s);

/*
 * Two at a time that share the link evenly, as managers do it, if the rule is
 * not clearly sooner: where two fill the link there is next to nothing to gain,
 * and what the plan is wrong by may be more than that.  To be called with
 * @terms->parallel 0.
 */
void evacuation_choose(EvacuationTerms *terms, const EvacuationGuest *guests,
                       unsigned n);

/* How many are gone by then */
unsigned evacuation_gone_by(const EvacuationPlan *plan, double by_s);

void evacuation_plan_free(EvacuationPlan *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EvacuationPlan, evacuation_plan_free)

#endif
