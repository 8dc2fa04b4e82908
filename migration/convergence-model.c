/*
 * Convergence engine: the model of guest and link
 *
 * What is measured and why:
 *
 *   drain    bytes of pages per second.  The wire rate is what the link can
 *            do; how many page bytes a wire byte carries is what the guest's
 *            memory and the compression make of it.  They are smoothed apart:
 *            a run of zero pages says nothing about the link, and a slow
 *            second of the link says nothing about the pages.  Zero pages of
 *            the bulk pass do not count, those that are dirtied are seldom
 *            zero.
 *   dirty    different pages written per second, whether they waited to be
 *            sent or not.  Newly dirtied pages alone saturate: while much
 *            remains most writes hit pages that are dirty anyway, and the
 *            guest looks calmer than it is.
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
 * At 60 % of the drain rate a migration takes 2.5 times as long as that of an
 * idle guest, and any burst pushes it over: from here on slowing is cheaper.
 */
#define NEEDS_HELP_PCT 60
/* The band around a forecast is never told to be narrower. */
#define MAX_JITTER 1.0

static double smooth(const ConvergenceModel *model, double old, double new,
                     double weight)
{
    return model->samples ? old + (new - old) * weight : new;
}

static void learn_drain(ConvergenceModel *model,
                        const ConvergenceSample *sample, double weight)
{
    uint64_t pages_bytes = sample->drained_bytes;

    if (sample->wire_bytes < MIN_WIRE_BYTES) {
        /* Nothing to send, or a stalled link: in either case no measure. */
        return;
    }
    model->wire_bytes_per_s =
        smooth(model, model->wire_bytes_per_s,
               convergence_rate(sample->wire_bytes, sample->interval_ns),
               model->wire_bytes_per_s > 0 ? weight : 1);
    model->pass_bytes_per_s =
        smooth(model, model->pass_bytes_per_s,
               convergence_rate(sample->drained_bytes, sample->interval_ns),
               weight);
    if (sample->bulk_pass) {
        pages_bytes -= sample->zero_bytes < pages_bytes ? sample->zero_bytes :
                       pages_bytes;
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

static void learn_dirtying(ConvergenceModel *model,
                           const ConvergenceSample *sample, double weight)
{
    double dirty = convergence_rate(sample->touched_bytes,
                                    sample->interval_ns);
    double newly = convergence_rate(sample->dirtied_bytes,
                                    sample->interval_ns);
    uint64_t by_vcpus = 0;

    model->last_dirty_bytes_per_s = dirty;
    model->last_new_bytes_per_s = newly;
    model->dirty_bytes_per_s =
        smooth(model, model->dirty_bytes_per_s, dirty, weight);
    model->new_bytes_per_s =
        smooth(model, model->new_bytes_per_s, newly, weight);

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        ConvergenceVcpu *vcpu = &sample->vcpus[i];
        double rate = convergence_rate(vcpu->dirtied_bytes,
                                       sample->interval_ns);

        vcpu->dirty_rate_bytes_per_s = convergence_to_u64(
            smooth(model, vcpu->dirty_rate_bytes_per_s, rate, weight));
        by_vcpus += vcpu->dirtied_bytes;
    }
    if (sample->n_vcpus) {
        uint64_t by_devices = sample->touched_bytes > by_vcpus ?
                              sample->touched_bytes - by_vcpus : 0;

        model->device_bytes_per_s =
            smooth(model, model->device_bytes_per_s,
                   convergence_rate(by_devices, sample->interval_ns), weight);
    }
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

void convergence_model_update(ConvergenceModel *model,
                              const ConvergenceSample *sample)
{
    double net = model->drain_bytes_per_s - model->new_bytes_per_s;
    double weight = 1 - exp(-(double)sample->interval_ns / NS_PER_S / TAU_S);

    learn_drain(model, sample, weight);
    learn_dirtying(model, sample, weight);
    learn_jitter(model, net);
    model->sync_cost_ns = smooth(model, model->sync_cost_ns,
                                 sample->sync_cost_ns, weight);
    model->last_sample_ns = sample->now_ns;
    model->samples++;
}

double convergence_model_remaining_s(const ConvergenceModel *model,
                                     uint64_t remaining_bytes,
                                     uint64_t threshold_bytes,
                                     double dirty_bytes_per_s)
{
    double net = model->drain_bytes_per_s - dirty_bytes_per_s;

    if (remaining_bytes <= threshold_bytes) {
        return 0;
    }
    /* One byte a second is no progress either. */
    if (net < 1) {
        return -1;
    }
    return (remaining_bytes - threshold_bytes) / net;
}

double convergence_model_bulk_ends_s(const ConvergenceModel *model,
                                     const ConvergenceSample *sample)
{
    if (!sample->bulk_pass) {
        return 0;
    }
    return model->pass_bytes_per_s >= 1 ?
           sample->bulk_remaining_bytes / model->pass_bytes_per_s : HUGE_VAL;
}

bool convergence_model_needs_help(const ConvergenceModel *model,
                                  double dirty_bytes_per_s)
{
    return model->drain_bytes_per_s > 0 &&
           dirty_bytes_per_s > model->drain_bytes_per_s *
                               NEEDS_HELP_PCT / 100;
}
