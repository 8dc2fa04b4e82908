/*
 * Simulator: guests and links by chance
 *
 * Scenarios show what somebody thought of; these, what nobody did.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SIM_SWEEP_H
#define SIM_SWEEP_H

#include "sim-guest.h"

typedef struct SimSweep {
    unsigned guests;
    unsigned completed;
    unsigned step_completed;
    unsigned only_step;             /* done by `step`, not by the policy */
    unsigned slower;                /* than `step`, by more than 5 % */
    unsigned above_floors;          /* more than 1.5 F and half a second */
    unsigned above_stops;           /* more than 1.5 stops lost */
    unsigned above_limit;           /* downtime */
} SimSweep;

SimSweep sim_sweep(unsigned n, uint64_t seed, const char *policy,
                   SimLogSpec log);

/* The same for people; returns an exit status. */
int sim_sweep_report(unsigned n, const char *policy, SimLogSpec log);

#endif /* SIM_SWEEP_H */
