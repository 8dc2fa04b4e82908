/*
 * Convergence engine: what may remain at the switch-over, and how long the
 * guest stands still for it
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-internal.h"

/*
 * The part of the downtime that is not spent on pages (device state, the last
 * sync), and more where the link was seen to waver.
 */
#define SWITCHOVER_RESERVE 0.1
#define MAX_RESERVE 0.4
/*
 * Another sender may take half of a link at any time.  What has been seen to be
 * taken in the last seconds is left to it, up to that.
 */
#define MAX_SHARED_RESERVE 0.5
/*
 * Where devices eat the limit up, half of it has to do for pages: better a
 * downtime that is too long by that than none at all.
 */
#define MAX_DEVICES_PART 0.5
/* Where syncs eat the limit up, a quarter of it has to do for pages. */
#define MAX_SYNC_PART 0.75

uint64_t convergence_limit_ms(const ConvergenceEngine *engine,
                              const ConvergenceParams *params)
{
    return engine->deadline.downtime_limit_ms > params->downtime_limit_ms ?
           engine->deadline.downtime_limit_ms : params->downtime_limit_ms;
}

/* What the wire carries, as far as can be told, without a reserve. */
static double wire_rate(const ConvergenceEngine *engine,
                        double bandwidth_bytes_per_s)
{
    const ConvergenceModel *model = &engine->model;
    uint64_t recent = engine->link.recent_bytes_per_s;
    double rate = model->samples < CONVERGENCE_MIN_SAMPLES ||
                  !(model->link_bytes_per_s > 0) ? bandwidth_bytes_per_s :
                  model->link_bytes_per_s;

    return recent && recent < rate ? recent : rate;
}

/* What the switch-over may reckon with, on the wire. */
static double switchover_rate(const ConvergenceEngine *engine,
                              const ConvergenceParams *params,
                              double bandwidth_bytes_per_s)
{
    const ConvergenceModel *model = &engine->model;
    uint64_t low = engine->link.low_bytes_per_s;
    double wire = wire_rate(engine, bandwidth_bytes_per_s);
    double reserve = convergence_clamp(SWITCHOVER_RESERVE +
                                       model->wire_deviation, 0, MAX_RESERVE);
    double rate = wire * (1 - reserve);

    if (params->switchover_bytes_per_s) {
        return params->switchover_bytes_per_s * (1 - SWITCHOVER_RESERVE);
    }
    if (low) {
        rate = MIN(rate, convergence_clamp(low * (1 - SWITCHOVER_RESERVE),
                                           wire * (1 - MAX_SHARED_RESERVE),
                                           wire));
    }
    return MAX(rate, engine->link.burst_bytes_per_s);
}

uint64_t convergence_engine_threshold_bytes(const ConvergenceEngine *engine,
                                            const ConvergenceParams *params,
                                            uint64_t downtime_limit_ms,
                                            double bandwidth_bytes_per_s,
                                            uint64_t queued_bytes)
{
    const ConvergenceModel *model = &engine->model;
    /* The last sync is part of the downtime. */
    double sync_ms = convergence_clamp(model->sync_cost_ns / NS_PER_MS, 0,
                                       downtime_limit_ms * MAX_SYNC_PART);
    double all_bytes = switchover_rate(engine, params, bandwidth_bytes_per_s) *
                       (downtime_limit_ms - sync_ms) / 1000;
    double devices_bytes = convergence_clamp(engine->link.devices_bytes, 0,
                                             all_bytes * MAX_DEVICES_PART);

    return convergence_to_u64((all_bytes - devices_bytes - queued_bytes) *
                              convergence_model_per_wire_byte(model));
}

double convergence_threshold(const ConvergenceEngine *engine,
                             const ConvergenceParams *params)
{
    /* What is queued now will be gone by then: it is waited for. */
    return convergence_engine_threshold_bytes(
        engine, params, convergence_limit_ms(engine, params),
        engine->model.wire_bytes_per_s, 0);
}

double convergence_downtime_s(const ConvergenceEngine *engine,
                              const ConvergenceParams *params, double bytes)
{
    const ConvergenceModel *model = &engine->model;
    double wire = params->switchover_bytes_per_s ?:
                  MAX(model->wire_bytes_per_s, engine->link.burst_bytes_per_s);

    return (bytes / convergence_model_per_wire_byte(model) +
            engine->link.devices_bytes) / MAX(wire, 1);
}
