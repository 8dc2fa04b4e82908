/*
 * Convergence tests: who writes is estimated, and nothing of that is left
 *
 * On any accelerator: the meter is forced, as on a host that has no other.  A
 * guest of two vCPUs, of which one writes faster than the link carries and the
 * other one reads.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "convergence-vm.h"

#define LOAD    LOAD_FLAT_OUT(128)
#define RAM_MB  192
#define ARGS    "-smp 2 -global migration.x-convergence-meter=estimate"
/* Flat out it would touch all of its pages even while it is held. */
#define WRITES_BYTES_PER_S  200e6
/* A host that is busy just then spoils a look; not each time. */
#define TRIES   3

static QTestState *start_guest(void)
{
    QTestState *vm = vm_start_on(vm_accel(), RAM_MB, LOAD, ARGS);

    vm_wait_guest_up(vm);
    g_assert_true(vm_readers_work(vm));
    vm_pace(vm, WRITES_BYTES_PER_S);
    vm_capability(vm, "auto-converge", true);
    /* Some seconds of bulk pass, and as many of a tail that never ends. */
    vm_set(vm, "'max-bandwidth': 32000000, 'downtime-limit': 0,"
           " 'convergence-policy': 'auto'");
    return vm;
}

static void wait_cancelled(QTestState *vm)
{
    qtest_qmp_assert_success(vm, "{'execute': 'migrate_cancel'}");
    vm_wait_status(vm, "cancelled");
}

static bool after_bulk_pass(QTestState *vm)
{
    g_autoptr(MigrationView) view = view_take(vm);

    return view->passes > 0 && view->throttle_pct > 0;
}

/*
 * Returns: in how many of the looks at the guest after the bulk pass, up to
 * @looks of them, none but vCPU 0 was slowed.
 */
static unsigned count_named(QTestState *vm, unsigned looks)
{
    unsigned seen = 0, named = 0;

    for (int i = 0; i < VM_PATIENCE_S * 10 && seen < looks; i++) {
        int64_t pct[2], share[2];

        g_usleep(100 * 1000);
        if (!after_bulk_pass(vm)) {
            continue;
        }
        vm_say_of_each(vm, "throttle-percentage", pct, 2);
        vm_say_of_each(vm, "dirty-share", share, 2);
        seen++;
        named += pct[0] >= 50 && pct[1] < 20 && share[0] == 100 &&
                 share[1] == 0;
    }
    g_assert_cmpuint(seen, ==, looks);
    return named;
}

static void assert_estimate_is_shown(QTestState *vm)
{
    g_autoptr(MigrationView) view = view_take(vm);

    g_assert_cmpstr(qdict_get_str(view->convergence, "policy"), ==,
                    "predictive");
    g_assert_cmpstr(qdict_get_str(view->convergence, "meter"), ==,
                    "estimate");
    vm_assert_hmp_has(vm, "info migrate",
                      "vcpus are told apart by: estimate");
    vm_assert_hmp_has(vm, "info migrate", "share of dirtying");
}

static void test_who_writes_is_named(void)
{
    QTestState *vm = start_guest();
    unsigned named = 0;

    for (int i = 0; i < TRIES && !named; i++) {
        vm_migrate_to_nowhere(vm);
        named = count_named(vm, 10);
        g_test_message("named in %u of 10 looks", named);
        if (named) {
            g_autoptr(MigrationView) view = view_take(vm);

            g_assert_nonnull(strstr(qdict_get_str(view->convergence,
                                                  "reason"),
                                    "(by estimate) and sleeps"));
            assert_estimate_is_shown(vm);
        }
        wait_cancelled(vm);
    }
    g_assert_cmpuint(named, >, 0);
    g_assert_true(vm_readers_work(vm));
    qtest_quit(vm);
}

/* Also amid a probe: whoever is held then is let go. */
static void test_cancel_lets_go(void)
{
    QTestState *vm = start_guest();
    double before = vm_bytes_per_s(vm);
    unsigned n = vm_test_long() ? 12 : 3, seen_held = 0;

    for (unsigned i = 0; i < n; i++) {
        bool wait_for_it = !seen_held && i + 1 == n;
        int ms = wait_for_it ? 20000 : g_test_rand_int_range(1000, 6000);

        vm_migrate_to_nowhere(vm);
        for (; ms > 0; ms -= 50) {
            g_usleep(50 * 1000);
            /* Once it is slowed, at some moment soon after. */
            if (vm_throttle_pct(vm) > 0) {
                ms = MIN(ms, 200);
                seen_held += ms == 200;
            }
        }
        wait_cancelled(vm);
        g_assert_cmpint(vm_throttle_pct(vm), ==, 0);
        vm_assert_hmp_has(vm, "info cpu_throttle", "vcpu[1]: throttle 0 %");
        vm_assert_speed_back(vm, before / 4);
        g_assert_true(vm_readers_work(vm));
    }
    g_test_message("slowed or held at %u of %u cancels", seen_held, n);
    g_assert_cmpuint(seen_held, >, 0);
    qtest_quit(vm);
}

/* What vm_migrate_to_pipe() sends to, read until it is told to stand still. */
typedef struct Reader {
    int fd;
    bool stands_still;          /* atomic */
    bool ends;                  /* atomic */
} Reader;

static void *read_pipe(void *opaque)
{
    Reader *reader = opaque;
    char buffer[65536];

    while (!qatomic_read(&reader->ends)) {
        if (qatomic_read(&reader->stands_still)) {
            g_usleep(1000);
        } else if (read(reader->fd, buffer, sizeof(buffer)) <= 0) {
            break;
        }
    }
    return NULL;
}

static bool any_is_held(QTestState *vm)
{
    g_autoptr(MigrationView) view = view_take(vm);

    return view->passes == 0 && view->throttle_pct > 0;
}

/* Returns: false if none was seen to be, in all of the bulk pass. */
static bool wait_held(QTestState *vm)
{
    for (int i = 0; i < VM_PATIENCE_S * 100 && !after_bulk_pass(vm); i++) {
        if (any_is_held(vm)) {
            return true;
        }
        g_usleep(10 * 1000);
    }
    return false;
}

/* Long before it is said that nothing moves. */
static void assert_let_go(QTestState *vm)
{
    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        g_autoptr(MigrationView) view = view_take(vm);

        g_assert_cmpstr(view->state, !=, "stuck");
        if (!view->throttle_pct) {
            return;
        }
        g_usleep(20 * 1000);
    }
    g_error("a vCPU is held although nothing moves");
}

/* Returns: whether some vCPU was held when the link stood still. */
static bool stop_link_amid_probe(QTestState *vm)
{
    Reader reader = { 0 };
    GThread *thread;
    bool held;

    reader.fd = vm_migrate_to_pipe(vm);
    thread = g_thread_new("reader", read_pipe, &reader);
    held = wait_held(vm);
    if (held) {
        qatomic_set(&reader.stands_still, true);
        assert_let_go(vm);
    }
    qtest_qmp_assert_success(vm, "{'execute': 'migrate_cancel'}");
    qatomic_set(&reader.stands_still, false);
    vm_wait_status(vm, "cancelled");
    qatomic_set(&reader.ends, true);
    g_thread_join(thread);
    close(reader.fd);
    return held;
}

static void test_dead_link_lets_go(void)
{
    QTestState *vm = start_guest();
    bool held = false;

    for (int i = 0; i < TRIES && !held; i++) {
        held = stop_link_amid_probe(vm);
    }
    g_assert_true(held);
    qtest_quit(vm);
}

/* Shares are no pages. */
static void test_limits_are_refused(void)
{
    QTestState *vm = start_guest();

    vm_assert_error(vm_try_set(vm, "'convergence-policy': 'dirty-limit'"),
                    "cannot be counted here", NULL);
    vm_assert_error(qtest_qmp(vm, "{'execute': 'set-vcpu-dirty-limit',"
                              " 'arguments': {'dirty-rate': 10}}"),
                    "cannot be counted here", NULL);
    qtest_quit(vm);
}

/* With one vCPU there is nothing to tell apart, and nothing is shown. */
static void test_one_vcpu_has_none(void)
{
    QTestState *vm = vm_start_on(
        vm_accel(), VM_RAM_BYTES / 1024 / 1024, LOAD_FLAT_OUT(16),
        "-global migration.x-convergence-meter=estimate");

    vm_wait_guest_up(vm);
    vm_capability(vm, "auto-converge", true);
    vm_set(vm, "'max-bandwidth': 32000000, 'downtime-limit': 0,"
           " 'convergence-policy': 'predictive'");
    vm_migrate_to_nowhere(vm);
    while (!after_bulk_pass(vm)) {
        g_usleep(20 * 1000);
    }
    {
        g_autoptr(MigrationView) view = view_take(vm);

        g_assert_false(qdict_haskey(view->convergence, "meter"));
        g_assert_false(qdict_haskey(view->convergence, "vcpus"));
    }
    wait_cancelled(vm);
    qtest_quit(vm);
}

void convergence_add_estimate_tests(void)
{
    if (!vm_can_have_many_vcpus()) {
        return;
    }
    qtest_add_func("/convergence/estimate/named", test_who_writes_is_named);
    qtest_add_func("/convergence/estimate/cancel", test_cancel_lets_go);
    qtest_add_func("/convergence/estimate/dead-link", test_dead_link_lets_go);
    qtest_add_func("/convergence/estimate/refused", test_limits_are_refused);
    qtest_add_func("/convergence/estimate/one-vcpu", test_one_vcpu_has_none);
}
