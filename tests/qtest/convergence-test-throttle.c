/*
 * Convergence tests: the throttle by hand, beside a migration's
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-vm.h"

static QDict *try_throttle(QTestState *vm, int64_t pct)
{
    return qtest_qmp(vm, "{'execute': 'set-cpu-throttle', 'arguments':"
                     " {'percentage': %" PRId64 "}}", pct);
}

static void throttle(QTestState *vm, int64_t pct)
{
    QDict *rsp = try_throttle(vm, pct);

    g_assert_true(qdict_haskey(rsp, "return"));
    qobject_unref(rsp);
    g_assert_cmpint(vm_throttle_pct(vm), ==, pct);
}

static void test_by_hand(void)
{
    GuestLoad load = LOAD_FLAT_OUT(4);
    QTestState *vm = vm_start(load, "");
    double full, slow;
    g_autofree char *answer = NULL;

    vm_wait_guest_up(vm);
    g_assert_cmpint(vm_throttle_pct(vm), ==, 0);
    vm_assert_hmp_has(vm, "info cpu_throttle", "vcpu[0]: throttle 0 %");
    full = vm_bytes_per_s(vm);

    throttle(vm, 95);
    slow = vm_bytes_per_s(vm);
    g_test_message("%.0f MB/s, throttled %.0f MB/s", full / 1e6, slow / 1e6);
    g_assert_cmpfloat(slow, <, full / 3);
    g_assert_cmpfloat(slow, >, 0);
    vm_assert_hmp_has(vm, "info cpu_throttle", "vcpu[0]: throttle 95 %");

    vm_assert_error(try_throttle(vm, 100), "100", "0 to 99", NULL);
    vm_assert_error(try_throttle(vm, -1), "-1", "0 to 99", NULL);
    g_assert_cmpint(vm_throttle_pct(vm), ==, 95);
    vm_assert_hmp_has(vm, "set_cpu_throttle 100", "0 to 99");

    answer = qtest_hmp(vm, "set_cpu_throttle 0");
    g_assert_cmpstr(answer, ==, "");
    g_assert_cmpint(vm_throttle_pct(vm), ==, 0);
    vm_assert_speed_back(vm, slow * 2);
    vm_assert_memory_whole(vm, load);
    vm_assert_guest_works(vm);
    qtest_quit(vm);
}

/*
 * One thread that runs two vCPUs in turns sleeps what is asked, not a multiple,
 * and sees to the end of its slices whichever of them runs.
 */
static void test_round_robin(void)
{
    static const int asked_pct[] = { 50, 90 };
    GuestLoad load = { VM_PAGES_OF(4), 0, 2 };
    QTestState *vm;

    if (!vm_can_have_many_vcpus()) {
        g_test_skip("the guest for this target has one vCPU");
        return;
    }
    vm = vm_start_on("tcg,thread=single", 64, load, "-smp 2");
    vm_wait_guest_up(vm);
    for (int i = 0; i < ARRAY_SIZE(asked_pct); i++) {
        double got_pct;

        throttle(vm, asked_pct[i]);
        g_usleep(G_USEC_PER_SEC / 2);
        got_pct = vm_slept_pct(vm, 2, 2);
        g_test_message("asked for %d %%, got %.2f %%", asked_pct[i], got_pct);
        g_assert_cmpfloat(got_pct, >, asked_pct[i] - 10);
        g_assert_cmpfloat(got_pct, <, asked_pct[i] + 8);
    }
    throttle(vm, 0);
    vm_assert_guest_works(vm);
    qtest_quit(vm);
}

static void test_floor_beneath_a_migration(void)
{
    g_autoptr(Pair) pair = pair_start(LOAD_FLAT_OUT(8), "", "");
    bool higher = false;

    vm_capability(pair->from, "auto-converge", true);
    vm_set(pair->from, "'max-bandwidth': 8388608, 'dirty-sync-period': 100,"
           " 'cpu-throttle-initial': 20, 'cpu-throttle-increment': 25,"
           " 'max-cpu-throttle': 70, 'downtime-limit': 1");
    throttle(pair->from, 50);
    pair_migrate(pair);
    vm_wait_status(pair->from, "active");
    for (int i = 0; i < VM_PATIENCE_S * 50 && !higher; i++) {
        g_autoptr(MigrationView) view = view_take(pair->from);

        g_assert_cmpstr(view->status, ==, "active");
        g_assert_true(view->throttle_pct == 50 || view->throttle_pct == 70);
        higher = view->throttle_pct == 70;
        g_usleep(20 * 1000);
    }
    g_assert_true(higher);
    pair_cancel(pair);
    pair_bury_destination(pair);
    /* What the user asked for stays; what the migration did is gone. */
    g_assert_cmpint(vm_throttle_pct(pair->from), ==, 50);
    throttle(pair->from, 0);
    vm_assert_guest_works(pair->from);
}

static int64_t longest_pause_ms(QTestState *vm)
{
    g_autoptr(MigrationView) view = view_take(vm);

    g_assert_nonnull(view->convergence);
    return qdict_get_int(view->convergence, "longest-pause");
}

/* A migration is "active" before it looks at the guest. */
static void wait_engine(QTestState *vm)
{
    for (int i = 0; i < VM_PATIENCE_S * 100; i++) {
        g_autoptr(MigrationView) view = view_take(vm);

        g_assert_false(view_is_over(view));
        if (view->convergence) {
            return;
        }
        g_usleep(10 * 1000);
    }
    g_error("no look at the guest in %d s", VM_PATIENCE_S);
}

/*
 * One vCPU held at 99 % for a second and more is one pause, told while it lasts
 * and after the migration, of which nothing counts that was before or is later.
 * The link takes longer for the guest's pages than that pause, so that the
 * migration cannot end in it, however little the guest writes.
 */
static void test_longest_pause(void)
{
    g_autoptr(Pair) pair = pair_start(LOAD_FLAT_OUT(8), "", "");
    int64_t longest_ms, begin_us;

    throttle(pair->from, 99);
    g_usleep(G_USEC_PER_SEC);
    throttle(pair->from, 0);
    vm_capability(pair->from, "auto-converge", true);
    vm_set(pair->from, "'max-bandwidth': 33554432, 'dirty-sync-period': 100,"
           " 'cpu-throttle-initial': 40, 'max-cpu-throttle': 40,"
           " 'downtime-limit': 1");
    begin_us = g_get_monotonic_time();
    pair_migrate(pair);
    vm_wait_status(pair->from, "active");
    wait_engine(pair->from);
    g_assert_cmpint(longest_pause_ms(pair->from), <, 500);

    vm_set(pair->from, "'max-cpu-throttle': 99, 'cpu-throttle-increment': 59,"
           " 'max-bandwidth': 1048576");
    for (int i = 0; i < VM_PATIENCE_S * 50 &&
         longest_pause_ms(pair->from) < 1000; i++) {
        g_usleep(20 * 1000);
    }
    g_assert_cmpint(longest_pause_ms(pair->from), >=, 1000);
    vm_assert_hmp_has(pair->from, "info migrate", "longest pause of a vcpu: ");

    pair_cancel(pair);
    pair_bury_destination(pair);
    longest_ms = longest_pause_ms(pair->from);
    g_assert_cmpint(longest_ms, >=, 1000);
    g_assert_cmpint(longest_ms, <=,
                    (g_get_monotonic_time() - begin_us) / 1000);
    throttle(pair->from, 99);
    g_usleep(longest_ms * 1000 + G_USEC_PER_SEC / 2);
    g_assert_cmpint(longest_pause_ms(pair->from), ==, longest_ms);
    throttle(pair->from, 0);
    vm_assert_guest_works(pair->from);
}

void convergence_add_throttle_tests(void)
{
    qtest_add_func("/convergence/throttle/by-hand", test_by_hand);
    qtest_add_func("/convergence/throttle/round-robin", test_round_robin);
    qtest_add_func("/convergence/throttle/floor",
                   test_floor_beneath_a_migration);
    qtest_add_func("/convergence/throttle/longest-pause", test_longest_pause);
}
