/*
 * The bucket that limits how fast one vCPU dirties pages
 *
 * A token bucket, kept as one point in time instead of a count of tokens: the
 * moment at which everything dirtied so far will have been paid for at the
 * limit.  Ahead of the clock, the vCPU is in debt; behind it, it has saved up.
 * Dirtying moves that moment ahead by bytes / limit:
 *
 *      paid_until = max(paid_until, now - burst) + bytes / limit
 *
 *        may run          in debt: sleeps until here
 *     ------|----------------|---------+--------------------------> time
 *      now - burst          now    paid_until
 *
 * One integer is all there is to update, so charging needs no lock; a new
 * limit finds a debt in time, which is what it should keep; and there is no
 * product of rate and time that could overflow at a limit of 2^63.
 *
 * Pure functions: the clock comes in as an argument, any monotonic one in ns.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSEMU_DIRTYLIMIT_BUCKET_H
#define SYSEMU_DIRTYLIMIT_BUCKET_H

/*
 * What a vCPU may save up while it writes less than its limit.  Long enough
 * for a wake-up that comes some ms late not to cost it any of its share.
 */
#define DIRTYLIMIT_BURST_NS             (10 * 1000 * 1000LL)
/* At limits so low that a burst is less than this: this. */
#define DIRTYLIMIT_BURST_MIN_BYTES      (4 * 4096)
/*
 * A sleep ends when this much of a burst is saved up again: neither one sleep
 * a page, nor no room left for a late wake-up.
 */
#define DIRTYLIMIT_RESTED_PCT           25
/*
 * The most a vCPU can owe.  A whole harvest of a ring can be charged at once
 * and must be paid in full for the limit to hold: 65536 pages, KVM's largest
 * ring, take 54 s at 5 MB/s.
 */
#define DIRTYLIMIT_DEBT_MAX_NS          (60 * 1000 * 1000 * 1000LL)

/* Zero-initialised: nothing owed, nothing written yet. */
typedef struct DirtyBucket {
    /* Atomic. */
    int64_t paid_until_ns;
    /* In debt since the last time that it was rested (atomic). */
    bool paying;
} DirtyBucket;

/**
 * dirty_bucket_cost_ns: how long a limit needs for an amount of dirtying
 * @bytes: what was dirtied
 * @limit_bytes_per_s: the limit, not 0
 *
 * Returns: ns, rounded up, at most DIRTYLIMIT_DEBT_MAX_NS.
 */
int64_t dirty_bucket_cost_ns(uint64_t bytes, uint64_t limit_bytes_per_s);

/**
 * dirty_bucket_charge: account for pages that a vCPU dirtied
 *
 * Any thread.  Returns: true if the vCPU is in debt now and has to sleep.
 */
bool dirty_bucket_charge(DirtyBucket *bucket, uint64_t limit_bytes_per_s,
                         uint64_t bytes, int64_t now_ns);

/**
 * dirty_bucket_owed_ns: how long a vCPU still has to sleep
 *
 * Once in debt, a vCPU owes until it is rested.  Any thread.
 */
int64_t dirty_bucket_owed_ns(DirtyBucket *bucket, uint64_t limit_bytes_per_s,
                             int64_t now_ns);

/**
 * dirty_bucket_relimit: carry what is owed over to another limit
 *
 * A higher limit shortens a debt in proportion.  A lower one does not stretch
 * it: those pages were dirtied within the rules of their time.  From no limit,
 * or to none, nothing is owed.
 */
void dirty_bucket_relimit(DirtyBucket *bucket, uint64_t old_bytes_per_s,
                          uint64_t new_bytes_per_s, int64_t now_ns);

#endif /* SYSEMU_DIRTYLIMIT_BUCKET_H */
