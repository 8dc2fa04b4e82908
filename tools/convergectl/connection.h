/*
 * Reaching a QEMU, and saying why it cannot be reached
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_CONNECTION_H
#define CONVERGECTL_CONNECTION_H

#include "qmp.h"

/* @wait_s bounds the time until QEMU has greeted */
QmpClient *connection_open(const char *path, int wait_s, GError **errp);

/* The connection cannot be used any more (or QEMU is silent, with TIMEOUT) */
gboolean connection_is_lost(const GError *error);

/* "QEMU 7.2.22", for messages */
char *connection_qemu_name(QmpClient *qmp);

#endif
