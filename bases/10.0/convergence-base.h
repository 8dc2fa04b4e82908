/*
 * Convergence engine, QEMU side: what QEMU 10 has under another shape
 *
 * The rest of migration/convergence*.c is the same for all QEMUs.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef CONVERGENCE_BASE_H
#define CONVERGENCE_BASE_H

#include "monitor/monitor.h"
#include "migration.h"
#include "migration-stats.h"
#include "options.h"
#include "qemu-file.h"
#include "ram.h"

/* There is no block migration any more. */
static inline bool convergence_base_block_bulk(void)
{
    return false;
}

/* The stream is closed by the clean-up, which joins the thread before. */
static inline bool convergence_base_is_ending(const MigrationState *s)
{
    return s->to_dst_file != NULL;
}

/* The clean-up ends the return path and joins its thread, whatever happened. */
static inline bool convergence_base_cleanup_joins(void)
{
    return true;
}

/* Those that cannot do postcopy-ram with multifd refuse it themselves. */
static inline bool convergence_base_postcopy_with_multifd(void)
{
    return true;
}

static inline void convergence_base_set_info(MigrationInfo *info,
                                             ConvergenceInfo *convergence)
{
    info->convergence = convergence;
}

/* Parameters of ours in older QEMUs: these have them themselves. */

static inline void convergence_base_params_init(MigrationParameters *params)
{
}

static inline bool
convergence_base_params_check(const MigrationParameters *params, Error **errp)
{
    return true;
}

static inline void
convergence_base_params_apply(const MigrateSetParameters *set,
                              MigrationParameters *params)
{
}

static inline void
convergence_base_params_query(MigrationParameters *copy,
                              const MigrationParameters *params)
{
}

static inline void
convergence_base_params_show(Monitor *mon, const MigrationParameters *params)
{
}

static inline bool
convergence_base_params_set(MigrateSetParameters *set, int parameter,
                            Visitor *v, const char *name, Error **errp)
{
    return false;
}

#endif /* CONVERGENCE_BASE_H */
