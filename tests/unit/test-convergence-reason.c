/*
 * Reasons: figures and a way out in each; the trace holds all there is
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-fixture.h"

typedef struct Told {
    const char *claim;
    ConvergencePhase phase;
    unsigned throttle_pct;
    bool bulk_pass, vcpus_limited;
    double device_mb_per_s;
    const char *words[3];
} Told;

static const Told table[] = {
    { "watching-bulk", CONVERGENCE_PHASE_WATCHING, 0, true, false, 0,
      { "first pass" } },
    { "watching", CONVERGENCE_PHASE_WATCHING, 0, false, false, 0,
      { "no need to slow it down" } },
    { "throttling", CONVERGENCE_PHASE_THROTTLING, 70, false, false, 0,
      { "sleep 70 %" } },
    { "throttling-limits", CONVERGENCE_PHASE_THROTTLING, 0, false, true, 0,
      { "each vCPU may dirty 12.5 MB/s" } },
    { "converging", CONVERGENCE_PHASE_CONVERGING, 33, false, false, 0,
      { "sleep 33 %", "remains shrinks" } },
    { "stuck-at-max", CONVERGENCE_PHASE_STUCK, 99, false, false, 0,
      { "99 %", "max-cpu-throttle", "downtime-limit" } },
    { "stuck-deaf", CONVERGENCE_PHASE_STUCK, 0, false, false, 0,
      { "did not help", "more bandwidth", "postcopy" } },
    { "stuck-devices", CONVERGENCE_PHASE_STUCK, 0, false, false, 77.7,
      { "devices", "77.7 MB/s", "convergence-timeout" } },
    { "stuck-devices-limits", CONVERGENCE_PHASE_STUCK, 0, false, true, 77.7,
      { "devices", "77.7 MB/s", "less I/O" } },
    { "timed-out", CONVERGENCE_PHASE_TIMED_OUT, 50, false, false, 0,
      { "sleep 50 %" } },
};

static void test_reason(const void *opaque)
{
    const Told *told = opaque;
    ConvergenceParams params = fixture_params("predictive");
    ConvergenceEngine engine;
    ConvergenceSample sample;
    ConvergenceDecision decision = {
        .phase = told->phase,
        .throttle_pct = told->throttle_pct,
        .vcpus_limited = told->vcpus_limited,
        .level_bytes_per_s = 12.5e6,
    };

    convergence_engine_init(&engine, FIRST_NS);
    sample = fixture_sample(&engine, SECOND_NS, 100, 64);
    sample.bulk_pass = told->bulk_pass;
    engine.model.drain_bytes_per_s = 64.2e6;
    engine.model.dirty_known = true;
    engine.model.last_dirty_bytes_per_s = 123.4e6;
    engine.model.device_bytes_per_s = told->device_mb_per_s * BYTES_PER_MB;
    convergence_explain(&engine, &params, &sample, &decision);
    g_assert_nonnull(strstr(decision.reason, "dirties 123.4 MB/s"));
    g_assert_nonnull(strstr(decision.reason, "drains 64.2 MB/s"));
    g_assert_nonnull(strstr(decision.reason, "500.0 MB remain"));
    for (unsigned i = 0; i < 3 && told->words[i]; i++) {
        g_test_message("%s", decision.reason);
        g_assert_nonnull(strstr(decision.reason, told->words[i]));
    }
    /* Nothing was cut off. */
    g_assert_cmpuint(strlen(decision.reason), <,
                     CONVERGENCE_REASON_MAX_BYTES - 1);
}

/* Of devices: what is tried, what came of it, and what can be done. */
static void test_devices(void)
{
    static const struct {
        const char *policy;
        ConvergenceDevicesAnswer answer;
        bool trying, stuck;
        unsigned throttle_pct;
        const char *words;
    } rows[] = {
        { "dirty-limit", CONVERGENCE_DEVICES_UNKNOWN, true, false, 99,
          "devices dirty 145.0 MB/s; all vCPUs are held to "
          "see whether devices write less then" },
        { "predictive", CONVERGENCE_DEVICES_FOLLOW, false, false, 91,
          "devices write what vCPUs ask for; all vCPUs sleep 91 %" },
        { "dirty-limit", CONVERGENCE_DEVICES_DEAF, false, true, 0,
          "devices alone dirty 150.0 MB/s, and still 140.0 MB/s while all "
          "vCPUs slept 99 % of their time: less I/O, more bandwidth" },
        { "dirty-limit", CONVERGENCE_DEVICES_UNKNOWN, false, true, 0,
          "devices alone dirty 150.0 MB/s, which limits on vCPUs do not lower: "
          "convergence-policy auto, less I/O, more bandwidth" },
        { "predictive", CONVERGENCE_DEVICES_UNKNOWN, false, true, 0,
          "devices alone dirty 150.0 MB/s: less I/O, more bandwidth" },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        ConvergenceParams params = fixture_params(rows[i].policy);
        ConvergenceDecision decision = {
            .phase = rows[i].stuck ? CONVERGENCE_PHASE_STUCK :
                     CONVERGENCE_PHASE_THROTTLING,
            .throttle_pct = rows[i].throttle_pct,
        };
        ConvergenceEngine engine;
        ConvergenceSample sample;

        convergence_engine_init(&engine, FIRST_NS);
        sample = fixture_sample(&engine, SECOND_NS, 160, 64);
        engine.policy = params.policy;
        engine.model.drain_bytes_per_s = 64e6;
        engine.model.device_bytes_per_s = 150e6;
        engine.devices = (ConvergenceDevices) {
            .answer = rows[i].answer,
            .trying = rows[i].trying,
            .held_pct = 99,
            .free_bytes_per_s = 145e6,
            .judged_bytes_per_s = 140e6,
        };
        convergence_explain(&engine, &params, &sample, &decision);
        g_test_message("%s", decision.reason);
        g_assert_nonnull(strstr(decision.reason, rows[i].words));
        g_assert_true(g_str_has_suffix(decision.reason, "would end it") ==
                      rows[i].stuck);
    }
}

typedef struct Off {
    double dirtied_mb_per_s;
    uint64_t timeout_s;
    bool valid;
    const char *reason;
} Off;

#define OFF "auto-converge is off"
#define OFF_AT(dirty) OFF ": the guest dirties " dirty " MB/s, the link " \
    "drains 64.0 MB/s, 500.0 MB remain: "

/* Nobody acts, and what there is to know and to do is said all the same. */
static void test_off_says_so(void)
{
    static const Off rows[] = {
        { 100, 0, false, OFF },
        /* Nine tenths of what is drained, and below */
        { 57.5, 0, true, OFF_AT("57.5") "what remains shrinks" },
        { 57.7, 0, true, OFF_AT("57.7") "this does not end; more bandwidth, "
          "a downtime-limit of 9400 ms or a convergence-timeout would end it, "
          "and so would auto-converge, switched on before the start" },
        { 100, 60, true, OFF_AT("100.0") "this ends by its deadline alone" },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        ConvergenceParams params = fixture_params("predictive");
        const ConvergenceDecision *decision;
        ConvergenceEngine engine;
        ConvergenceSample sample;

        convergence_engine_init(&engine, FIRST_NS);
        sample = fixture_sample(&engine, SECOND_NS, rows[i].dirtied_mb_per_s,
                                64);
        sample.valid = rows[i].valid;
        params.auto_converge = false;
        params.timeout_s = rows[i].timeout_s;
        decision = convergence_engine_update(&engine, &params, &sample);
        g_assert_cmpint(decision->phase, ==, CONVERGENCE_PHASE_OFF);
        g_assert_cmpstr(decision->reason, ==, rows[i].reason);
        g_assert_false(decision->predicted);
        /* What is not valid changes nothing. */
        sample.valid = false;
        decision = convergence_engine_update(&engine, &params, &sample);
        g_assert_cmpstr(decision->reason, ==, rows[i].reason);
    }
}

static void test_longest_reason_fits(void)
{
    ConvergenceParams params = fixture_params("predictive");
    static const ConvergencePhase phases[] = {
        CONVERGENCE_PHASE_STUCK, CONVERGENCE_PHASE_OFF,
    };
    ConvergenceSample sample = { .remaining_bytes = 64 * TIB };
    ConvergenceEngine engine;

    convergence_engine_init(&engine, FIRST_NS);
    engine.model.last_dirty_bytes_per_s = 1e14;
    engine.model.drain_bytes_per_s = 125e9;
    engine.model.device_bytes_per_s = 125e9;
    engine.devices.answer = CONVERGENCE_DEVICES_DEAF;
    engine.devices.judged_bytes_per_s = 125e9;
    for (unsigned i = 0; i < G_N_ELEMENTS(phases); i++) {
        ConvergenceDecision decision = { .phase = phases[i] };

        convergence_explain(&engine, &params, &sample, &decision);
        g_assert_cmpuint(strlen(decision.reason), <,
                         CONVERGENCE_REASON_MAX_BYTES - 1);
    }
}

/* The trace, into buffers of each size: cut where it must be, never beyond. */
static void test_trace_fits_any_buffer(void)
{
    ConvergenceVcpu vcpus[2] = {
        { .id = 3, .dirtied_bytes = 4096, .touched_bytes = 12288, .ran_ns = 7,
          .limit_bytes_per_s = 77 },
        { .id = 5, .dirtied_bytes = 8192, .touched_bytes = 8192,
          .limit_bytes_per_s = 88 },
    };
    ConvergenceParams params = fixture_params("dirty-limit");
    ConvergenceEngine engine = { .deadline.downtime_limit_ms = 1234 };
    ConvergenceDecision decision = {
        .phase = CONVERGENCE_PHASE_CONVERGING,
        .vcpus_limited = true,
        .see_rewrites = true,
        .next_sync_ns = 250000000,
    };
    ConvergenceSample sample = {
        .now_ns = FIRST_NS, .interval_ns = 999, .touched_bytes = 31337,
        .unseen_bytes = 65536,
        .vcpus = vcpus, .n_vcpus = 2, .meter = "ring", .metered = true,
        .valid = true,
    };
    char whole[2048], text[2048];
    size_t size = convergence_format_sample(&engine, &sample, &params, whole,
                                            sizeof(whole));

    g_assert_cmpuint(size, ==, strlen(whole));
    g_assert_nonnull(strstr(whole, "policy=dirty-limit "));
    /* The limit in force, which has grown, and not the user's. */
    g_assert_nonnull(strstr(whole, " downtime_ms=1234 "));
    g_assert_nonnull(strstr(whole, " interval_ns=999 "));
    g_assert_nonnull(strstr(whole, " touched=31337 unseen=65536 "));
    g_assert_nonnull(strstr(whole, " valid=1 meter=ring metered=1 "
                              "run_times=0 v=3:4096:12288:7 v=5:8192:8192:0"));
    for (size_t i = 1; i <= size; i++) {
        memset(text, '#', sizeof(text));
        g_assert_cmpuint(convergence_format_sample(&engine, &sample, &params,
                                                   text, i), ==, size);
        g_assert_cmpuint(strlen(text), ==, i - 1);
        g_assert_cmpint(strncmp(text, whole, i - 1), ==, 0);
        g_assert_cmpint(text[i], ==, '#');
    }
    g_assert_cmpuint(convergence_format_sample(&engine, &sample, &params, NULL,
                                               0), ==, size);
    convergence_format_decision(&decision, &sample, text, sizeof(text));
    g_assert_nonnull(strstr(text, "phase=converging "));
    g_assert_nonnull(strstr(text, " rewrites=1 next_sync_ns=250000000 "));
    g_assert_nonnull(strstr(text, " l=3:77 l=5:88"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autofree char *path = g_strdup_printf("/convergence/reason/%s",
                                                table[i].claim);

        g_test_add_data_func(path, &table[i], test_reason);
    }
    g_test_add_func("/convergence/reason/devices", test_devices);
    g_test_add_func("/convergence/reason/off", test_off_says_so);
    g_test_add_func("/convergence/reason/longest", test_longest_reason_fits);
    g_test_add_func("/convergence/reason/trace", test_trace_fits_any_buffer);
    return g_test_run();
}
