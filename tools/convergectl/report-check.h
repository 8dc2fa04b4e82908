/*
 * What convergectl check says
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_REPORT_CHECK_H
#define CONVERGECTL_REPORT_CHECK_H

#include "dirty-rate.h"
#include "forecast.h"

typedef struct CheckFacts {
    double ram_bytes;
    double bandwidth_bytes_per_s;
    double downtime_s;
    WriteModel model;
    const DirtyRate *first, *second;    /* a short and a long measurement */
    const DirtyRate *vcpus;             /* by vCPU; NULL: cannot be told */
} CheckFacts;

typedef struct CheckResult {
    Forecast free;              /* at full speed */
    Forecast slowed;            /* at the least throttle that does */
    int throttle_pct;           /* that; 100: none does */
} CheckResult;

CheckResult check_result(const CheckFacts *facts);

/* Several lines; one JSON object without a newline */
char *check_report(const CheckFacts *facts, const CheckResult *result);
char *check_report_json(const CheckFacts *facts, const CheckResult *result);

#endif
