/*
 * Convergence tests: policy `step`, what it does to the guest and how it shows
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-guest-code.h"
#include "convergence-vm.h"

#define LINK_BYTES_PER_S (32 * 1024 * 1024)
/*
 * On a slow host a guest writes 57 MB/s.  At 80 % that is still almost three
 * times this, so that no sync finds nothing left.
 */
#define ENDLESS_LINK_BYTES_PER_S (LINK_BYTES_PER_S / 8)

#define INITIAL_PCT     20
#define INCREMENT_PCT   25
#define MAX_PCT         80

static void set_up_step(QTestState *vm, int link_bytes_per_s,
                        uint64_t downtime_limit_ms)
{
    vm_capability(vm, "auto-converge", true);
    vm_set(vm, "'max-bandwidth': %d, 'dirty-sync-period': 150,"
           " 'cpu-throttle-initial': %d, 'cpu-throttle-increment': %d,"
           " 'max-cpu-throttle': %d, 'downtime-limit': %" PRIu64,
           link_bytes_per_s, INITIAL_PCT, INCREMENT_PCT, MAX_PCT,
           downtime_limit_ms);
}

/* It goes on until it is ended. */
static void set_up_endless_step(QTestState *vm)
{
    set_up_step(vm, ENDLESS_LINK_BYTES_PER_S, 1);
}

static void end_endless_step(QTestState *vm)
{
    vm_set(vm, "'downtime-limit': 2000, 'max-bandwidth': %d",
           LINK_BYTES_PER_S);
}

static bool is_step(int64_t pct)
{
    return pct == MAX_PCT || (pct >= INITIAL_PCT && pct < MAX_PCT &&
                              (pct - INITIAL_PCT) % INCREMENT_PCT == 0);
}

/*
 * Watch until the throttle is at its maximum: each value is a step, and it only
 * rises.  Whoever is kept waiting may miss one: that the first is the initial
 * value is asserted by the events.
 */
static void watch_it_rise(QTestState *vm)
{
    int64_t last_pct = 0;

    for (int i = 0; i < VM_PATIENCE_S * 100 && last_pct < MAX_PCT; i++) {
        g_autoptr(MigrationView) view = view_take(vm);

        if (!view_is(view, "setup") && !view_is(view, "none")) {
            g_assert_cmpstr(view->status, ==, "active");
        }
        if (view->throttle_pct) {
            g_assert_true(is_step(view->throttle_pct));
            g_assert_cmpint(view->throttle_pct, >=, last_pct);
            last_pct = view->throttle_pct;
        }
        g_usleep(10 * 1000);
    }
    g_assert_cmpint(last_pct, ==, MAX_PCT);
}

static void assert_throttle_is_gone(QTestState *vm)
{
    g_autoptr(MigrationView) view = view_take(vm);

    g_assert_cmpint(vm_throttle_pct(vm), ==, 0);
    g_assert_cmpint(view->throttle_pct, ==, 0);
    g_assert_nonnull(view->convergence);
    g_assert_cmpint(qdict_get_int(view->convergence, "throttle-percentage"),
                    ==, 0);
}

static void assert_full_speed(QTestState *vm, double before)
{
    vm_assert_speed_back(vm, before / 3);
}

/* What remains shrinks in the bulk pass: only then is it seen not to. */
static void wait_not_converging(QTestState *vm)
{
    for (int i = 0; i < VM_PATIENCE_S * 20; i++) {
        g_autoptr(MigrationView) view = view_take(vm);

        if (!g_str_equal(view->state, "converging")) {
            return;
        }
        g_usleep(50 * 1000);
    }
    g_assert_not_reached();
}

static void assert_shows(QTestState *vm)
{
    g_autoptr(MigrationView) view = NULL;
    QDict *c;

    wait_not_converging(vm);
    view = view_take(vm);
    c = view->convergence;
    g_assert_nonnull(c);
    g_assert_cmpint(view->throttle_pct, ==, MAX_PCT);
    g_assert_cmpint(qdict_get_int(c, "throttle-percentage"), ==, MAX_PCT);
    g_assert_cmpstr(qdict_get_str(c, "policy"), ==, "step");
    g_assert_true(g_str_equal(view->state, "throttling") ||
                  g_str_equal(view->state, "stuck"));
    g_assert_true(strstr(qdict_get_str(c, "reason"), "80 %") != NULL);
    /* It dirties 8 MB at a time, as fast as it can. */
    g_assert_cmpint(qdict_get_int(c, "dirty-rate"), >, 1000 * 1000);
    g_assert_cmpint(qdict_get_int(c, "drain-rate"), >, 1000 * 1000);
    g_assert_cmpint(qdict_get_int(c, "drain-rate"), <,
                    ENDLESS_LINK_BYTES_PER_S * 1.3);
    g_assert_cmpint(view->limit_ms, ==, 1);

    vm_assert_hmp_has(vm, "info migrate", "cpu throttle percentage: 80");
    vm_assert_hmp_has(vm, "info migrate", "convergence: ");
    vm_assert_hmp_has(vm, "info migrate", "policy step");
    vm_assert_hmp_has(vm, "info migrate", "convergence reason: ");
    vm_assert_hmp_has(vm, "info migrate", "downtime limit in force: 1 ms");
}

static void test_rises_by_steps_until_cancelled(void)
{
    g_autoptr(Pair) pair = pair_start(LOAD_FLAT_OUT(8), "", "");
    double before = vm_bytes_per_s(pair->from);

    set_up_endless_step(pair->from);
    pair_migrate(pair);
    watch_it_rise(pair->from);
    assert_shows(pair->from);
    vm_assert_guest_works(pair->from);

    pair_cancel(pair);
    assert_throttle_is_gone(pair->from);
    assert_full_speed(pair->from, before);

    /* A second one of the same guest begins anew. */
    pair_bury_destination(pair);
    pair_start_destination(pair, "");
    pair_migrate(pair);
    watch_it_rise(pair->from);
    end_endless_step(pair->from);
    pair_assert_arrived(pair);
    assert_throttle_is_gone(pair->from);
}

static void test_failed_destination(void)
{
    g_autoptr(Pair) pair = pair_start(LOAD_FLAT_OUT(8), "", "");
    double before = vm_bytes_per_s(pair->from);

    set_up_endless_step(pair->from);
    pair_migrate(pair);
    watch_it_rise(pair->from);
    pair_lose_destination(pair);
    vm_wait_status(pair->from, "failed");
    assert_throttle_is_gone(pair->from);
    assert_full_speed(pair->from, before);
    vm_assert_memory_whole(pair->from, pair->load);

    pair_start_destination(pair, "");
    pair_migrate(pair);
    watch_it_rise(pair->from);
    end_endless_step(pair->from);
    pair_assert_arrived(pair);
}

/* The throttle alone makes it fit: nothing else changes on the way. */
static void test_completes_when_throttle_suffices(void)
{
    g_autoptr(Pair) pair = pair_start(LOAD_FLAT_OUT(32), "", "");
    bool throttled = false;

    vm_pace(pair->from, LINK_BYTES_PER_S * 1.5);
    set_up_step(pair->from, LINK_BYTES_PER_S, 200);
    vm_set(pair->from, "'max-cpu-throttle': 95");
    pair_migrate(pair);
    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        g_autoptr(MigrationView) view = view_take(pair->from);

        if (view->throttle_pct) {
            throttled = true;
            g_assert_true(is_step(view->throttle_pct) ||
                          view->throttle_pct == 95);
        }
        if (view_is_over(view)) {
            break;
        }
        g_usleep(20 * 1000);
    }
    g_assert_true(throttled);
    pair_assert_arrived(pair);
    assert_throttle_is_gone(pair->from);
}

static void test_gone_before_the_switchover(void)
{
    g_autoptr(Pair) pair = pair_start(LOAD_FLAT_OUT(8), "", "");

    vm_capability(pair->from, "pause-before-switchover", true);
    set_up_endless_step(pair->from);
    pair_migrate(pair);
    watch_it_rise(pair->from);
    end_endless_step(pair->from);
    vm_wait_status(pair->from, "pre-switchover");
    assert_throttle_is_gone(pair->from);
    qtest_qmp_assert_success(pair->from, "{'execute': 'migrate-continue',"
                             " 'arguments': {'state': 'pre-switchover'}}");
    pair_assert_arrived(pair);
    assert_throttle_is_gone(pair->from);
}

/* One policy takes over from another, and nothing of the first one stays. */
static void test_policy_changes_while_running(void)
{
    g_autoptr(Pair) pair = NULL;
    bool limited = false;

    if (vm_skip_without_meter()) {
        return;
    }
    pair = pair_start(LOAD_FLAT_OUT(8), "", "");
    set_up_endless_step(pair->from);
    pair_migrate(pair);
    watch_it_rise(pair->from);
    vm_set(pair->from, "'convergence-policy': 'dirty-limit',"
           " 'convergence-vcpu-limit': 30");
    for (int i = 0; i < VM_PATIENCE_S * 50 && !limited; i++) {
        g_autoptr(MigrationView) view = view_take(pair->from);
        QList *vcpus = qdict_get_qlist(view->convergence, "vcpus");
        QDict *vcpu = qobject_to(QDict, qlist_peek(vcpus));

        g_assert_cmpstr(view->status, ==, "active");
        limited = qdict_get_int(vcpu, "dirty-limit") == 30 * 1000 * 1000;
        if (limited) {
            g_assert_cmpstr(qdict_get_str(view->convergence, "policy"), ==,
                            "dirty-limit");
            g_assert_cmpint(view->throttle_pct, ==, 0);
        }
        g_usleep(20 * 1000);
    }
    g_assert_true(limited);
    vm_assert_guest_works(pair->from);
    vm_set(pair->from, "'convergence-vcpu-limit': 1, 'downtime-limit': 100,"
           " 'max-bandwidth': %d", LINK_BYTES_PER_S);
    pair_assert_arrived(pair);
}

static void test_needless_throttle_never_comes(void)
{
    g_autoptr(Pair) pair = pair_start(LOAD_LIGHT(16), "", "");

    set_up_step(pair->from, LINK_BYTES_PER_S, 300);
    /* So that it takes a while, and there are looks. */
    qtest_memset(pair->from, guest_code()->ram_base + 32 * 1024 * 1024, 0x5a,
                 24 * 1024 * 1024);
    vm_set(pair->from, "'max-bandwidth': 12000000");
    pair_migrate(pair);
    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        g_autoptr(MigrationView) view = view_take(pair->from);

        g_assert_cmpint(view->throttle_pct, ==, 0);
        g_assert_cmpstr(view->state, !=, "throttling");
        g_assert_cmpstr(view->state, !=, "stuck");
        if (view_is_over(view)) {
            g_assert_cmpstr(view->state, ==, "watching");
            break;
        }
        g_usleep(20 * 1000);
    }
    pair_assert_arrived(pair);
}

static void test_events_tell_changes_of_state(void)
{
    g_autoptr(Pair) pair = pair_start(LOAD_FLAT_OUT(8), "", "");
    g_autofree char *last = g_strdup("");
    bool throttling = false, stuck = false;
    QDict *event;

    set_up_endless_step(pair->from);
    pair_migrate(pair);
    for (int i = 0; i < 10 && !stuck; i++) {
        QDict *data;

        event = qtest_qmp_eventwait_ref(pair->from, "MIGRATION_CONVERGENCE");
        data = qdict_get_qdict(event, "data");
        g_assert_cmpstr(qdict_get_str(data, "state"), !=, last);
        g_free(last);
        last = g_strdup(qdict_get_str(data, "state"));
        g_test_message("%s: %s", last, qdict_get_str(data, "reason"));
        g_assert_true(strstr(qdict_get_str(data, "reason"), " MB") != NULL);
        if (g_str_equal(last, "throttling") && !throttling) {
            throttling = true;
            g_assert_true(strstr(qdict_get_str(data, "reason"),
                                 "all vCPUs sleep 20 % ") != NULL);
        }
        stuck = g_str_equal(last, "stuck");
        qobject_unref(event);
    }
    g_assert_true(throttling);
    g_assert_true(stuck);
    pair_cancel(pair);
    pair_bury_destination(pair);
    vm_assert_guest_works(pair->from);
}

/* How many syncs there were before the bulk pass was over. */
static int64_t syncs_in_bulk_pass(Pair *pair)
{
    int64_t syncs;

    /* 32 MB at 8 MB/s. */
    vm_set(pair->from, "'max-bandwidth': 8000000, 'dirty-sync-period': 100,"
           " 'cpu-throttle-initial': 1, 'max-cpu-throttle': 1,"
           " 'downtime-limit': 1");
    pair_migrate(pair);
    vm_wait_status(pair->from, "active");
    g_usleep(1500 * 1000);
    {
        g_autoptr(MigrationView) view = view_take(pair->from);

        g_assert_cmpstr(view->status, ==, "active");
        g_assert_cmpint(view->passes, ==, 0);
        syncs = qdict_get_int(view->convergence, "syncs");
        /* None of them ended a pass. */
        g_assert_cmpint(qdict_get_int(view->ram, "dirty-sync-count"), ==, 1);
    }
    return syncs;
}

static void test_off_means_off(void)
{
    g_autoptr(Pair) pair = pair_start(LOAD_FLAT_OUT(32), "", "");

    vm_set(pair->from, "'convergence-policy': 'predictive'");
    g_assert_cmpint(syncs_in_bulk_pass(pair), ==, 1);
    {
        g_autoptr(MigrationView) view = view_take(pair->from);

        g_assert_cmpstr(view->state, ==, "off");
        g_assert_cmpint(view->throttle_pct, ==, 0);
    }
    pair_cancel(pair);
    pair_bury_destination(pair);
    g_assert_null(qtest_qmp_event_ref(pair->from, "MIGRATION_CONVERGENCE"));
    vm_assert_guest_works(pair->from);
}

static void test_on_means_syncs_on_a_clock(void)
{
    g_autoptr(Pair) pair = pair_start(LOAD_FLAT_OUT(32), "", "");

    vm_capability(pair->from, "auto-converge", true);
    /* As often as the host allows: syncs stay apart by 20 times their cost. */
    g_assert_cmpint(syncs_in_bulk_pass(pair), >=, 3);
    pair_cancel(pair);
    pair_bury_destination(pair);
    vm_assert_guest_works(pair->from);
}

void convergence_add_step_tests(void)
{
    qtest_add_func("/convergence/step/cancel-and-again",
                   test_rises_by_steps_until_cancelled);
    qtest_add_func("/convergence/step/failed-destination",
                   test_failed_destination);
    qtest_add_func("/convergence/step/completes",
                   test_completes_when_throttle_suffices);
    qtest_add_func("/convergence/step/pause-before-switchover",
                   test_gone_before_the_switchover);
    qtest_add_func("/convergence/step/change-of-policy",
                   test_policy_changes_while_running);
    qtest_add_func("/convergence/step/light-guest",
                   test_needless_throttle_never_comes);
    qtest_add_func("/convergence/step/events",
                   test_events_tell_changes_of_state);
    qtest_add_func("/convergence/step/off", test_off_means_off);
    qtest_add_func("/convergence/step/sync-period",
                   test_on_means_syncs_on_a_clock);
}
