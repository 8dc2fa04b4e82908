/*
 * How long the tail of a migration takes, in closed form
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "tail-forecast.h"

/*
 * Passes that shrink more slowly than this come to no end that anybody
 * would wait for.
 */
#define MAX_PASSES 60
#define LEAST_SHRINK 0.98

/*
 * A slow-down that only just does costs the guest for hours; one that ends it
 * in the time of so many passes over all RAM costs more for a moment.
 */
#define MAX_PASSES_WORTH 2.0

/* As max-cpu-throttle has it by default */
#define MAX_THROTTLE_PCT 99

Forecast forecast_migration(const WriteModel *model, double ram_bytes,
                            double bandwidth_bytes_per_s, double downtime_s)
{
    Forecast forecast = { 0 };
    double pass_s = ram_bytes / bandwidth_bytes_per_s;
    double first_left_s = 0;

    for (int pass = 1; pass <= MAX_PASSES; pass++) {
        double left_s = write_model_dirtied(model, pass_s) /
                        bandwidth_bytes_per_s;

        forecast.total_s += pass_s;
        forecast.passes = pass;
        if (pass == 1) {
            first_left_s = left_s;
        }
        if (left_s <= downtime_s) {
            forecast.converges = TRUE;
            forecast.downtime_s = left_s;
            forecast.total_s += left_s;
            return forecast;
        }
        if (pass > 1 && left_s > pass_s * LEAST_SHRINK) {
            break;
        }
        pass_s = left_s;
    }
    forecast.passes = 1;
    forecast.total_s = ram_bytes / bandwidth_bytes_per_s;
    forecast.downtime_s = first_left_s;
    return forecast;
}

WriteModel write_model_throttled(const WriteModel *model, int throttle_pct)
{
    WriteModel slowed = *model;

    slowed.rate_bytes_per_s *= 1 - throttle_pct / 100.0;
    return slowed;
}

int forecast_least_throttle_pct(const WriteModel *model, double ram_bytes,
                                double bandwidth_bytes_per_s,
                                double downtime_s)
{
    double patience_s = MAX_PASSES_WORTH * ram_bytes / bandwidth_bytes_per_s;

    for (int pct = 0; pct <= MAX_THROTTLE_PCT; pct++) {
        WriteModel slowed = write_model_throttled(model, pct);

        Forecast forecast = forecast_migration(&slowed, ram_bytes,
                                               bandwidth_bytes_per_s,
                                               downtime_s);

        if (forecast.converges && forecast.total_s <= patience_s) {
            return pct;
        }
    }
    return 100;
}
