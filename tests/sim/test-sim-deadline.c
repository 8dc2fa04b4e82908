/*
 * The deadline in closed loop: what it ends, and when; and that it is nothing
 * while it is not set
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "sim-scenarios.h"

/* Flat out, 134 MB: never below what 300 ms drain at 64 MB/s, which is 19 MB. */
#define NEVER_ENDS "reference-flat-out"
/* 134 MB at 64 MB/s take 2.1 s: the third doubling of 300 ms. */
#define ENOUGH_MS 2400

static SimResult run(const char *policy, SimDeadline deadline)
{
    SimSpec spec = sim_scenario_spec(sim_scenario_find(NEVER_ENDS));
    SimMigration m;
    SimResult result;

    spec.limit_s = 60;
    spec.deadline = deadline;
    result = sim_migration_run(&m, &spec, policy);
    sim_migration_free(&m);
    return result;
}

static void test_downtime_grows_until_it_suffices(void)
{
    SimResult r = run(SIM_POLICY_NONE, (SimDeadline) { .timeout_s = 10 });

    g_assert_true(r.completed);
    g_assert_cmpint(r.stop, ==, CONVERGENCE_STOP_TIMEOUT);
    g_assert_cmpuint(r.limit_in_force_ms, ==, ENOUGH_MS);
    g_assert_cmpfloat(r.total_s, >=, 30);
    g_assert_cmpfloat(r.total_s, <, 34);
    g_assert_cmpfloat(r.downtime_ms, <=, ENOUGH_MS);
}

static void test_downtime_stays_at_its_cap(void)
{
    SimResult r = run(SIM_POLICY_NONE, (SimDeadline) {
        .timeout_s = 5, .max_downtime_ms = 1000 });

    g_assert_false(r.completed);
    g_assert_cmpuint(r.limit_in_force_ms, ==, 1000);
}

static void test_actions_end_it_at_once(void)
{
    SimDeadline deadline = { .timeout_s = 10 };
    SimResult r;

    deadline.action = CONVERGENCE_ACTION_STOP;
    r = run(SIM_POLICY_NONE, deadline);
    g_assert_true(r.completed);
    g_assert_cmpfloat(r.total_s - r.downtime_ms / 1000, <, 10.5);

    deadline.action = CONVERGENCE_ACTION_ABORT;
    r = run(SIM_POLICY_NONE, deadline);
    g_assert_true(r.aborted && !r.completed);
    g_assert_cmpfloat(r.total_s, >=, 10);
    g_assert_cmpfloat(r.total_s, <, 10.5);

    deadline.action = CONVERGENCE_ACTION_POSTCOPY;
    r = run(SIM_POLICY_NONE, deadline);
    g_assert_true(r.to_postcopy && !r.completed);
    g_assert_cmpfloat(r.total_s, <, 10.5);
}

static void test_transfer_fires_at_its_share_of_ram(void)
{
    SimSpec spec = sim_scenario_spec(sim_scenario_find(NEVER_ENDS));
    SimResult r = run(SIM_POLICY_NONE, (SimDeadline) {
        .max_transfer_pct = 200, .action = CONVERGENCE_ACTION_ABORT });

    g_assert_true(r.aborted);
    g_assert_cmpint(r.stop, ==, CONVERGENCE_STOP_TRANSFER);
    g_assert_cmpfloat(r.wire_bytes, >=, 2 * spec.guest->ram_bytes);
    /* Within a slice of 100 ms, at 64 MB/s. */
    g_assert_cmpfloat(r.wire_bytes, <, 2 * spec.guest->ram_bytes + 13e6);
}

static char *decisions(const char *policy, SimDeadline deadline)
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("converge-sim-XXXXXX", &path, NULL);
    SimSpec spec = sim_scenario_spec(sim_scenario_find("bursts"));
    SimMigration m;
    char *text = NULL;

    g_assert_cmpint(fd, >=, 0);
    spec.deadline = deadline;
    spec.trace = fdopen(fd, "w");
    sim_migration_run(&m, &spec, policy);
    sim_migration_free(&m);
    fclose(spec.trace);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    remove(path);
    return text;
}

/* Bit by bit: the parameters beside a deadline that is not set are inert. */
static void test_policies_do_not_feel_what_is_not_set(void)
{
    static const char *const policies[] = {
        "step", "predictive", "dirty-limit"
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(policies); i++) {
        g_autofree char *none = decisions(policies[i], (SimDeadline) { 0 });
        g_autofree char *unset = decisions(policies[i], (SimDeadline) {
            .max_downtime_ms = 60000, .action = CONVERGENCE_ACTION_ABORT });
        g_autofree char *far = decisions(policies[i], (SimDeadline) {
            .timeout_s = 1000, .max_transfer_pct = 100000 });

        g_assert_cmpuint(strlen(none), >, 1000);
        g_assert_cmpstr(none, ==, unset);
        g_assert_cmpstr(none, ==, far);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sim/deadline/grows",
                    test_downtime_grows_until_it_suffices);
    g_test_add_func("/sim/deadline/cap", test_downtime_stays_at_its_cap);
    g_test_add_func("/sim/deadline/actions", test_actions_end_it_at_once);
    g_test_add_func("/sim/deadline/transfer",
                    test_transfer_fires_at_its_share_of_ram);
    g_test_add_func("/sim/deadline/not-set",
                    test_policies_do_not_feel_what_is_not_set);
    return g_test_run();
}
