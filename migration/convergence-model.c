/*
 * Convergence engine: the model of guest and link
 *
 * What is measured and why:
 *
 *   drain    bytes of pages per second.  The wire rate is what the link can
 *            do; how many page bytes a wire byte carries is what the guest's
 *            memory and the compression make of it.  They are smoothed apart:
 *            a run of zero pages says nothing about the link, and a slow
 *            second of the link says nothing about the pages.  Zero pages do
 *            not count: those that are dirtied again are seldom zero, and a
 *            switch-over that reckons with them takes too long.  What
 *            stands in a send queue has not gone yet.
 *   dirty    different pages written per second, whether they waited to be
 *            sent or not.  Newly dirtied pages alone saturate: while much
 *            remains most writes hit pages that are dirty anyway, and the
 *            guest looks calmer than it is.  Where the dirty log cannot tell
 *            whether a waiting page was written again, what it does show is a
 *            lower bound.  Bounds and rates that are known take each other's
 *            place, they are never averaged.
 *   devices  what was dirtied by no vCPU: slowing vCPUs will not help there.
 *
 * Smoothing is exponential over time and not over samples, since samples come
 * closer together near the end:  weight = 1 - exp(-interval / TAU).
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "convergence-internal.h"

/* Long enough to bridge a 100 ms stall of the link, short enough to act on. */
#define TAU_S 0.7
/* Less than this tells more about headers than about pages. */
#define MIN_WIRE_BYTES (64 * 1024)
/*
 * Above throttle-trigger-threshold, so that a guest that dirties just half of
 * what the link drains is not slowed by a jitter of the link.
 */
#define TRIGGER_MARGIN_PCT 5
/* A look of twice the downtime limit can tell ... */
#define TELLING_LIMITS 2
/* ... if what it saw written is not well below the threshold ... */
#define FITS 0.8
/*
 * ... and one that is shorter than this, if the guest is too fast for the link
 * also without what it rewrites after each sync, taken for a third of that ...
 */
#define TELLING_S 0.9
#define REWRITTEN (1.0 / 3)
/* ... and so can that many in a row. */
#define UNSURE_MAX 3
/* What is older than this says little about what is to come. */
#define STEADY_S 2.0
/* Changes larger than the rate itself say no more than one as large. */
#define MAX_JITTER 1.0
/* Above this part of clean pages the set cannot be told from infinity. */
#define MOSTLY_CLEAN 0.95
#define NEXT_TO_NOTHING 0.001
/* Before that the bulk pass is no base for a forecast of its end. */
#define MIN_BULK_SAMPLES 3
#define MIN_BULK_SENT 0.02
/* Pages that are zero take no time on the wire, but to look at; at least: */
#define ZERO_SCAN_BYTES_PER_S 2e9
/* The rate of new dirtying grows with what has been sent, at most so much. */
#define GROWING 4
/* Slowing in the bulk pass must not cost more than 1.4 stops at its end ... */
#define EARLY_LOSS_MAX 1.4
/* ... and each second of it must save half a second later. */
#define EARLY_GAIN_MIN 0.5

static double smooth(const ConvergenceModel *model, double old, double new,
                     double weight)
{
    return model->samples ? old + (new - old) * weight : new;
}

/* What the switch-over can reckon with: nothing is sent during a sync. */
static void learn_link(ConvergenceModel *model,
                       const ConvergenceSample *sample,
                       uint64_t carried_bytes, double weight)
{
    int64_t sending_ns = sample->interval_ns - sample->sync_cost_ns;
    double rate = convergence_rate(carried_bytes, sending_ns);
    double mean = model->link_bytes_per_s;

    if (!(rate > 0)) {
        return;
    }
    if (mean > 0) {
        model->wire_deviation +=
            (convergence_clamp(fabs(rate - mean) / mean, 0, MAX_JITTER) -
             model->wire_deviation) / 4;
    }
    model->link_bytes_per_s = smooth(model, mean, rate, mean > 0 ? weight : 1);
}

/* What has left the sender's queue, whoever put it there and when. */
static uint64_t take_carried(ConvergenceModel *model,
                             const ConvergenceSample *sample)
{
    uint64_t before = model->queued_bytes;

    model->queued_bytes = sample->queued_bytes;
    return sample->wire_bytes + before > sample->queued_bytes ?
           sample->wire_bytes + before - sample->queued_bytes : 0;
}

static void learn_drain(ConvergenceModel *model,
                        const ConvergenceSample *sample, double weight)
{
    uint64_t carried_bytes = take_carried(model, sample);
    double wire = convergence_rate(carried_bytes, sample->interval_ns);
    uint64_t pages_bytes = sample->drained_bytes;

    if (sample->wire_bytes < MIN_WIRE_BYTES ||
        carried_bytes < MIN_WIRE_BYTES) {
        /* Nothing to send, or a stalled link: in either case no measure. */
        return;
    }
    learn_link(model, sample, carried_bytes, weight);
    model->wire_bytes_per_s =
        smooth(model, model->wire_bytes_per_s, wire,
               model->wire_bytes_per_s > 0 ? weight : 1);
    model->pass_bytes_per_s =
        smooth(model, model->pass_bytes_per_s,
               convergence_rate(sample->drained_bytes, sample->interval_ns) *
               carried_bytes / sample->wire_bytes, weight);
    pages_bytes -= sample->zero_bytes < pages_bytes ? sample->zero_bytes :
                   pages_bytes;
    if (sample->bulk_pass) {
        model->bulk_data_sent_bytes += pages_bytes;
    }
    if (pages_bytes >= MIN_WIRE_BYTES) {
        double ratio = (double)pages_bytes / sample->wire_bytes;

        model->page_bytes_per_wire_byte =
            model->page_bytes_per_wire_byte > 0 ?
            smooth(model, model->page_bytes_per_wire_byte, ratio, weight) :
            ratio;
    }
    model->drain_bytes_per_s = model->wire_bytes_per_s *
        (model->page_bytes_per_wire_byte > 0 ?
         model->page_bytes_per_wire_byte : 1);
}

static uint64_t smooth_vcpu(const ConvergenceModel *model, uint64_t rate,
                            uint64_t bytes, const ConvergenceSample *sample,
                            double weight)
{
    return convergence_to_u64(
        smooth(model, rate, convergence_rate(bytes, sample->interval_ns),
               weight));
}

static void learn_dirtying(ConvergenceModel *model,
                           const ConvergenceSample *sample, double weight)
{
    double dirty = convergence_rate(sample->touched_bytes,
                                    sample->interval_ns);
    double newly = convergence_rate(sample->dirtied_bytes,
                                    sample->interval_ns);
    bool known = !sample->unseen_bytes;
    uint64_t by_vcpus = 0;

    model->last_interval_ns = sample->interval_ns;
    model->last_dirty_bytes_per_s = dirty;
    model->last_new_bytes_per_s = newly;
    model->dirty_bytes_per_s =
        smooth(model, model->dirty_bytes_per_s, dirty,
               known != model->dirty_known ? 1 : weight);
    model->new_bytes_per_s =
        smooth(model, model->new_bytes_per_s, newly, weight);
    model->dirty_known = known;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        ConvergenceVcpu *vcpu = &sample->vcpus[i];

        vcpu->dirty_rate_bytes_per_s =
            smooth_vcpu(model, vcpu->dirty_rate_bytes_per_s,
                        vcpu->touched_bytes, sample, weight);
        vcpu->new_rate_bytes_per_s =
            smooth_vcpu(model, vcpu->new_rate_bytes_per_s,
                        vcpu->dirtied_bytes, sample, weight);
        by_vcpus += vcpu->touched_bytes;
    }
    if (sample->metered) {
        uint64_t by_devices = sample->touched_bytes > by_vcpus ?
                              sample->touched_bytes - by_vcpus : 0;

        model->device_bytes_per_s =
            smooth(model, model->device_bytes_per_s,
                   convergence_rate(by_devices, sample->interval_ns), weight);
    } else {
        model->device_bytes_per_s = 0;
    }
}

/* Tells one set of throttles from another. */
static unsigned throttle_of_all(const ConvergenceSample *sample)
{
    unsigned sum = sample->throttle_pct;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        sum += sample->vcpus[i].throttle_pct;
    }
    return sum;
}

/*
 * Single looks at a guest that is slowed down hard are off by ten times to
 * either side; what they have in common is what goes on.  How much of what is
 * written was clean is another matter in the bulk pass, where a page that is
 * not sent yet waits anyway.
 */
static void learn_steady(ConvergenceModel *model,
                         const ConvergenceSample *sample)
{
    unsigned throttle = throttle_of_all(sample);
    double keep = 1;

    if (throttle != model->steady_throttle ||
        sample->bulk_pass != model->steady_bulk_pass ||
        (sample->unseen_bytes > 0) != model->steady_unseen) {
        keep = 0;
    } else if (model->steady_s > STEADY_S) {
        keep = STEADY_S / model->steady_s;
    }
    model->steady_throttle = throttle;
    model->steady_bulk_pass = sample->bulk_pass;
    model->steady_unseen = sample->unseen_bytes > 0;
    model->steady_s = model->steady_s * keep +
                      (double)sample->interval_ns / NS_PER_S;
    model->steady_dirty_bytes = model->steady_dirty_bytes * keep +
                                sample->touched_bytes;
    model->steady_new_bytes = model->steady_new_bytes * keep +
                              sample->dirtied_bytes;
}

static void learn_jitter(ConvergenceModel *model, double before)
{
    double net = model->drain_bytes_per_s - model->new_bytes_per_s;

    if (model->samples && fabs(before) > 0) {
        double change = fabs(net - before) / fabs(before);

        model->jitter += (convergence_clamp(change, 0, MAX_JITTER) -
                          model->jitter) / 4;
    }
}

void convergence_model_note_sync(ConvergenceModel *model, int64_t busy_ns)
{
    if (!model->least_sync_busy_ns || busy_ns < model->least_sync_busy_ns) {
        model->least_sync_busy_ns = busy_ns;
    }
}

void convergence_model_update(ConvergenceModel *model,
                              const ConvergenceSample *sample, bool probed)
{
    double net = model->drain_bytes_per_s - model->new_bytes_per_s;
    double weight = 1 - exp(-(double)sample->interval_ns / NS_PER_S / TAU_S);

    learn_drain(model, sample, weight);
    if (!probed) {
        learn_dirtying(model, sample, weight);
        learn_steady(model, sample);
        learn_jitter(model, net);
    }
    model->sync_cost_ns = smooth(model, model->sync_cost_ns,
                                 sample->sync_cost_ns, weight);
    convergence_model_note_sync(model, sample->sync_busy_ns);
    model->last_sample_ns = sample->now_ns;
    model->samples++;
}

/* Of what is written: the part that did not wait to be sent anyway. */
static double clean_part(const ConvergenceModel *model)
{
    return model->steady_dirty_bytes > 0 ?
           convergence_clamp(model->steady_new_bytes /
                             model->steady_dirty_bytes, 0, 1) : 1;
}

/*
 * With the set of pages that the guest writes to of size S, evenly hit, and u
 * of them written a second, what remains (r) follows
 *
 *     dr/dt = u * (1 - r / S) - B
 *
 * since a page that already waits is not dirtied anew.  The solution is
 *
 *     r(t) = (r0 + K) * exp(-u * t / S) - K,     K = S * (B - u) / u
 *
 * S is what makes the part that was clean, newly dirtied / written, come out
 * right at the r seen.  For u = 0 and for S = infinity this is r / (B - u).
 */
double convergence_model_remaining_s(const ConvergenceModel *model,
                                     double remaining_bytes,
                                     double threshold_bytes,
                                     double dirty_bytes_per_s, bool all_new)
{
    double drain = model->drain_bytes_per_s, u = dirty_bytes_per_s;
    double clean, set_bytes, k;

    if (remaining_bytes <= threshold_bytes) {
        return 0;
    }
    /* One byte a second is no progress. */
    if (!(drain >= 1)) {
        return -1;
    }
    clean = all_new ? 1 : clean_part(model);
    if (clean > MOSTLY_CLEAN || u < drain * NEXT_TO_NOTHING) {
        return drain - u >= 1 ? (remaining_bytes - threshold_bytes) /
                                (drain - u) : -1;
    }
    set_bytes = remaining_bytes / (1 - clean);
    k = set_bytes * (drain - u) / u;
    if (!(threshold_bytes + k > threshold_bytes * NEXT_TO_NOTHING + 1)) {
        /* It comes to rest above the threshold. */
        return -1;
    }
    return set_bytes / u * log((remaining_bytes + k) / (threshold_bytes + k));
}

static double bulk_empty(const ConvergenceSample *sample)
{
    return MIN(sample->bulk_empty_bytes, sample->bulk_remaining_bytes);
}

/*
 * Where it is known which pages are zero, by what the link does with the
 * others; else by the mix that was seen so far.
 */
double convergence_model_bulk_ends_s(const ConvergenceModel *model,
                                     const ConvergenceSample *sample)
{
    double empty = bulk_empty(sample);
    double scan = MAX(model->pass_bytes_per_s, ZERO_SCAN_BYTES_PER_S);

    if (!sample->bulk_pass) {
        return 0;
    }
    if (empty > 0 && model->drain_bytes_per_s >= 1) {
        return (sample->bulk_remaining_bytes - empty) /
               model->drain_bytes_per_s + empty / scan;
    }
    return model->pass_bytes_per_s >= 1 ?
           sample->bulk_remaining_bytes / model->pass_bytes_per_s : HUGE_VAL;
}

static double dirty_again(const ConvergenceSample *sample)
{
    return sample->remaining_bytes > sample->bulk_remaining_bytes ?
           sample->remaining_bytes - sample->bulk_remaining_bytes : 0;
}

/*
 * Pages that are written evenly are dirty again in proportion to the part of
 * RAM that has been sent; what the guest never touched is no part of it.  That
 * is late for slow writers and wrong for those that write to one place alone;
 * both is seen by the rate at which pages become dirty again now, which goes on
 * at least: it grows with what has been sent, and what it was before counts
 * only if it was more.  Once the guest is slowed, none of this can be more than
 * the plan.
 */
double convergence_model_dirty_at_bulk_end(const ConvergenceModel *model,
                                           const ConvergenceSample *sample,
                                           double dirty_bytes_per_s)
{
    double ends_s = convergence_model_bulk_ends_s(model, sample);
    double again = dirty_again(sample);
    double empty = bulk_empty(sample);
    double left = sample->bulk_remaining_bytes - empty;
    double sent = empty > 0 ? model->bulk_data_sent_bytes :
                  sample->ram_bytes - left;
    double by_part = sent > 0 ? again * left / sent : 0;
    double rate = MAX(model->new_bytes_per_s, model->last_new_bytes_per_s);
    double by_rate = rate * ends_s;
    double by_plan = dirty_bytes_per_s * clean_part(model) * ends_s;
    double more;

    if (!sample->bulk_pass) {
        return again;
    }
    more = convergence_clamp(by_part, by_rate, by_rate * GROWING);
    return again + (more > by_plan ? by_plan : more);
}

/*
 * To slow the guest down for the rest of the bulk pass (t) keeps what is dirty
 * again near A instead of letting it grow to E.  With R, the part of the link
 * that the guest still takes up then, it costs in seconds of the guest's time
 *
 *     t + (A + R * t / 2) / (1 - R)       instead of       E / (1 - R)
 *
 * where half of what is written in t hits pages that are not sent yet.  It
 * pays where the guest writes to most of its RAM.
 */
bool convergence_model_is_early(const ConvergenceModel *model,
                                const ConvergenceSample *sample,
                                double least_bytes_per_s)
{
    double drain = model->drain_bytes_per_s;
    double t_s = convergence_model_bulk_ends_s(model, sample);
    double again_s, end_s, rest, early_s, late_s;

    if (!sample->bulk_pass) {
        return false;
    }
    if (model->samples < MIN_BULK_SAMPLES || !(drain >= 1) ||
        sample->ram_bytes - (double)sample->bulk_remaining_bytes <
        sample->ram_bytes * MIN_BULK_SENT) {
        return true;
    }
    again_s = dirty_again(sample) / drain;
    end_s = convergence_model_dirty_at_bulk_end(model, sample, HUGE_VAL) /
            drain;
    rest = convergence_clamp(least_bytes_per_s / drain, CONVERGENCE_RHO, 0.9);
    early_s = t_s + (again_s + rest * t_s / 2) / (1 - rest);
    late_s = end_s / (1 - rest);
    return !((early_s <= EARLY_LOSS_MAX * end_s || early_s <= late_s) &&
             (end_s - again_s) / (1 - rest) >= EARLY_GAIN_MIN * t_s);
}

/* A rate that has just risen, or fallen, is not judged by its past alone. */
static double judged_rate(const ConvergenceModel *model)
{
    return MIN(model->last_dirty_bytes_per_s, model->dirty_bytes_per_s);
}

double convergence_model_let_be(const ConvergenceModel *model,
                                const ConvergenceParams *params)
{
    return model->drain_bytes_per_s *
           (params->trigger_threshold_pct + TRIGGER_MARGIN_PCT) / 100;
}

double convergence_model_expect_watched(const ConvergenceModel *model,
                                        const ConvergenceParams *params,
                                        double target_bytes_per_s)
{
    double rate = judged_rate(model);

    return rate > convergence_model_let_be(model, params) ?
           target_bytes_per_s : rate;
}

/*
 * A look that is short against the downtime limit, at a guest whose pages fit
 * the limit, cannot tell a hot set that will be sent at the switch-over from
 * the begin of something larger.  And what any guest writes to after each sync,
 * however soon the next one comes, makes much of a short look on a slow link
 * and next to nothing of a longer one.
 */
static bool cannot_tell(const ConvergenceModel *model,
                        double let_be_bytes_per_s, double threshold_bytes,
                        uint64_t downtime_limit_ms)
{
    double interval_s = (double)model->last_interval_ns / NS_PER_S;
    double seen_bytes = model->last_dirty_bytes_per_s * interval_s;

    return (interval_s < downtime_limit_ms / 1000.0 * TELLING_LIMITS &&
            seen_bytes < threshold_bytes * FITS) ||
           (interval_s < TELLING_S &&
            seen_bytes - threshold_bytes * REWRITTEN <
            let_be_bytes_per_s * interval_s);
}

bool convergence_model_needs_help(const ConvergenceModel *model,
                                  const ConvergenceParams *params,
                                  double threshold_bytes,
                                  uint64_t downtime_limit_ms,
                                  unsigned *unsure)
{
    double let_be = convergence_model_let_be(model, params);

    if (!(model->drain_bytes_per_s > 0 && judged_rate(model) > let_be)) {
        *unsure = 0;
        return false;
    }
    if (*unsure < UNSURE_MAX &&
        cannot_tell(model, let_be, threshold_bytes, downtime_limit_ms)) {
        (*unsure)++;
        return false;
    }
    *unsure = 0;
    return true;
}

double convergence_model_per_wire_byte(const ConvergenceModel *model)
{
    return model->samples >= CONVERGENCE_MIN_SAMPLES &&
           model->page_bytes_per_wire_byte > 0 ?
           model->page_bytes_per_wire_byte : 1;
}
