/*
 * Convergence engine, QEMU side: what QEMU 7.2 has under another shape
 *
 * The rest of migration/convergence*.c is the same for all QEMUs.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef CONVERGENCE_BASE_H
#define CONVERGENCE_BASE_H

#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/cutils.h"
#include "monitor/monitor.h"
#include "block.h"
#include "migration.h"
#include "qemu-file.h"
#include "ram.h"

/* The first pass over disks: RAM is sent beside it, or waits for it. */
static inline bool convergence_base_block_bulk(void)
{
    return blk_mig_bulk_active();
}

/* The thread is there until its clean-up was done. */
static inline bool convergence_base_is_ending(const MigrationState *s)
{
    return s->cleanup_bh != NULL;
}

/* The clean-up leaves a return path alone whose migration has failed. */
static inline bool convergence_base_cleanup_joins(void)
{
    return false;
}

/* It takes postcopy-ram with multifd, and loses the guest then. */
static inline bool convergence_base_postcopy_with_multifd(void)
{
    return false;
}

static inline void convergence_base_set_info(MigrationInfo *info,
                                             ConvergenceInfo *convergence)
{
    info->has_convergence = true;
    info->convergence = convergence;
}

/* Later QEMUs have avail-switchover-bandwidth themselves. */

static inline void convergence_base_params_init(MigrationParameters *params)
{
    params->has_avail_switchover_bandwidth = true;
}

static inline bool
convergence_base_params_check(const MigrationParameters *params, Error **errp)
{
    if (params->has_avail_switchover_bandwidth &&
        params->avail_switchover_bandwidth > INT64_MAX) {
        error_setg(errp, "Parameter 'avail-switchover-bandwidth' expects a "
                   "value between 0 and %" PRId64 " bytes/s, got %" PRIu64,
                   INT64_MAX, params->avail_switchover_bandwidth);
        return false;
    }
    return true;
}

static inline void
convergence_base_params_apply(const MigrateSetParameters *set,
                              MigrationParameters *params)
{
    if (set->has_avail_switchover_bandwidth) {
        params->avail_switchover_bandwidth = set->avail_switchover_bandwidth;
    }
}

static inline void
convergence_base_params_query(MigrationParameters *copy,
                              const MigrationParameters *params)
{
    copy->avail_switchover_bandwidth = params->avail_switchover_bandwidth;
}

static inline void
convergence_base_params_show(Monitor *mon, const MigrationParameters *params)
{
    monitor_printf(mon, "avail-switchover-bandwidth: %" PRIu64
                   " bytes/second\n", params->avail_switchover_bandwidth);
}

/*
 * Of MiB/s, if it has no unit, as max-bandwidth over HMP.  Returns: whether it
 * is such a parameter.
 */
static inline bool
convergence_base_params_set(MigrateSetParameters *set, int parameter,
                            Visitor *v, const char *name, Error **errp)
{
    g_autofree char *text = NULL;

    if (parameter != MIGRATION_PARAMETER_AVAIL_SWITCHOVER_BANDWIDTH) {
        return false;
    }
    set->has_avail_switchover_bandwidth = true;
    if (visit_type_str(v, name, &text, errp) &&
        qemu_strtosz_MiB(text, NULL, &set->avail_switchover_bandwidth) < 0) {
        error_setg(errp, "Invalid size %s", text);
    }
    return true;
}

#endif /* CONVERGENCE_BASE_H */
