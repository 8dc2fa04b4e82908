/*
 * Policy "dirty-limit": what each vCPU may dirty, and when none is limited
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-fixture.h"

#define MAX_VCPUS 128

typedef struct Guest {
    ConvergenceEngine engine;
    ConvergenceParams params;
    ConvergenceVcpu vcpus[MAX_VCPUS];
    unsigned n_vcpus;
    unsigned n_writers;                 /* the others are readers */
    double drain_mb_per_s;
} Guest;

static Guest guest_begin(unsigned n_vcpus)
{
    Guest guest = {
        .params = fixture_params("dirty-limit"),
        .n_vcpus = n_vcpus,
        .n_writers = 1,
        .drain_mb_per_s = 64,
    };

    convergence_engine_init(&guest.engine, FIRST_NS);
    for (unsigned i = 0; i < n_vcpus; i++) {
        guest.vcpus[i].id = i;
    }
    return guest;
}

/* A second in which each vCPU writes what it wants and is allowed to. */
static const ConvergenceDecision *run(Guest *guest, const double *wants,
                                      double devices)
{
    ConvergenceSample sample;
    double all = devices;

    for (unsigned i = 0; i < guest->n_vcpus; i++) {
        double limit = guest->vcpus[i].limit_bytes_per_s / BYTES_PER_MB;
        double rate = limit > 0 ? MIN(wants[i], limit) : wants[i];

        guest->vcpus[i].dirtied_bytes = MB(rate);
        guest->vcpus[i].touched_bytes = MB(rate);
        all += rate;
    }
    sample = fixture_sample(&guest->engine, SECOND_NS, all,
                            guest->drain_mb_per_s);
    sample.vcpus = guest->vcpus;
    sample.n_vcpus = guest->n_vcpus;
    sample.metered = true;
    return convergence_engine_update(&guest->engine, &guest->params, &sample);
}

/*
 * A look of @interval_ns: the first vCPUs newly dirty what they want or are
 * allowed to, each other one so many pages, which it writes after each sync.
 */
static const ConvergenceDecision *look_at_readers(Guest *guest,
                                                  int64_t interval_ns,
                                                  double writes_mb_per_s,
                                                  unsigned pages)
{
    double s = (double)interval_ns / SECOND_NS, all_bytes = 0;
    ConvergenceSample sample;

    for (unsigned i = 0; i < guest->n_vcpus; i++) {
        ConvergenceVcpu *vcpu = &guest->vcpus[i];
        double limit = vcpu->limit_bytes_per_s / BYTES_PER_MB;
        double rate = limit > 0 ? MIN(writes_mb_per_s, limit) :
                                  writes_mb_per_s;

        vcpu->dirtied_bytes = i < guest->n_writers ? MB(rate * s) :
                                                     pages * 4096;
        vcpu->touched_bytes = vcpu->dirtied_bytes;
        all_bytes += vcpu->dirtied_bytes;
    }
    sample = fixture_sample(&guest->engine, interval_ns,
                            all_bytes / s / BYTES_PER_MB,
                            guest->drain_mb_per_s);
    sample.vcpus = guest->vcpus;
    sample.n_vcpus = guest->n_vcpus;
    sample.metered = true;
    return convergence_engine_update(&guest->engine, &guest->params, &sample);
}

static double limit_mb(const Guest *guest, unsigned i)
{
    return guest->vcpus[i].limit_bytes_per_s / BYTES_PER_MB;
}

static void test_two_writers_of_eight_share_the_budget(void)
{
    static const double wants[8] = { 100, 0.2, 0, 0.4, 200, 0, 0, 0 };
    Guest guest = guest_begin(8);

    for (unsigned i = 0; i < 20; i++) {
        g_assert_cmpuint(run(&guest, wants, 0)->throttle_pct, ==, 0);
        g_assert_true(guest.engine.decision.vcpus_limited);
        /* 0.2 of 64 less 0.6, by two; the others' never binds. */
        g_assert_cmpfloat_with_epsilon(limit_mb(&guest, 0), 6.1, 0.05);
        g_assert_cmpfloat_with_epsilon(limit_mb(&guest, 4), 6.1, 0.05);
        g_assert_cmpfloat(wants[3], <, limit_mb(&guest, 3));
    }
    g_assert_cmpint(guest.engine.decision.phase, ==,
                    CONVERGENCE_PHASE_CONVERGING);
}

static void test_idle_guest_has_no_limits(void)
{
    static const double wants[4] = { 5, 5, 5, 5 };
    Guest guest = guest_begin(4);

    for (unsigned i = 0; i < 5; i++) {
        g_assert_false(run(&guest, wants, 0)->vcpus_limited);
        g_assert_cmpuint(guest.vcpus[0].limit_bytes_per_s, ==, 0);
    }
}

static void test_what_devices_dirty_is_taken_off(void)
{
    static const double wants[1] = { 100 };
    Guest guest = guest_begin(1);

    run(&guest, wants, 6.4);
    g_assert_cmpfloat_with_epsilon(limit_mb(&guest, 0), 6.4, 0.05);
}

static void test_vcpus_keep_the_least_where_devices_take_it_all(void)
{
    static const double wants[1] = { 100 };
    Guest guest = guest_begin(1);

    run(&guest, wants, 40);
    g_assert_cmpfloat_with_epsilon(limit_mb(&guest, 0), 64 * 0.02, 0.05);
}

static void test_devices_that_outpace_the_link_are_told_and_no_one_limited(void)
{
    static const double wants[1] = { 10 };
    Guest guest = guest_begin(1);

    for (unsigned i = 0; i < 5; i++) {
        run(&guest, wants, 77);
        g_assert_cmpint(guest.engine.decision.phase, ==,
                        CONVERGENCE_PHASE_STUCK);
        g_assert_false(guest.engine.decision.vcpus_limited);
        g_assert_cmpuint(guest.vcpus[0].limit_bytes_per_s, ==, 0);
        g_assert_nonnull(strstr(guest.engine.decision.reason,
                                "devices alone dirty 77.0 MB/s"));
    }
}

static void test_a_limit_of_the_user_is_taken_as_it_is(void)
{
    static const double wants[2] = { 100, 0 };
    Guest guest = guest_begin(2);

    guest.params.vcpu_dirty_limit_bytes_per_s = MB(25);
    run(&guest, wants, 0);
    g_assert_cmpuint(guest.vcpus[0].limit_bytes_per_s, ==, MB(25));
    g_assert_cmpuint(guest.vcpus[1].limit_bytes_per_s, ==, MB(25));
}

static void test_limits_are_lifted_when_nobody_needs_them(void)
{
    static const double busy[2] = { 100, 0 }, calm[2] = { 1, 0 };
    Guest guest = guest_begin(2);
    unsigned seconds = 0;

    for (unsigned i = 0; i < 3; i++) {
        run(&guest, busy, 0);
    }
    g_assert_true(guest.engine.decision.vcpus_limited);
    while (guest.engine.decision.vcpus_limited) {
        run(&guest, calm, 0);
        g_assert_cmpuint(++seconds, <=, 4);
    }
    g_assert_cmpuint(guest.vcpus[0].limit_bytes_per_s, ==, 0);
    g_assert_cmpint(guest.engine.decision.phase, ==,
                    CONVERGENCE_PHASE_WATCHING);
}

/* Plugged while limits are in force: it is not the one way around them. */
static void test_new_vcpu_is_limited_as_the_others(void)
{
    static const double wants[3] = { 100, 0, 100 };
    Guest guest = guest_begin(2);

    run(&guest, wants, 0);
    guest.n_vcpus = 3;
    guest.vcpus[2].id = 2;
    run(&guest, wants, 0);
    g_assert_cmpuint(guest.vcpus[2].limit_bytes_per_s, >, 0);
    g_assert_cmpuint(guest.vcpus[2].limit_bytes_per_s, ==,
                     guest.vcpus[0].limit_bytes_per_s);
}

/*
 * What any vCPU that runs rewrites fits its limit twice, also where QEMU syncs
 * as often as the link has sent what all of them have rewritten.
 */
static void test_readers_have_room_for_what_they_rewrite(void)
{
    static const struct {
        unsigned n_writers, n_vcpus, pages;
        double drain_mb_per_s;
    } rows[] = {
        { 1, 2, 30, 16 }, { 1, 2, 200, 16 }, { 1, 2, 255, 16 },
        { 1, 2, 200, 1250 }, { 1, 128, 30, 16 }, { 1, 128, 200, 16 },
        { 1, 128, 30, 1250 }, { 1, 128, 200, 1250 }, { 1, 8, 100, 3 },
        { 64, 128, 30, 16 }, { 64, 128, 200, 16 }, { 64, 128, 200, 1250 },
        { 127, 128, 200, 16 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Guest guest = guest_begin(rows[i].n_vcpus);
        unsigned n_readers = rows[i].n_vcpus - rows[i].n_writers;
        double sent_s = n_readers * rows[i].pages * 4096 /
                        (rows[i].drain_mb_per_s * BYTES_PER_MB);
        int64_t interval_ns = SECOND_NS;

        guest.n_writers = rows[i].n_writers;
        guest.drain_mb_per_s = rows[i].drain_mb_per_s;
        for (unsigned n = 0; n < 20; n++) {
            const ConvergenceDecision *d =
                look_at_readers(&guest, interval_ns,
                                rows[i].drain_mb_per_s * 10, rows[i].pages);
            double pace_s = MIN(MAX(sent_s, 0.1), d->next_sync_ns / 1e9);

            g_assert_true(d->vcpus_limited);
            for (unsigned v = guest.n_writers; v < guest.n_vcpus; v++) {
                g_assert_cmpfloat(guest.vcpus[v].limit_bytes_per_s * pace_s,
                                  >=, 2 * 256 * 4096 * 0.999);
            }
            /* As planned, at that pace, and once in a while at once. */
            interval_ns = n % 4 == 0 ? d->next_sync_ns :
                          n % 4 == 3 ? 100 * NS_PER_MS : pace_s * SECOND_NS;
        }
    }
}

/* One page more, and it is a vCPU that writes. */
static void test_who_writes_more_than_that_is_held_at_the_level(void)
{
    Guest guest = guest_begin(2);

    guest.drain_mb_per_s = 1;
    look_at_readers(&guest, SECOND_NS, 100, 256);
    g_assert_cmpuint(guest.vcpus[1].limit_bytes_per_s, >,
                     guest.vcpus[0].limit_bytes_per_s);
    look_at_readers(&guest, SECOND_NS, 100, 257);
    g_assert_cmpuint(guest.vcpus[1].limit_bytes_per_s, ==,
                     guest.vcpus[0].limit_bytes_per_s);
}

/* Held at a limit that is less than that a look, it does not pass for one. */
static void test_a_writer_that_is_held_is_no_reader(void)
{
    static const double wants[2] = { 100, 0.01 };
    Guest guest = guest_begin(2);

    guest.drain_mb_per_s = 2;
    for (unsigned i = 0; i < 10; i++) {
        run(&guest, wants, 0);
        g_assert_cmpfloat(limit_mb(&guest, 0), <=, 0.41);
        g_assert_cmpfloat(limit_mb(&guest, 1), >, 0.41);
    }
}

/* Looks are so far apart that rewriting takes half of the budget at most ... */
static void test_looks_are_spread_by_what_is_rewritten(void)
{
    static const struct {
        unsigned n_vcpus, pages;
        double drain_mb_per_s;
        int64_t next_ms;
    } rows[] = {
        /* 0.2 * 0.5 of the drain rate for (n - 1) * pages * 4096 bytes. */
        { 2, 30, 64, 250 }, { 2, 200, 64, 250 }, { 2, 200, 16, 512 },
        { 9, 200, 64, 1024 }, { 128, 200, 1250, 832 },
        /* ... but for ten seconds. */
        { 128, 200, 64, 10000 }, { 128, 30, 16, 9753 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Guest guest = guest_begin(rows[i].n_vcpus);
        int64_t next_ns;

        guest.drain_mb_per_s = rows[i].drain_mb_per_s;
        next_ns = look_at_readers(&guest, SECOND_NS,
                                  rows[i].drain_mb_per_s * 10,
                                  rows[i].pages)->next_sync_ns;
        /* 500 MB remain, so that one at 10 Gb/s would come sooner. */
        g_assert_cmpint(llabs(next_ns - rows[i].next_ms * NS_PER_MS), <,
                        2 * NS_PER_MS);
    }
}

/* ... and the other half is the writers', however much that rewriting is. */
static void test_rewriting_leaves_writers_half_of_the_budget(void)
{
    Guest guest = guest_begin(128);

    look_at_readers(&guest, SECOND_NS, 1000, 200);
    g_assert_cmpfloat_with_epsilon(limit_mb(&guest, 0), 6.4, 0.05);
}

static void test_rewriting_above_the_downtime_is_stuck_and_told(void)
{
    static const struct {
        unsigned pages;
        bool stuck;
    } rows[] = {
        /* 64 MB/s * 300 ms, less a tenth: 17.28 MB, 127 times 33.2 pages. */
        { 33, false }, { 34, true },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Guest guest = guest_begin(128);

        for (unsigned n = 0; n < 3; n++) {
            look_at_readers(&guest, SECOND_NS, 1000, rows[i].pages);
        }
        g_assert_true(guest.engine.decision.vcpus_limited);
        g_assert_true((guest.engine.decision.phase ==
                       CONVERGENCE_PHASE_STUCK) == rows[i].stuck);
        g_assert_true(guest.engine.decision.predicted != rows[i].stuck);
        if (rows[i].stuck) {
            g_assert_nonnull(strstr(guest.engine.decision.reason,
                                    "rewrite 17.7 MB"));
            g_assert_nonnull(strstr(guest.engine.decision.reason,
                                    "higher downtime-limit"));
        }
        /* A higher one is all that it takes. */
        guest.params.downtime_limit_ms = 400;
        look_at_readers(&guest, SECOND_NS, 1000, rows[i].pages);
        g_assert_cmpint(guest.engine.decision.phase, ==,
                        CONVERGENCE_PHASE_CONVERGING);
    }
}

/* Half of what is written there waits anyway, and all of it adds up. */
static void test_the_budget_is_halved_in_the_bulk_pass(void)
{
    Guest guest = guest_begin(1);

    /* It rewrites most of what is sent: slowing it early pays. */
    for (unsigned i = 1; !guest.engine.decision.vcpus_limited; i++) {
        ConvergenceSample sample = fixture_sample(&guest.engine, SECOND_NS,
                                                  60, 64);

        g_assert_cmpuint(i, <=, 5);
        sample.ram_bytes = MB(4000);
        sample.bulk_pass = true;
        sample.bulk_remaining_bytes = MB(4000 - 64 * i);
        sample.remaining_bytes = sample.bulk_remaining_bytes + MB(60 * i);
        guest.vcpus[0].dirtied_bytes = MB(60);
        guest.vcpus[0].touched_bytes = MB(60);
        sample.vcpus = guest.vcpus;
        sample.n_vcpus = 1;
        sample.metered = true;
        convergence_engine_update(&guest.engine, &guest.params, &sample);
    }
    g_assert_cmpfloat_with_epsilon(limit_mb(&guest, 0), 6.4, 0.05);
}

/*
 * A page that waits is free, and if it is sent before the next sync, the sync
 * finds it dirty: whoever may have written it pays late.
 */
static void test_what_meters_took_for_free_is_charged_late(void)
{
    static const struct {
        double metered, touched, found, devices, late;
        /* The first limit: the stricter, the less was charged in time. */
        double first_limit;
    } rows[] = {
        { 100, 100, 100, 0, 0, 12.8 },
        { 50, 100, 80, 0, 30, 8 },
        { 0, 100, 90, 0, 90, 3.2 },
        /* No more than it wrote, beyond what any vCPU rewrites. */
        { 0, 101.048576, 101, 0, 100, 3.2 },
        /* What devices write is no vCPU's. */
        { 100, 100, 105, 5, 0, 7.8 }, { 50, 102, 107, 5, 50.951424, 3.86 },
        /* Meters may be ahead of the sync. */
        { 100, 100, 40, 0, 0, 12.8 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Guest guest = guest_begin(1);
        ConvergenceSample sample = fixture_sample(&guest.engine, SECOND_NS,
                                                  rows[i].found, 64);

        sample.touched_bytes = MB(rows[i].touched + rows[i].devices);
        guest.vcpus[0].dirtied_bytes = MB(rows[i].metered);
        guest.vcpus[0].touched_bytes = MB(rows[i].touched);
        sample.vcpus = guest.vcpus;
        sample.n_vcpus = 1;
        sample.metered = true;
        convergence_engine_update(&guest.engine, &guest.params, &sample);
        g_assert_cmpfloat_with_epsilon(guest.vcpus[0].late_bytes / 1e6,
                                       rows[i].late, 0.001);
        g_assert_cmpfloat_with_epsilon(guest.vcpus[0].dirtied_bytes / 1e6,
                                       rows[i].metered + rows[i].late, 0.001);
        g_assert_cmpfloat_with_epsilon(limit_mb(&guest, 0),
                                       rows[i].first_limit, 0.05);
    }
}

static void test_late_charges_are_shared_by_what_was_free(void)
{
    Guest guest = guest_begin(3);
    ConvergenceSample sample = fixture_sample(&guest.engine, SECOND_NS, 90,
                                              64);

    sample.touched_bytes = MB(3 * CONVERGENCE_REWRITTEN_BYTES / 1e6 + 150);
    guest.vcpus[0].touched_bytes = MB(100) + CONVERGENCE_REWRITTEN_BYTES;
    guest.vcpus[1].touched_bytes = MB(50) + CONVERGENCE_REWRITTEN_BYTES;
    /* It only rewrites what it did before, and pays nothing. */
    guest.vcpus[2].touched_bytes = CONVERGENCE_REWRITTEN_BYTES;
    sample.vcpus = guest.vcpus;
    sample.n_vcpus = 3;
    sample.metered = true;
    convergence_engine_update(&guest.engine, &guest.params, &sample);
    g_assert_cmpfloat_with_epsilon(guest.vcpus[0].late_bytes / 1e6, 60, 0.01);
    g_assert_cmpfloat_with_epsilon(guest.vcpus[1].late_bytes / 1e6, 30, 0.01);
    g_assert_cmpuint(guest.vcpus[2].late_bytes, ==, 0);
}

/* Its limit is 12.8 MB/s, and it wrote 64 MB for free: five seconds of sleep. */
static void test_who_sleeps_for_a_late_charge_is_not_calm(void)
{
    static const double flat_out[] = { 100 }, nothing[] = { 0 };
    Guest guest = guest_begin(1);
    const ConvergenceDecision *decision = run(&guest, flat_out, 0);
    ConvergenceSample sample;

    g_assert_true(decision->vcpus_limited);
    sample = fixture_sample(&guest.engine, SECOND_NS, 64, 64);
    sample.touched_bytes = MB(100);
    guest.vcpus[0].dirtied_bytes = 0;
    guest.vcpus[0].touched_bytes = MB(100);
    sample.vcpus = guest.vcpus;
    sample.n_vcpus = 1;
    sample.metered = true;
    convergence_engine_update(&guest.engine, &guest.params, &sample);
    g_assert_cmpuint(guest.vcpus[0].late_bytes, ==, MB(64));
    /* Once: a sample that tells nothing charges nothing. */
    sample.valid = false;
    convergence_engine_update(&guest.engine, &guest.params, &sample);
    g_assert_cmpuint(guest.vcpus[0].late_bytes, ==, 0);
    for (int i = 0; i < 4; i++) {
        decision = run(&guest, nothing, 0);
        g_assert_true(decision->vcpus_limited);
        g_assert_cmpfloat_with_epsilon(limit_mb(&guest, 0), 12.8, 0.05);
    }
    /* It has paid, and writes no more. */
    for (int i = 0; i < 5 && decision->vcpus_limited; i++) {
        decision = run(&guest, nothing, 0);
    }
    g_assert_false(decision->vcpus_limited);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/convergence/dirty-limit/two-of-eight",
                    test_two_writers_of_eight_share_the_budget);
    g_test_add_func("/convergence/dirty-limit/idle",
                    test_idle_guest_has_no_limits);
    g_test_add_func("/convergence/dirty-limit/devices",
                    test_what_devices_dirty_is_taken_off);
    g_test_add_func("/convergence/dirty-limit/least",
                    test_vcpus_keep_the_least_where_devices_take_it_all);
    g_test_add_func("/convergence/dirty-limit/stuck",
        test_devices_that_outpace_the_link_are_told_and_no_one_limited);
    g_test_add_func("/convergence/dirty-limit/fixed",
                    test_a_limit_of_the_user_is_taken_as_it_is);
    g_test_add_func("/convergence/dirty-limit/lifted",
                    test_limits_are_lifted_when_nobody_needs_them);
    g_test_add_func("/convergence/dirty-limit/hotplug",
                    test_new_vcpu_is_limited_as_the_others);
    g_test_add_func("/convergence/dirty-limit/readers/room",
                    test_readers_have_room_for_what_they_rewrite);
    g_test_add_func("/convergence/dirty-limit/readers/threshold",
                    test_who_writes_more_than_that_is_held_at_the_level);
    g_test_add_func("/convergence/dirty-limit/readers/writer",
                    test_a_writer_that_is_held_is_no_reader);
    g_test_add_func("/convergence/dirty-limit/readers/spread",
                    test_looks_are_spread_by_what_is_rewritten);
    g_test_add_func("/convergence/dirty-limit/readers/half",
                    test_rewriting_leaves_writers_half_of_the_budget);
    g_test_add_func("/convergence/dirty-limit/readers/stuck",
                    test_rewriting_above_the_downtime_is_stuck_and_told);
    g_test_add_func("/convergence/dirty-limit/bulk",
                    test_the_budget_is_halved_in_the_bulk_pass);
    g_test_add_func("/convergence/dirty-limit/late",
                    test_what_meters_took_for_free_is_charged_late);
    g_test_add_func("/convergence/dirty-limit/late/shared",
                    test_late_charges_are_shared_by_what_was_free);
    g_test_add_func("/convergence/dirty-limit/late/paying",
                    test_who_sleeps_for_a_late_charge_is_not_calm);
    return g_test_run();
}
