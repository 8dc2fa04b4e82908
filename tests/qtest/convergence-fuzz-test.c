/*
 * Convergence tests: parameters at random, while migrations run
 *
 * Values lie on both sides of each limit, or are of another type than they
 * should be.  QEMU answers each time; what it refuses has changed nothing, what
 * it takes is shown; and whatever the parameters make of the migration, in the
 * end the guest works on one side, its memory whole.
 *
 * CONVERGE_FUZZ_S is for how many seconds (10); --seed repeats a run.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/qapi-types-convergence.h"
#include "qapi/util.h"
#include "qobject/qbool.h"
#include "qobject/qnull.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"
#include "convergence-vm.h"

#define LOAD                ((GuestLoad) { VM_PAGES_OF(4), 0, 2 })
#define LINK_BYTES_PER_S    (16 * 1024 * 1024)
#define DEFAULT_S           10

typedef struct Parameter {
    const char *name;
    uint64_t min, max;
    const QEnumLookup *values;      /* of an enumeration, else NULL */
} Parameter;

/* The limits only say where values get interesting: QEMU is the judge. */
static const Parameter parameters[] = {
    { "convergence-policy", 0, 0, &ConvergencePolicyName_lookup },
    { "dirty-sync-period", 100, 60000 },
    { "convergence-timeout", 0, 1000000 },
    { "convergence-max-downtime", 0, 2000000 },
    { "convergence-max-iterations", 0, 1000000000 },
    { "convergence-max-transfer", 0, 1000000 },
    { "convergence-timeout-action", 0, 0, &ConvergenceTimeoutAction_lookup },
    { "convergence-vcpu-limit", 0, INT64_MAX / 1000000 },
    { "avail-switchover-bandwidth", 0, INT64_MAX },
    { "cpu-throttle-initial", 1, 99 },
    { "cpu-throttle-increment", 1, 99 },
    { "max-cpu-throttle", 1, 99 },
    { "throttle-trigger-threshold", 1, 100 },
    { "downtime-limit", 0, 2000000 },
};

typedef struct Score {
    unsigned taken, refused, completed, failed, restarted;
} Score;

static QObject *wrong_type(void)
{
    switch (g_test_rand_int_range(0, 7)) {
    case 0:
        return QOBJECT(qstring_from_str(""));
    case 1:
        return QOBJECT(qstring_from_str("99999999999999999999"));
    case 2:
        return QOBJECT(qbool_from_bool(g_test_rand_int() & 1));
    case 3:
        return QOBJECT(qnull());
    case 4:
        return QOBJECT(qlist_new());
    case 5:
        return QOBJECT(qdict_new());
    default:
        return QOBJECT(qnum_from_double(g_test_rand_double_range(-1e30,
                                                                 1e30)));
    }
}

static QObject *number_around(const Parameter *p)
{
    uint64_t range = p->max - p->min;

    switch (g_test_rand_int_range(0, 8)) {
    case 0:
        return QOBJECT(qnum_from_uint(p->max));
    case 1:
        return QOBJECT(qnum_from_uint(p->max + 1));
    case 2:
        return QOBJECT(qnum_from_uint(p->min));
    case 3:
        return QOBJECT(qnum_from_int((int64_t)p->min - 1));
    case 4:
        return QOBJECT(qnum_from_int(INT64_MIN));
    case 5:
        return QOBJECT(qnum_from_uint(UINT64_MAX));
    case 6:
        /* What a person would set. */
        return QOBJECT(qnum_from_uint(p->min + MIN(range, 500) *
                                      g_test_rand_double()));
    default:
        return QOBJECT(qnum_from_uint(p->min + range * g_test_rand_double()));
    }
}

static QObject *value_for(const Parameter *p)
{
    if (g_test_rand_int_range(0, 12) == 0) {
        return wrong_type();
    }
    if (p->values) {
        int value = g_test_rand_int_range(0, p->values->size);

        return QOBJECT(qstring_from_str(qapi_enum_lookup(p->values, value)));
    }
    return number_around(p);
}

static QDict *some_parameters(void)
{
    QDict *set = qdict_new();

    for (int n = g_test_rand_int_range(1, 4); n; n--) {
        const Parameter *p =
            &parameters[g_test_rand_int_range(0, ARRAY_SIZE(parameters))];

        qdict_put_obj(set, p->name, value_for(p));
    }
    return set;
}

/*
 * Sizes that QEMU checks itself, as later ones do avail-switchover-bandwidth,
 * take a number below zero for the unsigned one of the same bits.
 */
static bool is_shown_as(QObject *set, QObject *shown)
{
    QNum *number = qobject_to(QNum, set);
    g_autoptr(QNum) same_bits = NULL;
    int64_t value;

    if (qobject_is_equal(set, shown)) {
        return true;
    }
    if (!number || !qnum_get_try_int(number, &value) || value >= 0) {
        return false;
    }
    same_bits = qnum_from_uint(value);
    return qobject_is_equal(QOBJECT(same_bits), shown);
}

static void assert_shown(const QDict *set, const QDict *after)
{
    const QDictEntry *entry;

    for (entry = qdict_first(set); entry; entry = qdict_next(set, entry)) {
        const char *name = qdict_entry_key(entry);

        if (!is_shown_as(qdict_entry_value(entry), qdict_get(after, name))) {
            g_error("%s was set to one value, and another is shown", name);
        }
    }
}

static void set_at_random(QTestState *vm, Score *score)
{
    QDict *before = vm_query(vm, "query-migrate-parameters");
    QDict *set = some_parameters();
    QDict *rsp = qtest_qmp(vm, "{'execute': 'migrate-set-parameters',"
                           " 'arguments': %p}", qobject_ref(set));
    QDict *after = vm_query(vm, "query-migrate-parameters");

    if (qdict_haskey(rsp, "error")) {
        score->refused++;
        g_assert_true(qobject_is_equal(QOBJECT(before), QOBJECT(after)));
    } else {
        score->taken++;
        assert_shown(set, after);
    }
    qobject_unref(before);
    qobject_unref(set);
    qobject_unref(rsp);
    qobject_unref(after);
}

static Pair *new_pair(Score *score)
{
    Pair *pair = pair_start(LOAD, "", "");

    score->restarted++;
    vm_set(pair->from, "'max-bandwidth': %d", LINK_BYTES_PER_S);
    vm_capability(pair->from, "auto-converge", true);
    pair_migrate(pair);
    return pair;
}

/* Have a migration running, again if it is over.  Returns: the pair of it. */
static Pair *keep_migrating(Pair *pair, Score *score)
{
    g_autoptr(MigrationView) view = view_take(pair->from);

    if (view_is(view, "completed")) {
        score->completed++;
        pair_assert_arrived(pair);
        pair_free(pair);
        return new_pair(score);
    }
    if (view_is(view, "failed")) {
        score->failed++;
        vm_assert_memory_whole(pair->from, LOAD);
        vm_assert_guest_works(pair->from);
        pair_bury_destination(pair);
        pair_start_destination(pair, "");
        pair_migrate(pair);
    }
    return pair;
}

/* Cancels what is under way.  Returns: false, or true if it had arrived. */
static bool has_arrived_or_is_cancelled(QTestState *vm)
{
    bool cancelled = false;

    for (int i = 0; i < VM_PATIENCE_S * 50; i++) {
        g_autoptr(MigrationView) view = view_take(vm);

        if (view_is_over(view)) {
            return view_is(view, "completed");
        }
        /* Not before the destination has heard of it. */
        if (!cancelled && !view_is(view, "setup")) {
            qtest_qmp_assert_success(vm, "{'execute': 'migrate_cancel'}");
            cancelled = true;
        }
        g_usleep(20 * 1000);
    }
    g_error("the migration does not end");
}

static void test_parameters(void)
{
    const char *seconds = g_getenv("CONVERGE_FUZZ_S");
    int64_t end_us = g_get_monotonic_time() +
                     (seconds ? atoi(seconds) : DEFAULT_S) * G_USEC_PER_SEC;
    Score score = { 0 };
    Pair *pair = new_pair(&score);

    while (g_get_monotonic_time() < end_us) {
        set_at_random(pair->from, &score);
        pair = keep_migrating(pair, &score);
    }
    g_test_message("%u sets taken, %u refused; %u migrations completed, %u "
                   "failed, %u guests", score.taken, score.refused,
                   score.completed, score.failed, score.restarted);
    g_assert_cmpuint(score.taken, >, 10);
    g_assert_cmpuint(score.refused, >, 10);
    if (!has_arrived_or_is_cancelled(pair->from)) {
        vm_assert_memory_whole(pair->from, LOAD);
        vm_assert_guest_works(pair->from);
        pair_bury_destination(pair);
    } else {
        pair_assert_arrived(pair);
    }
    pair_free(pair);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    vm_setup();
    qtest_add_func("convergence/fuzz/parameters", test_parameters);
    ret = g_test_run();
    vm_teardown();
    return ret;
}
