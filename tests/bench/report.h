/*
 * Measured migrations as text for people and JSON for programs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGE_BENCH_REPORT_H
#define CONVERGE_BENCH_REPORT_H

#include "migrate.h"

#include <stdio.h>

const char *report_outcome(const MigrateResult *result);

/* "completed in 9.4 s", "not done after 60 s", "failed: ..." */
char *report_verdict(const MigrateResult *result);

/* "97/43": a figure of each vCPU, all figures on one scale */
char *report_work_shares_pct(const MigrateResult *result);
char *report_lost_s(const MigrateResult *result);

void report_table_head(FILE *out);
void report_table_row(FILE *out, const MigrateSpec *spec,
                      const MigrateFloor *floor, const MigrateResult *result);

/*
 * One run as an object without line breaks: what was asked, what was
 * measured, and the time line.  @workload names the load, NULL if it has no
 * name; @floor may be NULL.
 */
char *report_json(const MigrateSpec *spec, const char *workload,
                  unsigned run, const MigrateFloor *floor,
                  const MigrateResult *result);

/* The middle value of @values, or the mean of the two; sorts them */
double report_median(double *values, unsigned count);

#endif
