/*
 * Simulator: a real migration, decided again
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SIM_REPLAY_H
#define SIM_REPLAY_H

#include <stdio.h>

/*
 * Read the decision trace of a migration (QEMU's trace event
 * convergence_decision, or `converge-sim trace`) from @path ("-": standard
 * input), put each sample to the engine as it is now, and print where it
 * decides otherwise.  Other lines are passed over.
 *
 * Returns an exit status: 0 all the same, 1 there were differences, 2 the file
 * cannot be read or holds no decision.
 */
int sim_replay(const char *path, FILE *out);

#endif /* SIM_REPLAY_H */
