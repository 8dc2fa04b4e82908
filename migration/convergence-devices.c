/*
 * Convergence engine: whether what devices dirty follows the vCPUs
 *
 * Where pages are counted by vCPU, what is left is what devices dirtied.  No
 * limit of a vCPU holds that.  A disk, though, writes what some vCPU has asked
 * it to read: a vCPU that sleeps asks for less.  A NIC writes what comes.  No
 * counter tells the one from the other, so it is tried, when the guest would be
 * slowed anyway or be given up, and not before:
 *
 *   bytes/s of devices
 *     | x   x                          free: before
 *     |        x
 *     |- - - - - - - - - - - - - - -   FOLLOWS of that
 *     |
 *     |- - - - - - - - - - - - - - -   NO_PROGRESS of the drain rate
 *     |              x                 held: below both, so it follows
 *     +------|-----|-----|----> time
 *            settle judge
 *            all vCPUs at max-cpu-throttle
 *
 *   follows:  vCPUs are throttled, by policy "predictive", which takes the
 *             place of the one that "auto" chose
 *   does not: remembered, and tried again after 10 s, then 20, 40 ...
 *
 * All vCPUs, and as much as is allowed: whoever asks waits for the device most
 * of the time, and does not feel a small throttle.  Where only such a one is
 * allowed nothing is tried.
 *
 * What it costs: nothing if it follows, for then the tail has begun.  If not,
 * two looks of the guest's time, 0.5 s or more, and 1 + log2(1 + T / 10) times
 * that in the first T seconds: with 0.5 s it is 2 s of the first minute, 5 of
 * the first hour.
 *
 * Where devices are that busy already in the bulk pass, there is time to ask
 * who has them write: then run times tell vCPUs apart, as where nothing counts
 * pages (convergence-estimate.c), and all that is dirtied counts.  If that
 * tells somebody, devices follow, and there is nothing to try.
 *
 * Rejected: to go by how rates and run times went together.  Looks are too much
 * alike for that, and to make them unlike is to try.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "convergence-devices.h"

/* With less than that a trial could tell nothing, and holds nobody. */
#define TRY_LEAST_PCT 50
/* A look while vCPUs are held. */
#define LOOK_NS (250 * NS_PER_MS)
/* So long do requests that are under way take to end; then it is judged. */
#define SETTLE_NS (200 * NS_PER_MS)
#define JUDGE_NS (200 * NS_PER_MS)
/* To follow is to fall to this part: less may be chance. */
#define FOLLOWS 0.75
/* From that part of the drain rate on devices alone stop any progress. */
#define NO_PROGRESS 0.95
/*
 * Those that were seen to follow, and then, at the most throttle, were not for
 * so long, do no longer.
 */
#define DEAF_NS NS_PER_S
/* Who has them write goes on to be asked down to that part of busy. */
#define STAY_BUSY 0.5
#define RETRY_NS (10 * NS_PER_S)
/* A trial that was called off is not begun again at once: nobody is held on. */
#define CALLED_OFF_NS (2 * NS_PER_S)
#define MAX_DOUBLINGS 10

static double device_rate(const ConvergenceSample *sample)
{
    uint64_t by_vcpus = 0;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        by_vcpus += sample->vcpus[i].touched_bytes;
    }
    return sample->touched_bytes > by_vcpus ?
           convergence_rate(sample->touched_bytes - by_vcpus,
                            sample->interval_ns) : 0;
}

/* That stop any progress by themselves. */
static bool stops(const ConvergenceModel *model, double bytes_per_s)
{
    return bytes_per_s > model->drain_bytes_per_s * NO_PROGRESS;
}

bool convergence_devices_outpace(const ConvergenceModel *model)
{
    return stops(model, model->device_bytes_per_s);
}

bool convergence_devices_are_deaf(const ConvergenceEngine *engine)
{
    return engine->devices.answer == CONVERGENCE_DEVICES_DEAF;
}

bool convergence_devices_follow(const ConvergenceEngine *engine)
{
    return engine->devices.answer == CONVERGENCE_DEVICES_FOLLOW;
}

bool convergence_devices_by_run_times(const ConvergenceEngine *engine)
{
    return engine->devices.by_run_times;
}

/*
 * Whether a guest would be slowed for them alone, or for a part of what they
 * do.  A rate that has just risen, or fallen, is not judged by its past alone.
 */
static bool are_busy(const ConvergenceEngine *engine,
                     const ConvergenceParams *params,
                     const ConvergenceSample *sample, double part)
{
    return sample->metered &&
           MIN(device_rate(sample), engine->model.device_bytes_per_s) >
           convergence_model_let_be(&engine->model, params) * part;
}

static void take_for_deaf(ConvergenceDevices *devices,
                          const ConvergenceSample *sample)
{
    devices->answer = CONVERGENCE_DEVICES_DEAF;
    devices->by_run_times = false;
    devices->held_pct = sample->throttle_pct;
    devices->deaf_ns = sample->now_ns;
    devices->times_deaf++;
    devices->against_ns = 0;
}

static void judge(ConvergenceEngine *engine, const ConvergenceSample *sample)
{
    ConvergenceDevices *devices = &engine->devices;
    double rate = devices->judged_bytes_per_s;

    devices->trying = false;
    if (rate <= devices->free_bytes_per_s * FOLLOWS &&
        !stops(&engine->model, rate)) {
        devices->answer = CONVERGENCE_DEVICES_FOLLOW;
        devices->against_ns = 0;
    } else {
        take_for_deaf(devices, sample);
    }
}

static void follow_trial(ConvergenceEngine *engine,
                         const ConvergenceSample *sample)
{
    ConvergenceDevices *devices = &engine->devices;
    double before_ns = devices->judged_ns, now_ns = sample->interval_ns;

    if (devices->settled_ns < SETTLE_NS) {
        devices->settled_ns += sample->interval_ns;
        return;
    }
    devices->judged_ns += sample->interval_ns;
    devices->judged_bytes_per_s =
        (devices->judged_bytes_per_s * before_ns +
         device_rate(sample) * now_ns) / (before_ns + now_ns);
    devices->held_bytes_per_s = convergence_rate(sample->touched_bytes,
                                                 sample->interval_ns);
    if (devices->judged_ns >= JUDGE_NS) {
        judge(engine, sample);
    }
}

/* Under a throttle that a policy found, it shows by itself. */
static void watch_held(ConvergenceEngine *engine,
                       const ConvergenceParams *params,
                       const ConvergenceSample *sample)
{
    ConvergenceDevices *devices = &engine->devices;
    bool all_held = sample->throttle_pct >= params->max_throttle_pct;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        all_held &= sample->vcpus[i].throttle_pct >= params->max_throttle_pct;
    }
    if (!all_held || convergence_devices_are_deaf(engine)) {
        devices->against_ns = 0;
        return;
    }
    if (!stops(&engine->model, device_rate(sample))) {
        devices->against_ns -= MIN(devices->against_ns, sample->interval_ns);
        return;
    }
    devices->against_ns += sample->interval_ns;
    if (devices->against_ns >= DEAF_NS) {
        devices->judged_bytes_per_s = device_rate(sample);
        take_for_deaf(devices, sample);
    }
}

/*
 * While all pages of the bulk pass wait, there is time to ask who has devices
 * write, as where no pages are counted.  Not where they were seen to be deaf,
 * nor for limits that were asked for by hand.
 */
static void choose_meter(ConvergenceEngine *engine,
                         const ConvergenceParams *params,
                         const ConvergenceSample *sample)
{
    bool throttles = params->policy_by_auto ||
                     (params->policy && params->policy->throttles_vcpus);

    if (sample->bulk_pass && !engine->estimate.probing &&
        !sample->throttle_pct) {
        engine->devices.by_run_times =
            throttles && sample->run_times_known &&
            are_busy(engine, params, sample,
                     engine->devices.by_run_times ? STAY_BUSY : 1) &&
            !convergence_devices_are_deaf(engine);
    }
}

void convergence_devices_learn(ConvergenceEngine *engine,
                               const ConvergenceParams *params,
                               const ConvergenceSample *sample)
{
    ConvergenceDevices *devices = &engine->devices;

    devices->tried = devices->trying;
    if (!sample->metered) {
        /* What devices dirty is not known, any more. */
        devices->trying = false;
        devices->answer = CONVERGENCE_DEVICES_UNKNOWN;
        devices->by_run_times = false;
    } else if (devices->trying) {
        follow_trial(engine, sample);
    } else {
        watch_held(engine, params, sample);
        choose_meter(engine, params, sample);
    }
}

static bool is_due(const ConvergenceEngine *engine,
                   const ConvergenceSample *sample)
{
    const ConvergenceDevices *devices = &engine->devices;
    unsigned doublings = MIN(devices->times_deaf, MAX_DOUBLINGS + 1);

    return sample->now_ns >= devices->not_before_ns &&
           (!doublings || sample->now_ns - devices->deaf_ns >=
                          RETRY_NS << (doublings - 1));
}

bool convergence_devices_wait(const ConvergenceEngine *engine,
                              const ConvergenceParams *params,
                              const ConvergenceSample *sample)
{
    return sample->now_ns < engine->devices.not_before_ns &&
           are_busy(engine, params, sample, 1);
}

static void hold(ConvergenceEngine *engine, const ConvergenceParams *params,
                 ConvergenceDecision *decision)
{
    engine->seeking = true;
    decision->throttle_pct = params->max_throttle_pct;
    decision->vcpus_throttled = false;
    decision->phase = CONVERGENCE_PHASE_THROTTLING;
    decision->next_sync_ns = LOOK_NS;
}

bool convergence_devices_try(ConvergenceEngine *engine,
                             const ConvergenceParams *params,
                             const ConvergenceSample *sample,
                             bool told_any, ConvergenceDecision *decision)
{
    ConvergenceDevices *devices = &engine->devices;

    if (params->max_throttle_pct < TRY_LEAST_PCT) {
        devices->trying = false;
        if (convergence_devices_are_deaf(engine) && is_due(engine, sample)) {
            /* So seen while a policy slowed the guest: so it is seen again. */
            devices->answer = CONVERGENCE_DEVICES_UNKNOWN;
        }
        return false;
    }
    if (!devices->trying) {
        /* The look that ends a trial tells nothing to begin one with. */
        if (devices->tried || convergence_devices_follow(engine) ||
            !is_due(engine, sample) || !are_busy(engine, params, sample, 1)) {
            return false;
        }
        if (devices->by_run_times && told_any) {
            /* While the others were held, devices wrote next to nothing. */
            devices->answer = CONVERGENCE_DEVICES_FOLLOW;
            return false;
        }
        *devices = (ConvergenceDevices) {
            .answer = devices->answer,
            .times_deaf = devices->times_deaf,
            .deaf_ns = devices->deaf_ns,
            .by_run_times = devices->by_run_times,
            .free_bytes_per_s = engine->model.device_bytes_per_s,
            .trying = true,
        };
    }
    hold(engine, params, decision);
    return true;
}

void convergence_devices_call_off(ConvergenceEngine *engine,
                                  const ConvergenceSample *sample)
{
    if (engine->devices.trying) {
        engine->devices.trying = false;
        engine->devices.not_before_ns = sample->now_ns + CALLED_OFF_NS;
    }
}

double convergence_devices_share(const ConvergenceEngine *engine,
                                 const ConvergenceSample *sample,
                                 double target_bytes_per_s)
{
    double held_share = (100.0 - sample->throttle_pct) / 100;
    double held = engine->devices.held_bytes_per_s;
    double free = engine->model.last_dirty_bytes_per_s;

    if (!(free > held) || held >= target_bytes_per_s) {
        return held_share;
    }
    return convergence_clamp(held_share + (target_bytes_per_s - held) /
                             (free - held) * (1 - held_share), held_share, 1);
}

void convergence_devices_give_up(ConvergenceEngine *engine,
                                 const ConvergenceSample *sample)
{
    if (convergence_devices_follow(engine)) {
        /* By too little: not tried again at once. */
        engine->devices.times_deaf++;
        engine->devices.deaf_ns = sample->now_ns;
    }
    convergence_devices_forget(engine);
}

void convergence_devices_forget(ConvergenceEngine *engine)
{
    engine->devices.trying = false;
    engine->devices.by_run_times = false;
    if (convergence_devices_follow(engine)) {
        engine->devices.answer = CONVERGENCE_DEVICES_UNKNOWN;
    }
}
