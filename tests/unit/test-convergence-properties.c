/*
 * What holds whatever the samples are
 *
 * Sequences of random samples, from plausible ones to the ends of the types.
 * Twice in the suite: as QEMU compiles the engine, and under the address and
 * undefined-behaviour sanitizers, which make a fault of each conversion of a
 * NaN or of a double too large for its integer.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "convergence-fixture.h"

#define N_SAMPLES 1000000
#define SAMPLES_PER_RUN 50
#define MAX_VCPUS 16
/* What libvirt sends as max-bandwidth for "unlimited". */
#define LIBVIRT_UNLIMITED 9223372036853727232ULL

/* xorshift64*: the same on each host, and cheap enough for a million samples */
typedef struct Random {
    uint64_t state;
} Random;

static uint64_t random_u64(Random *random)
{
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return random->state * 2685821657736338717ULL;
}

static uint64_t random_below(Random *random, uint64_t n)
{
    return random_u64(random) % n;
}

/* All orders of magnitude below a bound, with zero and the bound itself. */
static uint64_t random_size(Random *random, uint64_t most)
{
    switch (random_below(random, 10)) {
    case 0:
        return 0;
    case 1:
        return most;
    default:
        return random_u64(random) % (most ? most : 1) >>
               random_below(random, 40);
    }
}

static ConvergenceParams random_params(Random *random)
{
    return (ConvergenceParams) {
        .auto_converge = random_below(random, 50) != 0,
        .policy = convergence_policy_nth(random_below(random, 4)),
        .policy_by_auto = random_below(random, 2),
        .initial_throttle_pct = 1 + random_below(random, 99),
        .throttle_increment_pct = 1 + random_below(random, 99),
        .max_throttle_pct = 1 + random_below(random, 99),
        .trigger_threshold_pct = 1 + random_below(random, 100),
        .tailslow = random_below(random, 2),
        .sync_period_ms = 100 + random_size(random, 59900),
        .downtime_limit_ms = random_size(random, 2000000),
        .timeout_s = random_size(random, 1 << 20),
        .max_downtime_ms = random_size(random, 2000000),
        .max_iterations = random_size(random, 1000),
        .max_transfer_pct = random_size(random, 100000),
        .timeout_action = random_below(random, CONVERGENCE_ACTION__MAX),
        .vcpu_dirty_limit_bytes_per_s =
            random_below(random, 4) ? 0 : random_size(random, UINT64_MAX),
        .switchover_bytes_per_s =
            random_below(random, 4) ? 0 : random_size(random, UINT64_MAX),
    };
}

static ConvergenceLinkView random_link(Random *random)
{
    return (ConvergenceLinkView) {
        .recent_bytes_per_s = random_size(random, UINT64_MAX),
        .low_bytes_per_s = random_size(random, UINT64_MAX),
        .burst_bytes_per_s =
            random_below(random, 4) ? 0 : random_size(random, UINT64_MAX),
        .devices_bytes = random_size(random, UINT64_MAX),
    };
}

static ConvergenceSample random_sample(Random *random,
                                       ConvergenceEngine *engine,
                                       ConvergenceVcpu *vcpus)
{
    /* Up to 64 TiB of RAM; 1 Tbit/s for the longest interval is 25 TB. */
    uint64_t ram = random_size(random, 64 * TIB);
    ConvergenceSample sample = {
        .interval_ns = random_below(random, 20) ?
                       random_size(random, 200 * SECOND_NS) :
                       -(int64_t)random_size(random, 200 * SECOND_NS),
        .dirtied_bytes = random_size(random, ram),
        .touched_bytes = random_size(random, ram),
        .unseen_bytes = random_below(random, 2) ? random_size(random, ram) : 0,
        .drained_bytes = random_size(random, 25 * TIB),
        .zero_bytes = random_size(random, 25 * TIB),
        .wire_bytes = random_size(random, 25 * TIB),
        .remaining_bytes = random_size(random, ram),
        .ram_bytes = ram,
        .bulk_remaining_bytes = random_size(random, ram),
        .bulk_empty_bytes = random_size(random, ram),
        .bandwidth_bytes_per_s = random_below(random, 2) ? LIBVIRT_UNLIMITED :
                                 random_size(random, UINT64_MAX),
        .queued_bytes = random_size(random, TIB),
        .link = random_link(random),
        .sync_cost_ns = random_size(random, 100 * SECOND_NS),
        .sync_busy_ns = random_size(random, SECOND_NS),
        .throttle_pct = random_below(random, 100),
        .vcpus = vcpus,
        .n_vcpus = random_below(random, MAX_VCPUS + 1),
        .metered = random_below(random, 2),
        .run_times_known = random_below(random, 2),
        .bulk_pass = random_below(random, 3) == 0,
        .valid = random_below(random, 20) != 0,
    };

    sample.now_ns = engine->model.last_sample_ns + sample.interval_ns;
    for (unsigned i = 0; i < MAX_VCPUS; i++) {
        vcpus[i].dirtied_bytes = random_size(random, ram);
        vcpus[i].touched_bytes = random_size(random, ram);
        vcpus[i].ran_ns = random_size(random, 10 * SECOND_NS);
        if (!random_below(random, 20)) {
            vcpus[i].limit_bytes_per_s = random_size(random, UINT64_MAX);
        }
    }
    return sample;
}

static void assert_rate(double value)
{
    g_assert_true(isfinite(value));
    g_assert_true(value >= 0);
}

static void assert_model_is_finite(const ConvergenceModel *model)
{
    assert_rate(model->dirty_bytes_per_s);
    assert_rate(model->new_bytes_per_s);
    assert_rate(model->wire_bytes_per_s);
    assert_rate(model->page_bytes_per_wire_byte);
    assert_rate(model->drain_bytes_per_s);
    assert_rate(model->pass_bytes_per_s);
    assert_rate(model->device_bytes_per_s);
    assert_rate(model->sync_cost_ns);
    assert_rate(model->last_dirty_bytes_per_s);
    assert_rate(model->last_new_bytes_per_s);
    assert_rate(model->jitter);
}

static void assert_devices_are_sane(const ConvergenceDevices *devices)
{
    assert_rate(devices->free_bytes_per_s);
    assert_rate(devices->judged_bytes_per_s);
    assert_rate(devices->held_bytes_per_s);
    g_assert_cmpint(devices->against_ns, >=, 0);
}

static void assert_decision_is_sane(const ConvergenceDecision *decision,
                                    const ConvergenceParams *params,
                                    const ConvergenceSample *sample)
{
    g_assert_cmpuint(decision->throttle_pct, <=, 99);
    g_assert_cmpuint(decision->phase, <, CONVERGENCE_PHASE__MAX);
    g_assert_cmpint(decision->next_sync_ns, >, 0);
    g_assert_cmpuint(decision->predicted_error_pct, <=, 100);
    g_assert_nonnull(memchr(decision->reason, 0, sizeof(decision->reason)));
    /* No figure of a reason is a broken one. */
    g_assert_null(strstr(decision->reason, "nan"));
    g_assert_null(strstr(decision->reason, "inf"));
    if (sample->valid && sample->interval_ns > 0) {
        g_assert_cmpuint(decision->throttle_pct, <=, params->max_throttle_pct);
        for (unsigned i = 0; i < sample->n_vcpus; i++) {
            const ConvergenceVcpu *vcpu = &sample->vcpus[i];

            g_assert_cmpuint(vcpu->throttle_pct, <=, decision->throttle_pct);
            assert_rate(vcpu->dirty_share);
            g_assert_cmpfloat(vcpu->dirty_share, <=, 1.000001);
        }
        if (decision->vcpus_limited) {
            g_assert_true(sample->metered);
            g_assert_cmpuint(decision->throttle_pct, ==, 0);
            g_assert_cmpuint(sample->n_vcpus, >, 0);
            for (unsigned i = 0; i < sample->n_vcpus; i++) {
                /* 0 would be no limit at all. */
                g_assert_cmpuint(sample->vcpus[i].limit_bytes_per_s, >, 0);
            }
        }
    }
}

static void assert_deadline_is_sane(const ConvergenceDeadline *deadline,
                                    const ConvergenceParams *params)
{
    g_assert_cmpuint(deadline->downtime_limit_ms, >=,
                     params->downtime_limit_ms);
    g_assert_cmpuint(deadline->downtime_limit_ms, <=,
                     MAX(params->downtime_limit_ms, params->max_downtime_ms));
    g_assert_cmpuint(deadline->stop, <=, CONVERGENCE_STOP_TRANSFER);
}

static void run_one(Random *random)
{
    ConvergenceParams params = random_params(random);
    ConvergenceVcpu vcpus[MAX_VCPUS] = { { 0 } };
    ConvergenceEngine engine;
    char text[4096];

    convergence_engine_init(&engine, FIRST_NS);
    for (unsigned i = 0; i < SAMPLES_PER_RUN; i++) {
        ConvergenceSample sample = random_sample(random, &engine, vcpus);
        const ConvergenceDecision *decision;
        ConvergenceProgress progress = {
            .now_ns = sample.now_ns,
            .passes = random_size(random, UINT64_MAX),
            .sent_bytes = random_size(random, UINT64_MAX),
            .ram_bytes = sample.ram_bytes,
            .remaining_bytes = sample.remaining_bytes,
        };

        if (!random_below(random, 10)) {
            params = random_params(random);
        }
        decision = convergence_engine_update(&engine, &params, &sample);
        assert_decision_is_sane(decision, &params, &sample);
        assert_model_is_finite(&engine.model);
        assert_devices_are_sane(&engine.devices);
        assert_deadline_is_sane(convergence_engine_deadline(&engine, &params,
                                                            &progress),
                                &params);
        convergence_stop_describe(&engine.deadline, &params, &progress, text,
                                  sizeof(text));
        g_assert_cmpuint(convergence_format_sample(&engine, &sample, &params,
                                                   text, sizeof(text)), <,
                         sizeof(text));
        convergence_engine_threshold_bytes(&engine, &params,
                                           params.downtime_limit_ms,
                                           sample.bandwidth_bytes_per_s,
                                           sample.queued_bytes);
    }
}

static void test_random_samples(void)
{
    Random random = { 0x20261121c0ffeeULL };

    for (unsigned i = 0; i < N_SAMPLES / SAMPLES_PER_RUN; i++) {
        run_one(&random);
    }
}

static void test_step_never_falls(void)
{
    Random random = { 42 };

    for (unsigned round = 0; round < 2000; round++) {
        ConvergenceParams params = random_params(&random);
        ConvergenceVcpu vcpus[MAX_VCPUS] = { { 0 } };
        ConvergenceEngine engine;
        unsigned before = 0;

        params.auto_converge = true;
        params.policy = convergence_policy_find("step");
        convergence_engine_init(&engine, FIRST_NS);
        for (unsigned i = 0; i < SAMPLES_PER_RUN; i++) {
            ConvergenceSample sample = random_sample(&random, &engine, vcpus);
            unsigned now = convergence_engine_update(&engine, &params,
                                                     &sample)->throttle_pct;

            g_assert_cmpuint(now, >=, before);
            before = now;
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/convergence/properties/random-samples",
                    test_random_samples);
    g_test_add_func("/convergence/properties/step-monotone",
                    test_step_never_falls);
    return g_test_run();
}
