/*
 * Convergence engine: its parameters, in QMP, HMP and as properties
 *
 * The schema is ConvergenceParameters in qapi/convergence.json, the base of
 * upstream's two parameter structs.  A parameter is added there, to the
 * property list in include/migration/convergence.h, and to the functions
 * below, each of which treats the parameters in the order of the schema.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-migration.h"
#include "qapi/qapi-visit-convergence.h"
#include "qapi/qapi-visit-migration.h"
#include "qobject/qdict.h"
#include "qemu/error-report.h"
#include "hw/qdev-properties.h"
#include "hw/core/qdev-prop-internal.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "migration/convergence.h"
#include "convergence-base.h"
#include "convergence-host.h"
#include "sysemu/dirty-meter.h"
#include "sysemu/dirtylimit.h"

/* Below 100 ms upstream's rate limiter has no finer grain. */
#define SYNC_PERIOD_MIN_MS 100
#define SYNC_PERIOD_MAX_MS 60000
/* Upstream's bound of downtime-limit: 2000 s. */
#define MAX_DOWNTIME_MAX_MS 2000000
/* Eleven days; its nanoseconds are far from the end of 63 bits. */
#define TIMEOUT_MAX_S 1000000
#define ITERATIONS_MAX 1000000000
#define TRANSFER_MAX_PCT 1000000
/* So that bytes per second fit 63 bits. */
#define VCPU_LIMIT_MAX_MB (INT64_MAX / 1000000)

QEMU_BUILD_BUG_ON((int)CONVERGENCE_TIMEOUT_ACTION_DOWNTIME !=
                  (int)CONVERGENCE_ACTION_DOWNTIME);
QEMU_BUILD_BUG_ON((int)CONVERGENCE_TIMEOUT_ACTION_ABORT !=
                  (int)CONVERGENCE_ACTION_ABORT);
QEMU_BUILD_BUG_ON((int)CONVERGENCE_TIMEOUT_ACTION__MAX !=
                  (int)CONVERGENCE_ACTION__MAX);

const PropertyInfo qdev_prop_convergence_policy = {
    .type = "ConvergencePolicyName",
    .description = "step/predictive/dirty-limit/auto",
    .enum_table = &ConvergencePolicyName_lookup,
    .get = qdev_propinfo_get_enum,
    .set = qdev_propinfo_set_enum,
    .set_default_value = qdev_propinfo_set_default_value_enum,
};

const PropertyInfo qdev_prop_convergence_timeout_action = {
    .type = "ConvergenceTimeoutAction",
    .description = "downtime/stop/postcopy/abort",
    .enum_table = &ConvergenceTimeoutAction_lookup,
    .get = qdev_propinfo_get_enum,
    .set = qdev_propinfo_set_enum,
    .set_default_value = qdev_propinfo_set_default_value_enum,
};

static void set_meter(Object *obj, Visitor *v, const char *name, void *opaque,
                      Error **errp)
{
    g_autofree char *meter = NULL;

    if (visit_type_str(v, name, &meter, errp)) {
        dirty_meter_force(meter, errp);
    }
}

static void get_meter(Object *obj, Visitor *v, const char *name, void *opaque,
                      Error **errp)
{
    char *meter = (char *)dirty_meter_forced();

    visit_type_str(v, name, &meter, errp);
}

const PropertyInfo qdev_prop_convergence_meter = {
    .type = "str",
    .description = "for tests: use the meter of that name, or none",
    .get = get_meter,
    .set = set_meter,
};

static void set_all_present(MigrationParameters *params)
{
    params->has_convergence_policy = true;
    params->has_dirty_sync_period = true;
    params->has_convergence_timeout = true;
    params->has_convergence_max_downtime = true;
    params->has_convergence_max_iterations = true;
    params->has_convergence_max_transfer = true;
    params->has_convergence_timeout_action = true;
    params->has_convergence_vcpu_limit = true;
    convergence_base_params_init(params);
}

static bool check_range(const char *name, bool present, uint64_t value,
                        uint64_t min, uint64_t max, const char *unit,
                        Error **errp)
{
    if (!present || (value >= min && value <= max)) {
        return true;
    }
    error_setg(errp, "Parameter '%s' expects a value between %" PRIu64
               " and %" PRIu64 "%s%s, got %" PRIu64, name, min, max,
               *unit ? " " : "", unit, value);
    return false;
}

static bool check_postcopy(bool postcopy_ram, bool multifd, Error **errp)
{
    if (!postcopy_ram) {
        error_setg(errp, "Parameter 'convergence-timeout-action' takes "
                   "'postcopy' only with capability 'postcopy-ram' on "
                   "(on both sides)");
        return false;
    }
    if (multifd && !convergence_base_postcopy_with_multifd()) {
        error_setg(errp, "Parameter 'convergence-timeout-action' cannot be "
                   "'postcopy' with capability 'multifd' on, with which "
                   "postcopy does not work: switch multifd off, or choose "
                   "another action");
        return false;
    }
    return true;
}

/*
 * Only a change is refused: a client that turned postcopy-ram off later must
 * still be able to set other parameters.  See also timeout_action().
 */
static bool check_action(const MigrationParameters *params, Error **errp)
{
    const MigrationParameters *now = &migrate_get_current()->parameters;

    return !params->has_convergence_timeout_action ||
           params->convergence_timeout_action !=
           CONVERGENCE_TIMEOUT_ACTION_POSTCOPY ||
           now->convergence_timeout_action ==
           CONVERGENCE_TIMEOUT_ACTION_POSTCOPY ||
           check_postcopy(migrate_postcopy_ram(), migrate_multifd(), errp);
}

bool convergence_caps_check(const bool *caps, Error **errp)
{
    const MigrationParameters *now = &migrate_get_current()->parameters;

    return now->convergence_timeout_action !=
           CONVERGENCE_TIMEOUT_ACTION_POSTCOPY ||
           !caps[MIGRATION_CAPABILITY_POSTCOPY_RAM] ||
           check_postcopy(true, caps[MIGRATION_CAPABILITY_MULTIFD], errp);
}

static bool check_policy(const MigrationParameters *params, Error **errp)
{
    if (params->has_convergence_policy &&
        params->convergence_policy == CONVERGENCE_POLICY_NAME_DIRTY_LIMIT &&
        !dirtylimit_available(errp)) {
        error_prepend(errp, "Parameter 'convergence-policy' cannot be "
                      "'dirty-limit': ");
        return false;
    }
    return true;
}

/* Those of single parameters, whatever else is set. */
static bool check_ranges(const MigrationParameters *params, Error **errp)
{
    return check_range("dirty-sync-period", params->has_dirty_sync_period,
                       params->dirty_sync_period, SYNC_PERIOD_MIN_MS,
                       SYNC_PERIOD_MAX_MS, "ms", errp) &&
        check_range("convergence-timeout", params->has_convergence_timeout,
                    params->convergence_timeout, 0, TIMEOUT_MAX_S, "s",
                    errp) &&
        /* One below downtime-limit is none: the user's limit always holds. */
        check_range("convergence-max-downtime",
                    params->has_convergence_max_downtime,
                    params->convergence_max_downtime, 0,
                    MAX_DOWNTIME_MAX_MS, "ms", errp) &&
        check_range("convergence-max-iterations",
                    params->has_convergence_max_iterations,
                    params->convergence_max_iterations, 0, ITERATIONS_MAX,
                    "passes", errp) &&
        check_range("convergence-max-transfer",
                    params->has_convergence_max_transfer,
                    params->convergence_max_transfer, 0, TRANSFER_MAX_PCT,
                    "% of guest RAM", errp) &&
        check_range("convergence-vcpu-limit",
                    params->has_convergence_vcpu_limit,
                    params->convergence_vcpu_limit, 0, VCPU_LIMIT_MAX_MB,
                    "MB/s", errp) &&
        convergence_base_params_check(params, errp);
}

bool convergence_params_check(MigrationParameters *params, Error **errp)
{
    return check_policy(params, errp) && check_action(params, errp) &&
           check_ranges(params, errp);
}

void convergence_params_init(MigrationParameters *params)
{
    set_all_present(params);
    convergence_host_defaults(container_of(params, MigrationState,
                                           parameters), check_ranges);
}

/* As QEMU was started with.  Known once a client has set something. */
static struct {
    bool known;
    uint64_t timeout_s, max_iterations, max_transfer_pct;
} at_start;

static void remember_start(const MigrationParameters *params)
{
    if (!at_start.known) {
        at_start.known = true;
        at_start.timeout_s = params->convergence_timeout;
        at_start.max_iterations = params->convergence_max_iterations;
        at_start.max_transfer_pct = params->convergence_max_transfer;
    }
}

bool convergence_params_by_client(void)
{
    const MigrationParameters *now = &migrate_get_current()->parameters;

    return at_start.known &&
           (now->convergence_timeout != at_start.timeout_s ||
            now->convergence_max_iterations != at_start.max_iterations ||
            now->convergence_max_transfer != at_start.max_transfer_pct);
}

void convergence_params_apply(MigrateSetParameters *set,
                              MigrationParameters *params)
{
    remember_start(&migrate_get_current()->parameters);
    if (set->has_convergence_policy) {
        params->convergence_policy = set->convergence_policy;
    }
    if (set->has_dirty_sync_period) {
        params->dirty_sync_period = set->dirty_sync_period;
    }
    if (set->has_convergence_timeout) {
        params->convergence_timeout = set->convergence_timeout;
    }
    if (set->has_convergence_max_downtime) {
        params->convergence_max_downtime = set->convergence_max_downtime;
    }
    if (set->has_convergence_max_iterations) {
        params->convergence_max_iterations = set->convergence_max_iterations;
    }
    if (set->has_convergence_max_transfer) {
        params->convergence_max_transfer = set->convergence_max_transfer;
    }
    if (set->has_convergence_timeout_action) {
        params->convergence_timeout_action = set->convergence_timeout_action;
    }
    if (set->has_convergence_vcpu_limit) {
        params->convergence_vcpu_limit = set->convergence_vcpu_limit;
    }
    convergence_base_params_apply(set, params);
    /* The old names; where both are given the new one wins. */
    if (set->has_x_cpu_throttle_initial && !set->has_cpu_throttle_initial) {
        params->cpu_throttle_initial = set->x_cpu_throttle_initial;
    }
    if (set->has_x_cpu_throttle_increment &&
        !set->has_cpu_throttle_increment) {
        params->cpu_throttle_increment = set->x_cpu_throttle_increment;
    }
}

void convergence_params_query(MigrationParameters *copy,
                              const MigrationParameters *params)
{
    set_all_present(copy);
    copy->convergence_policy = params->convergence_policy;
    copy->dirty_sync_period = params->dirty_sync_period;
    copy->convergence_timeout = params->convergence_timeout;
    copy->convergence_max_downtime = params->convergence_max_downtime;
    copy->convergence_max_iterations = params->convergence_max_iterations;
    copy->convergence_max_transfer = params->convergence_max_transfer;
    copy->convergence_timeout_action = params->convergence_timeout_action;
    copy->convergence_vcpu_limit = params->convergence_vcpu_limit;
    convergence_base_params_query(copy, params);
}

static const ConvergencePolicyOps *resolve_policy(ConvergencePolicyName name,
                                                  const DirtyMeter *meter)
{
    if (name == CONVERGENCE_POLICY_NAME_AUTO) {
        name = meter && !meter->only_shares ?
               CONVERGENCE_POLICY_NAME_DIRTY_LIMIT :
               CONVERGENCE_POLICY_NAME_PREDICTIVE;
    }
    return convergence_policy_find(ConvergencePolicyName_str(name));
}

/* Without postcopy-ram, what is left of 'postcopy' is the default. */
static ConvergenceAction timeout_action(const MigrationParameters *params)
{
    if (params->convergence_timeout_action ==
        CONVERGENCE_TIMEOUT_ACTION_POSTCOPY && !migrate_postcopy_ram()) {
        return CONVERGENCE_ACTION_DOWNTIME;
    }
    return (ConvergenceAction)params->convergence_timeout_action;
}

void convergence_params_get(MigrationState *s, const DirtyMeter *meter,
                            ConvergenceParams *params)
{
    const MigrationParameters *p = &s->parameters;

    *params = (ConvergenceParams) {
        .auto_converge = migrate_auto_converge(),
        .policy = resolve_policy(p->convergence_policy, meter),
        .policy_by_auto =
            p->convergence_policy == CONVERGENCE_POLICY_NAME_AUTO,
        .initial_throttle_pct = p->cpu_throttle_initial,
        .throttle_increment_pct = p->cpu_throttle_increment,
        .max_throttle_pct = p->max_cpu_throttle,
        .trigger_threshold_pct = p->throttle_trigger_threshold,
        .tailslow = p->cpu_throttle_tailslow,
        .sync_period_ms = p->dirty_sync_period,
        .downtime_limit_ms = p->downtime_limit,
        .timeout_s = p->convergence_timeout,
        .max_downtime_ms = p->convergence_max_downtime,
        .max_iterations = p->convergence_max_iterations,
        .max_transfer_pct = p->convergence_max_transfer,
        .timeout_action = timeout_action(p),
        .vcpu_dirty_limit_bytes_per_s = p->convergence_vcpu_limit * 1000000,
        .switchover_bytes_per_s = p->avail_switchover_bandwidth,
    };
}

void hmp_convergence_params(Monitor *mon, const MigrationParameters *params)
{
    monitor_printf(mon, "convergence-policy: %s\n",
                   ConvergencePolicyName_str(params->convergence_policy));
    monitor_printf(mon, "dirty-sync-period: %" PRIu32 " ms\n",
                   params->dirty_sync_period);
    monitor_printf(mon, "convergence-timeout: %" PRIu64 " s\n",
                   params->convergence_timeout);
    monitor_printf(mon, "convergence-max-downtime: %" PRIu64 " ms\n",
                   params->convergence_max_downtime);
    monitor_printf(mon, "convergence-max-iterations: %" PRIu64 "\n",
                   params->convergence_max_iterations);
    monitor_printf(mon, "convergence-max-transfer: %" PRIu64 " %%\n",
                   params->convergence_max_transfer);
    monitor_printf(mon, "convergence-timeout-action: %s\n",
                   ConvergenceTimeoutAction_str(
                       params->convergence_timeout_action));
    monitor_printf(mon, "convergence-vcpu-limit: %" PRIu64 " MB/s\n",
                   params->convergence_vcpu_limit);
    convergence_base_params_show(mon, params);
}

void hmp_convergence_set_parameter(MigrateSetParameters *set, int parameter,
                                   Visitor *v, const char *name, Error **errp)
{
    if (convergence_base_params_set(set, parameter, v, name, errp)) {
        return;
    }
    switch (parameter) {
    case MIGRATION_PARAMETER_CONVERGENCE_POLICY:
        set->has_convergence_policy = true;
        visit_type_ConvergencePolicyName(v, name, &set->convergence_policy,
                                         errp);
        break;
    case MIGRATION_PARAMETER_DIRTY_SYNC_PERIOD:
        set->has_dirty_sync_period = true;
        visit_type_uint32(v, name, &set->dirty_sync_period, errp);
        break;
    case MIGRATION_PARAMETER_CONVERGENCE_TIMEOUT:
        set->has_convergence_timeout = true;
        visit_type_uint64(v, name, &set->convergence_timeout, errp);
        break;
    case MIGRATION_PARAMETER_CONVERGENCE_MAX_DOWNTIME:
        set->has_convergence_max_downtime = true;
        visit_type_uint64(v, name, &set->convergence_max_downtime, errp);
        break;
    case MIGRATION_PARAMETER_CONVERGENCE_MAX_ITERATIONS:
        set->has_convergence_max_iterations = true;
        visit_type_uint64(v, name, &set->convergence_max_iterations, errp);
        break;
    case MIGRATION_PARAMETER_CONVERGENCE_MAX_TRANSFER:
        set->has_convergence_max_transfer = true;
        visit_type_uint64(v, name, &set->convergence_max_transfer, errp);
        break;
    case MIGRATION_PARAMETER_CONVERGENCE_TIMEOUT_ACTION:
        set->has_convergence_timeout_action = true;
        visit_type_ConvergenceTimeoutAction(
            v, name, &set->convergence_timeout_action, errp);
        break;
    case MIGRATION_PARAMETER_CONVERGENCE_VCPU_LIMIT:
        set->has_convergence_vcpu_limit = true;
        visit_type_uint64(v, name, &set->convergence_vcpu_limit, errp);
        break;
    case MIGRATION_PARAMETER_X_CPU_THROTTLE_INITIAL:
        warn_report("x-cpu-throttle-initial is deprecated, use "
                    "cpu-throttle-initial");
        set->has_cpu_throttle_initial = true;
        visit_type_uint8(v, name, &set->cpu_throttle_initial, errp);
        break;
    case MIGRATION_PARAMETER_X_CPU_THROTTLE_INCREMENT:
        warn_report("x-cpu-throttle-increment is deprecated, use "
                    "cpu-throttle-increment");
        set->has_cpu_throttle_increment = true;
        visit_type_uint8(v, name, &set->cpu_throttle_increment, errp);
        break;
    default:
        g_assert_not_reached();
    }
}

void hmp_migrate_set_convergence_timeout(Monitor *mon, const QDict *qdict)
{
    int64_t seconds = qdict_get_int(qdict, "seconds");
    MigrateSetParameters set = {
        .has_convergence_timeout = true,
        .convergence_timeout = seconds,
    };
    Error *err = NULL;

    if (seconds < 0) {
        error_setg(&err, "Parameter 'convergence-timeout' expects a value "
                   "between 0 and %d s, got %" PRId64, TIMEOUT_MAX_S, seconds);
    } else {
        qmp_migrate_set_parameters(&set, &err);
    }
    hmp_handle_error(mon, err);
}
