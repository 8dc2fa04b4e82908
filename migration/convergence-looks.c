/*
 * Convergence engine: when to look at the guest again, and how closely
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "convergence-estimate.h"
#include "convergence-internal.h"

/*
 * A sync must not cost more than a twentieth of the time between syncs: that
 * of a 256 GiB guest takes 10 to 70 ms, with the BQL held.
 */
#define SYNC_COST_SHARE 20
/* However much they cost, the guest is not lost sight of for longer. */
#define MAX_PERIOD_NS (3600 * NS_PER_S)
/*
 * The least that a sync of this guest takes, above which there are none on the
 * clock in the bulk pass: who holds the BQL for longer is felt by the guest,
 * and the pass ends with a sync anyway.
 */
#define BULK_SYNC_MAX_NS (20 * NS_PER_MS)
/* For that long while a policy seeks, a sync may cost a quarter of the time. */
#define SEEKING_COST_SHARE 4
/* A look is late by so much, on average. */
#define LOOP_NS (50 * NS_PER_MS)
/* Looks: neither closer than QEMU's loop comes round, nor too few. */
#define MIN_LOOK_NS (100 * NS_PER_MS)
#define MAX_LOOK_NS (250 * NS_PER_MS)
#define LOOKS_LEFT 4
#define LEAD_NS (500 * NS_PER_MS)
/* A look that tells a rate from what is rewritten after each sync. */
#define TELLING_NS NS_PER_S
/* Not more than so much longer; less than that is no look of its own. */
#define LEAD_SPLIT 0.5

int64_t convergence_look_ns(const ConvergenceEngine *engine,
                            const ConvergenceParams *params,
                            const ConvergenceSample *sample)
{
    double left_s = sample->remaining_bytes / engine->model.drain_bytes_per_s;
    int64_t look_ns = convergence_clamp(left_s * NS_PER_S / LOOKS_LEFT,
                                        MIN_LOOK_NS, MAX_LOOK_NS);

    return look_ns < params->sync_period_ms * NS_PER_MS ? look_ns :
           params->sync_period_ms * NS_PER_MS;
}

int64_t convergence_probe_lead_ns(const ConvergenceEngine *engine,
                                  const ConvergenceSample *sample)
{
    const ConvergencePolicyOps *policy = engine->policy;
    unsigned looks = convergence_estimate_looks(sample->n_vcpus);

    /*
     * One look more, to see how it is while nobody is held.  None where a sync
     * costs so much that looks would have to be longer.
     */
    return sample->bulk_pass && policy && policy->throttles_vcpus &&
           engine->model.least_sync_busy_ns <= BULK_SYNC_MAX_NS &&
           engine->model.sync_cost_ns * SEEKING_COST_SHARE <=
           CONVERGENCE_PROBE_NS &&
           convergence_estimate_wants_probe(engine, sample, HUGE_VAL) ?
           (looks - engine->estimate.probes + 1) *
           (CONVERGENCE_PROBE_NS + LOOP_NS) : 0;
}

static ConvergenceNextLook look_in(int64_t in_ns, bool seeks)
{
    return (ConvergenceNextLook) { .in_ns = in_ns, .seeks = seeks };
}

/*
 * The longer an interval, the more of the writes in it hit the same pages.
 * The sample that the first cut rests on, the one that ends with the bulk
 * pass, shall be a short one.
 */
ConvergenceNextLook convergence_watch(const ConvergenceEngine *engine,
                                      const ConvergenceParams *params,
                                      const ConvergenceSample *sample,
                                      bool unsure)
{
    const ConvergenceModel *model = &engine->model;
    int64_t period_ns = params->sync_period_ms * NS_PER_MS;
    double cost_ns = model->sync_cost_ns * SEEKING_COST_SHARE;
    int64_t probe_lead_ns = convergence_probe_lead_ns(engine, sample);
    double lead_ns = (cost_ns > LEAD_NS ? cost_ns : LEAD_NS) + probe_lead_ns;
    double ends_ns = convergence_model_bulk_ends_s(model, sample) * NS_PER_S;
    double until_ns = ends_ns - lead_ns;

    if (!sample->bulk_pass && (unsure || !model->dirty_known)) {
        /* Whether the guest needs help shows in the next look. */
        return look_in(MIN(unsure ? TELLING_NS : MAX_LOOK_NS, period_ns),
                       false);
    }
    if (probe_lead_ns && until_ns < MIN_LOOK_NS && !model->dirty_known) {
        /* Rewrites are seen from now on: the next look can tell. */
        return look_in(MIN(MAX_LOOK_NS, period_ns), true);
    }
    if (!sample->bulk_pass || until_ns < lead_ns * LEAD_SPLIT ||
        until_ns > period_ns + model->sync_cost_ns * SYNC_COST_SHARE) {
        return look_in(period_ns, false);
    }
    return look_in(until_ns > MIN_LOOK_NS ? (int64_t)until_ns : MIN_LOOK_NS,
                   true);
}

int64_t convergence_bound_look_ns(const ConvergenceEngine *engine,
                                  bool bulk_pass, int64_t look_ns)
{
    double least_ns = engine->model.sync_cost_ns *
                      (engine->seeking ? SEEKING_COST_SHARE : SYNC_COST_SHARE);

    if (bulk_pass && engine->model.least_sync_busy_ns > BULK_SYNC_MAX_NS) {
        look_ns = MAX_PERIOD_NS;
    }
    return look_ns < least_ns ?
           (int64_t)convergence_clamp(least_ns, 0, MAX_PERIOD_NS) : look_ns;
}

/*
 * To see rewrites costs the guest a fault for each page that waits.  It is
 * worth that from the last look in the bulk pass on, and while the guest is
 * slowed, whose throttle could not be given back otherwise.
 */
bool convergence_see_rewrites(const ConvergenceEngine *engine,
                              const ConvergenceSample *sample,
                              const ConvergenceDecision *decision)
{
    double ends_ns = convergence_model_bulk_ends_s(&engine->model, sample) *
                     NS_PER_S;

    return !sample->bulk_pass || decision->throttle_pct ||
           decision->vcpus_limited || engine->wants_rewrites ||
           ends_ns < decision->next_sync_ns + LEAD_NS +
                     convergence_probe_lead_ns(engine, sample);
}
