/*
 * Would it converge?  What two measured dirty rates say of a migration
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "forecast.h"

#include <math.h>

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

/* What was written in full before the first measurement ended */
static WriteModel saturated(double bytes, double seconds)
{
    WriteModel model = { bytes / seconds, bytes, TRUE };

    return model;
}

/* (1 - x^n) / (1 - x) = ratio, for x in (0, 1): the left side grows with x */
static double solve_decay(double ratio, double n)
{
    double low = 0, high = 1;

    for (int i = 0; i < 60; i++) {
        double x = (low + high) / 2;

        if ((1 - pow(x, n)) / (1 - x) < ratio) {
            low = x;
        } else {
            high = x;
        }
    }
    return (low + high) / 2;
}

WriteModel write_model_fit(double bytes_1, double seconds_1, double bytes_2,
                           double seconds_2, double ram_bytes)
{
    double n = seconds_2 / seconds_1;
    WriteModel model = { bytes_1 / seconds_1, ram_bytes, FALSE };
    double x;

    if (bytes_1 <= 0) {
        model.rate_bytes_per_s = MAX(bytes_2, 0) / seconds_2;
        return model;
    }
    /* A twentieth is what two measurements of the same differ by */
    if (bytes_2 <= bytes_1 * 1.05) {
        return saturated(MAX(bytes_1, bytes_2), seconds_1);
    }
    if (bytes_2 >= bytes_1 * n * 0.95) {
        return model;
    }
    x = solve_decay(bytes_2 / bytes_1, n);
    model.working_set_bytes = MIN(bytes_1 / (1 - x), ram_bytes);
    model.rate_bytes_per_s = -log(x) * model.working_set_bytes / seconds_1;
    return model;
}

double write_model_dirtied(const WriteModel *model, double seconds)
{
    double set = model->working_set_bytes;

    if (set <= 0) {
        return 0;
    }
    if (model->at_least) {
        return MIN(model->rate_bytes_per_s * seconds, set);
    }
    return set * (1 - exp(-model->rate_bytes_per_s * seconds / set));
}

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
