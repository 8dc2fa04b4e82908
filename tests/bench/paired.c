/*
 * Runs in pairs: by how much the one arm differs from the other
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "paired.h"

#include "report.h"

#define WANTED_CONFIDENCE 0.95

/*
 * With a true median of nothing, each difference is above it or below by the
 * toss of a coin.  The interval from the @outer+1st least to the @outer+1st
 * greatest misses it if at most @outer tosses fell the one way, or the other.
 */
static double confidence(unsigned count, unsigned outer)
{
    double chance = 1, misses = 0;

    for (unsigned i = 0; i < count; i++) {
        chance /= 2;
    }
    for (unsigned i = 0; i <= outer; i++) {
        misses += chance;
        chance = chance * (count - i) / (i + 1);
    }
    return MAX(1 - 2 * misses, 0);
}

PairedDifference paired_difference(const double *with, const double *without,
                                   unsigned count)
{
    g_autofree double *differences = g_new(double, count);
    PairedDifference result;
    unsigned outer = 0;

    for (unsigned i = 0; i < count; i++) {
        differences[i] = with[i] - without[i];
    }
    while (2 * (outer + 1) < count &&
           confidence(count, outer + 1) >= WANTED_CONFIDENCE) {
        outer++;
    }
    result.median = report_median(differences, count);
    result.low = differences[outer];
    result.high = differences[count - 1 - outer];
    result.confidence_pct = 100 * confidence(count, outer);
    return result;
}
