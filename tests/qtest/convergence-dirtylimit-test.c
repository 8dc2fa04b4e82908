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
#include <sys/wait.h>
#include "convergence-vm.h"

#if defined(__linux__) && defined(HOST_X86_64)
#include <sys/ioctl.h>
#include <linux/kvm.h>
#endif

#define MB              (1024.0 * 1024.0)
/*
 * More in a round than any limit tested here allows in a second: so each page
 * that the guest comes to is clean again, and what it wrote it dirtied.
 */
#define LOAD_MB         192
#define LOAD            LOAD_FLAT_OUT(LOAD_MB)

static QTestState *start(const char *accel)
{
    return vm_start_on(accel, 256, LOAD,
                       "-smp 2,sockets=4,cores=1,threads=1,maxcpus=4");
}

static double mb_per_s(QTestState *vm, double seconds)
{
    return vm_bytes_per_s_over(vm, seconds) / MB;
}

static void set_limit(QTestState *vm, uint64_t limit_mb)
{
    qtest_qmp_assert_success(vm, "{'execute': 'set-vcpu-dirty-limit',"
                             " 'arguments': {'dirty-rate': %" PRIu64 "}}",
                             limit_mb);
}

static void cancel_limits(QTestState *vm)
{
    qtest_qmp_assert_success(vm, "{'execute': 'cancel-vcpu-dirty-limit'}");
}

/* The limit that query-vcpu-dirty-limit shows for a vCPU, 0 = none. */
static int64_t shown(QTestState *vm, int vcpu, const char *what)
{
    QDict *rsp = qtest_qmp(vm, "{'execute': 'query-vcpu-dirty-limit'}");
    QList *list = qdict_get_qlist(rsp, "return");
    const QListEntry *entry;
    int64_t value = 0;

    QLIST_FOREACH_ENTRY(list, entry) {
        QDict *info = qobject_to(QDict, qlist_entry_obj(entry));

        if (qdict_get_int(info, "cpu-index") == vcpu) {
            value = qdict_get_int(info, what);
        }
    }
    qobject_unref(rsp);
    return value;
}

/* A limit is not exceeded, and is made use of. */
static void assert_limit_holds(QTestState *vm, uint64_t limit_mb)
{
    double got;

    set_limit(vm, limit_mb);
    g_usleep(G_USEC_PER_SEC);
    got = mb_per_s(vm, 2);
    g_test_message("limit %" PRIu64 " MB/s: %.2f MB/s", limit_mb, got);
    g_assert_cmpfloat(got, <, limit_mb * 1.15);
    g_assert_cmpfloat(got, >, limit_mb * 0.5);
}

static void test_limits_hold(void)
{
    QTestState *vm = start("tcg");
    double before;

    vm_wait_guest_up(vm);
    before = mb_per_s(vm, 1);
    g_assert_cmpfloat(before, >, 200);

    assert_limit_holds(vm, 100);
    assert_limit_holds(vm, 20);
    assert_limit_holds(vm, 5);
    g_assert_cmpint(shown(vm, 0, "limit-rate"), ==, 5);
    g_assert_cmpint(shown(vm, 0, "current-rate"), >=, 2);
    g_assert_cmpint(shown(vm, 0, "current-rate"), <=, 6);
    /* Up again, without a cancel between. */
    assert_limit_holds(vm, 100);

    cancel_limits(vm);
    g_usleep(100 * 1000);
    g_assert_cmpfloat(mb_per_s(vm, 1), >, before / 4);
    qtest_quit(vm);
}

static void test_limit_of_one_vcpu(void)
{
    QTestState *vm = start("tcg");

    vm_wait_guest_up(vm);

    /* vCPU 0 writes. */
    qtest_qmp_assert_success(vm, "{'execute': 'set-vcpu-dirty-limit',"
                             " 'arguments': {'cpu-index': 1,"
                             " 'dirty-rate': 5}}");
    g_assert_cmpint(shown(vm, 0, "limit-rate"), ==, 0);
    g_assert_cmpint(shown(vm, 1, "limit-rate"), ==, 5);
    g_assert_cmpfloat(mb_per_s(vm, 1), >, 100);

    /* All, but for one. */
    set_limit(vm, 7);
    qtest_qmp_assert_success(vm, "{'execute': 'cancel-vcpu-dirty-limit',"
                             " 'arguments': {'cpu-index': 0}}");
    g_assert_cmpint(shown(vm, 0, "limit-rate"), ==, 0);
    g_assert_cmpint(shown(vm, 1, "limit-rate"), ==, 7);
    g_assert_cmpfloat(mb_per_s(vm, 1), >, 100);
    qtest_quit(vm);
}

static void test_hmp(void)
{
    QTestState *vm = start("tcg");
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
    g_assert_cmpint(shown(vm, 1, "limit-rate"), ==, 0);
    qtest_quit(vm);
}

static void test_hotplugged_vcpu_inherits(void)
{
    QTestState *vm = start("tcg");

    set_limit(vm, 40);
    g_assert_cmpint(shown(vm, 2, "limit-rate"), ==, 0);
    qtest_qmp_device_add(vm, "qemu64-x86_64-cpu", "plugged",
                         "{'socket-id': 2, 'core-id': 0, 'thread-id': 0}");
    /* At the latest with the next period. */
    for (int i = 0; i < 100 && !shown(vm, 2, "limit-rate"); i++) {
        g_usleep(100 * 1000);
    }
    g_assert_cmpint(shown(vm, 2, "limit-rate"), ==, 40);
    qtest_quit(vm);
}

static void test_errors_tell(void)
{
    static const char *const limits = "cancel-vcpu-dirty-limit";
    QTestState *vm = start("tcg");

    vm_assert_error(qtest_qmp(vm, "{'execute': 'set-vcpu-dirty-limit',"
                              " 'arguments': {'dirty-rate': 0}}"), limits,
                    NULL);
    vm_assert_error(qtest_qmp(vm, "{'execute': 'set-vcpu-dirty-limit',"
                              " 'arguments': {'dirty-rate': %" PRIu64 "}}",
                              UINT64_MAX), limits, NULL);
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
    g_assert_cmpint(shown(vm, 0, "limit-rate"), ==, 0);
    qtest_quit(vm);
}

static void test_refused_where_nothing_meters(void)
{
    QTestState *vm = qtest_init("-accel qtest");

    vm_assert_error(qtest_qmp(vm, "{'execute': 'set-vcpu-dirty-limit',"
                              " 'arguments': {'dirty-rate': 1}}"),
                    "-accel kvm,dirty-ring-size=4096", NULL);
    cancel_limits(vm);
    g_assert_cmpint(shown(vm, 0, "limit-rate"), ==, 0);
    qtest_quit(vm);
}

/* Measure with calc-dirty-rate.  Returns: vCPU 0's rate in MB/s. */
static int64_t calc_dirty_rate(QTestState *vm)
{
    QDict *rsp, *info, *vcpu;
    int64_t rate;

    qtest_qmp_assert_success(vm, "{'execute': 'calc-dirty-rate', 'arguments':"
                             " {'calc-time': 1, 'mode': 'dirty-ring'}}");
    for (int i = 0; i < 600; i++) {
        g_usleep(100 * 1000);
        rsp = qtest_qmp(vm, "{'execute': 'query-dirty-rate'}");
        info = qdict_get_qdict(rsp, "return");
        if (g_str_equal(qdict_get_str(info, "status"), "measured")) {
            break;
        }
        qobject_unref(rsp);
        rsp = NULL;
    }
    g_assert_nonnull(rsp);
    vcpu = qobject_to(QDict, qlist_peek(qdict_get_qlist(info,
                                                        "vcpu-dirty-rate")));
    g_assert_cmpint(qdict_get_int(vcpu, "id"), ==, 0);
    rate = qdict_get_int(vcpu, "dirty-rate");
    qobject_unref(rsp);
    return rate;
}

static void test_calc_dirty_rate(void)
{
    QTestState *vm = start("tcg");
    int64_t rate;

    vm_wait_guest_up(vm);

    /* Every page of its 192 MB, and each once. */
    rate = calc_dirty_rate(vm);
    g_test_message("unlimited: %" PRId64 " MB/s", rate);
    g_assert_cmpint(rate, >=, 150);
    g_assert_cmpint(rate, <=, 193);

    set_limit(vm, 20);
    g_usleep(G_USEC_PER_SEC);
    rate = calc_dirty_rate(vm);
    g_test_message("limit 20 MB/s: %" PRId64 " MB/s", rate);
    g_assert_cmpint(rate, >=, 10);
    g_assert_cmpint(rate, <=, 23);
    qtest_quit(vm);
}

/* A migration may have limited it further. */
static void assert_limited(QTestState *vm, int vcpu, int limit_mb)
{
    int64_t in_force_mb = shown(vm, vcpu, "limit-rate");

    g_assert_cmpint(in_force_mb, >, 0);
    g_assert_cmpint(in_force_mb, <=, limit_mb);
}

static void random_operation(QTestState *vm)
{
    int vcpu = g_test_rand_int_range(0, 2);
    int limit_mb = g_test_rand_int_range(1, 200);

    switch (g_test_rand_int_range(0, 8)) {
    case 0:
        set_limit(vm, limit_mb);
        assert_limited(vm, vcpu, limit_mb);
        break;
    case 1:
        qtest_qmp_assert_success(vm, "{'execute': 'set-vcpu-dirty-limit',"
                                 " 'arguments': {'cpu-index': %d,"
                                 " 'dirty-rate': %d}}", vcpu, limit_mb);
        assert_limited(vm, vcpu, limit_mb);
        break;
    case 2:
        cancel_limits(vm);
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

/* What the migration under way says of a vCPU. */
static int64_t said_of(QTestState *vm, int vcpu, const char *what)
{
    QDict *info = vm_query(vm, "query-migrate");
    QDict *convergence = qdict_get_qdict(info, "convergence");
    const QListEntry *entry;
    int64_t value = -1;

    if (convergence) {
        QLIST_FOREACH_ENTRY(qdict_get_qlist(convergence, "vcpus"), entry) {
            QDict *v = qobject_to(QDict, qlist_entry_obj(entry));

            if (qdict_get_int(v, "id") == vcpu) {
                value = qdict_get_int(v, what);
            }
        }
    }
    qobject_unref(info);
    return value;
}

static void test_random_operations_leave_nothing(void)
{
    QTestState *vm = start("tcg");
    unsigned seen_limited = 0;
    double before;

    vm_wait_guest_up(vm);
    allow_migrations(vm);
    before = mb_per_s(vm, 1);
    for (int i = 0; i < 200; i++) {
        random_operation(vm);
        seen_limited += said_of(vm, 0, "dirty-limit") > 0;
    }
    g_test_message("a migration limited it after %u of 200 operations",
                   seen_limited);
    qtest_qmp_assert_success(vm, "{'execute': 'migrate_cancel'}");
    while (migration_under_way(vm)) {
        g_usleep(10 * 1000);
    }
    cancel_limits(vm);
    g_assert_cmpint(shown(vm, 0, "limit-rate"), ==, 0);
    g_assert_cmpint(shown(vm, 1, "limit-rate"), ==, 0);
    g_usleep(100 * 1000);
    g_assert_cmpfloat(mb_per_s(vm, 1), >, before / 4);
    qtest_quit(vm);
}

static void migrate_to_nowhere(QTestState *vm)
{
    qtest_qmp_assert_success(vm, "{'execute': 'migrate', 'arguments':"
                             " {'uri': 'exec:cat >/dev/null'}}");
}

/* Three readers and a writer: the writer alone pays. */
static void test_readers_are_not_slowed(void)
{
    QTestState *vm = vm_start_on("tcg", 256, LOAD, "-smp 4");
    unsigned looks = 0, slowed[4] = { 0 };

    vm_wait_guest_up(vm);
    g_assert_true(vm_readers_work(vm));
    allow_migrations(vm);
    vm_set(vm, "'max-bandwidth': 64000000");
    migrate_to_nowhere(vm);
    for (int i = 0; i < VM_PATIENCE_S * 10 && looks < 30; i++) {
        g_usleep(100 * 1000);
        looks += said_of(vm, 0, "dirty-limit") > 0;
        for (int v = 0; looks && v < 4; v++) {
            slowed[v] += said_of(vm, v, "throttle-percentage") > 0;
        }
    }
    g_test_message("of %u looks at a limited guest, the vCPUs slept in %u, "
                   "%u, %u, %u", looks, slowed[0], slowed[1], slowed[2],
                   slowed[3]);
    g_assert_cmpuint(looks, ==, 30);
    g_assert_cmpuint(slowed[0], >, 20);
    g_assert_cmpuint(slowed[1] + slowed[2] + slowed[3], ==, 0);
    g_assert_true(vm_readers_work(vm));
    g_assert_cmpint(said_of(vm, 1, "dirty-limit"), ==,
                    said_of(vm, 0, "dirty-limit"));
    qtest_quit(vm);
}

/* At any moment, and whatever slows it: the guest has its speed back at once. */
static void test_cancel_gives_the_speed_back(void)
{
    static const char *const policies[] = {
        "step", "predictive", "dirty-limit"
    };
    QTestState *vm = start("tcg");
    unsigned seen_slowed = 0;
    double before;

    vm_wait_guest_up(vm);
    allow_migrations(vm);
    vm_set(vm, "'max-bandwidth': 64000000, 'cpu-throttle-initial': 99");
    before = mb_per_s(vm, 1);
    for (int i = 0; i < 30; i++) {
        vm_set(vm, "'convergence-policy': '%s'", policies[i % 3]);
        migrate_to_nowhere(vm);
        g_usleep(g_test_rand_int_range(0, 2000 * 1000));
        seen_slowed += said_of(vm, 0, "throttle-percentage") > 0;
        qtest_qmp_assert_success(vm, "{'execute': 'migrate_cancel'}");
        g_usleep(100 * 1000);
        /* A guest at 99 %, or at a limit of 13 MB/s, is far from that. */
        g_assert_cmpfloat(mb_per_s(vm, 0.2), >, before / 4);
        while (migration_under_way(vm)) {
            g_usleep(10 * 1000);
        }
    }
    g_test_message("slowed at %u of 30 cancels", seen_slowed);
    g_assert_cmpuint(seen_slowed, >, 3);
    qtest_quit(vm);
}

/* Why there is no KVM with a dirty ring here; NULL if there is. */
static const char *no_kvm_ring(void)
{
#if defined(__linux__) && defined(HOST_X86_64)
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int bytes;

    if (fd < 0) {
        return "/dev/kvm cannot be opened";
    }
    bytes = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING);
    close(fd);
    return bytes > 0 ? NULL : "this host's KVM has no dirty ring";
#else
    return "this host has no KVM for x86_64 guests";
#endif
}

typedef enum RingTrial {
    RING_WORKS,
    RING_NO_GUEST,
    RING_STALLS,
} RingTrial;

static RingTrial try_ring(void)
{
    QTestState *vm = start("kvm,dirty-ring-size=4096");
    RingTrial trial = RING_NO_GUEST;

    if (vm_guest_comes_up(vm)) {
        uint64_t first = vm_pages_written(vm);

        calc_dirty_rate(vm);
        /* Round once at least while the dirty log was on. */
        trial = vm_pages_written(vm) - first < VM_PAGES_OF(LOAD_MB) ?
                RING_STALLS : RING_WORKS;
    }
    qtest_quit(vm);
    return trial;
}

/*
 * On some hosts a guest stands still as soon as its ring is in use, with no
 * limit of ours anywhere, or KVM resets less of a ring than QEMU harvested and
 * QEMU ends by an assertion.  That is the host's fault, and shows before any
 * limit is set.  In a process of its own, which such a QEMU takes along.
 *
 * Returns: NULL if the ring works.
 */
static const char *no_working_ring(void)
{
    pid_t child = fork();
    int status;

    g_assert_cmpint(child, >=, 0);
    if (!child) {
        _exit(try_ring());
    }
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    if (!WIFEXITED(status)) {
        return "QEMU ends over this host's KVM ring, with no limit set";
    }
    switch (WEXITSTATUS(status)) {
    case RING_WORKS:
        return NULL;
    case RING_NO_GUEST:
        return "the guest does not come up under this host's KVM";
    default:
        return "this host's KVM ring all but stops a guest that has no limit";
    }
}

static void test_limits_hold_with_kvm_ring(void)
{
    const char *why_not = no_kvm_ring() ?: no_working_ring();
    QTestState *vm;

    if (why_not) {
        g_test_skip(why_not);
        return;
    }
    vm = start("kvm,dirty-ring-size=4096");
    vm_wait_guest_up(vm);
    assert_limit_holds(vm, 100);
    assert_limit_holds(vm, 20);
    assert_limit_holds(vm, 5);
    cancel_limits(vm);
    g_usleep(100 * 1000);
    g_assert_cmpfloat(mb_per_s(vm, 1), >, 100);
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
    qtest_add_func("/convergence/dirtylimit/random",
                   test_random_operations_leave_nothing);
    qtest_add_func("/convergence/dirtylimit/readers",
                   test_readers_are_not_slowed);
    qtest_add_func("/convergence/dirtylimit/cancel",
                   test_cancel_gives_the_speed_back);
    qtest_add_func("/convergence/dirtylimit/tcg", test_limits_hold);
    qtest_add_func("/convergence/dirtylimit/kvm-ring",
                   test_limits_hold_with_kvm_ring);
    ret = g_test_run();
    vm_teardown();
    return ret;
}
