/*
 * HMP commands of the convergence engine and its actuators
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MONITOR_CONVERGENCE_HMP_H
#define MONITOR_CONVERGENCE_HMP_H

#include "qapi/qapi-types-migration.h"

void hmp_migrate_set_convergence_timeout(Monitor *mon, const QDict *qdict);
void hmp_set_cpu_throttle(Monitor *mon, const QDict *qdict);
void hmp_info_cpu_throttle(Monitor *mon, const QDict *qdict);

/* Parts of `info migrate`, `info migrate_parameters`, migrate_set_parameter. */
void hmp_convergence_info(Monitor *mon, const MigrationInfo *info);
void hmp_convergence_params(Monitor *mon, const MigrationParameters *params);

/**
 * hmp_convergence_set_parameter: parse a parameter of ours
 * @set: where to; the member is marked present
 * @parameter: which, a MigrationParameter that upstream's switch left over
 * @v: visitor of the value
 * @name: of the parameter, for the error
 */
void hmp_convergence_set_parameter(MigrateSetParameters *set, int parameter,
                                   Visitor *v, const char *name, Error **errp);

#endif /* MONITOR_CONVERGENCE_HMP_H */
