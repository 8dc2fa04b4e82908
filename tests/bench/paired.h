/*
 * Runs in pairs: by how much the one arm differs from the other
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGE_BENCH_PAIRED_H
#define CONVERGE_BENCH_PAIRED_H

/*
 * The median of the differences, and the interval that holds the true one
 * with a confidence of 95 % or more: between two of the sorted differences,
 * as the sign test has it.  That assumes nothing of how they are spread: an
 * outlier, which a shared host brings, counts as one difference and no more.
 * Less than six pairs cannot give 95 %; @confidence_pct says what they do.
 */
typedef struct PairedDifference {
    double median, low, high;
    double confidence_pct;
} PairedDifference;

/* @with[i] and @without[i] are a pair; @count is at least 1, at most 60 */
PairedDifference paired_difference(const double *with, const double *without,
                                   unsigned count);

#endif
