/*
 * virsh-convergence.c: how a migration is made to converge, and how it does
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "virsh-convergence.h"
#include "internal.h"

char **
virshConvergencePolicyCompleter(vshControl *ctl G_GNUC_UNUSED,
                                const vshCmd *cmd G_GNUC_UNUSED,
                                unsigned int flags)
{
    const char *policies[] = { "step", "predictive", "dirty-limit", "auto", NULL };

    virCheckFlags(0, NULL);

    return g_strdupv((char **) policies);
}


char **
virshConvergenceTimeoutActionCompleter(vshControl *ctl G_GNUC_UNUSED,
                                       const vshCmd *cmd G_GNUC_UNUSED,
                                       unsigned int flags)
{
    const char *actions[] = { "downtime", "stop", "postcopy", "abort", NULL };

    virCheckFlags(0, NULL);

    return g_strdupv((char **) actions);
}


static int
virshConvergenceAddString(vshControl *ctl,
                          const vshCmd *cmd,
                          virTypedParameterPtr *params,
                          int *nparams,
                          int *maxparams,
                          const char *option,
                          const char *field)
{
    const char *value = NULL;

    if (vshCommandOptStringReq(ctl, cmd, option, &value) < 0)
        return -1;

    if (value &&
        virTypedParamsAddString(params, nparams, maxparams, field, value) < 0)
        return -2;

    return 0;
}


static int
virshConvergenceAddNumber(vshControl *ctl,
                          const vshCmd *cmd,
                          virTypedParameterPtr *params,
                          int *nparams,
                          int *maxparams,
                          const char *option,
                          const char *field)
{
    unsigned long long value = 0;
    int rc;

    if ((rc = vshCommandOptULongLong(ctl, cmd, option, &value)) < 0)
        return -1;

    if (rc > 0 &&
        virTypedParamsAddULLong(params, nparams, maxparams, field, value) < 0)
        return -2;

    return 0;
}


int
virshConvergenceAddParams(vshControl *ctl,
                          const vshCmd *cmd,
                          virTypedParameterPtr *params,
                          int *nparams,
                          int *maxparams)
{
    static const struct {
        const char *option;
        const char *field;
        bool number;
    } map[] = {
        { "convergence-policy",
          VIR_MIGRATE_PARAM_CONVERGENCE_POLICY, false },
        { "convergence-timeout",
          VIR_MIGRATE_PARAM_CONVERGENCE_TIMEOUT, true },
        { "convergence-timeout-action",
          VIR_MIGRATE_PARAM_CONVERGENCE_TIMEOUT_ACTION, false },
        { "convergence-max-downtime",
          VIR_MIGRATE_PARAM_CONVERGENCE_MAX_DOWNTIME, true },
        { "convergence-vcpu-limit",
          VIR_MIGRATE_PARAM_CONVERGENCE_VCPU_LIMIT, true },
    };
    size_t i;
    int rc;

    for (i = 0; i < G_N_ELEMENTS(map); i++) {
        rc = (map[i].number ? virshConvergenceAddNumber
                            : virshConvergenceAddString)
            (ctl, cmd, params, nparams, maxparams,
             map[i].option, map[i].field);
        if (rc < 0)
            return rc;
    }

    return 0;
}


typedef enum {
    VIRSH_CONVERGENCE_TEXT,
    VIRSH_CONVERGENCE_RATE,
    VIRSH_CONVERGENCE_TIME,
    VIRSH_CONVERGENCE_PERCENT,
} virshConvergenceForm;

static const struct {
    const char *label;
    const char *field;
    virshConvergenceForm form;
} virshConvergenceFields[] = {
    { N_("Convergence policy:"),
      VIR_DOMAIN_JOB_CONVERGENCE_POLICY, VIRSH_CONVERGENCE_TEXT },
    { N_("Convergence state:"),
      VIR_DOMAIN_JOB_CONVERGENCE_STATE, VIRSH_CONVERGENCE_TEXT },
    { N_("Convergence reason:"),
      VIR_DOMAIN_JOB_CONVERGENCE_REASON, VIRSH_CONVERGENCE_TEXT },
    { N_("Convergence progress:"),
      VIR_DOMAIN_JOB_CONVERGENCE_PROGRESS, VIRSH_CONVERGENCE_PERCENT },
    { N_("Guest dirty rate:"),
      VIR_DOMAIN_JOB_CONVERGENCE_DIRTY_RATE, VIRSH_CONVERGENCE_RATE },
    { N_("Drain rate:"),
      VIR_DOMAIN_JOB_CONVERGENCE_DRAIN_RATE, VIRSH_CONVERGENCE_RATE },
    { N_("Downtime limit:"),
      VIR_DOMAIN_JOB_CONVERGENCE_DOWNTIME_LIMIT, VIRSH_CONVERGENCE_TIME },
    { N_("Predicted total time:"),
      VIR_DOMAIN_JOB_CONVERGENCE_PREDICTED_TIME, VIRSH_CONVERGENCE_TIME },
    { N_("Predicted downtime:"),
      VIR_DOMAIN_JOB_CONVERGENCE_PREDICTED_DOWNTIME, VIRSH_CONVERGENCE_TIME },
};


int
virshConvergencePrint(vshControl *ctl,
                      virTypedParameterPtr params,
                      int nparams)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(virshConvergenceFields); i++) {
        const char *field = virshConvergenceFields[i].field;
        const char *label = _(virshConvergenceFields[i].label);
        const char *text = NULL;
        unsigned long long number = 0;
        int percent = 0;
        const char *unit;
        double amount;
        int rc = 0;

        switch (virshConvergenceFields[i].form) {
        case VIRSH_CONVERGENCE_TEXT:
            rc = virTypedParamsGetString(params, nparams, field, &text);
            if (rc > 0)
                vshPrint(ctl, "%-17s %s\n", label, text);
            break;

        case VIRSH_CONVERGENCE_RATE:
            rc = virTypedParamsGetULLong(params, nparams, field, &number);
            amount = vshPrettyCapacity(number, &unit);
            if (rc > 0)
                vshPrint(ctl, "%-17s %-.3lf %s/s\n", label, amount, unit);
            break;

        case VIRSH_CONVERGENCE_TIME:
            rc = virTypedParamsGetULLong(params, nparams, field, &number);
            if (rc > 0)
                vshPrint(ctl, "%-17s %-12llu ms\n", label, number);
            break;

        case VIRSH_CONVERGENCE_PERCENT:
            rc = virTypedParamsGetInt(params, nparams, field, &percent);
            if (rc > 0)
                vshPrint(ctl, "%-17s %-12d %%\n", label, percent);
            break;
        }

        if (rc < 0)
            return -1;
    }

    return 0;
}
