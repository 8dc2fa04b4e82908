/*
 * Convergence tests: the parameters, over QMP, HMP and as properties
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-vm.h"

typedef struct Bounds {
    const char *name;
    int64_t initial;
    int64_t min;
    int64_t max;
    const char *unit;
    /* One that contradicts nothing else as long as all else is at default. */
    int64_t good;
} Bounds;

static const Bounds bounds[] = {
    { "dirty-sync-period", 1000, 100, 60000, " ms", 250 },
    { "convergence-timeout", 0, 0, 1000000, " s", 60 },
    { "convergence-max-downtime", 5000, 300, 2000000, " ms", 400 },
    { "convergence-max-iterations", 0, 0, 1000000000, " passes", 5 },
    { "convergence-max-transfer", 0, 0, 1000000, " % of guest RAM", 300 },
    { "convergence-vcpu-limit", 0, 0, INT64_MAX / 1000000, " MB/s", 40 },
};

static int64_t shown(QTestState *vm, const char *name)
{
    QDict *params = vm_query(vm, "query-migrate-parameters");
    int64_t value = qdict_get_int(params, name);

    qobject_unref(params);
    return value;
}

static void assert_shown_text(QTestState *vm, const char *name,
                              const char *value)
{
    QDict *params = vm_query(vm, "query-migrate-parameters");

    g_assert_cmpstr(qdict_get_str(params, name), ==, value);
    qobject_unref(params);
}

static QTestState *start_machineless(const char *args)
{
    return qtest_initf("-machine none -accel tcg %s", args);
}

static void test_defaults(void)
{
    QTestState *vm = start_machineless("");

    for (int i = 0; i < ARRAY_SIZE(bounds); i++) {
        g_assert_cmpint(shown(vm, bounds[i].name), ==, bounds[i].initial);
    }
    assert_shown_text(vm, "convergence-policy", "step");
    assert_shown_text(vm, "convergence-timeout-action", "downtime");
    g_assert_cmpint(shown(vm, "avail-switchover-bandwidth"), ==, 0);
    g_assert_cmpint(shown(vm, "cpu-throttle-initial"), ==, 20);
    g_assert_cmpint(shown(vm, "cpu-throttle-increment"), ==, 10);
    g_assert_cmpint(shown(vm, "max-cpu-throttle"), ==, 99);
    g_assert_cmpint(shown(vm, "throttle-trigger-threshold"), ==, 50);
    qtest_quit(vm);
}

static void assert_out_of_range(QTestState *vm, const Bounds *b,
                                int64_t value)
{
    g_autofree char *got = g_strdup_printf("got %" PRId64, value);
    g_autofree char *max = g_strdup_printf("and %" PRId64 "%s", b->max,
                                           b->unit);

    vm_assert_error(vm_try_set(vm, "'%s': %" PRId64, b->name, value),
                    b->name, got, max, NULL);
    g_assert_cmpint(shown(vm, b->name), ==, b->good);
}

static void test_bounds(void)
{
    QTestState *vm = start_machineless("");

    for (int i = 0; i < ARRAY_SIZE(bounds); i++) {
        const Bounds *b = &bounds[i];

        vm_set(vm, "'%s': %" PRId64, b->name, b->min);
        g_assert_cmpint(shown(vm, b->name), ==, b->min);
        vm_set(vm, "'%s': %" PRId64, b->name, b->max);
        g_assert_cmpint(shown(vm, b->name), ==, b->max);
        vm_set(vm, "'%s': %" PRId64, b->name, b->good);
        assert_out_of_range(vm, b, b->max + 1);
        if (g_str_equal(b->name, "dirty-sync-period")) {
            assert_out_of_range(vm, b, b->min - 1);
        }
        /* Below what the type of any of them can hold. */
        vm_assert_error(vm_try_set(vm, "'%s': -1", b->name), b->name, NULL);
        g_assert_cmpint(shown(vm, b->name), ==, b->good);
        vm_set(vm, "'%s': %" PRId64, b->name, b->initial);
    }
    qtest_quit(vm);
}

static void test_unknown_names(void)
{
    QTestState *vm = start_machineless("");
    static const char *const policies[] = {
        "predictive", "dirty-limit", "auto", "step",
    };
    static const char *const actions[] = { "stop", "abort", "downtime" };

    for (int i = 0; i < ARRAY_SIZE(policies); i++) {
        vm_set(vm, "'convergence-policy': '%s'", policies[i]);
        assert_shown_text(vm, "convergence-policy", policies[i]);
    }
    for (int i = 0; i < ARRAY_SIZE(actions); i++) {
        vm_set(vm, "'convergence-timeout-action': '%s'", actions[i]);
        assert_shown_text(vm, "convergence-timeout-action", actions[i]);
    }
    vm_assert_error(vm_try_set(vm, "'convergence-policy': 'magic'"),
                    "convergence-policy", "magic", NULL);
    assert_shown_text(vm, "convergence-policy", "step");
    vm_assert_error(vm_try_set(vm, "'convergence-timeout-action': 'wait'"),
                    "convergence-timeout-action", "wait", NULL);
    assert_shown_text(vm, "convergence-timeout-action", "downtime");
    /* One bad value, and the good one beside it is not taken either. */
    vm_assert_error(vm_try_set(vm, "'convergence-timeout': 7,"
                               " 'dirty-sync-period': 1"),
                    "dirty-sync-period", NULL);
    g_assert_cmpint(shown(vm, "convergence-timeout"), ==, 0);
    qtest_quit(vm);
}

/* A client that knows downtime-limit alone must not be stopped by ours. */
static void test_downtime_limit_above_the_cap(void)
{
    QTestState *vm = start_machineless("-global migration.convergence-"
                                       "timeout=60");

    vm_set(vm, "'downtime-limit': 6400");
    g_assert_cmpint(shown(vm, "downtime-limit"), ==, 6400);
    g_assert_cmpint(shown(vm, "convergence-max-downtime"), ==, 5000);
    vm_set(vm, "'convergence-max-downtime': 400, 'downtime-limit': 401");
    vm_set(vm, "'downtime-limit': 300, 'convergence-max-downtime': 299");
    vm_set(vm, "'convergence-timeout': 10");
    g_assert_cmpint(shown(vm, "downtime-limit"), ==, 300);
    g_assert_cmpint(shown(vm, "convergence-max-downtime"), ==, 299);
    qtest_quit(vm);
}

static void test_contradictions(void)
{
    QTestState *vm = start_machineless("");

    vm_assert_error(vm_try_set(vm, "'convergence-timeout-action':"
                               " 'postcopy'"), "postcopy-ram", NULL);
    assert_shown_text(vm, "convergence-timeout-action", "downtime");
    qtest_quit(vm);
}

static void test_action_outlives_its_capability(void)
{
    QTestState *vm = start_machineless("-global migration.x-postcopy-ram=on"
                                       " -global migration.convergence-"
                                       "timeout-action=postcopy");

    assert_shown_text(vm, "convergence-timeout-action", "postcopy");
    vm_capability(vm, "postcopy-ram", false);
    vm_set(vm, "'downtime-limit': 123");
    g_assert_cmpint(shown(vm, "downtime-limit"), ==, 123);
    vm_set(vm, "'convergence-timeout-action': 'stop'");
    vm_assert_error(vm_try_set(vm, "'convergence-timeout-action':"
                               " 'postcopy'"), "postcopy-ram", NULL);
    assert_shown_text(vm, "convergence-timeout-action", "stop");
    qtest_quit(vm);
}

static void test_partial_sets_and_round_trip(void)
{
    QTestState *vm = start_machineless("");
    QDict *before, *after, *rsp;

    vm_set(vm, "'convergence-policy': 'predictive'");
    vm_set(vm, "'convergence-timeout': 17");
    vm_set(vm, "'convergence-vcpu-limit': 12, 'dirty-sync-period': 500");
    vm_set(vm, "'max-bandwidth': %" PRIu64, VM_UNLIMITED_BYTES_PER_S);
    vm_set(vm, "'avail-switchover-bandwidth': %" PRIu64,
           VM_UNLIMITED_BYTES_PER_S);
    assert_shown_text(vm, "convergence-policy", "predictive");
    g_assert_cmpint(shown(vm, "convergence-timeout"), ==, 17);

    before = vm_query(vm, "query-migrate-parameters");
    qobject_ref(before);
    rsp = qtest_qmp(vm, "{'execute': 'migrate-set-parameters',"
                    " 'arguments': %p}", before);
    g_assert_true(qdict_haskey(rsp, "return"));
    qobject_unref(rsp);
    after = vm_query(vm, "query-migrate-parameters");
    g_assert_true(qobject_is_equal(QOBJECT(before), QOBJECT(after)));
    qobject_unref(before);
    qobject_unref(after);
    qtest_quit(vm);
}

static void test_deprecated_names(void)
{
    QTestState *vm = start_machineless("");
    QDict *params;

    vm_set(vm, "'x-cpu-throttle-initial': 35");
    g_assert_cmpint(shown(vm, "cpu-throttle-initial"), ==, 35);
    vm_set(vm, "'x-cpu-throttle-increment': 7");
    g_assert_cmpint(shown(vm, "cpu-throttle-increment"), ==, 7);
    vm_set(vm, "'x-cpu-throttle-initial': 50, 'cpu-throttle-initial': 40");
    g_assert_cmpint(shown(vm, "cpu-throttle-initial"), ==, 40);

    vm_assert_error(vm_try_set(vm, "'x-cpu-throttle-initial': 100"),
                    "cpu_throttle_initial", "1 to 99", NULL);
    vm_assert_error(vm_try_set(vm, "'x-cpu-throttle-increment': 0"),
                    "cpu_throttle_increment", "1 to 99", NULL);
    g_assert_cmpint(shown(vm, "cpu-throttle-initial"), ==, 40);
    g_assert_cmpint(shown(vm, "cpu-throttle-increment"), ==, 7);

    g_free(qtest_hmp(vm, "migrate_set_parameter x-cpu-throttle-initial 22"));
    g_assert_cmpint(shown(vm, "cpu-throttle-initial"), ==, 22);
    g_free(qtest_hmp(vm, "migrate_set_parameter x-cpu-throttle-increment 8"));
    g_assert_cmpint(shown(vm, "cpu-throttle-increment"), ==, 8);

    /* Nobody is shown the old names. */
    params = vm_query(vm, "query-migrate-parameters");
    g_assert_false(qdict_haskey(params, "x-cpu-throttle-initial"));
    g_assert_false(qdict_haskey(params, "x-cpu-throttle-increment"));
    qobject_unref(params);
    qtest_quit(vm);
}

static void test_hmp(void)
{
    static const char *const sets[][2] = {
        { "convergence-policy predictive", "convergence-policy: predictive" },
        { "dirty-sync-period 200", "dirty-sync-period: 200 ms" },
        { "convergence-timeout 30", "convergence-timeout: 30 s" },
        { "convergence-max-downtime 900", "convergence-max-downtime: 900 ms" },
        { "convergence-max-iterations 9", "convergence-max-iterations: 9" },
        { "convergence-max-transfer 250", "convergence-max-transfer: 250 %" },
        { "convergence-timeout-action abort",
          "convergence-timeout-action: abort" },
        { "convergence-vcpu-limit 25", "convergence-vcpu-limit: 25 MB/s" },
        /* Units as those of max-bandwidth. */
        { "avail-switchover-bandwidth 3",
          "avail-switchover-bandwidth: 3145728 bytes/second" },
        { "avail-switchover-bandwidth 1g",
          "avail-switchover-bandwidth: 1073741824 bytes/second" },
        { "cpu-throttle-initial 21", "cpu-throttle-initial: 21" },
        { "cpu-throttle-increment 11", "cpu-throttle-increment: 11" },
        { "cpu-throttle-tailslow on", "cpu-throttle-tailslow: on" },
        { "max-cpu-throttle 88", "max-cpu-throttle: 88" },
        { "throttle-trigger-threshold 60", "throttle-trigger-threshold: 60" },
    };
    QTestState *vm = start_machineless("");

    for (int i = 0; i < ARRAY_SIZE(sets); i++) {
        g_autofree char *answer = qtest_hmp(vm, "migrate_set_parameter %s",
                                            sets[i][0]);

        g_assert_cmpstr(answer, ==, "");
        vm_assert_hmp_has(vm, "info migrate_parameters", sets[i][1]);
    }
    vm_assert_hmp_has(vm, "migrate_set_parameter dirty-sync-period 5",
                      "between 100 and 60000 ms, got 5");
    g_assert_cmpint(shown(vm, "dirty-sync-period"), ==, 200);
    vm_assert_hmp_has(vm, "migrate_set_parameter avail-switchover-bandwidth "
                      "lots", "Invalid size lots");

    g_free(qtest_hmp(vm, "migrate_set_convergence_timeout 60"));
    g_assert_cmpint(shown(vm, "convergence-timeout"), ==, 60);
    vm_assert_hmp_has(vm, "migrate_set_convergence_timeout -1",
                      "between 0 and 1000000 s, got -1");
    vm_assert_hmp_has(vm, "migrate_set_convergence_timeout 1000001",
                      "got 1000001");
    g_assert_cmpint(shown(vm, "convergence-timeout"), ==, 60);
    g_free(qtest_hmp(vm, "migrate_set_convergence_timeout 0"));
    g_assert_cmpint(shown(vm, "convergence-timeout"), ==, 0);
    qtest_quit(vm);
}

static void test_properties(void)
{
    QTestState *vm = start_machineless(
        "-global migration.convergence-policy=predictive "
        "-global migration.dirty-sync-period=300 "
        "-global migration.convergence-timeout=11 "
        "-global migration.convergence-max-downtime=700 "
        "-global migration.convergence-max-iterations=4 "
        "-global migration.convergence-max-transfer=150 "
        "-global migration.convergence-timeout-action=abort "
        "-global migration.convergence-vcpu-limit=5 "
        "-global migration.avail-switchover-bandwidth=2M");

    assert_shown_text(vm, "convergence-policy", "predictive");
    g_assert_cmpint(shown(vm, "dirty-sync-period"), ==, 300);
    g_assert_cmpint(shown(vm, "convergence-timeout"), ==, 11);
    g_assert_cmpint(shown(vm, "convergence-max-downtime"), ==, 700);
    g_assert_cmpint(shown(vm, "convergence-max-iterations"), ==, 4);
    g_assert_cmpint(shown(vm, "convergence-max-transfer"), ==, 150);
    assert_shown_text(vm, "convergence-timeout-action", "abort");
    g_assert_cmpint(shown(vm, "convergence-vcpu-limit"), ==, 5);
    g_assert_cmpint(shown(vm, "avail-switchover-bandwidth"), ==, 2097152);
    qtest_quit(vm);
}

static void assert_does_not_start(const char *accel, const char *global,
                                  const char *telling)
{
    const char *argv[] = {
        g_getenv("QTEST_QEMU_BINARY"), "-machine", "none", "-display", "none",
        "-accel", accel, "-S", "-global", global, NULL,
    };
    g_autofree char *text = NULL;
    int status;

    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL,
                               G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL,
                               &text, &status, NULL));
    g_assert_false(g_spawn_check_exit_status(status, NULL));
    if (!strstr(text, telling)) {
        g_error("'%s' is refused, but not for '%s': %s", global, telling,
                text);
    }
}

static void test_bad_properties(void)
{
    assert_does_not_start("tcg", "migration.convergence-policy=magic",
                          "magic");
    assert_does_not_start("tcg", "migration.dirty-sync-period=99",
                          "between 100 and 60000 ms, got 99");
    assert_does_not_start("qtest", "migration.convergence-policy=dirty-limit",
                          "-accel kvm,dirty-ring-size=4096");
    assert_does_not_start("tcg", "migration.x-convergence-meter=magic",
                          "there is no meter 'magic': it must be one of tcg, "
                          "ring, faults, estimate, none");
}

static void test_meter_can_be_forced(void)
{
    static const char *const others[] = { "ring", "faults", "estimate", "none" };
    QTestState *vm;

    for (int i = 0; i < ARRAY_SIZE(others); i++) {
        g_autofree char *args = g_strdup_printf(
            "-global migration.x-convergence-meter=%s", others[i]);

        vm = start_machineless(args);
        vm_assert_error(vm_try_set(vm, "'convergence-policy':"
                                   " 'dirty-limit'"),
                        "cannot be counted here", NULL);
        qtest_quit(vm);
    }
    vm = start_machineless("-global migration.x-convergence-meter=tcg");
    vm_set(vm, "'convergence-policy': 'dirty-limit'");
    qtest_quit(vm);
}

static void test_dirty_limit_needs_meters(void)
{
    QTestState *vm = qtest_init("-machine none -accel qtest");

    vm_assert_error(vm_try_set(vm, "'convergence-policy': 'dirty-limit'"),
                    "convergence-policy", "-accel kvm,dirty-ring-size=4096",
                    NULL);
    assert_shown_text(vm, "convergence-policy", "step");
    vm_set(vm, "'convergence-policy': 'auto'");
    qtest_quit(vm);
}

static void test_dirty_limit_needs_kvm_ring(void)
{
    QTestState *vm;
    QDict *kvm;
    bool enabled;

    if (access("/dev/kvm", R_OK | W_OK)) {
        g_test_skip("/dev/kvm cannot be opened");
        return;
    }
    vm = qtest_init("-machine none -accel kvm -accel tcg"
                    " -global migration.x-convergence-meter=ring");
    kvm = vm_query(vm, "query-kvm");
    enabled = qdict_get_bool(kvm, "enabled");
    qobject_unref(kvm);
    if (enabled) {
        vm_assert_error(vm_try_set(vm, "'convergence-policy':"
                                   " 'dirty-limit'"),
                        "-accel kvm,dirty-ring-size=4096", NULL);
    } else {
        g_test_skip("this host's KVM does not come up");
    }
    qtest_quit(vm);
}

void convergence_add_params_tests(void)
{
    qtest_add_func("/convergence/params/defaults", test_defaults);
    qtest_add_func("/convergence/params/bounds", test_bounds);
    qtest_add_func("/convergence/params/unknown", test_unknown_names);
    qtest_add_func("/convergence/params/contradictions",
                   test_contradictions);
    qtest_add_func("/convergence/params/downtime-limit-above-cap",
                   test_downtime_limit_above_the_cap);
    qtest_add_func("/convergence/params/action-outlives-capability",
                   test_action_outlives_its_capability);
    qtest_add_func("/convergence/params/round-trip",
                   test_partial_sets_and_round_trip);
    qtest_add_func("/convergence/params/deprecated", test_deprecated_names);
    qtest_add_func("/convergence/params/hmp", test_hmp);
    qtest_add_func("/convergence/params/properties", test_properties);
    qtest_add_func("/convergence/params/meter", test_meter_can_be_forced);
    qtest_add_func("/convergence/params/bad-properties",
                   test_bad_properties);
    qtest_add_func("/convergence/params/dirty-limit/no-meter",
                   test_dirty_limit_needs_meters);
    qtest_add_func("/convergence/params/dirty-limit/kvm-without-ring",
                   test_dirty_limit_needs_kvm_ring);
}
