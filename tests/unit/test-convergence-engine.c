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
        sample.metered = true;
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
    sample.metered = true;
    convergence_engine_update(&engine, &params, &sample);
    g_assert_false(engine.decision.vcpus_limited);
    g_assert_cmpuint(vcpus[0].limit_bytes_per_s, ==, 0);
    g_assert_cmpuint(vcpus[1].limit_bytes_per_s, ==, 0);
    g_assert_cmpuint(engine.decision.throttle_pct, ==, 20);
}

static void test_no_meters_fall_back_to_predictive(void)
{
    ConvergenceParams params = fixture_params("dirty-limit");
    ConvergenceEngine engine;
    ConvergenceSample sample;

    convergence_engine_init(&engine, FIRST_NS);
    sample = fixture_sample(&engine, SECOND_NS, 100, 64);
    convergence_engine_update(&engine, &params, &sample);
    g_assert_cmpstr(engine.policy->name, ==, "predictive");
    g_assert_false(engine.decision.vcpus_limited);
}

static void test_threshold_is_what_the_link_drains_in_the_limit(void)
{
    ConvergenceParams params = fixture_params("step");
    ConvergenceEngine engine;
    uint64_t threshold;

    convergence_engine_init(&engine, FIRST_NS);
    /* Nothing measured yet: the caller's own figure, less the reserve. */
    g_assert_cmpuint(convergence_engine_threshold_bytes(&engine, &params, 300,
                                                        1e9, 0),
                     ==, 270000000);
    for (unsigned i = 0; i < 10; i++) {
        ConvergenceSample sample = fixture_sample(&engine, SECOND_NS, 10, 64);

        convergence_engine_update(&engine, &params, &sample);
    }
    /* Not above 64 MB/s x 300 ms, and not so small that it never ends. */
    threshold = convergence_engine_threshold_bytes(&engine, &params, 300, 1e9,
                                                   0);
    g_assert_cmpuint(threshold, <=, MB(19.2));
    g_assert_cmpuint(threshold, >=, MB(14.4));
    g_assert_cmpuint(convergence_engine_threshold_bytes(&engine, &params, 0,
                                                        1e9, 0), ==, 0);
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

/* A second in the bulk pass of a guest that has much of it left. */
static int64_t next_sync_in_bulk_ns(ConvergenceEngine *engine,
                                    const ConvergenceParams *params,
                                    int64_t cost_ns)
{
    ConvergenceSample sample = fixture_sample(engine, SECOND_NS, 10, 64);

    sample.bulk_pass = true;
    sample.ram_bytes = 400 * GIB;
    sample.bulk_remaining_bytes = 390 * GIB;
    sample.remaining_bytes = 391 * GIB;
    sample.sync_cost_ns = cost_ns;
    sample.sync_busy_ns = cost_ns;
    return convergence_engine_update(engine, params, &sample)->next_sync_ns;
}

/* The guest feels who holds the BQL that long, and the pass ends anyway. */
static void test_no_sync_in_the_bulk_pass_takes_more_than_20_ms(void)
{
    static const struct {
        unsigned period_ms;
        int64_t cost_us, first_ms;
    } rows[] = {
        { 1000, 0, 1000 }, { 1000, 1000, 1000 },
        { 1000, 20000, 1000 }, { 1000, 20001, 3600000 },
        { 1000, 300000, 3600000 },
        { 100, 4000, 100 }, { 60000, 20001, 3600000 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        ConvergenceParams params = fixture_params("predictive");
        ConvergenceEngine engine;

        params.sync_period_ms = rows[i].period_ms;
        convergence_engine_init(&engine, FIRST_NS);
        g_assert_cmpint(convergence_engine_first_sync_ns(
            &engine, &params, rows[i].cost_us * 1000), ==,
            rows[i].first_ms * NS_PER_MS);
    }
}

/* It is the guest that is large, not a host that was busy once. */
static void test_one_slow_sync_by_chance_is_forgiven(void)
{
    ConvergenceParams params = fixture_params("step");
    ConvergenceEngine engine;
    int64_t next_ns;

    convergence_engine_init(&engine, FIRST_NS);
    convergence_engine_first_sync_ns(&engine, &params, 5 * NS_PER_MS);
    next_sync_in_bulk_ns(&engine, &params, 5 * NS_PER_MS);
    next_ns = next_sync_in_bulk_ns(&engine, &params, 200 * NS_PER_MS);
    g_assert_cmpint(next_ns, <, 10 * SECOND_NS);
    for (unsigned i = 0; i < 10; i++) {
        next_ns = next_sync_in_bulk_ns(&engine, &params, 5 * NS_PER_MS);
    }
    g_assert_cmpint(next_ns, ==, SECOND_NS);

    /* Slow at first by chance: from the first quick one on, on the clock. */
    convergence_engine_init(&engine, FIRST_NS);
    convergence_engine_first_sync_ns(&engine, &params, 200 * NS_PER_MS);
    g_assert_cmpint(next_sync_in_bulk_ns(&engine, &params, 5 * NS_PER_MS), ==,
                    SECOND_NS);
}

/* With the ring it waits for vCPUs, without the BQL: that bothers nobody. */
static void test_a_sync_that_only_waits_is_no_slow_one(void)
{
    ConvergenceParams params = fixture_params("step");
    ConvergenceEngine engine;
    ConvergenceSample sample;

    convergence_engine_init(&engine, FIRST_NS);
    convergence_engine_first_sync_ns(&engine, &params, NS_PER_MS);
    sample = fixture_sample(&engine, SECOND_NS, 10, 64);
    sample.bulk_pass = true;
    sample.bulk_remaining_bytes = MB(400);
    sample.sync_cost_ns = 40 * NS_PER_MS;
    sample.sync_busy_ns = NS_PER_MS;
    g_assert_cmpint(convergence_engine_update(&engine, &params,
                                              &sample)->next_sync_ns, ==,
                    SECOND_NS);
}

/* After the bulk pass syncs are what ends a migration. */
static void test_slow_syncs_go_on_after_the_bulk_pass(void)
{
    ConvergenceParams params = fixture_params("step");
    ConvergenceEngine engine;
    ConvergenceSample sample;

    convergence_engine_init(&engine, FIRST_NS);
    convergence_engine_first_sync_ns(&engine, &params, 40 * NS_PER_MS);
    g_assert_cmpint(next_sync_in_bulk_ns(&engine, &params, 40 * NS_PER_MS),
                    ==, 3600 * SECOND_NS);
    sample = fixture_sample(&engine, SECOND_NS, 10, 64);
    sample.sync_cost_ns = 40 * NS_PER_MS;
    sample.sync_busy_ns = 40 * NS_PER_MS;
    convergence_engine_update(&engine, &params, &sample);
    g_assert_cmpint(engine.decision.next_sync_ns, ==, SECOND_NS);
}

/*
 * The look that ends with the bulk pass is what a first cut rests on.  It is
 * half a second long, and a little more rather than two of which one is tiny.
 */
static void test_last_look_of_the_bulk_pass_is_a_short_one(void)
{
    static const struct {
        double ends_s;
        int64_t next_ms;
    } rows[] = {
        { 4, 1000 }, { 1.6, 1000 }, { 1.4, 900 }, { 1, 500 },
        { 0.76, 260 }, { 0.74, 1000 }, { 0.3, 1000 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        ConvergenceParams params = fixture_params("predictive");
        ConvergenceEngine engine;
        ConvergenceSample sample;

        convergence_engine_init(&engine, FIRST_NS);
        sample = fixture_sample(&engine, SECOND_NS, 1, 64);
        sample.bulk_pass = true;
        sample.ram_bytes = MB(4000);
        sample.bulk_remaining_bytes = MB(64 * rows[i].ends_s);
        sample.remaining_bytes = sample.bulk_remaining_bytes + MB(10);
        convergence_engine_update(&engine, &params, &sample);
        g_assert_cmpint(llabs(engine.decision.next_sync_ns -
                              rows[i].next_ms * NS_PER_MS), <, NS_PER_MS);
    }
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
                    test_no_meters_fall_back_to_predictive);
    g_test_add_func("/convergence/engine/threshold",
                    test_threshold_is_what_the_link_drains_in_the_limit);
    g_test_add_func("/convergence/engine/sync-cost",
                    test_costly_syncs_come_less_often);
    g_test_add_func("/convergence/engine/bulk-sync/20-ms",
                    test_no_sync_in_the_bulk_pass_takes_more_than_20_ms);
    g_test_add_func("/convergence/engine/bulk-sync/by-chance",
                    test_one_slow_sync_by_chance_is_forgiven);
    g_test_add_func("/convergence/engine/bulk-sync/waiting",
                    test_a_sync_that_only_waits_is_no_slow_one);
    g_test_add_func("/convergence/engine/bulk-sync/after",
                    test_slow_syncs_go_on_after_the_bulk_pass);
    g_test_add_func("/convergence/engine/bulk-sync/last-look",
                    test_last_look_of_the_bulk_pass_is_a_short_one);
    return g_test_run();
}
