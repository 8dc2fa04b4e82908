/*
 * Dirty limits, end to end: a real QEMU, a guest that does nothing but write
 *
 * Times are bounds of behaviour, wide enough for a busy host.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-dirtylimit.h"

static void assert_limit_holds(QTestState *vm, uint64_t limit_mb)
{
    g_assert_cmpfloat(vm_mb_per_s_limited(vm, limit_mb), >,
                      limit_mb * vm_limit_used(vm));
}

static void test_limits_of(const void *accel)
{
    QTestState *vm = vm_start_on(accel, LIMIT_RAM_MB, LIMIT_LOAD, "-smp 2");
    double before;

    vm_wait_guest_up(vm);
    before = vm_mb_per_s(vm, 1);
    g_assert_cmpfloat(before, >, vm_has_one_thread(vm) ? 100 : 200);

    assert_limit_holds(vm, 100);
    assert_limit_holds(vm, 20);
    assert_limit_holds(vm, 5);
    g_assert_cmpint(vm_limit_shown(vm, 0, "limit-rate"), ==, 5);
    g_assert_cmpfloat(vm_limit_shown(vm, 0, "current-rate"), >=,
                      4 * vm_limit_used(vm));
    g_assert_cmpint(vm_limit_shown(vm, 0, "current-rate"), <=, 6);
    /* Up again, without a cancel between. */
    assert_limit_holds(vm, 100);

    vm_cancel_limits(vm);
    vm_assert_speed_back(vm, before * 1e6 / 4);
    qtest_quit(vm);
}

static void test_limit_of_one_vcpu(void)
{
    QTestState *vm = vm_start_writer();

    vm_wait_guest_up(vm);

    /* vCPU 0 writes. */
    qtest_qmp_assert_success(vm, "{'execute': 'set-vcpu-dirty-limit',"
                             " 'arguments': {'cpu-index': 1,"
                             " 'dirty-rate': 5}}");
    g_assert_cmpint(vm_limit_shown(vm, 0, "limit-rate"), ==, 0);
    g_assert_cmpint(vm_limit_shown(vm, 1, "limit-rate"), ==, 5);
    g_assert_cmpfloat(vm_mb_per_s(vm, 1), >, vm_unlimited_mb(100));

    /* All, but for one. */
    vm_set_limit(vm, 7);
    qtest_qmp_assert_success(vm, "{'execute': 'cancel-vcpu-dirty-limit',"
                             " 'arguments': {'cpu-index': 0}}");
    g_assert_cmpint(vm_limit_shown(vm, 0, "limit-rate"), ==, 0);
    g_assert_cmpint(vm_limit_shown(vm, 1, "limit-rate"), ==, 7);
    g_assert_cmpfloat(vm_mb_per_s(vm, 1), >, vm_unlimited_mb(100));
    qtest_quit(vm);
}

static void test_hmp(void)
{
    QTestState *vm = vm_start_writer();
    char *text = qtest_hmp(vm, "info vcpu_dirty_limit");

    g_assert_cmpstr(text, ==, "Dirty page limit not enabled!\r\n");
    g_free(text);
    text = qtest_hmp(vm, "set_vcpu_dirty_limit 30 1");
    g_assert_true(strstr(text, "info vcpu_dirty_limit") != NULL);
    g_free(text);
    text = qtest_hmp(vm, "info vcpu_dirty_limit");
    g_assert_true(g_str_has_prefix(text, "vcpu[1], limit rate 30 (MB/s), "
                                   "current rate "));
    g_free(text);
    text = qtest_hmp(vm, "set_vcpu_dirty_limit -3");
    g_assert_true(strstr(text, "-3 MB/s is out of range") != NULL);
    g_free(text);
    text = qtest_hmp(vm, "cancel_vcpu_dirty_limit 4");
    g_assert_true(strstr(text, "0 to 3") != NULL);
    g_free(text);
    g_free(qtest_hmp(vm, "cancel_vcpu_dirty_limit"));
    g_assert_cmpint(vm_limit_shown(vm, 1, "limit-rate"), ==, 0);
    g_free(qtest_hmp(vm, "set_vcpu_dirty_limit 30"));
    g_assert_cmpint(vm_limit_shown(vm, 0, "limit-rate"), ==, 30);
    /* As before: 0 is none. */
    g_free(qtest_hmp(vm, "set_vcpu_dirty_limit 0"));
    g_assert_cmpint(vm_limit_shown(vm, 0, "limit-rate"), ==, 0);
    qtest_quit(vm);
}

static void test_hotplugged_vcpu_inherits(void)
{
    QTestState *vm = vm_start_writer();
    g_autofree char *type = g_strdup_printf("qemu%s-%s-cpu",
        g_str_equal(qtest_get_arch(), "i386") ? "32" : "64",
        qtest_get_arch());

    vm_set_limit(vm, 40);
    g_assert_cmpint(vm_limit_shown(vm, 2, "limit-rate"), ==, 0);
    qtest_qmp_device_add(vm, type, "plugged",
                         "{'socket-id': 2, 'core-id': 0, 'thread-id': 0}");
    /* At the latest with the next period. */
    for (int i = 0; i < 100 && !vm_limit_shown(vm, 2, "limit-rate"); i++) {
        g_usleep(100 * 1000);
    }
    g_assert_cmpint(vm_limit_shown(vm, 2, "limit-rate"), ==, 40);
    qtest_quit(vm);
}

static void test_errors_tell(void)
{
    QTestState *vm = vm_start_writer();

    vm_assert_error(qtest_qmp(vm, "{'execute': 'set-vcpu-dirty-limit',"
                              " 'arguments': {'dirty-rate': %" PRIu64 "}}",
                              UINT64_MAX), "must be 0 to", NULL);
    vm_assert_error(qtest_qmp(vm, "{'execute': 'set-vcpu-dirty-limit',"
                              " 'arguments': {'cpu-index': 4,"
                              " 'dirty-rate': 1}}"), "4 is out of range", NULL);
    vm_assert_error(qtest_qmp(vm, "{'execute': 'set-vcpu-dirty-limit',"
                              " 'arguments': {'cpu-index': -1,"
                              " 'dirty-rate': 1}}"), "0 to 3", NULL);
    vm_assert_error(qtest_qmp(vm, "{'execute': 'set-vcpu-dirty-limit',"
                              " 'arguments': {'cpu-index': 2,"
                              " 'dirty-rate': 1}}"), "no vCPU 2", NULL);
    vm_assert_error(qtest_qmp(vm, "{'execute': 'cancel-vcpu-dirty-limit',"
                              " 'arguments': {'cpu-index': 4}}"),
                    "4 is out of range", NULL);
    g_assert_cmpint(vm_limit_shown(vm, 0, "limit-rate"), ==, 0);
    qtest_quit(vm);
}

static void test_refused_where_nothing_meters(void)
{
    QTestState *vm = qtest_init("-accel qtest");

    vm_assert_error(qtest_qmp(vm, "{'execute': 'set-vcpu-dirty-limit',"
                              " 'arguments': {'dirty-rate': 1}}"),
                    "-accel kvm,dirty-ring-size=4096", NULL);
    vm_cancel_limits(vm);
    g_assert_cmpint(vm_limit_shown(vm, 0, "limit-rate"), ==, 0);
    qtest_quit(vm);
}

static int64_t calc_dirty_rate(QTestState *vm)
{
    vm_dirty_rate_start(vm, 1);
    return vm_dirty_rate_wait(vm);
}

static void test_calc_dirty_rate(void)
{
    QTestState *vm = vm_start_writer();
    int64_t rate = 0, least = vm_has_one_thread(vm) ?
                              100 : vm_unlimited_mb(150);

    vm_wait_guest_up(vm);

    /*
     * Every page of its 192 MB, and each once; not all of them in a second in
     * which the host has other work.
     */
    for (int tries = 0; tries < 5 && rate < least; tries++) {
        rate = calc_dirty_rate(vm);
        g_test_message("unlimited: %" PRId64 " MB/s", rate);
    }
    g_assert_cmpint(rate, >=, least);
    g_assert_cmpint(rate, <=, 193);

    vm_set_limit(vm, 20);
    g_usleep(G_USEC_PER_SEC);
    rate = calc_dirty_rate(vm);
    g_test_message("limit 20 MB/s: %" PRId64 " MB/s", rate);
    g_assert_cmpfloat(rate, >=, 20 * vm_limit_used(vm));
    g_assert_cmpint(rate, <=, 23);
    qtest_quit(vm);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    vm_setup();
    qtest_add_func("/convergence/dirtylimit/errors", test_errors_tell);
    qtest_add_func("/convergence/dirtylimit/no-meter",
                   test_refused_where_nothing_meters);
    qtest_add_func("/convergence/dirtylimit/hmp", test_hmp);
    qtest_add_func("/convergence/dirtylimit/hotplug",
                   test_hotplugged_vcpu_inherits);
    qtest_add_func("/convergence/dirtylimit/one-vcpu",
                   test_limit_of_one_vcpu);
    qtest_add_func("/convergence/dirtylimit/calc-dirty-rate",
                   test_calc_dirty_rate);
    dirtylimit_add_meter_tests();
    dirtylimit_add_migration_tests();
    qtest_add_data_func("/convergence/dirtylimit/tcg", "tcg", test_limits_of);
    qtest_add_data_func("/convergence/dirtylimit/round-robin",
                        "tcg,thread=single", test_limits_of);
    dirtylimit_add_ring_tests();
    ret = g_test_run();
    vm_teardown();
    return ret;
}
