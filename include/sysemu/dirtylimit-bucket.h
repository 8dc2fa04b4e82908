/*
 * The bucket that limits how fast one vCPU dirties pages
 *
 * A token bucket, kept as one point in time instead of a count of tokens: the
 * moment at which everything dirtied so far will have been paid for at the
 * limit.  Ahead of the clock, the vCPU is in debt; behind it, it has saved up.
 * Dirtying moves that moment ahead by bytes / limit:
 *
 *      paid_until = max(paid_until, now - burst - overslept) + bytes / limit
 *
 *        may run          in debt: sleeps until here
 *     ------|----------------|---------+--------------------------> time
 *      now - burst          now    paid_until
 *
 * A vCPU is not to blame for waking late on a busy host.  What it overslept
 * beyond a burst stays its own until it is used up, or the limit would be
 * missed by a quarter there.
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
 * What a vCPU may save up while it writes less than its limit.  Even one that
 * only computes writes to pages of its kernel's, and to all of them within a
 * few ms of their dirty bits being cleared: 30 to 200 were seen a sync, ten of
 * which make a rate that no limit is about.  One that writes without end saves
 * nothing, so the limit that holds in the long run is the same.
 */
#define DIRTYLIMIT_BURST_NS             (50 * 1000 * 1000LL)
/* At limits so low that a burst is less than this: this. */
#define DIRTYLIMIT_BURST_MIN_BYTES      (256 * 4096)
/* A sleep ends when so much is saved up: not one sleep a page. */
#define DIRTYLIMIT_RESTED_NS            (2500 * 1000LL)
/* The most of a late wake-up that stays a vCPU's own. */
#define DIRTYLIMIT_OVERSLEPT_MAX_NS     (100 * 1000 * 1000LL)
/*
 * The most a vCPU can owe.  A whole harvest of a ring can be charged at once
 * and must be paid in full for the limit to hold: 65536 pages, KVM's largest
 * ring, take 54 s at 5 MB/s.
 */
#define DIRTYLIMIT_DEBT_MAX_NS          (60 * 1000 * 1000 * 1000LL)

/* Zero-initialised: nothing owed, nothing written yet. */
typedef struct DirtyBucket {
    /* All atomic. */
    int64_t paid_until_ns;
    int64_t overslept_ns;
    /* In debt since the last time that it was rested. */
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
 * dirty_bucket_is_paying: whether a vCPU is in debt, or was and is not rested
 *
 * As of the last look at what it owes.  Any thread.
 */
bool dirty_bucket_is_paying(const DirtyBucket *bucket);

/**
 * dirty_bucket_relimit: carry what is owed, or saved up, over to another limit
 *
 * A higher limit shortens a debt in proportion.  A lower one does not stretch
 * it: those pages were dirtied within the rules of their time.  What was saved
 * up stays, as time: a migration sets its limits anew after each sync, just
 * when all of a vCPU's pages are clean and it needs that.  The first limit finds
 * as much saved up as can be, for the same reason; to none, nothing is owed.
 */
void dirty_bucket_relimit(DirtyBucket *bucket, uint64_t old_bytes_per_s,
                          uint64_t new_bytes_per_s, int64_t now_ns);

#endif /* SYSEMU_DIRTYLIMIT_BUCKET_H */
