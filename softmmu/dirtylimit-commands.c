/*
 * QMP and HMP commands of vCPU dirty limits
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-migration.h"
#include "qobject/qdict.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "sysemu/dirty-meter.h"
#include "sysemu/dirtylimit.h"

/* What the schema calls MB. */
#define MB_SHIFT        20
#define MAX_LIMIT_MB    ((uint64_t)DIRTYLIMIT_MAX_BYTES_PER_S >> MB_SHIFT)

/* After the value; takes MAX_LIMIT_MB. */
#define OUT_OF_RANGE    " MB/s is out of range: it must be 0 to %" PRIu64 \
                        ", where 0 lifts the limit"

/*
 * Which vCPU a command means: sets *@cpu, to NULL for all.  Returns: false with
 * an error if there is no such vCPU.
 */
static bool find_vcpu(bool has_cpu_index, int64_t cpu_index, CPUState **cpu,
                      Error **errp)
{
    unsigned max_cpus = MACHINE(qdev_get_machine())->smp.max_cpus;

    *cpu = NULL;
    if (!has_cpu_index) {
        return true;
    }
    if (cpu_index < 0 || cpu_index >= max_cpus) {
        error_setg(errp, "vCPU index %" PRId64 " is out of range: it must be "
                   "0 to %u", cpu_index, max_cpus - 1);
        return false;
    }
    *cpu = qemu_get_cpu(cpu_index);
    if (!*cpu) {
        error_setg(errp, "There is no vCPU %" PRId64 " now: leave 'cpu-index' "
                   "out to set a limit for vCPUs plugged later, too",
                   cpu_index);
        return false;
    }
    return true;
}

void qmp_set_vcpu_dirty_limit(bool has_cpu_index, int64_t cpu_index,
                              uint64_t dirty_rate, Error **errp)
{
    CPUState *cpu;

    if (!dirtylimit_available(errp) ||
        !find_vcpu(has_cpu_index, cpu_index, &cpu, errp)) {
        return;
    }
    if (dirty_rate > MAX_LIMIT_MB) {
        error_setg(errp, "Dirty limit %" PRIu64 OUT_OF_RANGE, dirty_rate,
                   MAX_LIMIT_MB);
        return;
    }
    dirtylimit_set_user_limit(cpu, dirty_rate << MB_SHIFT);
}

void qmp_cancel_vcpu_dirty_limit(bool has_cpu_index, int64_t cpu_index,
                                 Error **errp)
{
    CPUState *cpu;

    if (find_vcpu(has_cpu_index, cpu_index, &cpu, errp)) {
        dirtylimit_set_user_limit(cpu, 0);
    }
}

/* A limit or rate below 1 MB/s is not none. */
static uint64_t to_mb(uint64_t bytes)
{
    return (bytes >> MB_SHIFT) + !!(bytes & ((1 << MB_SHIFT) - 1));
}

DirtyLimitInfoList *qmp_query_vcpu_dirty_limit(Error **errp)
{
    DirtyLimitInfoList *head = NULL, **tail = &head;
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        if (dirtylimit_of(cpu)) {
            DirtyLimitInfo *info = g_new0(DirtyLimitInfo, 1);

            info->cpu_index = cpu->cpu_index;
            info->limit_rate = to_mb(dirtylimit_of(cpu));
            info->current_rate = dirty_meter_vcpu_rate(cpu) >> MB_SHIFT;
            QAPI_LIST_APPEND(tail, info);
        }
    }
    return head;
}

static void say_how_to_look(Monitor *mon, Error *err)
{
    if (!hmp_handle_error(mon, err)) {
        monitor_printf(mon, "[Please use 'info vcpu_dirty_limit' to query "
                       "dirty limit for virtual CPU]\n");
    }
}

void hmp_set_vcpu_dirty_limit(Monitor *mon, const QDict *qdict)
{
    int64_t rate_mb = qdict_get_int(qdict, "dirty_rate");
    Error *err = NULL;

    if (rate_mb < 0) {
        error_setg(&err, "Dirty limit %" PRId64 OUT_OF_RANGE, rate_mb,
                   MAX_LIMIT_MB);
    } else {
        qmp_set_vcpu_dirty_limit(qdict_haskey(qdict, "cpu_index"),
                                 qdict_get_try_int(qdict, "cpu_index", 0),
                                 rate_mb, &err);
    }
    say_how_to_look(mon, err);
}

void hmp_cancel_vcpu_dirty_limit(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    qmp_cancel_vcpu_dirty_limit(qdict_haskey(qdict, "cpu_index"),
                                qdict_get_try_int(qdict, "cpu_index", 0),
                                &err);
    say_how_to_look(mon, err);
}

void hmp_info_vcpu_dirty_limit(Monitor *mon, const QDict *qdict)
{
    g_autoptr(DirtyLimitInfoList) list = qmp_query_vcpu_dirty_limit(NULL);
    DirtyLimitInfoList *item;

    if (!list) {
        monitor_printf(mon, "Dirty page limit not enabled!\n");
    }
    for (item = list; item; item = item->next) {
        monitor_printf(mon, "vcpu[%" PRId64 "], limit rate %" PRIu64
                       " (MB/s), current rate %" PRIu64 " (MB/s)\n",
                       item->value->cpu_index, item->value->limit_rate,
                       item->value->current_rate);
    }
}
