/*
 * Two QEMUs, one guest: brought up, configured and set off
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGE_BENCH_MIGRATE_PAIR_H
#define CONVERGE_BENCH_MIGRATE_PAIR_H

#include "migrate.h"
#include "vm.h"

/* The loads' first strides fault their memory in: no part of the baseline */
#define MIGRATE_SETTLE_MS 500
/* Programs take longer: caches fill, heaps grow to their size */
#define MIGRATE_SETTLE_PROGRAMS_MS 3000

typedef struct MigratePair {
    GuestWork *work;
    Vm *source;
    Vm *destination;
} MigratePair;

/* Both run, and the guest works; on failure the pair is cleared */
gboolean migrate_pair_start(MigratePair *pair, const MigrateSpec *spec,
                            GError **errp);

/* Sets the spec's parameters and capabilities on both sides */
gboolean migrate_pair_configure(MigratePair *pair, const MigrateSpec *spec,
                                GError **errp);

/* The same for one side; auto-converge only if it is in the spec's list */
gboolean migrate_side_configure(QmpClient *qmp, const MigrateSpec *spec,
                                GError **errp);

/* "migrate" or "migrate-incoming" */
gboolean migrate_run_with_uri(QmpClient *qmp, const char *command,
                              const char *uri, GError **errp);

/*
 * Returns once the migration is under way, over the @wire if there is one,
 * which takes the pair's destination for its target
 */
gboolean migrate_pair_go(MigratePair *pair, Wire *wire, GError **errp);

/* Kills both */
void migrate_pair_clear(MigratePair *pair);

static inline void migrate_sleep_ms(unsigned ms)
{
    g_usleep((gulong)ms * 1000);
}

static inline unsigned migrate_settle_ms(const MigrateSpec *spec)
{
    return spec->programs ? MIGRATE_SETTLE_PROGRAMS_MS : MIGRATE_SETTLE_MS;
}

/* A number in query-migrate's reply, 0 where it is not there (yet) */
gint64 migrate_info_int(JsonObject *info, const char *group,
                        const char *name);
const char *migrate_info_status(JsonObject *info);

/* TRUE if a migration of that status goes on no more */
gboolean migrate_has_ended(const char *status);

#endif
