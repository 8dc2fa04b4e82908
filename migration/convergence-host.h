/*
 * Convergence engine: defaults of the host
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef CONVERGENCE_HOST_H
#define CONVERGENCE_HOST_H

#include "qapi/qapi-types-migration.h"

/* Whether values can be set, whatever else is set; false with @errp set. */
typedef bool ConvergenceParamsCheck(const MigrationParameters *params,
                                    Error **errp);

/**
 * convergence_host_defaults: set what this host's file says, if there is one
 * @check: that each value has to pass
 *
 * While @s is being made: its properties have their defaults, and -global has
 * not been applied.  What cannot be taken is warned of.  Main thread.
 */
void convergence_host_defaults(MigrationState *s,
                               ConvergenceParamsCheck *check);

#endif /* CONVERGENCE_HOST_H */
