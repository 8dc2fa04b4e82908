/*
 * What two measured dirty rates say of what a guest writes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "forecast.h"

#include <math.h>

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
    WriteModel model = { MAX(bytes_1 / seconds_1, bytes_2 / seconds_2),
                         ram_bytes, FALSE };
    double x;

    bytes_1 = MIN(bytes_1, ram_bytes);
    bytes_2 = MIN(bytes_2, ram_bytes);
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
