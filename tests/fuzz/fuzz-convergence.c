/*
 * libFuzzer target: sequences of samples, put to the engine
 *
 * The input is a list of fields as they come; what is missing at its end is
 * zero.  Each value that QEMU's checks of its parameters would let through can
 * occur, and each sample that a host could count.  A broken promise aborts.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "convergence-internal.h"

#define MAX_VCPUS 4
#define MAX_SAMPLES 64

#define PROMISE(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "broken promise: %s\n", #condition); \
            abort(); \
        } \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Input {
    const uint8_t *data;
    size_t left;
} Input;

static uint64_t take(Input *input, unsigned n_bytes)
{
    uint64_t value = 0;

    while (n_bytes-- && input->left) {
        value = value << 8 | *input->data++;
        input->left--;
    }
    return value;
}

/* A byte of exponent and two of mantissa: all sizes, from three bytes. */
static uint64_t take_size(Input *input, unsigned max_bits)
{
    unsigned bits = take(input, 1) % (max_bits + 1);

    return (take(input, 2) << 48) >> (64 - bits < 64 ? 64 - bits : 63);
}

static ConvergenceParams take_params(Input *input)
{
    ConvergenceParams params = {
        .auto_converge = take(input, 1) != 0xff,
        .policy = convergence_policy_nth(take(input, 1) % 4),
        .initial_throttle_pct = 1 + take(input, 1) % 99,
        .throttle_increment_pct = 1 + take(input, 1) % 99,
        .max_throttle_pct = 1 + take(input, 1) % 99,
        .trigger_threshold_pct = 1 + take(input, 1) % 100,
        .tailslow = take(input, 1) & 1,
        .sync_period_ms = 100 + take(input, 2) % 59901,
        .downtime_limit_ms = take_size(input, 21),
        .timeout_s = take_size(input, 64),
        .max_downtime_ms = take_size(input, 64),
        .max_iterations = take_size(input, 64),
        .max_transfer_pct = take_size(input, 64),
        .timeout_action = take(input, 1) % CONVERGENCE_ACTION__MAX,
        .vcpu_dirty_limit_bytes_per_s = take_size(input, 64),
        .switchover_bytes_per_s = take_size(input, 64),
    };

    /* No byte of its own: seeds of old mean what they meant. */
    params.policy_by_auto = params.tailslow;
    return params;
}

static ConvergenceSample take_sample(Input *input, ConvergenceVcpu *vcpus,
                                     int64_t *now_ns)
{
    ConvergenceSample sample = {
        .interval_ns = take_size(input, 40),
        .dirtied_bytes = take_size(input, 46),
        .touched_bytes = take_size(input, 46),
        .unseen_bytes = take_size(input, 46),
        .drained_bytes = take_size(input, 46),
        .zero_bytes = take_size(input, 46),
        .wire_bytes = take_size(input, 46),
        .remaining_bytes = take_size(input, 46),
        .ram_bytes = take_size(input, 46),
        .bulk_remaining_bytes = take_size(input, 46),
        .bandwidth_bytes_per_s = take_size(input, 64),
        .sync_cost_ns = take_size(input, 40),
        .sync_busy_ns = take_size(input, 30),
        .throttle_pct = take(input, 1) % 100,
        .bulk_pass = take(input, 1) & 1,
        .valid = take(input, 1) != 0xff,
        .vcpus = vcpus,
        .n_vcpus = take(input, 1) % (MAX_VCPUS + 1),
        .metered = take(input, 1) & 1,
        .run_times_known = take(input, 1) & 1,
    };

    for (unsigned i = 0; i < sample.n_vcpus; i++) {
        vcpus[i].dirtied_bytes = take_size(input, 46);
        vcpus[i].touched_bytes = take_size(input, 46);
        vcpus[i].ran_ns = take_size(input, 40);
    }
    sample.queued_bytes = take_size(input, 46);
    sample.link = (ConvergenceLinkView) {
        .recent_bytes_per_s = take_size(input, 64),
        .low_bytes_per_s = take_size(input, 64),
        .burst_bytes_per_s = take_size(input, 64),
        .devices_bytes = take_size(input, 64),
    };
    *now_ns += sample.interval_ns;
    sample.now_ns = *now_ns;
    return sample;
}

static void check_decision(const ConvergenceEngine *engine,
                           const ConvergenceParams *params,
                           const ConvergenceSample *sample)
{
    const ConvergenceDecision *d = &engine->decision;
    bool decided = sample->valid && sample->interval_ns > 0;

    PROMISE(d->throttle_pct <= 99);
    PROMISE(!decided || d->throttle_pct <= params->max_throttle_pct);
    PROMISE(d->phase < CONVERGENCE_PHASE__MAX);
    PROMISE(d->next_sync_ns > 0);
    PROMISE(params->auto_converge || d->throttle_pct == 0);
    PROMISE(memchr(d->reason, 0, sizeof(d->reason)));
    PROMISE(!strstr(d->reason, "nan") && !strstr(d->reason, "inf"));
    PROMISE(isfinite(engine->model.drain_bytes_per_s));
    PROMISE(isfinite(engine->model.dirty_bytes_per_s));
    PROMISE(isfinite(engine->model.device_bytes_per_s));
    PROMISE(isfinite(engine->planned_bytes_per_s));
    for (unsigned i = 0; decided && i < sample->n_vcpus; i++) {
        PROMISE(sample->vcpus[i].throttle_pct <= d->throttle_pct);
        PROMISE(isfinite(sample->vcpus[i].dirty_share));
    }
    for (unsigned i = 0; decided && d->vcpus_limited && i < sample->n_vcpus;
         i++) {
        PROMISE(sample->vcpus[i].limit_bytes_per_s > 0);
    }
}

static void check_deadline(ConvergenceEngine *engine,
                           const ConvergenceParams *params,
                           const ConvergenceSample *sample, Input *input)
{
    ConvergenceProgress progress = {
        .now_ns = sample->now_ns,
        .passes = take_size(input, 64),
        .sent_bytes = take_size(input, 64),
        .ram_bytes = sample->ram_bytes,
        .remaining_bytes = sample->remaining_bytes,
    };
    const ConvergenceDeadline *deadline =
        convergence_engine_deadline(engine, params, &progress);
    char text[CONVERGENCE_REASON_MAX_BYTES];

    PROMISE(deadline->downtime_limit_ms >= params->downtime_limit_ms);
    PROMISE(deadline->downtime_limit_ms <=
            MAX(params->downtime_limit_ms, params->max_downtime_ms));
    convergence_stop_describe(deadline, params, &progress, text,
                              sizeof(text));
    PROMISE(memchr(text, 0, sizeof(text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Input input = { data, size };
    ConvergenceVcpu vcpus[MAX_VCPUS] = { { 0 } };
    ConvergenceParams params = take_params(&input);
    int64_t now_ns = 104 * 86400 * NS_PER_S;
    ConvergenceEngine engine;
    char text[2048];

    convergence_engine_init(&engine, now_ns);
    for (unsigned i = 0; i < MAX_SAMPLES && input.left; i++) {
        ConvergenceSample sample = take_sample(&input, vcpus, &now_ns);

        if (take(&input, 1) == 0xff) {
            params = take_params(&input);
        }
        convergence_engine_update(&engine, &params, &sample);
        check_decision(&engine, &params, &sample);
        check_deadline(&engine, &params, &sample, &input);
        convergence_engine_threshold_bytes(&engine, &params,
                                           params.downtime_limit_ms,
                                           sample.bandwidth_bytes_per_s,
                                           sample.queued_bytes);
        convergence_format_sample(&engine, &sample, &params, text,
                                  sizeof(text));
        convergence_format_decision(&engine.decision, &sample, text,
                                    sizeof(text));
    }
    return 0;
}
