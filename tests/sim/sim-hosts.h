/*
 * Simulator: hosts that are emptied, by a plan and without one
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SIM_HOSTS_H
#define SIM_HOSTS_H

#include "sim-guest.h"

/*
 * Empty @n_hosts hosts by chance, each of @n_guests guests and with a link of
 * its own: by the plan, and beside it as managers do it.  Prints what all of
 * that took.  Returns an exit status: 0 if the plan was nowhere slower than two
 * at a time, and all guests arrived.
 */
int sim_hosts(unsigned n_guests, unsigned n_hosts, const char *policy,
              SimLogSpec log);

/* Plan the evacuation of so many hosts at once, and print what that took. */
int sim_plan(unsigned n_guests, unsigned n_hosts);

#endif /* SIM_HOSTS_H */
