/*
 * Convergence tests: capabilities beside a timeout action
 *
 * Each pair of QEMU's migration capabilities, with a timeout whose action is
 * `stop`, and each one beside postcopy-ram with the action `postcopy`: it is
 * refused, or the migration ends with the guest at work and its memory whole.
 *
 * Without CONVERGE_PAIRS some pairs are tried.  With it all are, and the tables
 * of docs/capabilities.md are written to the file that it names.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-vm.h"

/* By itself it never ends: what ends it is the action. */
#define LOAD             LOAD_FLAT_OUT(8)
#define LINK_BYTES_PER_S 32000000

typedef enum Outcome {
    NOT_TRIED = '.',
    ARRIVED = '+',
    SAVED = 's',                /* there is no destination */
    FAILED = 'f',               /* and the guest runs on at the source */
    REFUSED = 'r',
} Outcome;

static const char *const capabilities[] = {
    "xbzrle", "rdma-pin-all", "auto-converge", "zero-blocks", "compress",
    "events", "postcopy-ram", "x-colo", "release-ram", "block", "return-path",
    "pause-before-switchover", "multifd", "dirty-bitmaps",
    "postcopy-blocktime", "late-block-activate", "x-ignore-shared",
    "validate-uuid", "background-snapshot", "zero-copy-send",
    "postcopy-preempt",
};

#define N ARRAY_SIZE(capabilities)

typedef struct Case {
    unsigned first, second;     /* the same: one alone */
    const char *action;
    Outcome expected;           /* NOT_TRIED: whatever is no harm */
    Outcome outcome;
    char *why;                  /* it was refused, or failed */
} Case;

static Case with_stop[N][N];
static Case with_postcopy[N];

static bool is(const Case *c, const char *name)
{
    return g_str_equal(capabilities[c->first], name) ||
           g_str_equal(capabilities[c->second], name);
}

/* COLO goes on for ever, once it has begun. */
static bool can_be_tried(const Case *c)
{
    return !is(c, "x-colo");
}

static bool note_refusal(Case *c, QDict *rsp)
{
    bool refused = qdict_haskey(rsp, "error");

    if (refused) {
        c->outcome = REFUSED;
        c->why = g_strdup(qdict_get_str(qdict_get_qdict(rsp, "error"),
                                        "desc"));
    }
    qobject_unref(rsp);
    return refused;
}

/* Returns: false if it is refused. */
static bool set_capabilities(Case *c, QTestState *vm)
{
    QDict *rsp = qtest_qmp(vm, "{'execute': 'migrate-set-capabilities',"
                           " 'arguments': {'capabilities': ["
                           " {'capability': %s, 'state': true},"
                           " {'capability': %s, 'state': true}]}}",
                           capabilities[c->first], capabilities[c->second]);

    return !note_refusal(c, rsp);
}

static bool set_deadline(Case *c, QTestState *vm)
{
    QDict *rsp = vm_try_set(vm, "'max-bandwidth': %d, 'downtime-limit': 1,"
                            " 'convergence-timeout': 1,"
                            " 'convergence-timeout-action': '%s'",
                            LINK_BYTES_PER_S, c->action);

    return !note_refusal(c, rsp);
}

/* Sockets of the file system have no zero-copy. */
#define TCP_URI "tcp:127.0.0.1:"

static void learn_port(Pair *pair)
{
    QDict *info = vm_query(pair->to, "query-migrate");
    QDict *address = qobject_to(QDict, qlist_peek(
                                    qdict_get_qlist(info, "socket-address")));

    g_free(pair->uri);
    pair->uri = g_strconcat(TCP_URI, qdict_get_str(address, "port"), NULL);
    qobject_unref(info);
}

/* Returns: false if it is refused. */
static bool listen_for(Case *c, Pair *pair)
{
    if (note_refusal(c, pair_try_listen(pair))) {
        return false;
    }
    if (g_str_has_prefix(pair->uri, TCP_URI)) {
        learn_port(pair);
    }
    return true;
}

static bool start(Case *c, Pair *pair)
{
    bool save = is(c, "background-snapshot");

    return (save || listen_for(c, pair)) &&
           !note_refusal(c, qtest_qmp(pair->from, "{'execute': 'migrate',"
                                      " 'arguments': {'uri': %s}}",
                                      save ? "exec:cat >/dev/null" :
                                      pair->uri));
}

static void wait_until_over(Case *c, QTestState *vm)
{
    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        g_autoptr(MigrationView) view = view_take(vm);

        if (view_is(view, "pre-switchover")) {
            qobject_unref(qtest_qmp(vm, "{'execute': 'migrate-continue',"
                                    " 'arguments': {'state':"
                                    " 'pre-switchover'}}"));
        }
        if (view_is_over(view)) {
            if (view_is(view, "completed")) {
                c->outcome = is(c, "background-snapshot") ? SAVED : ARRIVED;
            } else {
                c->outcome = FAILED;
                c->why = g_strdup(qdict_get_try_str(view->all, "error-desc"));
            }
            return;
        }
        g_usleep(20 * 1000);
    }
    g_error("the migration does not end");
}

static Pair *start_pair(const Case *c)
{
    Pair *pair = pair_start(LOAD, "", "");

    if (is(c, "zero-copy-send")) {
        pair_lose_destination(pair);
        pair_start_destination_at(pair, TCP_URI "0", "");
    }
    return pair;
}

static void test_case(const void *opaque)
{
    Case *c = (Case *)opaque;
    g_autoptr(Pair) pair = start_pair(c);

    if (set_capabilities(c, pair->from) && set_deadline(c, pair->from) &&
        set_capabilities(c, pair->to) && start(c, pair)) {
        wait_until_over(c, pair->from);
    }
    if (c->expected != NOT_TRIED) {
        g_assert_cmpint(c->outcome, ==, c->expected);
    }
    if (c->outcome == ARRIVED) {
        pair_assert_arrived(pair);
        return;
    }
    g_test_message("%c %s", c->outcome, c->why ?: "");
    vm_assert_memory_whole(pair->from, pair->load);
    vm_assert_guest_works(pair->from);
    if (c->outcome == FAILED) {
        /* What became of the other side does not matter. */
        qtest_kill_qemu(pair->to);
        pair->to = NULL;
    }
}

static void add_case(Case *c)
{
    g_autofree char *path = g_strdup_printf("/convergence/pairs/%s/%s+%s",
                                            c->action, capabilities[c->first],
                                            capabilities[c->second]);

    if (can_be_tried(c)) {
        qtest_add_data_func(path, c, test_case);
    }
}

static unsigned find(const char *name)
{
    for (unsigned i = 0; i < N; i++) {
        if (g_str_equal(capabilities[i], name)) {
            return i;
        }
    }
    g_error("no capability %s", name);
}

static void expect(Case *c, Outcome expected)
{
    c->expected = expected;
    add_case(c);
}

static void add_some(void)
{
    expect(&with_stop[find("return-path")][find("multifd")], ARRIVED);
    expect(&with_stop[find("compress")][find("multifd")], REFUSED);
    expect(&with_postcopy[find("multifd")], REFUSED);
}

static void add_all(void)
{
    for (unsigned i = 0; i < N; i++) {
        for (unsigned k = i; k < N; k++) {
            add_case(&with_stop[i][k]);
        }
        add_case(&with_postcopy[i]);
    }
}

static void make_cases(void)
{
    for (unsigned i = 0; i < N; i++) {
        for (unsigned k = i; k < N; k++) {
            with_stop[i][k] = (Case) { i, k, "stop", NOT_TRIED, NOT_TRIED };
        }
        with_postcopy[i] = (Case) { MIN(i, find("postcopy-ram")),
                                    MAX(i, find("postcopy-ram")), "postcopy",
                                    NOT_TRIED, NOT_TRIED };
    }
}

static void write_heading(FILE *out)
{
    fputs("| |", out);
    for (unsigned i = 0; i < N; i++) {
        fprintf(out, " %u |", i + 1);
    }
    fputs("\n|---|", out);
    for (unsigned i = 0; i < N; i++) {
        fputs("---|", out);
    }
    fputc('\n', out);
}

static void write_stop_table(FILE *out)
{
    write_heading(out);
    for (unsigned i = 0; i < N; i++) {
        fprintf(out, "| %u `%s` |", i + 1, capabilities[i]);
        for (unsigned k = 0; k < N; k++) {
            const Case *c = &with_stop[MIN(i, k)][MAX(i, k)];

            fprintf(out, " %c |", k > i ? ' ' : c->outcome);
        }
        fputc('\n', out);
    }
}

static void write_postcopy_table(FILE *out)
{
    fputs("\n| beside `postcopy-ram` | outcome |\n|---|---|\n", out);
    for (unsigned i = 0; i < N; i++) {
        fprintf(out, "| `%s` | %c |\n", capabilities[i],
                with_postcopy[i].outcome);
    }
}

static void write_reasons(FILE *out)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

    fputs("\n| what QEMU says | first of |\n|---|---|\n", out);
    for (unsigned i = 0; i < N * N + N; i++) {
        const Case *c = i < N * N ? &with_stop[i / N][i % N]
                                  : &with_postcopy[i - N * N];

        if (c->why && g_hash_table_add(seen, c->why)) {
            fprintf(out, "| %c: %s | `%s`, `%s` |\n", c->outcome, c->why,
                    capabilities[c->first], capabilities[c->second]);
        }
    }
}

static void write_tables(const char *path)
{
    FILE *out = fopen(path, "w");

    if (!out) {
        g_error("cannot write %s: %s", path, strerror(errno));
    }
    write_stop_table(out);
    write_postcopy_table(out);
    write_reasons(out);
    fclose(out);
}

int main(int argc, char **argv)
{
    const char *path = g_getenv("CONVERGE_PAIRS");
    int ret;

    g_test_init(&argc, &argv, NULL);
    vm_setup();
    make_cases();
    if (path) {
        add_all();
    } else {
        add_some();
    }
    ret = g_test_run();
    vm_teardown();
    if (path && !ret) {
        write_tables(path);
    }
    return ret;
}
