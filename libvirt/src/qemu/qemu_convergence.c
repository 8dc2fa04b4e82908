/*
 * qemu_convergence.c: settings and statistics of QEMU's convergence engine
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "qemu_convergence.h"
#include "qemu_domain.h"
#include "virenum.h"
#include "virerror.h"
#include "virtypedparam.h"

#define VIR_FROM_THIS VIR_FROM_QEMU

typedef enum {
    QEMU_CONVERGENCE_POLICY_STEP = 0,
    QEMU_CONVERGENCE_POLICY_PREDICTIVE,
    QEMU_CONVERGENCE_POLICY_DIRTY_LIMIT,
    QEMU_CONVERGENCE_POLICY_AUTO,

    QEMU_CONVERGENCE_POLICY_LAST
} qemuConvergencePolicy;

VIR_ENUM_DECL(qemuConvergencePolicy);
VIR_ENUM_IMPL(qemuConvergencePolicy,
              QEMU_CONVERGENCE_POLICY_LAST,
              "step",
              "predictive",
              "dirty-limit",
              "auto",
);

typedef enum {
    QEMU_CONVERGENCE_TIMEOUT_ACTION_DOWNTIME = 0,
    QEMU_CONVERGENCE_TIMEOUT_ACTION_STOP,
    QEMU_CONVERGENCE_TIMEOUT_ACTION_POSTCOPY,
    QEMU_CONVERGENCE_TIMEOUT_ACTION_ABORT,

    QEMU_CONVERGENCE_TIMEOUT_ACTION_LAST
} qemuConvergenceTimeoutAction;

VIR_ENUM_DECL(qemuConvergenceTimeoutAction);
VIR_ENUM_IMPL(qemuConvergenceTimeoutAction,
              QEMU_CONVERGENCE_TIMEOUT_ACTION_LAST,
              "downtime",
              "stop",
              "postcopy",
              "abort",
);

/* All that the engine takes from virDomainMigrate*. */
static const char *const qemuConvergenceParamNames[] = {
    VIR_MIGRATE_PARAM_CONVERGENCE_POLICY,
    VIR_MIGRATE_PARAM_CONVERGENCE_TIMEOUT,
    VIR_MIGRATE_PARAM_CONVERGENCE_TIMEOUT_ACTION,
    VIR_MIGRATE_PARAM_CONVERGENCE_MAX_DOWNTIME,
    VIR_MIGRATE_PARAM_CONVERGENCE_VCPU_LIMIT,
};


static int
qemuConvergenceCheckSupported(virDomainObj *vm,
                              virTypedParameterPtr params,
                              int nparams)
{
    qemuDomainObjPrivate *priv = vm->privateData;
    size_t i;

    /* An offline migration runs no QEMU, and ignores what is for it. */
    if (!virDomainObjIsActive(vm) ||
        virQEMUCapsGet(priv->qemuCaps,
                       QEMU_CAPS_MIGRATION_PARAM_CONVERGENCE_POLICY))
        return 0;

    for (i = 0; i < G_N_ELEMENTS(qemuConvergenceParamNames); i++) {
        if (virTypedParamsGet(params, nparams, qemuConvergenceParamNames[i])) {
            virReportError(VIR_ERR_ARGUMENT_UNSUPPORTED,
                           _("Migration parameter '%s' is not supported by QEMU binary"),
                           qemuConvergenceParamNames[i]);
            return -1;
        }
    }

    return 0;
}


static int
qemuConvergenceCheckPolicy(virTypedParameterPtr params,
                           int nparams,
                           unsigned int flags)
{
    const char *name = NULL;
    bool limit = !!virTypedParamsGet(params, nparams,
                                     VIR_MIGRATE_PARAM_CONVERGENCE_VCPU_LIMIT);
    int policy = -1;

    if (virTypedParamsGetString(params, nparams,
                                VIR_MIGRATE_PARAM_CONVERGENCE_POLICY,
                                &name) < 0)
        return -1;

    if (name && (policy = qemuConvergencePolicyTypeFromString(name)) < 0) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("Unknown convergence policy '%s'"), name);
        return -1;
    }

    if ((name || limit) && !(flags & VIR_MIGRATE_AUTO_CONVERGE)) {
        virReportError(VIR_ERR_INVALID_ARG, "%s",
                       _("Turn auto convergence on to choose its policy"));
        return -1;
    }

    if (limit && policy != QEMU_CONVERGENCE_POLICY_DIRTY_LIMIT &&
        policy != QEMU_CONVERGENCE_POLICY_AUTO) {
        virReportError(VIR_ERR_INVALID_ARG, "%s",
                       _("A vCPU dirty limit requires convergence policy 'dirty-limit' or 'auto'"));
        return -1;
    }

    return 0;
}


static int
qemuConvergenceCheckTimeoutAction(virTypedParameterPtr params,
                                  int nparams,
                                  unsigned int flags)
{
    const char *name = NULL;
    int action;

    if (virTypedParamsGetString(params, nparams,
                                VIR_MIGRATE_PARAM_CONVERGENCE_TIMEOUT_ACTION,
                                &name) < 0)
        return -1;

    if (!name)
        return 0;

    if ((action = qemuConvergenceTimeoutActionTypeFromString(name)) < 0) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("Unknown convergence timeout action '%s'"), name);
        return -1;
    }

    if (action == QEMU_CONVERGENCE_TIMEOUT_ACTION_POSTCOPY &&
        !(flags & VIR_MIGRATE_POSTCOPY)) {
        virReportError(VIR_ERR_INVALID_ARG, "%s",
                       _("Enable post-copy migration to switch to it after a timeout"));
        return -1;
    }

    return 0;
}


/**
 * qemuConvergenceCheckParams:
 * @vm: domain object on the source
 * @params: typed parameters of the migration
 * @nparams: number of @params
 * @flags: flags of the migration
 *
 * Called on the source before anything is started, changed or asked of the
 * destination. What passes here is accepted by QEMU, but for ranges of numbers,
 * which are left to it.
 *
 * Returns 0, or -1 with an error that names the parameter.
 */
int
qemuConvergenceCheckParams(virDomainObj *vm,
                           virTypedParameterPtr params,
                           int nparams,
                           unsigned int flags)
{
    if (qemuConvergenceCheckPolicy(params, nparams, flags) < 0 ||
        qemuConvergenceCheckTimeoutAction(params, nparams, flags) < 0 ||
        qemuConvergenceCheckSupported(vm, params, nparams) < 0)
        return -1;

    return 0;
}


static void
qemuConvergenceCopyString(char *to,
                          size_t size,
                          const char *from)
{
    if (from)
        g_strlcpy(to, from, size);
}


/**
 * qemuConvergenceStatsFromJSON:
 * @stats: zeroed; stays so if QEMU has no engine, or it has not looked yet
 * @migration: what query-migrate returned
 */
void
qemuConvergenceStatsFromJSON(qemuConvergenceStats *stats,
                             virJSONValue *migration)
{
    virJSONValue *json = virJSONValueObjectGetObject(migration, "convergence");

    if (!json)
        return;

    stats->set = true;
    qemuConvergenceCopyString(stats->policy, sizeof(stats->policy),
                              virJSONValueObjectGetString(json, "policy"));
    qemuConvergenceCopyString(stats->state, sizeof(stats->state),
                              virJSONValueObjectGetString(json, "state"));
    qemuConvergenceCopyString(stats->reason, sizeof(stats->reason),
                              virJSONValueObjectGetString(json, "reason"));
    ignore_value(virJSONValueObjectGetNumberUlong(json, "dirty-rate",
                                                  &stats->dirty_rate));
    ignore_value(virJSONValueObjectGetNumberUlong(json, "drain-rate",
                                                  &stats->drain_rate));
    ignore_value(virJSONValueObjectGetNumberUlong(json, "downtime-limit",
                                                  &stats->downtime_limit));
    ignore_value(virJSONValueObjectGetNumberInt(json, "progress-percentage",
                                                &stats->progress));
    stats->predicted_time_set =
        virJSONValueObjectGetNumberUlong(json, "predicted-total-time",
                                         &stats->predicted_time) == 0;
    stats->predicted_downtime_set =
        virJSONValueObjectGetNumberUlong(json, "predicted-downtime",
                                         &stats->predicted_downtime) == 0;
}


int
qemuConvergenceStatsToParams(const qemuConvergenceStats *stats,
                             virTypedParameterPtr *params,
                             int *nparams,
                             int *maxparams)
{
    if (!stats->set)
        return 0;

    if (virTypedParamsAddString(params, nparams, maxparams,
                                VIR_DOMAIN_JOB_CONVERGENCE_POLICY,
                                stats->policy) < 0 ||
        virTypedParamsAddString(params, nparams, maxparams,
                                VIR_DOMAIN_JOB_CONVERGENCE_STATE,
                                stats->state) < 0 ||
        virTypedParamsAddString(params, nparams, maxparams,
                                VIR_DOMAIN_JOB_CONVERGENCE_REASON,
                                stats->reason) < 0 ||
        virTypedParamsAddULLong(params, nparams, maxparams,
                                VIR_DOMAIN_JOB_CONVERGENCE_DIRTY_RATE,
                                stats->dirty_rate) < 0 ||
        virTypedParamsAddULLong(params, nparams, maxparams,
                                VIR_DOMAIN_JOB_CONVERGENCE_DRAIN_RATE,
                                stats->drain_rate) < 0 ||
        virTypedParamsAddULLong(params, nparams, maxparams,
                                VIR_DOMAIN_JOB_CONVERGENCE_DOWNTIME_LIMIT,
                                stats->downtime_limit) < 0 ||
        virTypedParamsAddInt(params, nparams, maxparams,
                             VIR_DOMAIN_JOB_CONVERGENCE_PROGRESS,
                             stats->progress) < 0)
        return -1;

    if (stats->predicted_time_set &&
        virTypedParamsAddULLong(params, nparams, maxparams,
                                VIR_DOMAIN_JOB_CONVERGENCE_PREDICTED_TIME,
                                stats->predicted_time) < 0)
        return -1;

    if (stats->predicted_downtime_set &&
        virTypedParamsAddULLong(params, nparams, maxparams,
                                VIR_DOMAIN_JOB_CONVERGENCE_PREDICTED_DOWNTIME,
                                stats->predicted_downtime) < 0)
        return -1;

    return 0;
}


/**
 * qemuConvergenceStatsFormat:
 * @buf: statistics in the migration cookie
 * @stats: what they are to say of convergence
 *
 * A destination that does not know the element ignores it.
 */
void
qemuConvergenceStatsFormat(virBuffer *buf,
                           const qemuConvergenceStats *stats)
{
    g_auto(virBuffer) attr = VIR_BUFFER_INITIALIZER;
    g_auto(virBuffer) child = VIR_BUFFER_INIT_CHILD(buf);

    if (!stats->set)
        return;

    virBufferEscapeString(&attr, " policy='%s'", stats->policy);
    virBufferEscapeString(&attr, " state='%s'", stats->state);

    virBufferEscapeString(&child, "<reason>%s</reason>\n", stats->reason);
    virBufferAsprintf(&child, "<dirtyRate>%llu</dirtyRate>\n",
                      stats->dirty_rate);
    virBufferAsprintf(&child, "<drainRate>%llu</drainRate>\n",
                      stats->drain_rate);
    virBufferAsprintf(&child, "<downtimeLimit>%llu</downtimeLimit>\n",
                      stats->downtime_limit);
    virBufferAsprintf(&child, "<progress>%d</progress>\n", stats->progress);
    if (stats->predicted_time_set)
        virBufferAsprintf(&child, "<predictedTime>%llu</predictedTime>\n",
                          stats->predicted_time);
    if (stats->predicted_downtime_set)
        virBufferAsprintf(&child,
                          "<predictedDowntime>%llu</predictedDowntime>\n",
                          stats->predicted_downtime);

    virXMLFormatElement(buf, "convergence", &attr, &child);
}


/**
 * qemuConvergenceStatsParse:
 * @ctxt: stands at the statistics of a migration cookie
 * @stats: zeroed; stays so if the source told nothing of convergence
 */
void
qemuConvergenceStatsParse(xmlXPathContextPtr ctxt,
                          qemuConvergenceStats *stats)
{
    g_autofree char *policy = NULL;
    g_autofree char *state = NULL;
    g_autofree char *reason = NULL;
    VIR_XPATH_NODE_AUTORESTORE(ctxt)

    if (!(ctxt->node = virXPathNode("./convergence", ctxt)))
        return;

    stats->set = true;
    policy = virXPathString("string(./@policy)", ctxt);
    state = virXPathString("string(./@state)", ctxt);
    reason = virXPathString("string(./reason)", ctxt);
    qemuConvergenceCopyString(stats->policy, sizeof(stats->policy), policy);
    qemuConvergenceCopyString(stats->state, sizeof(stats->state), state);
    qemuConvergenceCopyString(stats->reason, sizeof(stats->reason), reason);
    virXPathULongLong("string(./dirtyRate)", ctxt, &stats->dirty_rate);
    virXPathULongLong("string(./drainRate)", ctxt, &stats->drain_rate);
    virXPathULongLong("string(./downtimeLimit)", ctxt, &stats->downtime_limit);
    virXPathInt("string(./progress)", ctxt, &stats->progress);
    stats->predicted_time_set =
        virXPathULongLong("string(./predictedTime)", ctxt,
                          &stats->predicted_time) == 0;
    stats->predicted_downtime_set =
        virXPathULongLong("string(./predictedDowntime)", ctxt,
                          &stats->predicted_downtime) == 0;
}
