/*
 * Convergence tests: what clients read that know nothing of the engine
 *
 * They take MIGRATION_PASS and dirty-sync-count for passes over RAM, set
 * downtime-limit as they please, and migrate without auto-converge.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "convergence-vm.h"

#define LINK_BYTES_PER_S (16 * 1024 * 1024)
#define LOAD             LOAD_FLAT_OUT(8)
#define COMPLETED_TRIES  30
#define QUERIES_AHEAD    8

/* No policy ends it, and syncs come on the clock all the time. */
static void set_up_endless(QTestState *vm, const char *policy)
{
    vm_capability(vm, "auto-converge", policy != NULL);
    vm_set(vm, "'max-bandwidth': %d, 'downtime-limit': 1,"
           " 'dirty-sync-period': 100, 'max-cpu-throttle': 1,"
           " 'cpu-throttle-initial': 1, 'convergence-policy': '%s'",
           LINK_BYTES_PER_S, policy ?: "step");
}

static int64_t dirty_syncs(const MigrationView *view)
{
    return view->ram ? qdict_get_int(view->ram, "dirty-sync-count") : 0;
}

static int64_t syncs(const MigrationView *view)
{
    return view->convergence ?
           qdict_get_try_int(view->convergence, "syncs", 0) : 0;
}

static MigrationView *wait_dirty_syncs(QTestState *vm, int64_t count)
{
    for (int i = 0; i < VM_PATIENCE_S * 100; i++) {
        g_autoptr(MigrationView) view = view_take(vm);

        g_assert_false(view_is_over(view));
        if (dirty_syncs(view) >= count) {
            return g_steal_pointer(&view);
        }
        g_usleep(10 * 1000);
    }
    g_error("dirty-sync-count did not come to %" PRId64, count);
}

/* Each event is one further on than the last; returns the last. */
static int64_t count_pass_events(QTestState *vm)
{
    int64_t pass = 0;
    QDict *event;

    while ((event = qtest_qmp_event_ref(vm, "MIGRATION_PASS"))) {
        g_assert_cmpint(qdict_get_int(qdict_get_qdict(event, "data"), "pass"),
                        ==, ++pass);
        qobject_unref(event);
    }
    return pass;
}

static void test_passes_are_passes(const void *opaque)
{
    const char *policy = opaque;
    g_autoptr(Pair) pair = pair_start(LOAD, "", "");

    vm_capability(pair->from, "events", true);
    set_up_endless(pair->from, policy);
    pair_migrate(pair);
    {
        g_autoptr(MigrationView) view = wait_dirty_syncs(pair->from, 5);

        g_test_message("%" PRId64 " passes, dirty-sync-count %" PRId64
                       ", %" PRId64 " syncs", view->passes, dirty_syncs(view),
                       syncs(view));
        g_assert_cmpint(dirty_syncs(view), ==, 5);
        /* One was before the first pass; the last pass may still go on. */
        g_assert_cmpint(view->passes, >=, 3);
        g_assert_cmpint(view->passes, <=, 5);
        if (policy) {
            g_assert_cmpint(syncs(view), >=, 2 * dirty_syncs(view));
        } else {
            g_assert_cmpint(syncs(view), ==, dirty_syncs(view));
        }
        vm_assert_hmp_has(pair->from, "info migrate", ", syncs: ");
    }
    vm_set(pair->from, "'downtime-limit': 2000");
    pair_assert_arrived(pair);
    {
        g_autoptr(MigrationView) view = view_take(pair->from);

        g_assert_cmpint(count_pass_events(pair->from), ==, dirty_syncs(view));
        g_assert_cmpint(dirty_syncs(view), >=, 7);
        g_assert_cmpint(dirty_syncs(view), <=, view->passes + 4);
    }
}

/*
 * Two pages for each place in the cache.  One that is sent in each pass keeps
 * its place; where the cache ages faster than that, each drives out the other,
 * and none is ever found.
 */
static void test_xbzrle_ages_by_passes(void)
{
    g_autoptr(Pair) pair = pair_start(LOAD, "", "");
    int64_t hits = 0;

    vm_capability(pair->from, "xbzrle", true);
    vm_capability(pair->to, "xbzrle", true);
    set_up_endless(pair->from, "step");
    vm_set(pair->from, "'xbzrle-cache-size': %d", 4 * 1024 * 1024);
    pair_migrate(pair);
    {
        g_autoptr(MigrationView) view = wait_dirty_syncs(pair->from, 5);
        QDict *cache = qdict_get_qdict(view->all, "xbzrle-cache");

        hits = qdict_get_int(cache, "pages");
        g_test_message("%" PRId64 " found, %" PRId64 " not", hits,
                       qdict_get_int(cache, "cache-miss"));
    }
    /* Half of what was sent since the cache was filled, in two passes. */
    g_assert_cmpint(hits, >=, VM_PAGES_OF(8) / 4);
    vm_set(pair->from, "'downtime-limit': 2000");
    pair_assert_arrived(pair);
}

/*
 * That reason.  A pass in which a busy host gave the guest little time says
 * that what remains shrinks, and is right.
 */
static MigrationView *wait_reason(QTestState *vm, const char *text)
{
    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        MigrationView *view = view_take(vm);

        g_assert_false(view_is_over(view));
        if (view->convergence &&
            strstr(qdict_get_str(view->convergence, "reason"), text)) {
            return view;
        }
        view_free(view);
        g_usleep(20 * 1000);
    }
    g_error("no reason says '%s'", text);
}

/* What the reason recommends, as a number. */
static uint64_t recommended_ms(const char *reason)
{
    const char *figure = strstr(reason, "a downtime-limit of ");
    uint64_t ms;

    g_assert_nonnull(figure);
    figure += strlen("a downtime-limit of ");
    g_assert_cmpint(qemu_strtou64(figure, &figure, 10, &ms), ==, 0);
    g_assert_true(g_str_has_prefix(figure, " ms"));
    return ms;
}

static void test_off_says_why(void)
{
    g_autoptr(Pair) pair = pair_start(LOAD, "", "");
    uint64_t limit_ms;

    set_up_endless(pair->from, NULL);
    vm_set(pair->from, "'downtime-limit': 20");
    pair_migrate(pair);
    view_free(wait_dirty_syncs(pair->from, 3));
    {
        g_autoptr(MigrationView) view =
            wait_reason(pair->from, " MB remain: this does not end; ");
        const char *reason;
        QDict *c = view->convergence;

        g_assert_nonnull(c);
        g_assert_cmpstr(view->state, ==, "off");
        reason = qdict_get_str(c, "reason");
        g_test_message("%s", reason);
        g_assert_true(g_str_has_prefix(reason, "auto-converge is off: the "
                                       "guest dirties "));
        limit_ms = recommended_ms(reason);
        g_assert_cmpint(qdict_get_int(c, "dirty-rate"), >, 1000 * 1000);
        g_assert_cmpint(qdict_get_int(c, "drain-rate"), >, 1000 * 1000);
        g_assert_cmpint(qdict_get_int(c, "drain-rate"), <,
                        LINK_BYTES_PER_S * 1.3);
        g_assert_cmpint(qdict_get_int(c, "throttle-percentage"), ==, 0);
        g_assert_cmpint(view->limit_ms, ==, 20);
        /* All of it comes from the syncs that there are anyway. */
        g_assert_cmpint(syncs(view), ==, dirty_syncs(view));
        g_assert_cmpint(vm_throttle_pct(pair->from), ==, 0);
    }
    vm_set(pair->from, "'downtime-limit': %" PRIu64, limit_ms);
    pair_assert_arrived(pair);
    {
        g_autoptr(MigrationView) view = view_take(pair->from);

        g_assert_cmpstr(view->state, ==, "off");
        g_assert_cmpstr(qdict_get_str(view->convergence, "reason"), ==,
                        "auto-converge is off");
        g_assert_cmpint(view->limit_ms, ==, limit_ms);
    }
    g_assert_null(qtest_qmp_event_ref(pair->from, "MIGRATION_CONVERGENCE"));
}

static void test_off_and_a_deadline(void)
{
    g_autoptr(Pair) pair = pair_start(LOAD, "", "");

    set_up_endless(pair->from, NULL);
    vm_set(pair->from, "'convergence-timeout': 600");
    pair_migrate(pair);
    view_free(wait_dirty_syncs(pair->from, 3));
    {
        g_autoptr(MigrationView) view =
            wait_reason(pair->from, "this ends by its deadline alone");

        g_assert_cmpstr(view->state, ==, "off");
    }
    vm_set(pair->from, "'downtime-limit': 2000");
    pair_assert_arrived(pair);
}

/* A guest that writes next to nothing is not said to go on for ever. */
static void test_off_and_no_trouble(void)
{
    g_autoptr(Pair) pair = pair_start(LOAD_LIGHT(8), "", "");

    set_up_endless(pair->from, NULL);
    vm_set(pair->from, "'downtime-limit': 300");
    pair_migrate(pair);
    for (int i = 0; i < VM_PATIENCE_S * 100; i++) {
        g_autoptr(MigrationView) view = view_take(pair->from);

        if (view->convergence) {
            const char *reason = qdict_get_str(view->convergence, "reason");

            g_assert_cmpstr(view->state, ==, "off");
            g_assert_true(g_str_has_prefix(reason, "auto-converge is off"));
            g_assert_null(strstr(reason, "does not end"));
        }
        if (view_is_over(view)) {
            g_assert_nonnull(view->convergence);
            break;
        }
        g_usleep(10 * 1000);
    }
    pair_assert_arrived(pair);
}

/* A live snapshot, as it were: the guest runs while it is written. */
static void test_off_and_a_file(void)
{
    QTestState *vm = vm_start(LOAD, "");
    g_autofree char *path = g_strdup_printf("%s/state", vm_dir());
    g_autoptr(MigrationView) view = NULL;
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    QDict *rsp;

    g_assert_cmpint(fd, >=, 0);
    vm_wait_guest_up(vm);
    vm_set(vm, "'max-bandwidth': %" PRIu64 ", 'downtime-limit': 2000",
           VM_UNLIMITED_BYTES_PER_S);
    rsp = qtest_qmp_fds(vm, &fd, 1, "{'execute': 'getfd', 'arguments':"
                        " {'fdname': 'state'}}");
    g_assert_true(qdict_haskey(rsp, "return"));
    qobject_unref(rsp);
    qtest_qmp_assert_success(vm, "{'execute': 'migrate', 'arguments':"
                             " {'uri': 'fd:state'}}");
    vm_wait_status(vm, "completed");
    view = view_take(vm);
    g_assert_null(view->convergence);
    close(fd);
    qtest_quit(vm);
}

/* The user's own limit holds, whatever bounds those that grow from it. */
static void test_downtime_limit_above_the_cap(void)
{
    g_autoptr(Pair) pair = pair_start(
        LOAD, "-global migration.convergence-timeout=1", "");

    set_up_endless(pair->from, NULL);
    vm_set(pair->from, "'convergence-max-downtime': 50");
    pair_migrate(pair);
    view_free(wait_dirty_syncs(pair->from, 2));
    vm_set(pair->from, "'downtime-limit': 6400");
    pair_assert_arrived(pair);
    {
        g_autoptr(MigrationView) view = view_take(pair->from);

        g_assert_cmpint(view->limit_ms, ==, 6400);
    }
}

static bool is_completed(const QDict *rsp)
{
    const char *status = qdict_get_try_str(qdict_get_qdict(rsp, "return"),
                                           "status");

    g_assert_cmpstr(status, !=, "failed");
    return g_strcmp0(status, "completed") == 0;
}

/* Several are on their way all the time, so that one meets the end. */
static void assert_times_once_completed(QTestState *vm)
{
    bool completed = false;

    for (int i = 0; i < QUERIES_AHEAD; i++) {
        qtest_qmp_send(vm, "{'execute': 'query-migrate'}");
    }
    for (int ahead = QUERIES_AHEAD; ahead; ahead--) {
        QDict *rsp = qtest_qmp_receive(vm);

        if (is_completed(rsp)) {
            const QDict *info = qdict_get_qdict(rsp, "return");

            completed = true;
            g_assert_cmpint(qdict_get_int(info, "total-time"), >, 0);
        } else {
            qtest_qmp_send(vm, "{'execute': 'query-migrate'}");
            ahead++;
        }
        qobject_unref(rsp);
    }
    g_assert_true(completed);
}

/* Asked all the time: at the moment in which it says so, its times are there. */
static void test_completed_has_its_times(void)
{
    QTestState *vm = vm_start(LOAD, "");

    vm_wait_guest_up(vm);
    vm_set(vm, "'max-bandwidth': %" PRIu64 ", 'downtime-limit': 2000",
           VM_UNLIMITED_BYTES_PER_S);
    for (int i = 0; i < COMPLETED_TRIES; i++) {
        vm_migrate_to_nowhere(vm);
        assert_times_once_completed(vm);
        qtest_qmp_assert_success(vm, "{'execute': 'cont'}");
    }
    qtest_quit(vm);
}

void convergence_add_clients_tests(void)
{
    qtest_add_data_func("/convergence/clients/passes/step", "step",
                        test_passes_are_passes);
    qtest_add_func("/convergence/clients/xbzrle", test_xbzrle_ages_by_passes);
    qtest_add_func("/convergence/clients/off/endless", test_off_says_why);
    qtest_add_func("/convergence/clients/off/file", test_off_and_a_file);
    qtest_add_func("/convergence/clients/completed",
                   test_completed_has_its_times);
    if (vm_test_long()) {
        qtest_add_func("/convergence/clients/downtime-limit",
                       test_downtime_limit_above_the_cap);
        qtest_add_data_func("/convergence/clients/passes/off", NULL,
                            test_passes_are_passes);
        qtest_add_data_func("/convergence/clients/passes/predictive",
                            "predictive", test_passes_are_passes);
        qtest_add_func("/convergence/clients/off/deadline",
                       test_off_and_a_deadline);
        qtest_add_func("/convergence/clients/off/light-guest",
                       test_off_and_no_trouble);
    }
}
