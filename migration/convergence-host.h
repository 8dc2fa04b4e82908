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

/**
 * convergence_host_defaults: set what this host's file says, if there is one
 *
 * While @s is being made: its properties have their defaults, and -global has
 * not been applied.  What cannot be taken is warned of.  Main thread.
 */
void convergence_host_defaults(MigrationState *s);

/**
 * convergence_params_check_ranges: what of convergence_params_check() asks for
 * no more than the values themselves
 */
bool convergence_params_check_ranges(const MigrationParameters *params,
                                     Error **errp);

#endif /* CONVERGENCE_HOST_H */
