/*
 * Convergence tests: stop conditions, and what is done when one is met
 *
 * The guest rewrites 16 MB as fast as it can, on a link of 32 MB/s: a pass
 * takes half a second, and by itself the migration never ends.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-vm.h"

#define LINK_BYTES_PER_S (32 * 1024 * 1024)
#define LOAD             LOAD_FLAT_OUT(16)
#define LOAD_BYTES       (16 * 1024 * 1024)

static void set_up(QTestState *vm, const char *action)
{
    vm_set(vm, "'max-bandwidth': %d, 'downtime-limit': 30,"
           " 'convergence-timeout-action': '%s'", LINK_BYTES_PER_S, action);
}

static void assert_last_event_is(QTestState *vm, const char *state)
{
    g_autofree char *last = NULL;
    QDict *event;

    while ((event = qtest_qmp_event_ref(vm, "MIGRATION_CONVERGENCE"))) {
        g_free(last);
        last = g_strdup(qdict_get_str(qdict_get_qdict(event, "data"),
                                      "state"));
        qobject_unref(event);
    }
    g_assert_cmpstr(last, ==, state);
}

static void test_abort(const void *opaque)
{
    const char *policy = opaque;
    g_autoptr(Pair) pair = pair_start(LOAD, "", "");
    double before = vm_bytes_per_s(pair->from);

    set_up(pair->from, "abort");
    vm_set(pair->from, "'convergence-timeout': 1, 'max-bandwidth': 16000000");
    if (policy) {
        vm_capability(pair->from, "auto-converge", true);
        vm_set(pair->from, "'convergence-policy': '%s',"
               " 'dirty-sync-period': 100, 'downtime-limit': 1", policy);
    }
    pair_migrate(pair);
    pair_assert_given_up(pair, before, "convergence-timeout of 1 s ran out");
    pair_bury_destination(pair);
    assert_last_event_is(pair->from, "timed-out");

    /* It can be tried again. */
    pair_start_destination(pair, "");
    set_up(pair->from, "stop");
    pair_migrate(pair);
    pair_assert_arrived(pair);
}

static void test_stop(const void *opaque)
{
    const char *capability = opaque;
    g_autoptr(Pair) pair = pair_start(LOAD, "", "");
    g_autoptr(MigrationView) view = NULL;

    if (capability) {
        vm_capability(pair->from, capability, true);
        vm_capability(pair->to, capability, true);
    }
    set_up(pair->from, "stop");
    vm_set(pair->from, "'convergence-timeout': 1");
    pair_migrate(pair);
    if (!g_strcmp0(capability, "pause-before-switchover")) {
        vm_wait_status(pair->from, "pre-switchover");
        qtest_qmp_assert_success(pair->from, "{'execute': 'migrate-continue',"
                                 " 'arguments': {'state':"
                                 " 'pre-switchover'}}");
    }
    pair_assert_arrived(pair);
    view = view_take(pair->from);
    g_test_message("after %" PRId64 " ms: %s",
                   qdict_get_int(view->all, "total-time"),
                   qdict_get_str(view->convergence, "reason"));
    g_assert_cmpstr(view->state, ==, "timed-out");
    g_assert_true(strstr(qdict_get_str(view->convergence, "reason"),
                         "switching over with") != NULL);
    g_assert_cmpint(qdict_get_int(view->all, "total-time"), >=, 1000);
    /* The limit itself did not grow. */
    g_assert_cmpint(view->limit_ms, ==, 30);
}

/* Returns: false, and skips, where this host does not allow userfaultfd. */
static bool allow_postcopy(Pair *pair)
{
    QDict *rsp = qtest_qmp(pair->to, "{'execute': 'migrate-set-capabilities',"
                           " 'arguments': {'capabilities': [{'capability':"
                           " 'postcopy-ram', 'state': true}]}}");
    bool works = qdict_haskey(rsp, "return");

    qobject_unref(rsp);
    if (!works) {
        g_test_skip("postcopy needs userfaultfd, which this host does not "
                    "allow to this user");
        return false;
    }
    vm_capability(pair->from, "postcopy-ram", true);
    return true;
}

static void test_postcopy(void)
{
    g_autoptr(Pair) pair = pair_start(LOAD, "", "");
    bool postcopy = false;

    vm_assert_error(vm_try_set(pair->from, "'convergence-timeout-action':"
                               " 'postcopy'"), "postcopy-ram", NULL);
    if (!allow_postcopy(pair)) {
        return;
    }
    set_up(pair->from, "postcopy");
    vm_capability(pair->from, "events", true);
    vm_capability(pair->from, "auto-converge", true);
    vm_set(pair->from, "'dirty-sync-period': 100, 'downtime-limit': 1");
    pair_migrate(pair);
    vm_wait_throttled(pair->from);
    vm_set(pair->from, "'convergence-timeout': 1");
    while (!postcopy) {
        QDict *event = qtest_qmp_eventwait_ref(pair->from, "MIGRATION");
        const char *status = qdict_get_str(qdict_get_qdict(event, "data"),
                                           "status");

        g_assert_cmpstr(status, !=, "completed");
        g_assert_cmpstr(status, !=, "failed");
        postcopy = g_str_equal(status, "postcopy-active");
        qobject_unref(event);
    }
    /* The event comes right before the guest is stopped. */
    for (int i = 0; i < VM_PATIENCE_S * 1000 && vm_throttle_pct(pair->from);
         i++) {
        g_usleep(1000);
    }
    g_assert_cmpint(vm_throttle_pct(pair->from), ==, 0);
    pair_assert_arrived(pair);
}

/* Postcopy leaves a guest that multifd sends without some of its pages. */
static void test_postcopy_is_refused_with_multifd(void)
{
    QTestState *vm = vm_start(LOAD, "");
    QDict *rsp;

    if (vm_qemu_major(vm) >= 10) {
        g_test_skip("this QEMU itself says whether it takes the two:"
                    " pairs/postcopy/postcopy-ram+multifd tries it");
        qtest_quit(vm);
        return;
    }
    vm_capability(vm, "postcopy-ram", true);
    vm_capability(vm, "multifd", true);
    vm_assert_error(vm_try_set(vm, "'convergence-timeout-action':"
                               " 'postcopy'"), "'postcopy'", "'multifd'",
                    NULL);
    vm_capability(vm, "multifd", false);
    vm_set(vm, "'convergence-timeout-action': 'postcopy'");
    rsp = qtest_qmp(vm, "{'execute': 'migrate-set-capabilities', 'arguments':"
                    " {'capabilities': [{'capability': 'multifd',"
                    " 'state': true}]}}");
    vm_assert_error(rsp, "'postcopy'", "'multifd'", NULL);
    /* It can still be switched off, and with it what it excludes goes. */
    vm_capability(vm, "postcopy-ram", false);
    vm_capability(vm, "multifd", true);
    rsp = qtest_qmp(vm, "{'execute': 'migrate-set-capabilities', 'arguments':"
                    " {'capabilities': [{'capability': 'postcopy-ram',"
                    " 'state': true}]}}");
    vm_assert_error(rsp, "'postcopy'", "'multifd'", NULL);
    qtest_quit(vm);
}

/* Returns: how many bytes were sent, as far as could be seen. */
static int64_t watch_until_over(QTestState *vm)
{
    int64_t sent = 0;

    for (int i = 0; i < VM_PATIENCE_S * 100; i++) {
        g_autoptr(MigrationView) view = view_take(vm);

        if (view_is_over(view)) {
            return sent;
        }
        if (view->ram) {
            sent = qdict_get_int(view->ram, "transferred");
        }
        g_usleep(10 * 1000);
    }
    g_error("the migration does not end");
}

/* Neither a pass earlier nor a pass later; a look is had 5 times a pass. */
static void test_max_iterations(const void *opaque)
{
    int passes = GPOINTER_TO_INT(opaque);
    g_autoptr(Pair) pair = pair_start(LOAD, "", "");
    g_autofree char *condition = g_strdup_printf(
        "convergence-max-iterations reached: %d of %d passes", passes,
        passes);
    double before = vm_bytes_per_s(pair->from);
    int64_t sent;

    set_up(pair->from, "abort");
    vm_set(pair->from, "'convergence-max-iterations': %d", passes);
    pair_migrate(pair);
    sent = watch_until_over(pair->from);
    pair_assert_given_up(pair, before, condition);
    pair_bury_destination(pair);
    {
        g_autoptr(MigrationView) view = view_take(pair->from);

        g_assert_cmpint(view->passes, ==, passes);
    }
    /* So many times its pages, as last seen; a little more, until it looked. */
    g_assert_cmpint(sent, >=, (passes - 0.5) * LOAD_BYTES);
    g_assert_cmpint(sent, <=, (passes + 0.7) * LOAD_BYTES);
}

/* What migrates: on some machines more than memory. */
static int64_t ram_total(QTestState *vm)
{
    g_autoptr(MigrationView) view = NULL;

    vm_wait_status(vm, "active");
    view = view_take(vm);
    return qdict_get_int(qdict_get_qdict(view->all, "ram"), "total");
}

static void test_max_transfer(void)
{
    g_autoptr(Pair) pair = pair_start(LOAD, "", "");
    double before = vm_bytes_per_s(pair->from);
    int64_t sent, total;

    set_up(pair->from, "abort");
    vm_set(pair->from, "'convergence-max-transfer': 100");
    pair_migrate(pair);
    total = ram_total(pair->from);
    sent = watch_until_over(pair->from);
    pair_assert_given_up(pair, before, "convergence-max-transfer reached: 10");
    pair_bury_destination(pair);
    /*
     * It is looked at ten times a second: 3.4 MB, 5 % of guest RAM.  We may
     * have missed more.
     */
    g_assert_cmpint(sent, >=, total * 0.5);
    g_assert_cmpint(sent, <=, total * 1.15);
}

static void wait_job(QTestState *vm, const char *id)
{
    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        QDict *rsp = qtest_qmp(vm, "{'execute': 'query-jobs'}");
        QDict *job = qobject_to(QDict, qlist_peek(qdict_get_qlist(rsp,
                                                                  "return")));
        bool done;

        g_assert_nonnull(job);
        g_assert_cmpstr(qdict_get_str(job, "id"), ==, id);
        done = g_str_equal(qdict_get_str(job, "status"), "concluded");
        if (done && qdict_haskey(job, "error")) {
            g_error("job %s: %s", id, qdict_get_str(job, "error"));
        }
        qobject_unref(rsp);
        if (done) {
            qtest_qmp_assert_success(vm, "{'execute': 'job-dismiss',"
                                     " 'arguments': {'id': %s}}", id);
            return;
        }
        g_usleep(20 * 1000);
    }
    g_error("job %s does not end", id);
}

static void add_snapshot_disk(QTestState *vm)
{
    g_autofree char *path = g_strdup_printf("%s/snapshot", vm_dir());

    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    qtest_qmp_assert_success(vm, "{'execute': 'blockdev-add', 'arguments':"
                             " {'driver': 'file', 'node-name': 'file',"
                             " 'filename': %s}}", path);
    qtest_qmp_assert_success(vm, "{'execute': 'blockdev-create', 'arguments':"
                             " {'job-id': 'create', 'options': {'driver':"
                             " 'qcow2', 'file': 'file',"
                             " 'size': 1048576}}}");
    wait_job(vm, "create");
    qtest_qmp_assert_success(vm, "{'execute': 'blockdev-add', 'arguments':"
                             " {'driver': 'qcow2', 'node-name': 'disk',"
                             " 'file': 'file'}}");
}

/* The one who saves does not want it given up, whatever a migration would. */
static void test_snapshot_feels_nothing(void)
{
    QTestState *vm = vm_start(LOAD, "");

    vm_wait_guest_up(vm);
    add_snapshot_disk(vm);
    vm_capability(vm, "auto-converge", true);
    set_up(vm, "abort");
    vm_set(vm, "'convergence-max-iterations': 1, 'convergence-timeout': 1,"
           " 'convergence-max-transfer': 1");
    qtest_qmp_assert_success(vm, "{'execute': 'snapshot-save', 'arguments':"
                             " {'job-id': 'save', 'tag': 'one',"
                             " 'vmstate': 'disk', 'devices': ['disk']}}");
    wait_job(vm, "save");
    g_assert_null(qtest_qmp_event_ref(vm, "MIGRATION_CONVERGENCE"));
    g_assert_cmpint(vm_throttle_pct(vm), ==, 0);
    vm_assert_memory_whole(vm, LOAD);
    vm_assert_guest_works(vm);
    qtest_quit(vm);
}

/* A save as libvirt does it: a migration to a file, the guest stopped. */
static void test_inert_without_any_condition(void)
{
    QTestState *vm = vm_start(LOAD, "");
    g_autoptr(MigrationView) view = NULL;

    vm_wait_guest_up(vm);
    set_up(vm, "abort");
    vm_set(vm, "'convergence-policy': 'predictive',"
           " 'dirty-sync-period': 100, 'convergence-vcpu-limit': 1,"
           " 'convergence-max-downtime': 31,"
           " 'max-bandwidth': %" PRIu64, VM_UNLIMITED_BYTES_PER_S);
    qtest_qmp_assert_success(vm, "{'execute': 'stop'}");
    qtest_qmp_assert_success(vm, "{'execute': 'migrate', 'arguments':"
                             " {'uri': 'exec:cat >/dev/null'}}");
    vm_wait_status(vm, "completed");
    view = view_take(vm);
    g_assert_null(view->convergence);
    g_assert_null(qtest_qmp_event_ref(vm, "MIGRATION_CONVERGENCE"));
    qtest_qmp_assert_success(vm, "{'execute': 'cont'}");
    vm_assert_memory_whole(vm, LOAD);
    vm_assert_guest_works(vm);
    qtest_quit(vm);
}

void convergence_add_stop_tests(void)
{
    qtest_add_data_func("/convergence/stop/abort/off", NULL, test_abort);
    qtest_add_data_func("/convergence/stop/abort/step", "step", test_abort);
    qtest_add_data_func("/convergence/stop/stop/plain", NULL, test_stop);
    qtest_add_data_func("/convergence/stop/stop/multifd", "multifd",
                        test_stop);
    qtest_add_data_func("/convergence/stop/stop/xbzrle", "xbzrle", test_stop);
    qtest_add_data_func("/convergence/stop/stop/pause-before-switchover",
                        "pause-before-switchover", test_stop);
    qtest_add_func("/convergence/stop/postcopy", test_postcopy);
    qtest_add_func("/convergence/stop/postcopy-refused-with-multifd",
                   test_postcopy_is_refused_with_multifd);
    qtest_add_data_func("/convergence/stop/max-iterations/1",
                        GINT_TO_POINTER(1), test_max_iterations);
    qtest_add_data_func("/convergence/stop/max-iterations/3",
                        GINT_TO_POINTER(3), test_max_iterations);
    qtest_add_func("/convergence/stop/max-transfer", test_max_transfer);
    qtest_add_func("/convergence/stop/inert/snapshot",
                   test_snapshot_feels_nothing);
    qtest_add_func("/convergence/stop/inert/save",
                   test_inert_without_any_condition);
}
