/*
 * Convergence tests: QEMUs over QMP, and migrations between them
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-vm.h"

#define POLL_US         (20 * 1000)
#define VM_RAM_MB       (VM_RAM_BYTES / 1024 / 1024)

static unsigned n_uris;

bool vm_test_long(void)
{
    return g_getenv("CONVERGE_TEST_LONG");
}

QDict *vm_query(QTestState *vm, const char *command)
{
    QDict *rsp = qtest_qmp(vm, "{'execute': %s}", command);
    QDict *ret = qdict_get_qdict(rsp, "return");

    g_assert_nonnull(ret);
    qobject_ref(ret);
    qobject_unref(rsp);
    return ret;
}

int64_t vm_qemu_major(QTestState *vm)
{
    QDict *version = vm_query(vm, "query-version");
    int64_t major = qdict_get_int(qdict_get_qdict(version, "qemu"), "major");

    qobject_unref(version);
    return major;
}

bool vm_is_running(QTestState *vm)
{
    QDict *status = vm_query(vm, "query-status");
    bool running = qdict_get_bool(status, "running");

    qobject_unref(status);
    return running;
}

void vm_assert_error(QDict *rsp, const char *first, ...)
{
    const char *desc;
    va_list ap;

    g_assert_true(qdict_haskey(rsp, "error"));
    desc = qdict_get_str(qdict_get_qdict(rsp, "error"), "desc");
    va_start(ap, first);
    for (const char *part = first; part; part = va_arg(ap, const char *)) {
        if (!strstr(desc, part)) {
            g_test_message("error '%s' does not say '%s'", desc, part);
            g_test_fail();
        }
    }
    va_end(ap);
    qobject_unref(rsp);
}

static QDict *try_set(QTestState *vm, const char *arguments, va_list ap)
{
    g_autofree char *text = g_strdup_vprintf(arguments, ap);
    g_autofree char *command = g_strdup_printf(
        "{'execute': 'migrate-set-parameters', 'arguments': {%s}}", text);

    qtest_qmp_send_raw(vm, "%s", command);
    return qtest_qmp_receive(vm);
}

QDict *vm_try_set(QTestState *vm, const char *arguments, ...)
{
    va_list ap;
    QDict *rsp;

    va_start(ap, arguments);
    rsp = try_set(vm, arguments, ap);
    va_end(ap);
    return rsp;
}

void vm_set(QTestState *vm, const char *arguments, ...)
{
    va_list ap;
    QDict *rsp;

    va_start(ap, arguments);
    rsp = try_set(vm, arguments, ap);
    va_end(ap);
    if (!qdict_haskey(rsp, "return")) {
        g_error("'%s' refused: %s", arguments,
                qdict_get_str(qdict_get_qdict(rsp, "error"), "desc"));
    }
    qobject_unref(rsp);
}

void vm_capability(QTestState *vm, const char *name, bool on)
{
    qtest_qmp_assert_success(vm, "{'execute': 'migrate-set-capabilities',"
                             " 'arguments': {'capabilities': [{'capability':"
                             " %s, 'state': %i}]}}", name, on);
}

void vm_assert_hmp_has(QTestState *vm, const char *command, const char *text)
{
    g_autofree char *answer = qtest_hmp(vm, "%s", command);

    if (!strstr(answer, text)) {
        g_error("HMP '%s' does not say '%s' but: %s", command, text, answer);
    }
}

int64_t vm_throttle_pct(QTestState *vm)
{
    QDict *rsp = qtest_qmp(vm, "{'execute': 'query-cpu-throttle'}");
    QList *list = qdict_get_qlist(rsp, "return");
    QDict *vcpu = qobject_to(QDict, qlist_peek(list));
    int64_t pct = qdict_get_int(vcpu, "percentage");

    qobject_unref(rsp);
    return pct;
}

typedef struct Account {
    int64_t ran_ns;
    int64_t slept_ns;
} Account;

/* All vCPUs' accounts added up. */
static Account account_of_all(QTestState *vm, unsigned vcpus)
{
    QDict *rsp = qtest_qmp(vm, "{'execute': 'query-cpu-throttle'}");
    QList *list = qdict_get_qlist(rsp, "return");
    const QListEntry *entry;
    Account sum = { 0, 0 };
    unsigned n = 0;

    QLIST_FOREACH_ENTRY(list, entry) {
        QDict *info = qobject_to(QDict, qlist_entry_obj(entry));

        sum.ran_ns += qdict_get_int(info, "ran-ns");
        sum.slept_ns += qdict_get_int(info, "slept-ns");
        n++;
    }
    g_assert_cmpuint(n, ==, vcpus);
    qobject_unref(rsp);
    return sum;
}

double vm_slept_pct(QTestState *vm, unsigned vcpus, double seconds)
{
    Account first = account_of_all(vm, vcpus), last;
    int64_t ran_ns, slept_ns;

    g_usleep(seconds * G_USEC_PER_SEC);
    last = account_of_all(vm, vcpus);
    ran_ns = last.ran_ns - first.ran_ns;
    slept_ns = last.slept_ns - first.slept_ns;
    g_assert_cmpint(ran_ns, >, 0);
    return 100.0 * slept_ns / (ran_ns + slept_ns);
}

MigrationView *view_take(QTestState *vm)
{
    MigrationView *view = g_new0(MigrationView, 1);

    view->all = vm_query(vm, "query-migrate");
    view->status = qdict_get_try_str(view->all, "status") ?: "none";
    view->throttle_pct =
        qdict_get_try_int(view->all, "cpu-throttle-percentage", 0);
    view->ram = qdict_get_qdict(view->all, "ram");
    view->convergence = qdict_get_qdict(view->all, "convergence");
    view->state = "";
    view->limit_ms = -1;
    if (view->convergence) {
        view->state = qdict_get_str(view->convergence, "state");
        view->limit_ms = qdict_get_int(view->convergence, "downtime-limit");
        view->passes = qdict_get_int(view->convergence, "passes");
    }
    return view;
}

void view_free(MigrationView *view)
{
    if (view) {
        qobject_unref(view->all);
        g_free(view);
    }
}

bool view_is(const MigrationView *view, const char *status)
{
    return g_str_equal(view->status, status);
}

bool view_is_over(const MigrationView *view)
{
    return view_is(view, "completed") || view_is(view, "failed") ||
           view_is(view, "cancelled");
}

void vm_wait_status(QTestState *vm, const char *status)
{
    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        g_autoptr(MigrationView) view = view_take(vm);

        if (view_is(view, status)) {
            return;
        }
        if (view_is_over(view)) {
            g_error("the migration is %s (%s) and not %s", view->status,
                    qdict_get_try_str(view->all, "error-desc") ?: "no error",
                    status);
        }
        g_usleep(POLL_US);
    }
    g_error("the migration did not come to be %s in %d s", status,
            VM_PATIENCE_S);
}

void pair_cancel(Pair *pair)
{
    qtest_qmp_assert_success(pair->from, "{'execute': 'migrate_cancel'}");
    vm_wait_status(pair->from, "cancelled");
}

void vm_say_of_each(QTestState *vm, const char *what, int64_t *values,
                    int vcpus)
{
    QDict *info = vm_query(vm, "query-migrate");
    QDict *convergence = qdict_get_qdict(info, "convergence");
    const QListEntry *entry;

    for (int v = 0; v < vcpus; v++) {
        values[v] = -1;
    }
    if (convergence) {
        QLIST_FOREACH_ENTRY(qdict_get_qlist(convergence, "vcpus"), entry) {
            QDict *v = qobject_to(QDict, qlist_entry_obj(entry));
            int64_t id = qdict_get_int(v, "id");

            if (id < vcpus) {
                values[id] = qdict_get_int(v, what);
            }
        }
    }
    qobject_unref(info);
}

int64_t vm_said_of(QTestState *vm, int vcpu, const char *what)
{
    g_autofree int64_t *values = g_new(int64_t, vcpu + 1);

    vm_say_of_each(vm, what, values, vcpu + 1);
    return values[vcpu];
}

void vm_wait_throttled(QTestState *vm)
{
    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        g_autoptr(MigrationView) view = view_take(vm);

        g_assert_false(view_is_over(view));
        if (view->throttle_pct) {
            return;
        }
        g_usleep(POLL_US);
    }
    g_error("no throttle within %d s", VM_PATIENCE_S);
}

void vm_migrate_to_nowhere(QTestState *vm)
{
    qtest_qmp_assert_success(vm, "{'execute': 'migrate', 'arguments':"
                             " {'uri': 'exec:cat >/dev/null'}}");
}

void vm_migrate_to_fd(QTestState *vm, int fd)
{
    QDict *rsp = qtest_qmp_fds(vm, &fd, 1, "{'execute': 'getfd', 'arguments':"
                               " {'fdname': 'out'}}");

    g_assert_true(qdict_haskey(rsp, "return"));
    qobject_unref(rsp);
    close(fd);
    qtest_qmp_assert_success(vm, "{'execute': 'migrate', 'arguments':"
                             " {'uri': 'fd:out'}}");
}

int vm_migrate_to_pipe(QTestState *vm)
{
    int fds[2];

    g_assert_cmpint(pipe(fds), ==, 0);
    vm_migrate_to_fd(vm, fds[1]);
    return fds[0];
}

void pair_start_destination(Pair *pair, const char *args)
{
    g_autofree char *uri = g_strdup_printf("unix:%s/migration-%u", vm_dir(),
                                           n_uris++);

    pair_start_destination_at(pair, uri, args);
}

void pair_start_destination_at(Pair *pair, const char *uri, const char *args)
{
    g_autofree char *all_args = g_strdup_printf("-incoming defer %s", args);

    g_free(pair->uri);
    pair->uri = g_strdup(uri);
    pair->listens = false;
    pair->to = vm_start_on(vm_accel(), pair->ram_mb ?: VM_RAM_MB, pair->load,
                           all_args);
}

Pair *pair_start_with(unsigned ram_mb, GuestLoad load, const char *from_args,
                      const char *to_args)
{
    Pair *pair = g_new0(Pair, 1);

    pair->load = load;
    pair->ram_mb = ram_mb;
    pair->from = vm_start_on(vm_accel(), ram_mb ?: VM_RAM_MB, load,
                             from_args);
    pair_start_destination(pair, to_args);
    vm_wait_guest_up(pair->from);
    return pair;
}

Pair *pair_start(GuestLoad load, const char *from_args, const char *to_args)
{
    return pair_start_with(0, load, from_args, to_args);
}

void pair_lose_destination(Pair *pair)
{
    if (pair->to) {
        qtest_quit(pair->to);
        pair->to = NULL;
    }
}

void pair_bury_destination(Pair *pair)
{
    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        if (!qtest_probe_child(pair->to)) {
            qtest_set_expected_status(pair->to, EXIT_FAILURE);
            pair_lose_destination(pair);
            return;
        }
        g_usleep(POLL_US);
    }
    g_error("the destination of a failed migration lives on");
}

void pair_free(Pair *pair)
{
    if (pair) {
        pair_lose_destination(pair);
        qtest_quit(pair->from);
        g_free(pair->uri);
        g_free(pair);
    }
}

QDict *pair_try_listen(Pair *pair)
{
    QDict *rsp = qtest_qmp(pair->to, "{'execute': 'migrate-incoming',"
                           " 'arguments': {'uri': %s}}", pair->uri);

    pair->listens = qdict_haskey(rsp, "return");
    return rsp;
}

void pair_listen(Pair *pair)
{
    if (pair->to && !pair->listens) {
        qobject_unref(pair_try_listen(pair));
        g_assert_true(pair->listens);
    }
}

void pair_migrate(Pair *pair)
{
    pair_listen(pair);
    qtest_qmp_assert_success(pair->from, "{'execute': 'migrate',"
                             " 'arguments': {'uri': %s}}", pair->uri);
}

void pair_assert_given_up(Pair *pair, double bytes_per_s,
                          const char *condition)
{
    g_autoptr(MigrationView) view = NULL;
    const char *desc;

    vm_wait_status(pair->from, "failed");
    view = view_take(pair->from);
    desc = qdict_get_str(view->all, "error-desc");
    g_test_message("%s", desc);
    g_assert_true(strstr(desc, condition) != NULL);
    g_assert_cmpstr(view->state, ==, "timed-out");
    g_assert_true(strstr(qdict_get_str(view->convergence, "reason"),
                         condition) != NULL);
    g_assert_cmpint(view->throttle_pct, ==, 0);
    g_assert_cmpint(vm_throttle_pct(pair->from), ==, 0);
    vm_assert_speed_back(pair->from, bytes_per_s / 3);
    vm_assert_memory_whole(pair->from, pair->load);
    vm_assert_guest_works(pair->from);
}

void pair_assert_arrived(Pair *pair)
{
    vm_wait_status(pair->from, "completed");
    g_assert_false(vm_is_running(pair->from));
    for (int i = 0; i < VM_PATIENCE_S * 50 && !vm_is_running(pair->to); i++) {
        g_usleep(POLL_US);
    }
    g_assert_true(vm_is_running(pair->to));
    vm_assert_memory_whole(pair->to, pair->load);
    vm_assert_guest_works(pair->to);
}
