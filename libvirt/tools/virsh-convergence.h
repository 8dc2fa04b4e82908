/*
 * virsh-convergence.h: how a migration is made to converge, and how it does
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "virsh.h"

char **
virshConvergencePolicyCompleter(vshControl *ctl,
                                const vshCmd *cmd,
                                unsigned int flags);

char **
virshConvergenceTimeoutActionCompleter(vshControl *ctl,
                                       const vshCmd *cmd,
                                       unsigned int flags);

/* Options of the command migrate. */
#define VIRSH_CONVERGENCE_OPTIONS \
    {.name = "convergence-policy", \
     .type = VSH_OT_STRING, \
     .completer = virshConvergencePolicyCompleter, \
     .help = N_("how auto-convergence slows the guest down") \
    }, \
    {.name = "convergence-timeout", \
     .type = VSH_OT_INT, \
     .help = N_("seconds after which the convergence timeout action is taken") \
    }, \
    {.name = "convergence-timeout-action", \
     .type = VSH_OT_STRING, \
     .completer = virshConvergenceTimeoutActionCompleter, \
     .help = N_("what to do after the convergence timeout") \
    }, \
    {.name = "convergence-max-downtime", \
     .type = VSH_OT_INT, \
     .help = N_("milliseconds up to which the convergence timeout raises the downtime") \
    }, \
    {.name = "convergence-vcpu-limit", \
     .type = VSH_OT_INT, \
     .help = N_("MB/s that each vCPU may write while it is limited") \
    }

/* -1: the error was shown. -2: it is libvirt's, and is still to be shown. */
int
virshConvergenceAddParams(vshControl *ctl,
                          const vshCmd *cmd,
                          virTypedParameterPtr *params,
                          int *nparams,
                          int *maxparams);

/* What domjobinfo tells; nothing for a job without. */
int
virshConvergencePrint(vshControl *ctl,
                      virTypedParameterPtr params,
                      int nparams);
