/*
 * Dirty limit tests: limits set, shown and measured
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-dirtylimit.h"

#define MB              (1024.0 * 1024.0)

QTestState *vm_start_writer(void)
{
    return vm_start_on(vm_accel(), LIMIT_RAM_MB, LIMIT_LOAD,
                       "-smp 2,sockets=4,cores=1,threads=1,maxcpus=4");
}

double vm_mb_per_s(QTestState *vm, double seconds)
{
    return vm_bytes_per_s_over(vm, seconds) / MB;
}

double vm_unlimited_mb(double usual)
{
    const char *ring_mb = vm_has_ring() ? g_getenv("CONVERGE_RING_MB") : NULL;

    return ring_mb ? g_ascii_strtod(ring_mb, NULL) : usual;
}

bool vm_has_one_thread(QTestState *vm)
{
    QDict *rsp = qtest_qmp(vm, "{'execute': 'query-cpus-fast'}");
    const QListEntry *entry;
    int64_t thread = -1;
    bool shared = false;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), entry) {
        QDict *cpu = qobject_to(QDict, qlist_entry_obj(entry));

        shared |= qdict_get_int(cpu, "thread-id") == thread;
        thread = qdict_get_int(cpu, "thread-id");
    }
    qobject_unref(rsp);
    return shared;
}

double vm_limit_used(QTestState *vm)
{
    return vm_has_one_thread(vm) ? 0.15 : 0.5;
}

void vm_set_limit(QTestState *vm, uint64_t limit_mb)
{
    qtest_qmp_assert_success(vm, "{'execute': 'set-vcpu-dirty-limit',"
                             " 'arguments': {'dirty-rate': %" PRIu64 "}}",
                             limit_mb);
}

void vm_cancel_limits(QTestState *vm)
{
    qtest_qmp_assert_success(vm, "{'execute': 'cancel-vcpu-dirty-limit'}");
}

int64_t vm_limit_shown(QTestState *vm, int vcpu, const char *what)
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

double vm_mb_per_s_limited(QTestState *vm, uint64_t limit_mb)
{
    double got;

    vm_set_limit(vm, limit_mb);
    g_usleep(G_USEC_PER_SEC);
    got = vm_mb_per_s(vm, 2);
    g_test_message("limit %" PRIu64 " MB/s: %.2f MB/s", limit_mb, got);
    g_assert_cmpfloat(got, <, limit_mb * 1.15);
    return got;
}

void vm_dirty_rate_start(QTestState *vm, int seconds)
{
    qtest_qmp_assert_success(vm, "{'execute': 'calc-dirty-rate', 'arguments':"
                             " {'calc-time': %d, 'mode': 'dirty-ring'}}",
                             seconds);
}

int64_t vm_dirty_rate_wait(QTestState *vm)
{
    QDict *rsp, *info, *vcpu;
    int64_t rate;

    for (int i = 0; i < VM_PATIENCE_S * 10; i++) {
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
