/*
 * What two measured dirty rates say of what a guest writes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * A guest that writes the same memory again dirties it once.  In t seconds
 * it dirties
 *
 *     D(t) = W (1 - e^(-a t / W))
 *
 * different bytes, a being what it dirties at first and W what it writes
 * over and over.  D at two times, measured, gives a and W.
 */

#ifndef CONVERGECTL_FORECAST_H
#define CONVERGECTL_FORECAST_H

#include <glib.h>

typedef struct WriteModel {
    double rate_bytes_per_s;        /* a */
    double working_set_bytes;       /* W */
    gboolean at_least;              /* all of W was written before the first
                                       measurement ended: a may be higher */
} WriteModel;

/*
 * @bytes_1 in @seconds_1, and @bytes_2 in the longer @seconds_2, which is a
 * multiple of it.  W is at most @ram_bytes.
 */
WriteModel write_model_fit(double bytes_1, double seconds_1, double bytes_2,
                           double seconds_2, double ram_bytes);

/* D(t) */
double write_model_dirtied(const WriteModel *model, double seconds);

#endif
