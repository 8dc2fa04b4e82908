/*
 * What convergectl check says
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_REPORT_CHECK_H
#define CONVERGECTL_REPORT_CHECK_H

#include "rehearsal.h"

typedef struct CheckFacts {
    double ram_bytes;
    double touched_bytes;               /* negative: not known */
    double bandwidth_bytes_per_s;
    double downtime_s;
    gboolean has_converge;              /* it is our QEMU, not a stock one */
    const DirtyRate *first, *second;    /* a short and a long measurement */
    const DirtyRate *sampled;           /* to check them; NULL: none */
    const DirtyRate *vcpus;             /* by vCPU; NULL: cannot be told */
    /* As they were given, for the advice; NULL: not given */
    const char *qmp, *bandwidth, *uri;
    int downtime_ms;                    /* likewise; negative */
} CheckFacts;

/* Between the guest that writes a little less, and a little more */
typedef struct Outlook {
    Rehearsal best, likely, worst;
} Outlook;

typedef struct CheckResult {
    WriteModel model;
    gboolean modes_differ;      /* the sampled rate is taken, as the higher */
    double devices_bytes_per_s; /* dirtied, and by no vCPU; 0: none seen */
    Outlook as_is;              /* nobody is slowed */
    Outlook slowed;             /* by policy auto, or stock's auto-converge */
} CheckResult;

CheckResult check_result(const CheckFacts *facts);

/* It would converge, if it is slowed as far as that helps */
gboolean check_converges(const CheckResult *result);

/* Several lines; one JSON object without a newline */
char *check_report(const CheckFacts *facts, const CheckResult *result);
char *check_report_json(const CheckFacts *facts, const CheckResult *result);

#endif
