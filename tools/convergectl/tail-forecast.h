/*
 * How long the tail of a migration takes, in closed form
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * A plan for thousands of guests cannot rehearse each of them with the engine,
 * as `convergectl check` does for one: it takes passes that shrink by what the
 * write model says.
 */

#ifndef CONVERGECTL_TAIL_FORECAST_H
#define CONVERGECTL_TAIL_FORECAST_H

#include "forecast.h"

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
