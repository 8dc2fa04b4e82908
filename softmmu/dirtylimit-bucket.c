/*
 * The bucket that limits how fast one vCPU dirties pages
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "sysemu/dirtylimit-bucket.h"

/*
 * The compiler's own atomics, not qemu/atomic.h, for this file to stand alone
 * in its unit test.  Relaxed will do: a bucket guards no other data.
 */
#define load(ptr)           __atomic_load_n(ptr, __ATOMIC_RELAXED)
#define store(ptr, value)   __atomic_store_n(ptr, value, __ATOMIC_RELAXED)

#define NS_PER_S            1000000000ULL

/* a * b / c, rounded up, without overflow; for a < c and b <= 2^30. */
static uint64_t scale_up(uint64_t a, uint64_t b, uint64_t c)
{
    while (c >> 33) {
        /* Above 8 GB/s the bits lost are worth less than a ns in a second. */
        a >>= 1;
        c >>= 1;
    }
    return (a * b + c - 1) / c;
}

int64_t dirty_bucket_cost_ns(uint64_t bytes, uint64_t limit_bytes_per_s)
{
    uint64_t whole_s = bytes / limit_bytes_per_s;
    uint64_t rest_bytes = bytes % limit_bytes_per_s;
    uint64_t cost_ns;

    if (whole_s >= DIRTYLIMIT_DEBT_MAX_NS / NS_PER_S) {
        return DIRTYLIMIT_DEBT_MAX_NS;
    }
    cost_ns = whole_s * NS_PER_S +
              scale_up(rest_bytes, NS_PER_S, limit_bytes_per_s);
    return MIN(cost_ns, (uint64_t)DIRTYLIMIT_DEBT_MAX_NS);
}

static int64_t burst_of(uint64_t limit_bytes_per_s)
{
    return MAX(DIRTYLIMIT_BURST_NS,
               dirty_bucket_cost_ns(DIRTYLIMIT_BURST_MIN_BYTES,
                                    limit_bytes_per_s));
}

static bool replace(DirtyBucket *bucket, int64_t *expected_ns, int64_t new_ns)
{
    return __atomic_compare_exchange_n(&bucket->paid_until_ns, expected_ns,
                                       new_ns, false, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED);
}

bool dirty_bucket_charge(DirtyBucket *bucket, uint64_t limit_bytes_per_s,
                         uint64_t bytes, int64_t now_ns)
{
    int64_t cost_ns = dirty_bucket_cost_ns(bytes, limit_bytes_per_s);
    int64_t burst_from_ns = now_ns - burst_of(limit_bytes_per_s);
    int64_t oldest_ns = burst_from_ns - load(&bucket->overslept_ns);
    int64_t latest_ns = now_ns + DIRTYLIMIT_DEBT_MAX_NS;
    int64_t old_ns = load(&bucket->paid_until_ns);
    int64_t new_ns;

    do {
        new_ns = MIN(MAX(old_ns, oldest_ns) + cost_ns, latest_ns);
    } while (!replace(bucket, &old_ns, new_ns));

    if (new_ns >= burst_from_ns) {
        store(&bucket->overslept_ns, 0);
    }
    if (new_ns <= now_ns) {
        return false;
    }
    store(&bucket->paying, true);
    return true;
}

int64_t dirty_bucket_owed_ns(DirtyBucket *bucket, uint64_t limit_bytes_per_s,
                             int64_t now_ns)
{
    int64_t owed_ns, overslept_ns;

    if (!limit_bytes_per_s || !load(&bucket->paying)) {
        return 0;
    }
    owed_ns = load(&bucket->paid_until_ns) + DIRTYLIMIT_RESTED_NS - now_ns;
    if (owed_ns > 0) {
        return owed_ns;
    }
    overslept_ns = now_ns - burst_of(limit_bytes_per_s) -
                   load(&bucket->paid_until_ns);
    overslept_ns = MIN(MAX(overslept_ns, 0), DIRTYLIMIT_OVERSLEPT_MAX_NS);
    store(&bucket->overslept_ns, overslept_ns);
    store(&bucket->paying, false);
    return 0;
}

bool dirty_bucket_is_paying(const DirtyBucket *bucket)
{
    return load(&bucket->paying);
}

void dirty_bucket_relimit(DirtyBucket *bucket, uint64_t old_bytes_per_s,
                          uint64_t new_bytes_per_s, int64_t now_ns)
{
    int64_t old_ns = load(&bucket->paid_until_ns);
    int64_t debt_ns;

    do {
        debt_ns = old_ns - now_ns;
        if (!new_bytes_per_s) {
            debt_ns = 0;
        } else if (!old_bytes_per_s) {
            debt_ns = -burst_of(new_bytes_per_s);
        } else if (debt_ns > 0 && new_bytes_per_s > old_bytes_per_s) {
            debt_ns = (double)debt_ns * old_bytes_per_s / new_bytes_per_s;
        }
    } while (!replace(bucket, &old_ns, now_ns + debt_ns));

    store(&bucket->overslept_ns, 0);
    if (debt_ns <= 0) {
        store(&bucket->paying, false);
    }
}
