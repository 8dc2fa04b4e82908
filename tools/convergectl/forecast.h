/*
 * Would it converge?  What two measured dirty rates say of a migration
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
 * over and over.  D at two times, measured, gives a and W; D(t) < B t tells
 * whether a pass of t seconds leaves less than it sent.
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

typedef struct Forecast {
    gboolean converges;
    double total_s;                 /* if it converges; else the first pass */
    double downtime_s;              /* ... what stopping after it would cost */
    int passes;
} Forecast;

/* Pass after pass until what remains fits into the downtime */
Forecast forecast_migration(const WriteModel *model, double ram_bytes,
                            double bandwidth_bytes_per_s, double downtime_s);

/*
 * The least share of their time, in percent, that vCPUs must sleep for the
 * migration to converge in the time of two passes over all RAM; 100 if no
 * share will do.
 */
int forecast_least_throttle_pct(const WriteModel *model, double ram_bytes,
                                double bandwidth_bytes_per_s,
                                double downtime_s);

/* The same guest, its vCPUs asleep for @throttle_pct of their time */
WriteModel write_model_throttled(const WriteModel *model, int throttle_pct);

#endif
