/*
 * Convergence engine, QEMU side: what monitors are told
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "migration/convergence.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "sysemu/cpu-throttle.h"
#include "sysemu/dirty-meter.h"
#include "convergence-info.h"

static ConvergenceVcpuInfoList *list_vcpus(const ConvergenceView *view)
{
    const ConvergenceSampler *sampler = view->sampler;
    ConvergenceVcpuInfoList *head = NULL, **tail = &head;

    for (unsigned i = 0; i < sampler->n_vcpus; i++) {
        const ConvergenceVcpu *vcpu = &sampler->vcpus[i];
        ConvergenceVcpuInfo *info = g_new0(ConvergenceVcpuInfo, 1);

        info->id = vcpu->id;
        info->dirty_rate = vcpu->dirty_rate_bytes_per_s;
        info->dirty_limit = view->may_slow ? vcpu->limit_bytes_per_s : 0;
        info->throttle_percentage = view->still ?
                                    0 : sampler->vcpu_bases[i].throttle_pct;
        info->dirty_share = vcpu->dirty_share * 100 + 0.5;
        QAPI_LIST_APPEND(tail, info);
    }
    return head;
}

static void fill_forecast(ConvergenceInfo *info, const ConvergenceView *view)
{
    const ConvergenceEngine *engine = view->engine;
    int64_t since_look_ms = (view->now_ns - engine->model.last_sample_ns) /
                            SCALE_MS;
    int64_t left_ms = engine->decision.predicted_remaining_ms - since_look_ms;

    /* As total-time is: the set-up was before the engine began. */
    info->has_predicted_total_time = true;
    info->predicted_total_time = view->total_ms + MAX(left_ms, 0);
    info->has_predicted_error_percentage = true;
    info->predicted_error_percentage = engine->decision.predicted_error_pct;
    info->has_predicted_downtime = true;
    info->predicted_downtime = engine->decision.predicted_downtime_ms;
}

/*
 * That a migration does not end is no longer so once the guest was stopped for
 * the end of it.  Of one that was given up it is why.
 */
static const char *reason_of(const ConvergenceView *view,
                             MigrationStatus status)
{
    bool outdated = view->phase == CONVERGENCE_PHASE_OFF &&
                    status != MIGRATION_STATUS_ACTIVE &&
                    status != MIGRATION_STATUS_CANCELLING &&
                    status != MIGRATION_STATUS_CANCELLED &&
                    status != MIGRATION_STATUS_FAILED;

    return outdated ? CONVERGENCE_REASON_OFF : view->reason;
}

ConvergenceInfo *convergence_info_new(const ConvergenceView *view,
                                      MigrationStatus status)
{
    const ConvergenceEngine *engine = view->engine;
    const DirtyMeter *meter = convergence_sampler_meter(view->sampler);
    ConvergenceInfo *info = g_new0(ConvergenceInfo, 1);

    info->policy = qapi_enum_parse(&ConvergencePolicyName_lookup, view->policy,
                                   CONVERGENCE_POLICY_NAME_STEP, NULL);
    info->state = (ConvergenceState)view->phase;
    info->reason = g_strconcat(reason_of(view, status), view->no_deadline ?
                               "; " CONVERGENCE_REASON_FILE : NULL, NULL);
    info->dirty_rate = engine->model.dirty_bytes_per_s;
    info->drain_rate = engine->model.drain_bytes_per_s;
    info->throttle_percentage = cpu_throttle_get_percentage();
    info->downtime_limit = engine->deadline.downtime_limit_ms;
    info->passes = view->passes;
    info->syncs = view->syncs;
    info->longest_pause = view->longest_pause_ns / SCALE_MS;
    info->progress_percentage = status == MIGRATION_STATUS_COMPLETED ?
                                100 : view->progress_pct;
    if (engine->decision.predicted && !view->still &&
        status == MIGRATION_STATUS_ACTIVE) {
        fill_forecast(info, view);
    }
    if (meter) {
        info->has_meter = true;
        info->meter = qapi_enum_parse(&ConvergenceMeter_lookup, meter->name,
                                      CONVERGENCE_METER_TCG, &error_abort);
        info->has_vcpus = true;
        info->vcpus = list_vcpus(view);
    }
    return info;
}

/* Of the forecast, in time: of what is left by it. */
static uint64_t error_ms(const MigrationInfo *info)
{
    const ConvergenceInfo *c = info->convergence;
    uint64_t elapsed_ms = info->has_total_time ? info->total_time : 0;

    return c->predicted_total_time > elapsed_ms ?
           (c->predicted_total_time - elapsed_ms) *
           c->predicted_error_percentage / 100 : 0;
}

void hmp_convergence_info(Monitor *mon, const MigrationInfo *info)
{
    const ConvergenceInfo *c = info->convergence;
    const ConvergenceVcpuInfoList *vcpu;

    if (!c) {
        return;
    }
    monitor_printf(mon, "convergence: %s, policy %s, progress %" PRId64
                   " %%\n", ConvergenceState_str(c->state),
                   ConvergencePolicyName_str(c->policy),
                   c->progress_percentage);
    monitor_printf(mon, "convergence reason: %s\n", c->reason);
    monitor_printf(mon, "dirty rate: %" PRIu64 " kbytes/s, drain rate: %"
                   PRIu64 " kbytes/s, passes: %" PRIu64 ", syncs: %" PRIu64
                   "\n", c->dirty_rate >> 10, c->drain_rate >> 10, c->passes,
                   c->syncs);
    monitor_printf(mon, "downtime limit in force: %" PRIu64 " ms, longest "
                   "pause of a vcpu: %" PRIu64 " ms\n", c->downtime_limit,
                   c->longest_pause);
    if (c->has_predicted_total_time) {
        monitor_printf(mon, "predicted total time: %" PRIu64 " ms +- %" PRIu64
                       " ms, predicted downtime: %" PRIu64 " ms\n",
                       c->predicted_total_time, error_ms(info),
                       c->predicted_downtime);
    }
    if (c->has_meter) {
        monitor_printf(mon, "vcpus are told apart by: %s\n",
                       ConvergenceMeter_str(c->meter));
    }
    for (vcpu = c->vcpus; vcpu; vcpu = vcpu->next) {
        g_autofree char *limit = vcpu->value->dirty_limit ?
            g_strdup_printf("%" PRIu64 " kbytes/s",
                            vcpu->value->dirty_limit >> 10) :
            g_strdup("none");

        monitor_printf(mon, "vcpu %" PRId64 ": dirty rate %" PRIu64
                       " kbytes/s, dirty limit %s, throttle %" PRId64
                       " %%, share of dirtying %" PRId64 " %%\n",
                       vcpu->value->id, vcpu->value->dirty_rate >> 10, limit,
                       vcpu->value->throttle_percentage,
                       vcpu->value->dirty_share);
    }
}
