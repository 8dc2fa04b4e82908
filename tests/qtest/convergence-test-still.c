/*
 * Convergence tests: nothing moves any more
 *
 * The destination is stopped, as if its host had died, or a pipe's reader does
 * not read.  No error comes of that: the migration's thread sits in a send.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <signal.h>
#include "convergence-vm.h"

#define LOAD             LOAD_FLAT_OUT(16)
#define LINK_BYTES_PER_S 16000000

static char *pid_path(void)
{
    return g_strdup_printf("%s/destination.pid", vm_dir());
}

/* So that its process can be stopped. */
static char *destination_args(void)
{
    g_autofree char *path = pid_path();

    return g_strdup_printf("-smp 2 -pidfile %s", path);
}

static pid_t destination_pid(void)
{
    g_autofree char *path = pid_path();
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return g_ascii_strtoll(text, NULL, 10);
}

static void set_both(Pair *pair, const char *capability)
{
    vm_capability(pair->from, capability, true);
    vm_capability(pair->to, capability, true);
}

/* A guest that is throttled, for a link that it outpaces. */
static Pair *start_throttled(const char *capability)
{
    g_autofree char *args = destination_args();
    Pair *pair = pair_start(LOAD, "-smp 2", args);

    set_both(pair, capability);
    vm_capability(pair->from, "auto-converge", true);
    vm_set(pair->from, "'max-bandwidth': %d, 'downtime-limit': 1,"
           " 'dirty-sync-period': 100, 'convergence-policy': 'predictive'",
           LINK_BYTES_PER_S);
    pair_migrate(pair);
    vm_wait_throttled(pair->from);
    return pair;
}

/* As a client does that looks at the state all the time, and does not wait. */
static void migrate_at_once(Pair *pair)
{
    pair_listen(pair);
    for (int i = 0; i < VM_PATIENCE_S * 1000; i++) {
        g_autoptr(MigrationView) view = view_take(pair->from);
        QDict *rsp;
        bool taken;

        if (!view_is(view, "failed")) {
            continue;
        }
        /* It may be refused while the last one ends. */
        rsp = qtest_qmp(pair->from, "{'execute': 'migrate', 'arguments':"
                        " {'uri': %s}}", pair->uri);
        taken = qdict_haskey(rsp, "return");
        qobject_unref(rsp);
        if (taken) {
            return;
        }
    }
    g_error("no migration can be started any more");
}

/* The guest goes elsewhere at once, and the other side hears of the end. */
static void test_abort(const void *opaque)
{
    const char *capability = opaque;
    g_autoptr(Pair) pair = start_throttled(capability);
    QTestState *stopped = pair->to;
    pid_t pid = destination_pid();

    g_assert_cmpint(kill(pid, SIGSTOP), ==, 0);
    pair_start_destination(pair, "-smp 2");
    vm_capability(pair->to, capability, true);
    vm_set(pair->from, "'convergence-timeout': 1,"
           " 'convergence-timeout-action': 'abort'");
    migrate_at_once(pair);
    vm_set(pair->from, "'convergence-timeout-action': 'stop'");
    pair_assert_arrived(pair);

    g_assert_cmpint(kill(pid, SIGCONT), ==, 0);
    qtest_quit(pair->to);
    pair->to = stopped;
    pair_bury_destination(pair);
}

/* Returns: the reason that is given. */
static char *wait_lifted(QTestState *vm, const char *state)
{
    for (int i = 0; i < VM_PATIENCE_S * 20; i++) {
        g_autoptr(MigrationView) view = view_take(vm);

        g_assert_cmpstr(view->status, ==, "active");
        if (!view->throttle_pct && g_str_equal(view->state, state)) {
            return g_strdup(qdict_get_str(view->convergence, "reason"));
        }
        g_usleep(50 * 1000);
    }
    g_error("nobody sees that nothing moves");
}

/* What is said of the end, and that the guest is let go with it. */
static void test_given_up(void)
{
    g_autoptr(Pair) pair = start_throttled("events");
    pid_t pid = destination_pid();

    g_assert_cmpint(kill(pid, SIGSTOP), ==, 0);
    vm_set(pair->from, "'convergence-timeout': 1,"
           " 'convergence-timeout-action': 'abort'");
    /* What its speed was before does not matter: it was throttled to 1 %. */
    pair_assert_given_up(pair, 10e6, "convergence-timeout of 1 s ran out");
    g_assert_cmpint(kill(pid, SIGCONT), ==, 0);
    pair_bury_destination(pair);
}

static int64_t count_syncs(QTestState *vm)
{
    g_autoptr(MigrationView) view = view_take(vm);

    return qdict_get_int(view->convergence, "syncs");
}

/* With the first look after @syncs, which may be a long time before the next. */
static void wait_slowed_again(QTestState *vm, int64_t syncs)
{
    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        g_autoptr(MigrationView) view = view_take(vm);

        g_assert_cmpint(qdict_get_int(view->convergence, "syncs"), <=,
                        syncs + 1);
        if (view->throttle_pct) {
            return;
        }
        g_usleep(20 * 1000);
    }
    g_error("the guest is not slowed again");
}

static void test_lifted_until_it_moves(void)
{
    g_autoptr(Pair) pair = start_throttled("events");
    int64_t syncs;
    pid_t pid = destination_pid();
    g_autofree char *reason = NULL;
    g_autofree char *late_reason = NULL;

    g_assert_cmpint(kill(pid, SIGSTOP), ==, 0);
    reason = wait_lifted(pair->from, "stuck");
    g_test_message("%s", reason);
    g_assert_true(g_str_has_prefix(reason, "nothing was sent for "));
    vm_assert_speed_back(pair->from, 10e6);

    vm_set(pair->from, "'convergence-timeout': 1");
    late_reason = wait_lifted(pair->from, "timed-out");
    g_test_message("%s", late_reason);
    g_assert_true(g_str_has_prefix(late_reason, "nothing was sent for "));
    g_assert_true(strstr(late_reason, "convergence-timeout of 1 s ran out") !=
                  NULL);
    vm_set(pair->from, "'convergence-timeout': 0,"
           " 'dirty-sync-period': 5000");

    syncs = count_syncs(pair->from);
    g_assert_cmpint(kill(pid, SIGCONT), ==, 0);
    wait_slowed_again(pair->from, syncs);
    vm_set(pair->from, "'downtime-limit': 5000");
    pair_assert_arrived(pair);
}

static void test_cancel(void)
{
    g_autoptr(Pair) pair = start_throttled("multifd");
    pid_t pid = destination_pid();

    g_assert_cmpint(kill(pid, SIGSTOP), ==, 0);
    /* By then its channels are full, and no error has come. */
    g_usleep(G_USEC_PER_SEC);
    pair_cancel(pair);
    vm_assert_speed_back(pair->from, 10e6);
    vm_assert_memory_whole(pair->from, pair->load);
    g_assert_cmpint(kill(pid, SIGCONT), ==, 0);
    pair_bury_destination(pair);
}

static void *read_all(void *opaque)
{
    int fd = GPOINTER_TO_INT(opaque);
    char buffer[4096];

    while (read(fd, buffer, sizeof(buffer)) > 0) {
    }
    return NULL;
}

/* As a tunnel does, which may stand still as well. */
static void test_pipe(const void *opaque)
{
    bool is_read = opaque;
    QTestState *vm = vm_start(LOAD, "");
    Pair pair = { .from = vm, .load = LOAD };
    GThread *reader = NULL;
    int fd;

    vm_wait_guest_up(vm);
    vm_set(vm, "'max-bandwidth': %d, 'downtime-limit': 1,"
           " 'convergence-timeout': 1,"
           " 'convergence-timeout-action': 'abort'", LINK_BYTES_PER_S);
    fd = vm_migrate_to_pipe(vm);
    if (is_read) {
        reader = g_thread_new("reader", read_all, GINT_TO_POINTER(fd));
    }
    pair_assert_given_up(&pair, 10e6, "convergence-timeout of 1 s ran out");
    if (reader) {
        g_thread_join(reader);
    }
    close(fd);
    qtest_quit(vm);
}

static void test_file(void)
{
    g_autofree char *path = g_strdup_printf("%s/saved", vm_dir());
    QTestState *vm = vm_start(LOAD, "");
    g_autoptr(MigrationView) view = NULL;

    vm_wait_guest_up(vm);
    vm_set(vm, "'max-bandwidth': %d, 'downtime-limit': 1,"
           " 'convergence-timeout': 1, 'convergence-max-iterations': 1,"
           " 'convergence-timeout-action': 'abort'", LINK_BYTES_PER_S);
    vm_migrate_to_fd(vm, open(path, O_WRONLY | O_CREAT, 0600));
    /* Three times the timeout, and some passes. */
    g_usleep(3 * G_USEC_PER_SEC);
    view = view_take(vm);
    g_assert_cmpstr(view->status, ==, "active");
    g_assert_cmpstr(view->state, ==, "off");
    g_assert_true(strstr(qdict_get_str(view->convergence, "reason"),
                         "have no effect: the stream goes to a file") != NULL);
    vm_set(vm, "'downtime-limit': 5000");
    vm_wait_status(vm, "completed");
    unlink(path);
    qtest_quit(vm);
}

/*
 * A live snapshot of a client that knows none of this: whoever started QEMU
 * meant migrations.
 */
static void test_pipe_of_who_set_nothing(void)
{
    QTestState *vm = vm_start(LOAD, "-global migration.convergence-timeout=1"
                              " -global migration.convergence-timeout-action="
                              "abort");
    GThread *reader;
    int fd;

    vm_wait_guest_up(vm);
    vm_set(vm, "'max-bandwidth': %d, 'downtime-limit': 1", LINK_BYTES_PER_S);
    fd = vm_migrate_to_pipe(vm);
    reader = g_thread_new("reader", read_all, GINT_TO_POINTER(fd));
    g_usleep(3 * G_USEC_PER_SEC);
    {
        g_autoptr(MigrationView) view = view_take(vm);

        g_assert_cmpstr(view->status, ==, "active");
        g_assert_true(strstr(qdict_get_str(view->convergence, "reason"),
                             "without a client having set them") != NULL);
    }
    /* Who sets it means this one. */
    vm_set(vm, "'convergence-timeout': 2");
    vm_wait_status(vm, "failed");
    g_thread_join(reader);
    close(fd);
    qtest_quit(vm);
}

void convergence_add_still_tests(void)
{
    qtest_add_func("/convergence/still/given-up", test_given_up);
    qtest_add_data_func("/convergence/still/abort/return-path", "return-path",
                        test_abort);
    qtest_add_data_func("/convergence/still/abort/multifd", "multifd",
                        test_abort);
    qtest_add_func("/convergence/still/lifted-until-it-moves",
                   test_lifted_until_it_moves);
    qtest_add_func("/convergence/still/cancel/multifd", test_cancel);
    qtest_add_data_func("/convergence/still/pipe/read", (void *)1, test_pipe);
    qtest_add_data_func("/convergence/still/pipe/unread", NULL, test_pipe);
    qtest_add_func("/convergence/still/file", test_file);
    qtest_add_func("/convergence/still/pipe/global",
                   test_pipe_of_who_set_nothing);
}
