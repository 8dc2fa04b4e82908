/*
 * Convergence tests: the downtime limit that grows with convergence-timeout
 *
 * The guest rewrites 6 MB as fast as it can, on a link of 32 MB/s: nothing but
 * a downtime limit of some 190 ms ends that.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-vm.h"

#define LINK_BYTES_PER_S (32 * 1024 * 1024)
#define LOAD             LOAD_FLAT_OUT(6)
#define USER_LIMIT_MS    30

static void set_up(QTestState *vm, bool auto_converge)
{
    vm_capability(vm, "auto-converge", auto_converge);
    /* As little throttle as there can be. */
    vm_set(vm, "'max-bandwidth': %d, 'downtime-limit': %d,"
           " 'cpu-throttle-initial': 1, 'cpu-throttle-increment': 1,"
           " 'max-cpu-throttle': 1, 'dirty-sync-period': 200",
           LINK_BYTES_PER_S, USER_LIMIT_MS);
}

static void assert_users_limit_untouched(QTestState *vm)
{
    QDict *params = vm_query(vm, "query-migrate-parameters");

    g_assert_cmpint(qdict_get_int(params, "downtime-limit"), ==,
                    USER_LIMIT_MS);
    qobject_unref(params);
}

/*
 * Watch the limit in force until the migration is over, or the limit is
 * @until_ms: it doubles from step to step, none comes early, and @cap_ms is the
 * last one.  Returns the last limit.
 */
static int64_t watch_limit(QTestState *vm, int64_t timeout_ms,
                           int64_t cap_ms, int64_t until_ms)
{
    int64_t last_ms = USER_LIMIT_MS;
    unsigned doublings = 0;

    for (int i = 0; i < VM_PATIENCE_S * 100; i++) {
        g_autoptr(MigrationView) view = view_take(vm);

        if (view->convergence && view->limit_ms != last_ms) {
            /* Whoever is kept waiting may miss one. */
            while (last_ms < MIN(view->limit_ms, cap_ms)) {
                last_ms = MIN(last_ms * 2, cap_ms);
                doublings++;
            }
            g_assert_cmpint(view->limit_ms, ==, last_ms);
            g_test_message("%" PRId64 " ms at %" PRId64 " ms", last_ms,
                           qdict_get_int(view->all, "total-time"));
            g_assert_cmpint(qdict_get_int(view->all, "total-time"), >=,
                            doublings * timeout_ms);
            g_assert_cmpstr(view->state, ==, "timed-out");
        }
        if (last_ms == until_ms || view_is_over(view)) {
            return last_ms;
        }
        g_usleep(10 * 1000);
    }
    g_error("after %d s the limit is at %" PRId64 " ms", VM_PATIENCE_S,
            last_ms);
}

static void limit_doubles(bool auto_converge)
{
    g_autoptr(Pair) pair = pair_start(LOAD, "", "");
    g_autoptr(MigrationView) view = NULL;
    int64_t last_ms;

    set_up(pair->from, auto_converge);
    vm_set(pair->from, "'convergence-timeout': 1");
    pair_migrate(pair);
    last_ms = watch_limit(pair->from, 1000, 5000, 0);
    pair_assert_arrived(pair);

    /* 60 ms are 2 MB: not enough.  240 ms are 8 MB. */
    g_assert_cmpint(last_ms, >=, 120);
    view = view_take(pair->from);
    /* A host that has no time for it can make it longer, by any amount. */
    g_assert_cmpint(qdict_get_int(view->all, "downtime"), <=,
                    last_ms * 2 + 500);
    g_assert_cmpint(view->limit_ms, ==, last_ms);
    g_assert_true(strstr(qdict_get_str(view->convergence, "reason"),
                         "convergence-timeout of 1 s ran out") != NULL);
    assert_users_limit_untouched(pair->from);
}

static void test_limit_doubles(void)
{
    limit_doubles(false);
}

static void test_limit_doubles_beside_a_policy(void)
{
    limit_doubles(true);
}

static void test_limit_stays_at_the_cap(void)
{
    g_autoptr(Pair) pair = pair_start(LOAD, "", "");

    set_up(pair->from, false);
    vm_set(pair->from, "'convergence-timeout': 1,"
           " 'convergence-max-downtime': 50");
    pair_migrate(pair);
    g_assert_cmpint(watch_limit(pair->from, 1000, 50, 50), ==, 50);
    /* The next doublings come to nothing. */
    for (int i = 0; i < 50; i++) {
        g_autoptr(MigrationView) view = view_take(pair->from);

        g_assert_cmpstr(view->status, ==, "active");
        g_assert_cmpint(view->limit_ms, ==, 50);
        g_usleep(50 * 1000);
    }
    /* A higher cap, and it goes on. */
    vm_set(pair->from, "'convergence-max-downtime': 2000");
    pair_assert_arrived(pair);
    assert_users_limit_untouched(pair->from);
}

/* Wait until the limit in force is @limit_ms or, if @above, more. */
static void wait_limit(QTestState *vm, int64_t limit_ms, bool above,
                       bool timed_out)
{
    for (int i = 0; i < VM_PATIENCE_S * 100; i++) {
        g_autoptr(MigrationView) view = view_take(vm);

        g_assert_false(view_is_over(view));
        if (view->limit_ms == limit_ms ||
            (above && view->limit_ms > limit_ms)) {
            g_assert_true(g_str_equal(view->state, "timed-out") ==
                          timed_out);
            return;
        }
        g_usleep(10 * 1000);
    }
    g_error("the limit did not come to be %" PRId64 " ms", limit_ms);
}

static void test_changes_take_effect_while_running(void)
{
    /* 40 MB: no limit that is reached here ends it before it shall. */
    g_autoptr(Pair) pair = pair_start(LOAD_FLAT_OUT(40), "", "");

    set_up(pair->from, true);
    pair_migrate(pair);
    wait_limit(pair->from, USER_LIMIT_MS, false, false);

    g_usleep(1200 * 1000);
    vm_set(pair->from, "'convergence-timeout': 1,"
           " 'convergence-max-downtime': 60");
    wait_limit(pair->from, 60, false, true);
    vm_set(pair->from, "'convergence-max-downtime': 31");
    wait_limit(pair->from, 31, false, true);
    vm_set(pair->from, "'convergence-timeout': 0");
    wait_limit(pair->from, USER_LIMIT_MS, false, false);
    vm_set(pair->from, "'downtime-limit': 20");
    wait_limit(pair->from, 20, false, false);

    vm_set(pair->from, "'convergence-max-downtime': 200,"
           " 'convergence-max-transfer': 10");
    wait_limit(pair->from, 40, true, true);
    vm_set(pair->from, "'convergence-max-transfer': 0");
    wait_limit(pair->from, 20, false, false);
    vm_set(pair->from, "'convergence-max-iterations': 1");
    wait_limit(pair->from, 40, true, true);
    vm_set(pair->from, "'convergence-max-iterations': 1000");
    wait_limit(pair->from, 20, false, false);

    /* An action that was harmless as long as no condition was met. */
    vm_set(pair->from, "'convergence-timeout-action': 'stop'");
    g_usleep(300 * 1000);
    vm_assert_guest_works(pair->from);
    vm_set(pair->from, "'convergence-max-iterations': 1");
    pair_assert_arrived(pair);
}

/*
 * 8 MB flat out, and max-bandwidth of 16 MB/s, which does not hold while the
 * guest stands still.  What the wire does then cannot be seen on a unix socket.
 */
#define HOT_SET             LOAD_FLAT_OUT(8)
#define HOT_SET_LIMIT_MS    300
#define CAP_BYTES_PER_S     (16 * 1024 * 1024)
#define WIRE_BYTES_PER_S    (400 * 1024 * 1024)

static void set_up_hot_set(QTestState *vm, bool auto_converge)
{
    vm_capability(vm, "auto-converge", auto_converge);
    vm_set(vm, "'max-bandwidth': %d, 'downtime-limit': %d,"
           " 'convergence-policy': 'predictive'", CAP_BYTES_PER_S,
           HOT_SET_LIMIT_MS);
}

static void test_hot_set_that_fits_what_is_said_is_not_slowed(void)
{
    g_autoptr(Pair) pair = pair_start(HOT_SET, "", "");
    bool over = false;

    set_up_hot_set(pair->from, true);
    vm_set(pair->from, "'avail-switchover-bandwidth': %d", WIRE_BYTES_PER_S);
    pair_migrate(pair);
    while (!over) {
        g_autoptr(MigrationView) view = view_take(pair->from);

        over = view_is_over(view);
        g_assert_cmpint(view->throttle_pct, ==, 0);
        g_usleep(10 * 1000);
    }
    pair_assert_arrived(pair);
}

/* As in later QEMUs. */
static void test_what_is_said_holds_without_auto_converge(void)
{
    g_autoptr(Pair) pair = pair_start(HOT_SET, "", "");

    set_up_hot_set(pair->from, false);
    pair_migrate(pair);
    for (int i = 0; i < 20; i++) {
        g_autoptr(MigrationView) view = view_take(pair->from);

        g_assert_false(view_is_over(view));
        g_usleep(100 * 1000);
    }
    vm_set(pair->from, "'avail-switchover-bandwidth': %d", WIRE_BYTES_PER_S);
    pair_assert_arrived(pair);
}

void convergence_add_limit_tests(void)
{
    qtest_add_func("/convergence/limit/said-and-not-slowed",
                   test_hot_set_that_fits_what_is_said_is_not_slowed);
    qtest_add_func("/convergence/limit/said-without-auto-converge",
                   test_what_is_said_holds_without_auto_converge);
    qtest_add_func("/convergence/limit/doubles", test_limit_doubles);
    qtest_add_func("/convergence/limit/doubles-beside-a-policy",
                   test_limit_doubles_beside_a_policy);
    qtest_add_func("/convergence/limit/cap", test_limit_stays_at_the_cap);
    qtest_add_func("/convergence/limit/changes",
                   test_changes_take_effect_while_running);
}
