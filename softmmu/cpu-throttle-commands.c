/*
 * QMP and HMP commands of the throttle
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-convergence.h"
#include "qobject/qdict.h"
#include "hw/core/cpu.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "sysemu/cpu-throttle.h"
#include "sysemu/vcpu-slowdown.h"

void qmp_set_cpu_throttle(int64_t percentage, Error **errp)
{
    if (percentage < 0 || percentage > CPU_THROTTLE_PCT_MAX) {
        error_setg(errp, "percentage %" PRId64 " is out of range: it must be "
                   "0 to %d, where 0 ends the throttle",
                   percentage, CPU_THROTTLE_PCT_MAX);
        return;
    }
    cpu_throttle_set_by_user(percentage);
}

CpuThrottleInfoList *qmp_query_cpu_throttle(Error **errp)
{
    CpuThrottleInfoList *head = NULL, **tail = &head;
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        const VcpuThrottleAccount *account =
            &vcpu_slowdown_payer(cpu)->slowdown.throttle;
        CpuThrottleInfo *info = g_new0(CpuThrottleInfo, 1);

        info->cpu_index = cpu->cpu_index;
        info->percentage = cpu_throttle_get_vcpu_percentage(cpu);
        info->ran_ns = account->ran_ns;
        info->slept_ns = account->slept_ns;
        QAPI_LIST_APPEND(tail, info);
    }
    return head;
}

void hmp_set_cpu_throttle(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    qmp_set_cpu_throttle(qdict_get_int(qdict, "percentage"), &err);
    hmp_handle_error(mon, err);
}

void hmp_info_cpu_throttle(Monitor *mon, const QDict *qdict)
{
    g_autoptr(CpuThrottleInfoList) list = qmp_query_cpu_throttle(NULL);
    CpuThrottleInfoList *item;

    for (item = list; item; item = item->next) {
        CpuThrottleInfo *info = item->value;
        int64_t total_ns = info->ran_ns + info->slept_ns;

        monitor_printf(mon, "vcpu[%" PRId64 "]: throttle %" PRId64 " %%, "
                       "ran %" PRId64 " ms, slept %" PRId64 " ms (%.1f %%)\n",
                       info->cpu_index, info->percentage,
                       info->ran_ns / SCALE_MS, info->slept_ns / SCALE_MS,
                       total_ns ? 100.0 * info->slept_ns / total_ns : 0.0);
    }
}
