/*
 * Simulator: runs for people: lines, tables, CSV, plots
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SIM_REPORT_H
#define SIM_REPORT_H

#include "sim-scenarios.h"

/* The engine's, and what the simulator has beside them */
bool sim_report_knows_policy(const char *name);

/* "none, stock, ... and auto"; g_free() it */
char *sim_report_policy_names(void);

/* The functions below return an exit status. */
int sim_report_run(const SimScenario *scenario, const char *policy,
                   const char *csv_dir);
int sim_report_trace(const SimScenario *scenario, const char *policy);
int sim_report_plot(const SimScenario *scenario, const char *svg_path);

void sim_report_compare_header(void);
void sim_report_compare(const SimScenario *scenario);

/*
 * How far the predictions that were made once the throttle had settled were
 * off, in percent of what then remained: the 90th percentile.  Negative if
 * there were none.
 */
double sim_report_prediction_error_pct(const SimMigration *m);

/* The same for all of them, appended to an array of double. */
void sim_report_prediction_errors(const SimMigration *m, GArray *errors);

#endif /* SIM_REPORT_H */
