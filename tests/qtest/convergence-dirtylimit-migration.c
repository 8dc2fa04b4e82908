/*
 * Dirty limit tests: limits by hand and limits of migrations
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-dirtylimit.h"

/* A migration may have limited it further. */
static void assert_limited(QTestState *vm, int vcpu, int limit_mb)
{
    int64_t in_force_mb = vm_limit_shown(vm, vcpu, "limit-rate");

    g_assert_cmpint(in_force_mb, >, 0);
    g_assert_cmpint(in_force_mb, <=, limit_mb);
}

static void random_operation(QTestState *vm)
{
    int vcpu = g_test_rand_int_range(0, 2);
    int limit_mb = g_test_rand_int_range(1, 200);

    switch (g_test_rand_int_range(0, 8)) {
    case 0:
        vm_set_limit(vm, limit_mb);
        assert_limited(vm, vcpu, limit_mb);
        break;
    case 1:
        qtest_qmp_assert_success(vm, "{'execute': 'set-vcpu-dirty-limit',"
                                 " 'arguments': {'cpu-index': %d,"
                                 " 'dirty-rate': %d}}", vcpu, limit_mb);
        assert_limited(vm, vcpu, limit_mb);
        break;
    case 2:
        vm_cancel_limits(vm);
        break;
    case 3:
        qtest_qmp_assert_success(vm, "{'execute': 'cancel-vcpu-dirty-limit',"
                                 " 'arguments': {'cpu-index': %d}}", vcpu);
        break;
    case 4:
        qtest_qmp_assert_success(vm, "{'execute': 'stop'}");
        /* Refused before a switch-over. */
        qobject_unref(qtest_qmp(vm, "{'execute': 'cont'}"));
        break;
    case 5:
        /* Refused while one is under way, which is as good. */
        qobject_unref(qtest_qmp(vm, "{'execute': 'migrate', 'arguments':"
                                " {'uri': 'exec:cat >/dev/null'}}"));
        break;
    case 6:
        qtest_qmp_assert_success(vm, "{'execute': 'migrate_cancel'}");
        break;
    default:
        g_usleep(g_test_rand_int_range(0, 200 * 1000));
    }
}

/* Their policy sets limits of its own; none goes past the switch-over. */
static void allow_migrations(QTestState *vm)
{
    vm_capability(vm, "auto-converge", true);
    vm_capability(vm, "pause-before-switchover", true);
    vm_set(vm, "'max-bandwidth': 1000000000, 'downtime-limit': 0,"
           " 'dirty-sync-period': 100, 'convergence-policy': 'dirty-limit'");
}

static bool migration_under_way(QTestState *vm)
{
    QDict *rsp = qtest_qmp(vm, "{'execute': 'query-migrate'}");
    const char *status = qdict_get_try_str(qdict_get_qdict(rsp, "return"),
                                           "status");
    bool under_way = status && !g_str_equal(status, "cancelled") &&
                     !g_str_equal(status, "failed");

    g_assert_cmpstr(status, !=, "completed");
    qobject_unref(rsp);
    return under_way;
}

/* Nothing slows it now; it has its speed back when the host lets it. */
static void assert_nothing_slows(QTestState *vm, double full_mb_per_s)
{
    g_assert_cmpint(vm_throttle_pct(vm), ==, 0);
    for (int vcpu = 0; vcpu < 2; vcpu++) {
        g_assert_cmpint(vm_said_of(vm, vcpu, "dirty-limit"), <=, 0);
        g_assert_cmpint(vm_limit_shown(vm, vcpu, "limit-rate"), ==, 0);
    }
    vm_assert_speed_back(vm, full_mb_per_s * 1e6 / 4);
}

static void wait_until_limited(QTestState *vm)
{
    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        if (vm_said_of(vm, 0, "dirty-limit") > 0) {
            return;
        }
        g_usleep(20 * 1000);
    }
    g_error("the migration does not limit the guest");
}

static void test_random_operations_leave_nothing(void)
{
    QTestState *vm = vm_start_writer();
    unsigned seen_limited = 0;
    double before;

    vm_wait_guest_up(vm);
    allow_migrations(vm);
    before = vm_mb_per_s(vm, 1);
    vm_migrate_to_nowhere(vm);
    wait_until_limited(vm);
    for (int i = 0; i < 200; i++) {
        random_operation(vm);
        seen_limited += vm_said_of(vm, 0, "dirty-limit") > 0;
    }
    g_test_message("a migration limited it after %u of 200 operations",
                   seen_limited);
    qtest_qmp_assert_success(vm, "{'execute': 'migrate_cancel'}");
    while (migration_under_way(vm)) {
        g_usleep(10 * 1000);
    }
    vm_cancel_limits(vm);
    assert_nothing_slows(vm, before);
    qtest_quit(vm);
}

/*
 * Three readers and a writer: the writer alone pays.  The limits make the
 * migration come to its switch-over, where they end; how many looks there
 * are before that is the host's affair.
 */
static void test_readers_are_not_slowed(void)
{
    QTestState *vm = vm_start_on(vm_accel(), LIMIT_RAM_MB, LIMIT_LOAD,
                                 "-smp 4");
    unsigned looks = 0, slowed[4] = { 0 };

    if (vm_has_one_thread(vm)) {
        g_test_skip("one thread runs all vCPUs here, and sleeps for all");
        qtest_quit(vm);
        return;
    }
    vm_wait_guest_up(vm);
    g_assert_true(vm_readers_work(vm));
    allow_migrations(vm);
    vm_set(vm, "'max-bandwidth': 64000000");
    vm_migrate_to_nowhere(vm);
    for (int i = 0; i < VM_PATIENCE_S * 10 && looks < 30; i++) {
        int64_t limit[4], pct[4];

        g_usleep(100 * 1000);
        vm_say_of_each(vm, "dirty-limit", limit, 4);
        if (limit[0] <= 0 && looks) {
            break;
        }
        looks += limit[0] > 0;
        vm_say_of_each(vm, "throttle-percentage", pct, 4);
        for (int v = 0; looks && v < 4; v++) {
            /* Whoever only rewrites some pages may do so, whatever the level. */
            g_assert_cmpint(limit[v], >=, limit[0]);
            slowed[v] += pct[v] > 0;
        }
    }
    g_test_message("of %u looks at a limited guest, the vCPUs slept in %u, "
                   "%u, %u, %u", looks, slowed[0], slowed[1], slowed[2],
                   slowed[3]);
    g_assert_cmpuint(looks, >=, 10);
    /* Not in all of them: while most of its pages wait, these are free. */
    g_assert_cmpuint(slowed[0], >, looks / 10);
    g_assert_cmpuint(slowed[1] + slowed[2] + slowed[3], ==, 0);
    g_assert_true(vm_readers_work(vm));
    qtest_quit(vm);
}

/* Whenever that is, and whatever slows it: the guest has its speed back. */
static void test_cancel_gives_the_speed_back(void)
{
    static const char *const policies[] = {
        "step", "predictive", "dirty-limit"
    };
    QTestState *vm = vm_start_writer();
    unsigned seen_slowed = 0;
    double before;

    vm_wait_guest_up(vm);
    allow_migrations(vm);
    vm_set(vm, "'max-bandwidth': 64000000, 'cpu-throttle-initial': 99");
    before = vm_mb_per_s(vm, 1);
    for (int i = 0; i < 30; i++) {
        vm_set(vm, "'convergence-policy': '%s'", policies[i % 3]);
        vm_migrate_to_nowhere(vm);
        g_usleep(g_test_rand_int_range(0, 2000 * 1000));
        seen_slowed += vm_said_of(vm, 0, "throttle-percentage") > 0;
        qtest_qmp_assert_success(vm, "{'execute': 'migrate_cancel'}");
        /* A guest at 99 %, or at a limit of 13 MB/s, is far from that. */
        assert_nothing_slows(vm, before);
        while (migration_under_way(vm)) {
            g_usleep(10 * 1000);
        }
    }
    g_test_message("slowed at %u of 30 cancels", seen_slowed);
    g_assert_cmpuint(seen_slowed, >, 3);
    qtest_quit(vm);
}

void dirtylimit_add_migration_tests(void)
{
    qtest_add_func("/convergence/dirtylimit/random",
                   test_random_operations_leave_nothing);
    qtest_add_func("/convergence/dirtylimit/readers",
                   test_readers_are_not_slowed);
    qtest_add_func("/convergence/dirtylimit/cancel",
                   test_cancel_gives_the_speed_back);
}
