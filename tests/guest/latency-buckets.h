/*
 * Buckets of the latency histograms that the guest sends
 *
 * Two to an octave, from below 1 us up to a quarter of an hour: finer ones
 * would cost the guest more on its serial line than they tell.  Both ends
 * must agree, so both include this.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GUEST_LATENCY_BUCKETS_H
#define GUEST_LATENCY_BUCKETS_H

#include <stdint.h>

#define LATENCY_BUCKETS 62

/* Where bucket @i begins; the last one has no end */
static inline uint64_t latency_bucket_ns(unsigned i)
{
    /* 1000 and 1000 x sqrt(2), times 2^k */
    return i ? (i % 2 ? 1000ULL : 1414ULL) << (i - 1) / 2 : 0;
}

/* Cheap, since a vCPU that is slowed to 1 % counts a hundred at a time */
static inline unsigned latency_bucket(uint64_t ns)
{
    unsigned octave, bucket;

    if (ns < 1000) {
        return 0;
    }
    if (ns >> 41) {
        return LATENCY_BUCKETS - 1;
    }
    octave = 63 - __builtin_clzll(ns / 1000);
    bucket = 1 + 2 * octave + (ns >= 1414ULL << octave);
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

#endif
