/*
 * What the accounts of work and of latency share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGE_GUEST_WORK_INTERNAL_H
#define CONVERGE_GUEST_WORK_INTERNAL_H

#include "guest-work.h"
#include "worklog.h"

typedef enum Side { SOURCE, DESTINATION, NR_SIDES } Side;

struct GuestWork {
    GMutex lock;
    GCond changed;

    /* Guarded by lock */
    Worklog *log;
    GArray *sides;                  /* Side of each report in log */
    unsigned nr_reports[NR_SIDES];
    gint64 offset_us[NR_SIDES];
};

/* When report @index was written, on the host's clock; lock is held */
gint64 guest_work_host_us(GuestWork *work, unsigned index);

#endif
