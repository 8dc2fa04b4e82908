/*
 * What a QEMU was set to before a migration, and is to be set to after it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * A setting must not outlive the migration that it was made for, whatever
 * becomes of convergectl: it may be killed, or be told to leave while the
 * migration goes on.  So a guard is started before anything is set: a process
 * that waits for us to say that all is restored.  If we go without that, it
 * waits for the migration to end, and restores.
 */

#ifndef CONVERGECTL_BEFORE_H
#define CONVERGECTL_BEFORE_H

#include "qmp.h"

/* Members of the object that settings_before() returns */
#define BEFORE_PARAMETERS "parameters"
#define BEFORE_CAPABILITIES "capabilities"

/* Sets what @before holds.  FALSE if QEMU does not take all of it. */
gboolean before_restore(QmpClient *qmp, JsonObject *before, GError **errp);

typedef struct Guard Guard;

/*
 * For the QEMU at @path, or for none if that is NULL; to be called before there
 * is a connection to it.  It does nothing as long as it was told of nothing.
 */
Guard *guard_start(const char *path);

/*
 * To be called once connected, before QEMU is asked what it is set to: of two
 * guards the one that came first has the last word.
 */
void guard_take_place(Guard *guard);

/*
 * What an earlier migration has set may be about to be put back: waits for that
 * a moment, before there is a connection.
 */
void guard_await_others(const char *path);

/* @before is what it will restore, in @qmp's QEMU and no other */
void guard_tell(Guard *guard, QmpClient *qmp, JsonObject *before);

/*
 * We have come to an end: restores @before, if the migration has ended, too;
 * else that is left to the guard.  Takes over both; @before may be NULL.
 */
void guard_take_back(Guard *guard, QmpClient *qmp, JsonObject *before);

/* All is as it was, or will never be asked for again */
void guard_dismiss(Guard *guard);

/* We go, and the migration may go on */
void guard_hand_over(Guard *guard);

#endif
