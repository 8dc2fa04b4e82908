/*
 * Convergence of live migrations: what QEMU calls
 *
 * The migration thread reports what happens to it, and the engine's answers
 * reach the actuators, the switch-over and the monitors from here.
 * Implemented in migration/: convergence.c and the files that it names, but for
 * the parameters (convergence-params.c), HMP's report (convergence-info.c), and
 * what there is of guest RAM (convergence-untouched.c).
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONVERGENCE_H
#define MIGRATION_CONVERGENCE_H

#include "qapi/qapi-types-migration.h"
#include "hw/qdev-properties.h"
#include "migration/convergence-engine.h"
#include "sysemu/dirty-meter.h"

/**
 * convergence_forget: a new migration is being set up
 *
 * Monitors are told nothing more of the last one.  BQL held.
 */
void convergence_forget(void);

/**
 * convergence_start: a migration begins to send RAM
 * @s: the migration
 *
 * Migration thread, BQL not held.
 */
void convergence_start(MigrationState *s);

/**
 * convergence_end: the migration thread ends, for better or worse
 *
 * Whatever slows the guest is lifted.  If the migration has failed or was
 * cancelled, waits for the return path's thread, which ends with its socket.
 * Migration thread, BQL not held.
 */
void convergence_end(void);

/**
 * convergence_is_ending: the last migration's thread may still be there
 * @s: the migration
 *
 * Until its clean-up was done, which is after its state says that it has ended,
 * what is @s's must not be set up for another one.  BQL held.
 */
bool convergence_is_ending(const MigrationState *s);

/**
 * convergence_switchover: from here on the guest must not be slowed
 *
 * Called once the guest is stopped for the switch-over or for postcopy, and
 * when the migration is cancelled.  Any thread, BQL held or not; does nothing
 * outside a migration.
 */
void convergence_switchover(void);

/**
 * convergence_sync_begin, convergence_sync_end: around each dirty bitmap sync
 *
 * The end of a sync makes a sample, and the engine decides on it.  Thread that
 * syncs, BQL held.
 *
 * Return whether it is a sync that upstream would have, too: one that begins or
 * ends a pass over RAM, and not one that the clock alone asked for.
 */
bool convergence_sync_begin(void);
bool convergence_sync_end(void);

/**
 * convergence_send_begin: the save loop is about to send pages
 *
 * Has rewrites of pages that wait seen until the next sync, if the engine asked
 * for that.  Migration thread, with the lock of the migration's bitmap and
 * without the BQL.
 */
void convergence_send_begin(void);

/**
 * convergence_sync_due: whether to look at the dirty bitmap now
 * @near_end: what remains is below the threshold of the switch-over
 *
 * Near the end, always, and where nothing remains while the engine has a part in
 * it; there it waits first for what stands in the stream's send queue, as the
 * switch-over would.  Else when the engine asks for it, which it does not while
 * auto-converge is off.  Migration thread, BQL not held.
 */
bool convergence_sync_due(bool near_end);

/**
 * convergence_is_over: the migration has been given up or cancelled meanwhile
 * @s: the migration
 *
 * Or its stream is broken: the guest must not be stopped for it any more.
 * Migration thread.
 */
bool convergence_is_over(MigrationState *s);

/**
 * convergence_pass_done: the search for dirty pages came to the end of RAM
 *
 * Migration thread.
 */
void convergence_pass_done(void);

/**
 * convergence_tick: look at the deadline, and at what may remain
 * @s: the migration
 * @bandwidth_bytes_per_ms: upstream's measurement of the last interval
 *
 * Takes the action of a met stop condition.  Migration thread, BQL not held.
 *
 * Returns how many bytes may remain at the switch-over.
 */
int64_t convergence_tick(MigrationState *s, double bandwidth_bytes_per_ms);

/**
 * convergence_fill_info: add what the engine knows to query-migrate's answer
 *
 * Adds nothing if that was a state written to a file, or one of a guest that
 * stood still, and the engine was not asked for.  While there is a forecast,
 * expected-downtime is that.  BQL held.
 */
void convergence_fill_info(MigrationInfo *info);

/*
 * The parameters: set up, check, apply, show.  All with the BQL held.
 *
 * convergence_params_check sets @errp and returns false if a value is out of
 * range or contradicts another one.  convergence_params_apply copies the
 * members that are present.
 */
void convergence_params_init(MigrationParameters *params);
bool convergence_params_check(MigrationParameters *params, Error **errp);
void convergence_params_apply(MigrateSetParameters *set,
                              MigrationParameters *params);
void convergence_params_query(MigrationParameters *copy,
                              const MigrationParameters *params);

/**
 * convergence_params_by_client: whether a client has set the timeout and the
 * stop conditions to other values than QEMU was started with
 *
 * BQL held.
 */
bool convergence_params_by_client(void);

/**
 * convergence_caps_check: whether capabilities go with the parameters as set
 * @caps: all of them as they are to be
 *
 * BQL held.  Returns: false and sets @errp if they do not.
 */
bool convergence_caps_check(const bool *caps, Error **errp);

/**
 * convergence_params_get: the settings as the engine takes them
 * @s: the migration
 * @meter: that tells vCPUs apart, NULL for none
 * @params: filled in; policy 'auto' is resolved by that
 *
 * BQL held, which guards the settings.
 */
void convergence_params_get(MigrationState *s, const DirtyMeter *meter,
                            ConvergenceParams *params);

/**
 * convergence_params_changed: the user has set some migration parameter
 *
 * BQL held.
 */
void convergence_params_changed(void);

/* What a census remembers; zero-initialise it for the first of a migration. */
typedef struct ConvergenceUntouched {
    bool has_account;
    double zero_part;           /* of what is mapped: the host's zero page */
    double swapped_part;        /* of what is not mapped */
} ConvergenceUntouched;

/**
 * convergence_untouched_bytes: guest RAM that waits to be sent and that the
 * host never gave memory for
 * @untouched: of this migration
 *
 * At most that much: 0 where the host does not say.  Takes up to 40 ms on a
 * large guest.  Migration thread, with the lock of the migration's bitmap or
 * before anything is sent.
 */
uint64_t convergence_untouched_bytes(ConvergenceUntouched *untouched);

/**
 * convergence_present_bytes: guest RAM that the guest has
 *
 * What is plugged, less what a balloon took.
 *
 * BQL held.
 */
uint64_t convergence_present_bytes(void);

/* Defaults that need a name outside of the property list. */
#define CONVERGENCE_DEFAULT_SYNC_PERIOD_MS 1000
#define CONVERGENCE_DEFAULT_MAX_DOWNTIME_MS 5000

extern const PropertyInfo qdev_prop_convergence_policy;
extern const PropertyInfo qdev_prop_convergence_timeout_action;
extern const PropertyInfo qdev_prop_convergence_meter;

/* The parameters as properties of the migration object, with defaults. */
#define DEFINE_PROP_CONVERGENCE(_state, _field)                             \
    DEFINE_PROP_SIGNED("convergence-policy", _state,                        \
                       _field.convergence_policy,                           \
                       CONVERGENCE_POLICY_NAME_STEP,                        \
                       qdev_prop_convergence_policy,                        \
                       ConvergencePolicyName),                              \
    DEFINE_PROP_UINT32("dirty-sync-period", _state,                         \
                       _field.dirty_sync_period,                            \
                       CONVERGENCE_DEFAULT_SYNC_PERIOD_MS),                 \
    DEFINE_PROP_UINT64("convergence-timeout", _state,                       \
                       _field.convergence_timeout, 0),                      \
    DEFINE_PROP_UINT64("convergence-max-downtime", _state,                  \
                       _field.convergence_max_downtime,                     \
                       CONVERGENCE_DEFAULT_MAX_DOWNTIME_MS),                \
    DEFINE_PROP_UINT64("convergence-max-iterations", _state,                \
                       _field.convergence_max_iterations, 0),               \
    DEFINE_PROP_UINT64("convergence-max-transfer", _state,                  \
                       _field.convergence_max_transfer, 0),                 \
    DEFINE_PROP_SIGNED("convergence-timeout-action", _state,                \
                       _field.convergence_timeout_action,                   \
                       CONVERGENCE_TIMEOUT_ACTION_DOWNTIME,                 \
                       qdev_prop_convergence_timeout_action,                \
                       ConvergenceTimeoutAction),                           \
    DEFINE_PROP_UINT64("convergence-vcpu-limit", _state,                    \
                       _field.convergence_vcpu_limit, 0),                   \
    {                                                                       \
        .name = "x-convergence-meter",                                      \
        .info = &qdev_prop_convergence_meter,                               \
    }

#endif /* MIGRATION_CONVERGENCE_H */
