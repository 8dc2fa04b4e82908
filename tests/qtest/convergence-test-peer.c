/*
 * Convergence tests: to and from another QEMU
 *
 * CONVERGE_PEER names it; without, Debian's is taken where one of our version is
 * installed, which knows nothing of us.  For a peer of another version,
 * CONVERGE_QEMU_ARGS has to name a machine that both have: tests/suites-bases
 * does.  The guest writes little: a stock QEMU 7.2 under TCG loses pages of one
 * that writes much, see convergence-test-ram.c.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-vm.h"

#define LOAD        LOAD_LIGHT(4)

/* Returns: "7.2", say, or NULL where @qemu cannot be run. */
static char *version_of(const char *qemu)
{
    const char *argv[] = { qemu, "--version", NULL };
    g_autofree char *text = NULL;
    unsigned major, minor;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL,
                      NULL, NULL, &text, NULL, NULL, NULL) ||
        sscanf(text, "QEMU emulator version %u.%u.", &major, &minor) != 2) {
        return NULL;
    }
    return g_strdup_printf("%u.%u", major, minor);
}

/* Returns: NULL, and skips, where there is no QEMU to be a peer. */
static char *find_peer(void)
{
    const char *named = g_getenv("CONVERGE_PEER");
    g_autofree char *peer = named ? g_strdup(named) :
        g_strdup_printf("/usr/bin/qemu-system-%s", qtest_get_arch());
    g_autofree char *ours = version_of(g_getenv("QTEST_QEMU_BINARY"));
    g_autofree char *version = version_of(peer);
    g_autofree char *reason = NULL;

    g_assert_nonnull(ours);
    g_assert_true(version || !named);
    if (named || g_strcmp0(version, ours) == 0) {
        return g_steal_pointer(&peer);
    }
    reason = version ?
        g_strdup_printf("%s is a QEMU %s and not a %s; CONVERGE_PEER names"
                        " another", peer, version, ours) :
        g_strdup_printf("no stock QEMU at %s; CONVERGE_PEER names another",
                        peer);
    g_test_skip(reason);
    return NULL;
}

/* Whatever is started until restore_binary() is a @peer. */
static char *use_binary(const char *peer)
{
    char *ours = g_strdup(g_getenv("QTEST_QEMU_BINARY"));

    g_setenv("QTEST_QEMU_BINARY", peer, true);
    return ours;
}

static void restore_binary(char *ours)
{
    g_setenv("QTEST_QEMU_BINARY", ours, true);
    g_free(ours);
}

static bool knows_us(QTestState *vm)
{
    QDict *params = vm_query(vm, "query-migrate-parameters");
    bool knows = qdict_haskey(params, "convergence-policy");

    qobject_unref(params);
    return knows;
}

/* The other end of the first migration becomes the source of the next. */
static void turn_round(Pair *pair)
{
    qtest_quit(pair->from);
    pair->from = pair->to;
    pair->to = NULL;
}

static void start_peer_destination(Pair *pair, const char *peer)
{
    char *ours = use_binary(peer);

    pair_start_destination(pair, "");
    restore_binary(ours);
}

static Pair *start_at_peer(const char *peer)
{
    Pair *pair = g_new0(Pair, 1);
    char *ours = use_binary(peer);

    pair->load = LOAD;
    pair->from = vm_start(pair->load, "");
    restore_binary(ours);
    vm_wait_guest_up(pair->from);
    return pair;
}

static void test_from_peer_and_back(void)
{
    g_autofree char *peer = find_peer();
    g_autoptr(Pair) pair = NULL;
    bool is_ours;

    if (!peer) {
        return;
    }
    pair = start_at_peer(peer);
    is_ours = knows_us(pair->from);
    g_assert_true(!is_ours || g_getenv("CONVERGE_PEER"));
    pair_start_destination(pair, "");
    pair_migrate(pair);
    pair_assert_arrived(pair);

    turn_round(pair);
    g_assert_true(knows_us(pair->from));
    start_peer_destination(pair, peer);
    g_assert_true(knows_us(pair->to) == is_ours);
    pair_migrate(pair);
    pair_assert_arrived(pair);
    {
        g_autoptr(MigrationView) view = view_take(pair->from);

        /* Nobody asked the engine to act. */
        g_assert_cmpstr(view->state, ==, "off");
    }
}

/* The engine is a matter of the source alone. */
static void test_to_peer_with_a_policy(void)
{
    g_autofree char *peer = find_peer();
    g_autoptr(Pair) pair = NULL;

    if (!peer) {
        return;
    }
    pair = g_new0(Pair, 1);
    pair->load = LOAD_FLAT_OUT(16);
    pair->from = vm_start(pair->load, "");
    start_peer_destination(pair, peer);
    vm_wait_guest_up(pair->from);
    vm_capability(pair->from, "auto-converge", true);
    vm_set(pair->from, "'convergence-policy': 'auto',"
           " 'dirty-sync-period': 200, 'max-bandwidth': 33554432,"
           " 'convergence-timeout': 3");
    pair_migrate(pair);
    pair_assert_arrived(pair);
}

void convergence_add_peer_tests(void)
{
    qtest_add_func("/convergence/peer/from-and-back",
                   test_from_peer_and_back);
    qtest_add_func("/convergence/peer/to-with-policy",
                   test_to_peer_with_a_policy);
}
