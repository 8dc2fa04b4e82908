/*
 * Planning an evacuation: what the files evacuation*.c share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_EVACUATION_INTERNAL_H
#define CONVERGECTL_EVACUATION_INTERNAL_H

#include "evacuation.h"

/* A time that is over, although rounding has left something of it */
#define EVACUATION_NOW_S 1e-9

/* Whether it takes part of a link in that stage */
gboolean evacuation_sends(EvacuationStage stage);

/* What a guest could send with its links for itself, in bytes a second */
double evacuation_full_rate(const EvacuationTerms *terms,
                            const EvacuationGuest *guest);

#endif
