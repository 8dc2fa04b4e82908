/*
 * The engine's frame: registry, invalid samples, change of policy, threshold
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-fixture.h"

static void test_registry_names_are_found(void)
{
    static const char *const names[] = { "step", "predictive", "dirty-limit" };

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        const ConvergencePolicyOps *policy = convergence_policy_find(names[i]);

        g_assert_nonnull(policy);
        g_assert_cmpstr(policy->name, ==, names[i]);
        g_assert_true(convergence_policy_nth(i) == policy);
    }
    g_assert_null(convergence_policy_nth(G_N_ELEMENTS(names)));
    g_assert_null(convergence_policy_nth(UINT_MAX));
}

static void test_registry_knows_no_others(void)
{
    g_assert_null(convergence_policy_find("auto"));
    g_assert_null(convergence_policy_find(""));
    g_assert_null(convergence_policy_find("Step"));
    g_assert_null(convergence_policy_find("step "));
    g_assert_null(convergence_policy_find(NULL));
}

static void test_registered_policies_are_complete(void)
{
    const ConvergencePolicyOps *policy;

    for (unsigned i = 0; (policy = convergence_policy_nth(i)); i++) {
        g_assert_nonnull(policy->name);
        g_assert_nonnull(policy->decide);
        for (unsigned j = 0; j < i; j++) {
            g_assert_cmpstr(policy->name, !=, convergence_policy_nth(j)->name);
        }
    }
}

static void test_phases_have_qapi_names(void)
{
    static const char *const names[] = {
        "off", "watching", "throttling", "converging", "stuck", "timed-out"
    };

    for (unsigned i = 0; i < CONVERGENCE_PHASE__MAX; i++) {
        g_assert_cmpstr(convergence_phase_name(i), ==, names[i]);
    }
    g_assert_cmpstr(convergence_phase_name(CONVERGENCE_PHASE__MAX), ==,
                    "unknown");
}

/* What a paused guest does not do says nothing about the running one. */
static void test_invalid_samples_change_nothing(void)
{
    ConvergenceParams params = fixture_params("step");
    ConvergenceEngine engine;
    ConvergenceSample sample;

    convergence_engine_init(&engine, FIRST_NS);
    sample = fixture_sample(&engine, SECOND_NS, 100, 64);
    g_assert_cmpuint(convergence_engine_update(&engine, &params,
                                               &sample)->throttle_pct, ==, 20);
    for (unsigned i = 0; i < 3; i++) {
        sample = fixture_sample(&engine, i == 0 ? SECOND_NS :
                                i == 1 ? 0 : -SECOND_NS, 1000, 64);
        sample.valid = i != 0;
        g_assert_cmpuint(convergence_engine_update(&engine, &params,
                                                   &sample)->throttle_pct,
                         ==, 20);
        g_assert_cmpuint(engine.model.samples, ==, 1);
        g_assert_cmpint(engine.decision.next_sync_ns, ==, SECOND_NS);
    }
}

static void test_off_means_off(void)
{
    ConvergenceParams params = fixture_params("step");
    ConvergenceEngine engine;
    ConvergenceSample sample;

    convergence_engine_init(&engine, FIRST_NS);
    sample = fixture_sample(&engine, SECOND_NS, 100, 64);
    convergence_engine_update(&engine, &params, &sample);
    params.auto_converge = false;
    convergence_engine_update(&engine, &params, &sample);
    g_assert_cmpuint(engine.decision.throttle_pct, ==, 0);
    g_assert_cmpint(engine.decision.phase, ==, CONVERGENCE_PHASE_OFF);

    params.auto_converge = true;
    sample = fixture_sample(&engine, SECOND_NS, 100, 64);
    convergence_engine_update(&engine, &params, &sample);
    g_assert_cmpuint(engine.decision.throttle_pct, ==, 20);
}

static void test_change_of_policy_starts_afresh(void)
{
    ConvergenceVcpu vcpus[2] = { { .id = 0 }, { .id = 1 } };
    ConvergenceParams params = fixture_params("dirty-limit");
    ConvergenceEngine engine;
    ConvergenceSample sample;

    convergence_engine_init(&engine, FIRST_NS);
    for (unsigned i = 0; i < 3; i++) {
        sample = fixture_sample(&engine, SECOND_NS, 100, 64);
        sample.vcpus = vcpus;
        sample.n_vcpus = 2;
        vcpus[0].dirtied_bytes = MB(100);
        vcpus[0].touched_bytes = MB(100);
        convergence_engine_update(&engine, &params, &sample);
    }
    g_assert_true(engine.decision.vcpus_limited);
    g_assert_cmpuint(vcpus[0].limit_bytes_per_s, >, 0);

    params.policy = convergence_policy_find("step");
    sample = fixture_sample(&engine, SECOND_NS, 100, 64);
    sample.vcpus = vcpus;
    sample.n_vcpus = 2;
    convergence_engine_update(&engine, &params, &sample);
    g_assert_false(engine.decision.vcpus_limited);
    g_assert_cmpuint(vcpus[0].limit_bytes_per_s, ==, 0);
    g_assert_cmpuint(vcpus[1].limit_bytes_per_s, ==, 0);
    g_assert_cmpuint(engine.decision.throttle_pct, ==, 20);
}

static void test_no_meters_fall_back_to_step(void)
{
    ConvergenceParams params = fixture_params("dirty-limit");
    ConvergenceEngine engine;
    ConvergenceSample sample;

    convergence_engine_init(&engine, FIRST_NS);
    sample = fixture_sample(&engine, SECOND_NS, 100, 64);
    convergence_engine_update(&engine, &params, &sample);
    g_assert_cmpstr(engine.policy->name, ==, "step");
    g_assert_cmpuint(engine.decision.throttle_pct, ==, 20);
}

static void test_threshold_is_what_the_link_drains_in_the_limit(void)
{
    ConvergenceParams params = fixture_params("step");
    ConvergenceEngine engine;
    uint64_t threshold;

    convergence_engine_init(&engine, FIRST_NS);
    /* Nothing measured yet: the caller's own figure, less the reserve. */
    g_assert_cmpuint(convergence_engine_threshold_bytes(&engine, 300, 1e9),
                     ==, 270000000);
    for (unsigned i = 0; i < 10; i++) {
        ConvergenceSample sample = fixture_sample(&engine, SECOND_NS, 10, 64);

        convergence_engine_update(&engine, &params, &sample);
    }
    /* Not above 64 MB/s x 300 ms, and not so small that it never ends. */
    threshold = convergence_engine_threshold_bytes(&engine, 300, 1e9);
    g_assert_cmpuint(threshold, <=, MB(19.2));
    g_assert_cmpuint(threshold, >=, MB(14.4));
    g_assert_cmpuint(convergence_engine_threshold_bytes(&engine, 0, 1e9), ==,
                     0);
}

/* A sync of a large guest holds the BQL for tens of ms. */
static void test_costly_syncs_come_less_often(void)
{
    ConvergenceParams params = fixture_params("step");
    ConvergenceEngine engine;

    convergence_engine_init(&engine, FIRST_NS);
    for (unsigned i = 0; i < 30; i++) {
        ConvergenceSample sample = fixture_sample(&engine, SECOND_NS, 100, 64);

        sample.sync_cost_ns = 70 * NS_PER_MS;
        convergence_engine_update(&engine, &params, &sample);
    }
    g_assert_cmpint(engine.decision.next_sync_ns, >=, 1399 * NS_PER_MS);
    g_assert_cmpint(engine.decision.next_sync_ns, <=, 1401 * NS_PER_MS);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/convergence/registry/found",
                    test_registry_names_are_found);
    g_test_add_func("/convergence/registry/unknown",
                    test_registry_knows_no_others);
    g_test_add_func("/convergence/registry/complete",
                    test_registered_policies_are_complete);
    g_test_add_func("/convergence/engine/phase-names",
                    test_phases_have_qapi_names);
    g_test_add_func("/convergence/engine/invalid",
                    test_invalid_samples_change_nothing);
    g_test_add_func("/convergence/engine/off", test_off_means_off);
    g_test_add_func("/convergence/engine/policy-change",
                    test_change_of_policy_starts_afresh);
    g_test_add_func("/convergence/engine/no-meters",
                    test_no_meters_fall_back_to_step);
    g_test_add_func("/convergence/engine/threshold",
                    test_threshold_is_what_the_link_drains_in_the_limit);
    g_test_add_func("/convergence/engine/sync-cost",
                    test_costly_syncs_come_less_often);
    return g_test_run();
}
