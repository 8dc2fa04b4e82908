/*
 * Does a QEMU still slow its guest down?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Asked of QEMU; guest-watch asks the guest.
 */

#ifndef CONVERGE_FAULTS_FULL_SPEED_H
#define CONVERGE_FAULTS_FULL_SPEED_H

#include "qmp.h"

typedef struct FullSpeed {
    gboolean known;             /* FALSE: a stock QEMU, which cannot tell */
    gint64 slept_ns;
} FullSpeed;

/*
 * Until there is no throttle and no dirty limit, and nobody sleeps one off;
 * an error if there still is one after @timeout_ms
 */
gboolean full_speed_wait(FullSpeed *look, QmpClient *qmp, int timeout_ms,
                         GError **errp);

/* Nor has any vCPU been made to sleep since @before */
gboolean full_speed_check(const FullSpeed *before, QmpClient *qmp,
                          GError **errp);

#endif
