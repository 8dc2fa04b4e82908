/*
 * The bucket of a dirty limit, on a clock that the test moves
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib.h>
#include "sysemu/dirtylimit-bucket.h"

#define MS          1000000LL
#define SECOND      1000000000LL
#define MB          (1ULL << 20)
#define PAGE        4096ULL

/* A host up for 104 days. */
#define FIRST_NS    (104 * 86400 * SECOND + 12345)

static void test_cost_is_bytes_over_limit(void)
{
    static const struct {
        uint64_t bytes, limit_bytes_per_s;
        int64_t cost_ns;
    } rows[] = {
        { 0, 1, 0 },
        { PAGE, PAGE, SECOND },
        { PAGE, 4 * PAGE, SECOND / 4 },
        { 5 * MB, 5 * MB, SECOND },
        { 256 * MB, 5 * MB, 51200 * MS },
        { 256 * MB, 4 * MB, DIRTYLIMIT_DEBT_MAX_NS },
        { 1, UINT64_MAX, 0 },
        { UINT64_MAX, 1, DIRTYLIMIT_DEBT_MAX_NS },
        { 1ULL << 46, 1ULL << 63, 7630 },
        { (1ULL << 63) - 1, 1ULL << 63, SECOND },
        { 1ULL << 46, 1, DIRTYLIMIT_DEBT_MAX_NS },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_assert_cmpint(dirty_bucket_cost_ns(rows[i].bytes,
                                             rows[i].limit_bytes_per_s),
                        ==, rows[i].cost_ns);
    }
}

/* Over the whole range of limits: within 1 ns and 1 in 10^9 of the quotient. */
static void test_cost_never_overflows(void)
{
    for (int i = 0; i < 200000; i++) {
        uint64_t bytes = (uint64_t)g_test_rand_int()
                         << g_test_rand_int_range(0, 15);
        uint64_t limit = ((uint64_t)g_test_rand_int() << 32 | g_test_rand_int())
                         >> g_test_rand_int_range(0, 63);
        long double exact;
        int64_t cost_ns;

        limit = MAX(limit, 1);
        exact = (long double)bytes * SECOND / limit;
        exact = MIN(exact, DIRTYLIMIT_DEBT_MAX_NS);
        cost_ns = dirty_bucket_cost_ns(bytes, limit);
        g_assert_cmpint(cost_ns, <=, DIRTYLIMIT_DEBT_MAX_NS);
        g_assert_cmpfloat(cost_ns, >=, exact - 1 - exact / 1e9);
        g_assert_cmpfloat(cost_ns, <=, exact + 1 + exact / 1e9);
    }
}

/* A burst is free, the page after it is not. */
static void test_burst_of_50_ms_is_free(void)
{
    static const struct {
        uint64_t limit_bytes_per_s;
        unsigned free_pages;
    } rows[] = {
        { 100 * MB, 1279 },     /* 50 ms worth is 1280; a page rounds up */
        { 50 * MB, 640 },
        { 5 * MB, 256 },        /* 50 ms worth is 64 pages: the least is 256 */
        { 32768, 256 },
        { 8192, 120 },          /* as much as a debt may be: 60 s worth */
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        DirtyBucket bucket = {};
        uint64_t limit = rows[i].limit_bytes_per_s;
        unsigned pages = 0;

        while (!dirty_bucket_charge(&bucket, limit, PAGE, FIRST_NS)) {
            pages++;
        }
        g_assert_cmpuint(pages, ==, rows[i].free_pages);
        g_assert_cmpint(dirty_bucket_owed_ns(&bucket, limit, FIRST_NS), >, 0);
    }
}

static void test_idle_vcpu_saves_no_more_than_a_burst(void)
{
    DirtyBucket bucket = {};

    g_assert_false(dirty_bucket_charge(&bucket, 100 * MB, PAGE, FIRST_NS));
    g_assert_true(dirty_bucket_charge(&bucket, 100 * MB, 100 * MB,
                                      FIRST_NS + 3600 * SECOND));
    g_assert_cmpint(dirty_bucket_owed_ns(&bucket, 100 * MB,
                                         FIRST_NS + 3600 * SECOND),
                    ==, SECOND - DIRTYLIMIT_BURST_NS + DIRTYLIMIT_RESTED_NS);
}

static void test_vcpu_within_its_limit_never_owes(void)
{
    DirtyBucket bucket = {};
    int64_t now_ns = FIRST_NS;

    for (int i = 0; i < 100000; i++) {
        /* 4096 bytes each 800 us are 4.88 MB/s. */
        now_ns += 800000;
        g_assert_false(dirty_bucket_charge(&bucket, 5 * MB, PAGE, now_ns));
        g_assert_cmpint(dirty_bucket_owed_ns(&bucket, 5 * MB, now_ns), ==, 0);
    }
}

/*
 * A vCPU that dirties as fast as it can, sleeps when it owes, and wakes late by
 * up to @late_ms: what it dirties in 10 s.
 */
static uint64_t dirty_for_10_s(uint64_t limit_bytes_per_s, uint64_t chunk_bytes,
                               int late_ms)
{
    /* As after no limit: nothing saved up. */
    DirtyBucket bucket = { FIRST_NS, 0, false };
    int64_t now_ns = FIRST_NS;
    uint64_t bytes = 0;

    while (now_ns < FIRST_NS + 10 * SECOND) {
        int64_t owed_ns;

        now_ns += 1000;
        bytes += chunk_bytes;
        dirty_bucket_charge(&bucket, limit_bytes_per_s, chunk_bytes, now_ns);
        while ((owed_ns = dirty_bucket_owed_ns(&bucket, limit_bytes_per_s,
                                               now_ns))) {
            now_ns += owed_ns + g_test_rand_int_range(0, late_ms * MS);
        }
    }
    return bytes;
}

static void test_limit_holds_for_a_flat_out_writer(void)
{
    static const struct {
        uint64_t limit_bytes_per_s, chunk_bytes;
        int late_ms;
        double within;
    } rows[] = {
        { 1 * MB, PAGE, 5, 0.01 },
        { 5 * MB, PAGE, 5, 0.01 },
        { 5 * MB, PAGE, 100, 0.02 },
        { 20 * MB, PAGE, 1, 0.01 },
        { 20 * MB, PAGE, 30, 0.01 },
        { 100 * MB, PAGE, 5, 0.01 },
        { 100 * MB, PAGE, 100, 0.02 },
        { 1024 * MB, PAGE, 5, 0.01 },
        /* Harvests of a ring: 4096 pages at once. */
        { 5 * MB, 4096 * PAGE, 5, 0.5 },
        { 100 * MB, 4096 * PAGE, 5, 0.05 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        double want = rows[i].limit_bytes_per_s * 10.0;
        double got = dirty_for_10_s(rows[i].limit_bytes_per_s,
                                    rows[i].chunk_bytes, rows[i].late_ms);

        g_assert_cmpfloat(got, >, want * (1 - rows[i].within));
        g_assert_cmpfloat(got, <, want * (1 + rows[i].within));
    }
}

static void test_whole_ring_is_paid_in_full(void)
{
    DirtyBucket bucket = {};
    uint64_t ring_bytes = 65536 * PAGE;
    int64_t owed_ns;

    g_assert_true(dirty_bucket_charge(&bucket, 5 * MB, ring_bytes, FIRST_NS));
    owed_ns = dirty_bucket_owed_ns(&bucket, 5 * MB, FIRST_NS);
    g_assert_cmpint(owed_ns, >, 51 * SECOND);
    g_assert_cmpint(owed_ns, <, 52 * SECOND);
}

static void test_debt_has_a_bound(void)
{
    DirtyBucket bucket = {};

    for (int i = 0; i < 1000; i++) {
        dirty_bucket_charge(&bucket, 1, UINT64_MAX, FIRST_NS);
    }
    g_assert_cmpint(bucket.paid_until_ns, ==,
                    FIRST_NS + DIRTYLIMIT_DEBT_MAX_NS);
}

static void test_debt_ends_when_rested(void)
{
    DirtyBucket bucket = {};
    int64_t owed_ns;

    dirty_bucket_charge(&bucket, 100 * MB, 20 * MB, FIRST_NS);
    owed_ns = dirty_bucket_owed_ns(&bucket, 100 * MB, FIRST_NS);
    g_assert_cmpint(owed_ns, ==,
                    200 * MS - DIRTYLIMIT_BURST_NS + DIRTYLIMIT_RESTED_NS);
    g_assert_cmpint(dirty_bucket_owed_ns(&bucket, 100 * MB,
                                         FIRST_NS + owed_ns - 1), ==, 1);
    g_assert_cmpint(dirty_bucket_owed_ns(&bucket, 100 * MB, FIRST_NS + owed_ns),
                    ==, 0);
    /* Rested once, it owes nothing before it is in debt again. */
    g_assert_cmpint(dirty_bucket_owed_ns(&bucket, 100 * MB, FIRST_NS), ==, 0);
}

/* What a late wake-up leaves is 100 ms at the most, and does not last. */
static void test_oversleep_is_used_once(void)
{
    DirtyBucket bucket = {};
    int64_t now_ns = FIRST_NS + SECOND;
    int64_t saved_ns = DIRTYLIMIT_BURST_NS + DIRTYLIMIT_OVERSLEPT_MAX_NS;

    dirty_bucket_charge(&bucket, 100 * MB, 20 * MB, FIRST_NS);
    g_assert_cmpint(dirty_bucket_owed_ns(&bucket, 100 * MB, now_ns), ==, 0);
    g_assert_false(dirty_bucket_charge(&bucket, 100 * MB, 0, now_ns));
    g_assert_cmpint(now_ns - bucket.paid_until_ns, ==, saved_ns);
    /* Used up, and then as idle as any other. */
    dirty_bucket_charge(&bucket, 100 * MB, 105 * 100 * MB / 1000, now_ns);
    now_ns += SECOND;
    dirty_bucket_charge(&bucket, 100 * MB, 0, now_ns);
    g_assert_cmpint(now_ns - bucket.paid_until_ns, ==, DIRTYLIMIT_BURST_NS);
}

static void test_new_limit(void)
{
    static const struct {
        uint64_t old, new;
        int64_t debt_ns;        /* of a debt of 1 s before */
    } rows[] = {
        { 5 * MB, 10 * MB, SECOND / 2 },
        { 5 * MB, 5 * MB, SECOND },
        { 10 * MB, 5 * MB, SECOND },
        { 1, 1ULL << 63, 0 },
        { 5 * MB, 0, 0 },
        /* The first limit: a full burst, 256 pages of it. */
        { 0, 5 * MB, -(256 * 4096 * SECOND / (5 * MB)) },
        { 0, 100 * MB, -DIRTYLIMIT_BURST_NS },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        DirtyBucket bucket = { FIRST_NS + SECOND, 0, true };

        dirty_bucket_relimit(&bucket, rows[i].old, rows[i].new, FIRST_NS);
        g_assert_cmpint(bucket.paid_until_ns, ==, FIRST_NS + rows[i].debt_ns);
        g_assert_cmpint(bucket.paying, ==, rows[i].debt_ns > 0);
    }
}

/* Limits change after each sync, and saved up is what serves just then. */
static void test_saved_up_outlives_a_new_limit(void)
{
    static const struct {
        uint64_t old, new;
        int64_t saved_ns;
    } rows[] = {
        { 20 * MB, 20 * MB, 20 * MS },
        { 20 * MB, 50 * MB, 20 * MS },
        { 50 * MB, 20 * MB, 20 * MS },
        { 0, 20 * MB, DIRTYLIMIT_BURST_NS },
        { 20 * MB, 0, 0 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        DirtyBucket bucket = { FIRST_NS - 20 * MS, 0, false };

        dirty_bucket_relimit(&bucket, rows[i].old, rows[i].new, FIRST_NS);
        g_assert_cmpint(FIRST_NS - bucket.paid_until_ns, ==, rows[i].saved_ns);
        g_assert_false(bucket.paying);
    }
}

static void test_no_limit_no_debt(void)
{
    DirtyBucket bucket = { FIRST_NS + SECOND, 0, true };

    g_assert_cmpint(dirty_bucket_owed_ns(&bucket, 0, FIRST_NS), ==, 0);
}

/* A clock that starts at zero, as in a simulation. */
static void test_clock_at_zero(void)
{
    DirtyBucket bucket = {};

    g_assert_true(dirty_bucket_charge(&bucket, 5 * MB, PAGE, 0));
    g_assert_cmpint(dirty_bucket_owed_ns(&bucket, 5 * MB, 4 * MS), ==, 0);
}

#define THREADS 4
#define CHARGES 20000

static gpointer charge_many(gpointer bucket)
{
    for (int i = 0; i < CHARGES; i++) {
        dirty_bucket_charge(bucket, 16 * 1000 * 1000 * 1000ULL, 16, FIRST_NS);
    }
    return NULL;
}

/* Two nanoseconds a charge, no charge lost. */
static void test_threads_lose_no_charge(void)
{
    DirtyBucket bucket = { .paid_until_ns = FIRST_NS };
    GThread *threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        threads[i] = g_thread_new("charge", charge_many, &bucket);
    }
    for (int i = 0; i < THREADS; i++) {
        g_thread_join(threads[i]);
    }
    g_assert_cmpint(bucket.paid_until_ns, ==, FIRST_NS + THREADS * CHARGES *
                    dirty_bucket_cost_ns(16, 16 * 1000 * 1000 * 1000ULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dirtylimit/bucket/cost", test_cost_is_bytes_over_limit);
    g_test_add_func("/dirtylimit/bucket/cost-overflow",
                    test_cost_never_overflows);
    g_test_add_func("/dirtylimit/bucket/burst", test_burst_of_50_ms_is_free);
    g_test_add_func("/dirtylimit/bucket/idle",
                    test_idle_vcpu_saves_no_more_than_a_burst);
    g_test_add_func("/dirtylimit/bucket/within-limit",
                    test_vcpu_within_its_limit_never_owes);
    g_test_add_func("/dirtylimit/bucket/flat-out",
                    test_limit_holds_for_a_flat_out_writer);
    g_test_add_func("/dirtylimit/bucket/whole-ring",
                    test_whole_ring_is_paid_in_full);
    g_test_add_func("/dirtylimit/bucket/bound", test_debt_has_a_bound);
    g_test_add_func("/dirtylimit/bucket/rested", test_debt_ends_when_rested);
    g_test_add_func("/dirtylimit/bucket/oversleep",
                    test_oversleep_is_used_once);
    g_test_add_func("/dirtylimit/bucket/new-limit", test_new_limit);
    g_test_add_func("/dirtylimit/bucket/saved-up",
                    test_saved_up_outlives_a_new_limit);
    g_test_add_func("/dirtylimit/bucket/no-limit", test_no_limit_no_debt);
    g_test_add_func("/dirtylimit/bucket/clock-at-zero", test_clock_at_zero);
    g_test_add_func("/dirtylimit/bucket/threads", test_threads_lose_no_charge);
    return g_test_run();
}
