/*
 * Simulator: the scenarios, each with the claim it shows and its bounds
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SIM_SCENARIOS_H
#define SIM_SCENARIOS_H

#include "sim-migration.h"

/* What is not said (0) is not asserted. */
typedef struct SimBounds {
    double max_floors;              /* total time, in floors F */
    double max_lost_stops;          /* work lost, in that of a stop */
    double ends_by_s, max_lost_s;   /* where a stop is no measure */
    double max_reader_lost_s;
    bool no_slowdown;
    bool stuck;                     /* it must say so, and not finish */
    bool says_stuck;                /* it must say so, for a while */
    unsigned max_reversals;
    bool reversals_asserted;
    bool released;                  /* no throttle in force at the end */
} SimBounds;

typedef struct SimScenario {
    const char *name;
    const char *claim;
    SimGuestSpec guest;
    SimLogSpec log;
    SimMeter meter;
    SimLinkSpec link;
    double downtime_limit_ms;
    double limit_s;
    SimBounds predictive;
    SimBounds dirty_limit;
    /* Where "auto" does as neither of them does. */
    bool auto_differs;
    SimBounds automatic;
} SimScenario;

/* Dirty logs that any scenario can be run under. */
typedef struct SimNamedLog {
    const char *name;
    SimLogSpec log;
} SimNamedLog;

extern const SimNamedLog sim_logs[];
extern const unsigned sim_n_logs;

extern const SimScenario sim_scenarios[];
extern const unsigned sim_n_scenarios;

const SimNamedLog *sim_log_find(const char *name);

const SimScenario *sim_scenario_find(const char *name);

SimSpec sim_scenario_spec(const SimScenario *scenario);

#endif /* SIM_SCENARIOS_H */
