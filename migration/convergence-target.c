/*
 * Convergence engine: how much of the link a guest may take up in the tail
 *
 * Run at a share s of its speed, a guest that dirties f has the rest of the
 * migration take T(f * s), by the forecast's own formula, and loses
 *
 *     (1 - s) * T(f * s)
 *
 * of its time.  Above the link's rate B that is least for the smallest s, and
 * the target is RHO of B.  Below B it falls as s grows: the best throttle is
 * none, and what speaks against it is the time alone.
 *
 *   loss
 *    |.                        f > B
 *    |  ' .  _ _ _ _ - - - - ~ ~
 *    |- - - - - - - - . _          f < B
 *    |                     ' .
 *    |_________________________'_ s
 *   RHO                         1
 *
 * So time is what is bounded: the tail may take as long as it does at RHO, and
 * a part of the whole migration longer.  Of all rates that keep to this the one
 * under which the guest loses least is aimed at.  The bound is fixed when the
 * tail begins: a guest that turns out to be faster than it was has less of the
 * time left, and is slowed more, until RHO is all that is left to do.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "convergence-internal.h"

/* Of F: how much longer than under RHO a migration may take to spare a guest */
#define SLACK 0.35
/* It is done where that spares the guest a quarter or more of its loss. */
#define WORTH 0.75
/*
 * Above this part of the drain rate it ends, if it does, because the guest
 * writes to a set of pages that is not much larger than the threshold.  How
 * large that is a look or two tell too roughly to rest on.
 */
#define MOST 0.97
/* Rates that are looked at, between RHO and full speed. */
#define STEPS 40

static double after_bulk_pass(const ConvergenceEngine *engine,
                              const ConvergenceSample *sample)
{
    return sample->bulk_pass ?
           convergence_model_dirty_at_bulk_end(&engine->model, sample,
                                               HUGE_VAL) :
           sample->remaining_bytes;
}

double convergence_target_tail_s(const ConvergenceEngine *engine,
                                 const ConvergenceSample *sample)
{
    const ConvergenceModel *model = &engine->model;
    double stop_s = after_bulk_pass(engine, sample) / model->drain_bytes_per_s;
    double so_far_s = (double)(sample->now_ns - engine->start_ns) / NS_PER_S;

    return stop_s / (1 - CONVERGENCE_RHO) +
           SLACK * (so_far_s + convergence_model_bulk_ends_s(model, sample) +
                    stop_s);
}

double convergence_target(const ConvergenceEngine *engine,
                          const ConvergenceParams *params,
                          const ConvergenceSample *sample,
                          double full_bytes_per_s, double may_take_s)
{
    const ConvergenceModel *model = &engine->model;
    double least = model->drain_bytes_per_s * CONVERGENCE_RHO;
    double left = after_bulk_pass(engine, sample);
    double threshold = convergence_threshold(engine, params);
    double most = MIN(full_bytes_per_s, model->drain_bytes_per_s * MOST);
    double best = least, best_loss_s = HUGE_VAL;

    for (unsigned i = 0; i <= STEPS && full_bytes_per_s > least; i++) {
        double part = (double)i / STEPS;
        double rate = i < STEPS ? most - (most - least) * part : least;
        /* Where each page waits anyway nothing is known of how many there are */
        double takes_s = convergence_model_remaining_s(
            model, left, threshold, rate, sample->bulk_pass);
        double loss_s = (1 - rate / full_bytes_per_s) * takes_s;

        if (takes_s >= 0 && takes_s <= may_take_s && loss_s < best_loss_s) {
            best = rate;
            best_loss_s = loss_s;
        }
        if (i == STEPS && best_loss_s > loss_s * WORTH) {
            best = least;
        }
    }
    return best;
}
