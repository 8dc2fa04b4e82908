/*
 * The simulator's scenarios, each against the bounds that it claims
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "sim-replay.h"
#include "sim-report.h"
#include "sim-sweep.h"

/* Of the predictive policy against `step`, in each scenario. */
#define SLOWER_MAX 1.05
/* But for guests that lose less than three quarters of that there. */
#define SPARED 0.75
#define SPARED_FLOORS 1.35
/* And where `step` takes more than twice the floor, in the median. */
#define FASTER_MIN 3.0
#define STEP_IS_SLOW 2.0
/* 90th percentile over all scenarios with a steady link. */
#define PREDICTION_MAX_PCT 20.0
/* Of the state that is told, in a run that is not long; else one in 12 s. */
#define MAX_STATE_CHANGES 6
#define MAX_FALSE_S 3.0

static SimResult run(const SimScenario *scenario, const char *policy)
{
    SimSpec spec = sim_scenario_spec(scenario);
    SimMigration m;
    SimResult result = sim_migration_run(&m, &spec, policy);

    sim_migration_free(&m);
    return result;
}

static void check(const SimScenario *scenario, const char *policy,
                  const SimBounds *bounds)
{
    SimSpec spec = sim_scenario_spec(scenario);
    SimFloor floor = sim_floor(&spec);
    SimResult r = run(scenario, policy);

    g_test_message("%s: %.2f F, downtime %.0f ms, throttle %u %%, lost %.2f "
                   "stops, %u reversals", policy, r.total_s / floor.total_s,
                   r.downtime_ms, r.max_throttle_pct,
                   r.lost_vcpu_s / floor.lost_vcpu_s, r.reversals);
    g_assert_true(r.completed == !bounds->stuck);
    g_assert_true(r.stuck == (bounds->stuck || bounds->says_stuck));
    g_assert_cmpfloat(r.downtime_ms, <=, scenario->downtime_limit_ms);
    if (bounds->max_floors > 0) {
        g_assert_cmpfloat(r.total_s / floor.total_s, <=, bounds->max_floors);
    }
    if (bounds->max_lost_stops > 0) {
        g_assert_cmpfloat(r.lost_vcpu_s / floor.lost_vcpu_s, <=,
                          bounds->max_lost_stops);
    }
    if (bounds->ends_by_s > 0) {
        g_assert_cmpfloat(r.total_s, <=, bounds->ends_by_s);
    }
    if (bounds->max_lost_s > 0) {
        g_assert_cmpfloat(r.lost_vcpu_s, <=, bounds->max_lost_s);
    }
    if (bounds->max_reader_lost_s > 0) {
        g_assert_cmpfloat(r.reader_lost_s, <=, bounds->max_reader_lost_s);
    }
    if (bounds->no_slowdown) {
        g_assert_cmpuint(r.max_throttle_pct, ==, 0);
        g_assert_false(r.limited);
    }
    if (bounds->reversals_asserted) {
        g_assert_cmpuint(r.reversals, <=, bounds->max_reversals);
    }
    if (bounds->released) {
        g_assert_cmpuint(r.last_throttle_pct, ==, 0);
    }
    if (bounds->stuck) {
        g_assert_nonnull(strstr(r.reason, "MB/s"));
        g_assert_nonnull(strstr(r.reason, "more bandwidth"));
    }
}

static void test_predictive(const void *opaque)
{
    const SimScenario *scenario = opaque;

    check(scenario, "predictive", &scenario->predictive);
}

static void test_dirty_limit(const void *opaque)
{
    const SimScenario *scenario = opaque;

    check(scenario, "dirty-limit", &scenario->dirty_limit);
}

static void test_auto(const void *opaque)
{
    const SimScenario *scenario = opaque;

    check(scenario, SIM_POLICY_AUTO, scenario->auto_differs ?
          &scenario->automatic : scenario->log.manual ?
          &scenario->predictive : &scenario->dirty_limit);
}

static void test_never_slower_than_step(const void *opaque)
{
    const SimScenario *scenario = opaque;
    SimSpec spec = sim_scenario_spec(scenario);
    SimResult step = run(scenario, "step");
    SimResult predictive = run(scenario, "predictive");

    g_test_message("step %.2f s, predictive %.2f s", step.total_s,
                   predictive.total_s);
    if (!step.completed) {
        return;
    }
    g_assert_true(predictive.completed);
    if (predictive.lost_vcpu_s < step.lost_vcpu_s * SPARED) {
        /* Time is what the guest's work is paid with, up to this. */
        g_assert_cmpfloat(predictive.total_s, <=,
                          MAX(sim_floor(&spec).total_s * SPARED_FLOORS,
                              step.total_s * SLOWER_MAX));
        return;
    }
    g_assert_cmpfloat(predictive.total_s, <=, step.total_s * SLOWER_MAX);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void test_three_times_faster_where_step_is_slow(void)
{
    g_autofree double *gains = g_new(double, sim_n_scenarios);
    unsigned n = 0;

    for (unsigned i = 0; i < sim_n_scenarios; i++) {
        SimSpec spec = sim_scenario_spec(&sim_scenarios[i]);
        SimFloor floor = sim_floor(&spec);
        SimResult step = run(&sim_scenarios[i], "step");
        SimResult predictive = run(&sim_scenarios[i], "predictive");

        /* Where both are stuck there is nothing to be faster at. */
        if (step.total_s > floor.total_s * STEP_IS_SLOW &&
            !predictive.stuck) {
            gains[n++] = step.total_s / predictive.total_s;
        }
    }
    g_assert_cmpuint(n, >=, 3);
    qsort(gains, n, sizeof(*gains), compare_doubles);
    g_test_message("median of %u: %.2f times", n, gains[(n - 1) / 2]);
    g_assert_cmpfloat(gains[(n - 1) / 2], >=, FASTER_MIN);
}

static void test_predictions_hold(void)
{
    g_autoptr(GArray) errors = g_array_new(false, false, sizeof(double));

    for (unsigned i = 0; i < sim_n_scenarios; i++) {
        SimSpec spec = sim_scenario_spec(&sim_scenarios[i]);
        SimMigration m;

        if (spec.link->drop_until_s > 0) {
            continue;           /* nobody can foresee that */
        }
        spec.keep_record = true;
        sim_migration_run(&m, &spec, "predictive");
        sim_report_prediction_errors(&m, errors);
        sim_migration_free(&m);
    }
    g_assert_cmpuint(errors->len, >=, 50);
    g_array_sort(errors, compare_doubles);
    g_test_message("90th percentile of %u: %.1f %%", errors->len,
                   g_array_index(errors, double, errors->len * 9 / 10));
    g_assert_cmpfloat(g_array_index(errors, double, errors->len * 9 / 10), <=,
                      PREDICTION_MAX_PCT);
}

/* Over a link that wavers: the part of switch-overs that keeps the limit. */
static void test_downtime_is_kept_in_99_of_100(void)
{
    unsigned above = 0, n = 0;

    for (unsigned seed = 1; seed <= 40; seed++) {
        for (unsigned i = 0; i < sim_n_scenarios; i++) {
            SimSpec spec = sim_scenario_spec(&sim_scenarios[i]);
            SimLinkSpec link = *spec.link;
            SimMigration m;
            SimResult r;

            if (link.drop_until_s > 0 || sim_scenarios[i].predictive.stuck) {
                continue;
            }
            link.jitter = MAX(link.jitter, 0.2);
            spec.link = &link;
            spec.seed = seed;
            r = sim_migration_run(&m, &spec, "predictive");
            sim_migration_free(&m);
            g_assert_true(r.completed);
            above += r.downtime_ms > spec.downtime_limit_ms;
            n++;
        }
    }
    g_test_message("%u of %u above the limit", above, n);
    g_assert_cmpuint(above * 100, <=, n);
}

/* Guests that nobody picked: the same promises, but for one in a hundred. */
static void test_guests_by_chance(const void *opaque)
{
    const char *policy = opaque;
    SimSweep sweep = sim_sweep(1000, 1, policy, (SimLogSpec) { 0 });

    g_test_message("%s: %u done, %u by step alone, %u slower, %u above 1.5 F, "
                   "%u above 1.5 stops, %u above the limit", policy,
                   sweep.completed, sweep.only_step, sweep.slower,
                   sweep.above_floors, sweep.above_stops, sweep.above_limit);
    g_assert_cmpuint(sweep.only_step + sweep.slower, <=, 10);
    g_assert_cmpuint(sweep.above_floors, <=, 10);
    g_assert_cmpuint(sweep.above_stops, <=, 50);
    g_assert_cmpuint(sweep.above_limit, <=, 30);
}

/* What it decided is what it decides again: nothing hides in the engine. */
static void test_replay_decides_the_same(void)
{
    static const struct {
        const char *policy, *scenario;
    } runs[] = {
        { "step", "bursts" }, { "predictive", "bursts" },
        { "dirty-limit", "bursts" }, { SIM_POLICY_AUTO, "disk-reader" },
        { SIM_POLICY_AUTO, "devices-above-link" },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(runs); i++) {
        g_autofree char *path = NULL;
        int fd = g_file_open_tmp("converge-sim-XXXXXX", &path, NULL);
        SimSpec spec = sim_scenario_spec(sim_scenario_find(runs[i].scenario));
        FILE *out = fopen("/dev/null", "w");
        SimMigration m;

        g_assert_cmpint(fd, >=, 0);
        g_assert_nonnull(out);
        spec.trace = fdopen(fd, "w");
        sim_migration_run(&m, &spec, runs[i].policy);
        sim_migration_free(&m);
        fclose(spec.trace);
        g_assert_cmpint(sim_replay(path, out), ==, 0);
        fclose(out);
        remove(path);
    }
}

static void add(const char *what, const SimScenario *scenario,
                void (*test)(const void *))
{
    g_autofree char *path = g_strdup_printf("/sim/%s/%s", what,
                                            scenario->name);

    g_test_add_data_func(path, scenario, test);
}

/* What an alarm can be built on: few changes, and none that is not true. */
static void test_states_are_few_and_true(void)
{
    static const char *const policies[] = { "step", "predictive",
                                            "dirty-limit", SIM_POLICY_AUTO };

    for (unsigned i = 0; i < sim_n_scenarios; i++) {
        for (unsigned p = 0; p < G_N_ELEMENTS(policies); p++) {
            SimResult r = run(&sim_scenarios[i], policies[p]);

            g_test_message("%s, %s: %u changes in %.0f s, converging in vain "
                           "for %.1f s", sim_scenarios[i].name, policies[p],
                           r.state_changes, r.total_s,
                           r.falsely_converging_s);
            g_assert_cmpuint(r.state_changes, <=, MAX(MAX_STATE_CHANGES,
                                                      r.total_s / 12));
            g_assert_cmpfloat(r.falsely_converging_s, <=, MAX_FALSE_S);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < sim_n_scenarios; i++) {
        const SimScenario *scenario = &sim_scenarios[i];

        add("predictive", scenario, test_predictive);
        /* KVM's bitmap tells of no vCPU what it writes. */
        if (!scenario->log.manual) {
            add("dirty-limit", scenario, test_dirty_limit);
        }
        add("auto", scenario, test_auto);
        add("against-step", scenario, test_never_slower_than_step);
    }
    g_test_add_func("/sim/three-times-faster",
                    test_three_times_faster_where_step_is_slow);
    g_test_add_func("/sim/predictions", test_predictions_hold);
    g_test_add_func("/sim/downtime", test_downtime_is_kept_in_99_of_100);
    g_test_add_data_func("/sim/by-chance/predictive", "predictive",
                         test_guests_by_chance);
    g_test_add_data_func("/sim/by-chance/dirty-limit", "dirty-limit",
                         test_guests_by_chance);
    g_test_add_func("/sim/replay", test_replay_decides_the_same);
    g_test_add_func("/sim/states", test_states_are_few_and_true);
    return g_test_run();
}
