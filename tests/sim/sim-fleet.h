/*
 * Simulator: the evacuation of a host
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SIM_FLEET_H
#define SIM_FLEET_H

#include "sim-guest.h"

/* A quarter idle, half of them busy now and then, a quarter write heavily. */
SimGuestSpec sim_draw_guest(uint64_t *random);

/*
 * Move @n guests of all kinds over one link that they share, as many at a time
 * as a host would, and print what it took.  Returns an exit status: 0 if all
 * arrived.
 */
int sim_fleet(unsigned n, const char *policy, SimLogSpec log);

#endif /* SIM_FLEET_H */
