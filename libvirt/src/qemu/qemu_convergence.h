/*
 * qemu_convergence.h: settings and statistics of QEMU's convergence engine
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "domain_conf.h"
#include "virbuffer.h"
#include "virjson.h"
#include "virxml.h"

/*
 * Plain data: job statistics are copied by assignment. Policy and state are
 * kept as QEMU names them, so that names which libvirt has never heard of
 * reach the user.
 */
typedef struct _qemuConvergenceStats qemuConvergenceStats;
struct _qemuConvergenceStats {
    bool set;
    char policy[32];
    char state[32];
    char reason[512];
    unsigned long long dirty_rate; /* bytes/s */
    unsigned long long drain_rate; /* bytes/s */
    unsigned long long downtime_limit; /* ms */
    int progress; /* percent */
    bool predicted_time_set;
    unsigned long long predicted_time; /* ms */
    bool predicted_downtime_set;
    unsigned long long predicted_downtime; /* ms */
};

int
qemuConvergenceCheckParams(virDomainObj *vm,
                           virTypedParameterPtr params,
                           int nparams,
                           unsigned int flags);

void
qemuConvergenceStatsFromJSON(qemuConvergenceStats *stats,
                             virJSONValue *migration);

int
qemuConvergenceStatsToParams(const qemuConvergenceStats *stats,
                             virTypedParameterPtr *params,
                             int *nparams,
                             int *maxparams);

void
qemuConvergenceStatsFormat(virBuffer *buf,
                           const qemuConvergenceStats *stats);

void
qemuConvergenceStatsParse(xmlXPathContextPtr ctxt,
                          qemuConvergenceStats *stats);
