/*
 * Who writes, told by how long each vCPU ran: probes, shares, and doubts
 *
 * A guest of GUEST_MB that writes at GUEST_RATE over a link of LINK_RATE, all of
 * these in MB/s, near the end of its bulk pass.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-estimate.h"
#include "convergence-fixture.h"

#define MAX_VCPUS 128
#define LINK_RATE 100.0
#define FLAT_OUT  2000.0
#define MS_NS     1000000
/* What is left of a writer that is held. */
#define LEAK 0.01

typedef struct Guest {
    ConvergenceEngine engine;
    ConvergenceParams params;
    ConvergenceVcpu vcpus[MAX_VCPUS];
    unsigned n_vcpus;
    double writes_mb_per_s[MAX_VCPUS];      /* of each, at full speed */
    double busy[MAX_VCPUS];
    double dirty_mb;                        /* of pages that it writes to */
    double bulk_left_s;
    double noise;                           /* of the next look */
    bool unseen;
    bool lockstep;
    int64_t sync_cost_ns;
    bool stands_still;                      /* the link, in the next look */
} Guest;

static Guest *guest_begin(unsigned n_vcpus, double tail_s)
{
    Guest *guest = g_new0(Guest, 1);

    guest->params = fixture_params("predictive");
    guest->n_vcpus = n_vcpus;
    guest->dirty_mb = tail_s * LINK_RATE;
    guest->bulk_left_s = 20;
    guest->noise = 1;
    convergence_engine_init(&guest->engine, FIRST_NS);
    for (unsigned i = 0; i < n_vcpus; i++) {
        guest->vcpus[i].id = i;
        guest->busy[i] = 1;
    }
    return guest;
}

static double share_of(const Guest *guest, unsigned v)
{
    double share = (100 - guest->vcpus[v].throttle_pct) / 100.0;

    for (unsigned i = 0; guest->lockstep && i < guest->n_vcpus; i++) {
        share = MIN(share, (100 - guest->vcpus[i].throttle_pct) / 100.0);
    }
    return share;
}

/* The time that the engine asked for passes. */
static const ConvergenceDecision *look(Guest *guest)
{
    ConvergenceEngine *engine = &guest->engine;
    int64_t ns = engine->decision.next_sync_ns;
    double s, rate = 0;
    ConvergenceSample sample;

    ns = ns ? ns : SECOND_NS;
    s = (double)ns / SECOND_NS;
    for (unsigned v = 0; v < guest->n_vcpus; v++) {
        rate += guest->writes_mb_per_s[v] * share_of(guest, v);
        guest->vcpus[v].ran_ns = ns * guest->busy[v] *
                                 (100 - guest->vcpus[v].throttle_pct) / 100;
    }
    sample = fixture_sample(engine, ns, rate * guest->noise, LINK_RATE);
    guest->bulk_left_s = MAX(guest->bulk_left_s - s, 0);
    sample.ram_bytes = 64 * GIB;
    sample.bulk_remaining_bytes = MB(guest->bulk_left_s * LINK_RATE);
    sample.bulk_pass = guest->bulk_left_s > 0;
    sample.remaining_bytes = sample.bulk_remaining_bytes +
                             MB(guest->dirty_mb);
    /* In the bulk pass all that it writes waits already. */
    sample.dirtied_bytes = sample.bulk_pass ? 0 : MIN(sample.dirtied_bytes,
                                                      sample.drained_bytes);
    sample.sync_cost_ns = guest->sync_cost_ns;
    sample.unseen_bytes = guest->unseen ? MB(500) : 0;
    sample.vcpus = guest->vcpus;
    sample.n_vcpus = guest->n_vcpus;
    sample.meter = "estimate";
    sample.run_times_known = true;
    sample.valid = !guest->stands_still;
    return convergence_engine_update(engine, &guest->params, &sample);
}

/* Looks until the bulk pass is over.  Returns: how many were probes. */
static unsigned bulk_pass(Guest *guest)
{
    for (int i = 0; guest->bulk_left_s > 0; i++) {
        g_assert_cmpint(i, <, 200);
        look(guest);
    }
    return guest->engine.estimate.probes;
}

static unsigned count_held(const Guest *guest)
{
    unsigned n = 0;

    for (unsigned v = 0; v < guest->n_vcpus; v++) {
        n += guest->vcpus[v].throttle_pct > 0;
    }
    return n;
}

static void assert_slowed(const Guest *guest, unsigned first, unsigned n)
{
    for (unsigned v = 0; v < guest->n_vcpus; v++) {
        if (v >= first && v < first + n) {
            g_assert_cmpuint(guest->vcpus[v].throttle_pct, >=, 85);
        } else {
            g_assert_cmpuint(guest->vcpus[v].throttle_pct, ==, 0);
        }
    }
}

static void test_the_writer_is_told(void)
{
    static const unsigned n_vcpus[] = { 2, 4, 16, 128 };

    for (unsigned i = 0; i < G_N_ELEMENTS(n_vcpus); i++) {
        unsigned n = n_vcpus[i], writer = n / 3;
        g_autofree Guest *guest = guest_begin(n, 4);
        const ConvergenceDecision *decision;
        unsigned probes;

        guest->writes_mb_per_s[writer] = FLAT_OUT;
        probes = bulk_pass(guest);
        g_test_message("%u vCPUs: told by %u probes", n, probes);
        g_assert_cmpuint(probes, <=, convergence_estimate_looks(n));
        decision = look(guest);
        assert_slowed(guest, writer, 1);
        g_assert_true(decision->vcpus_throttled);
        g_assert_cmpfloat(guest->vcpus[writer].dirty_share, ==, 1);
        g_assert_nonnull(strstr(decision->reason,
                                "writes 100 % of that (by estimate) and "
                                "sleeps "));
        g_assert_nonnull(strstr(decision->reason, "the others run on"));
    }
}

static void test_halves_are_held_in_turn(void)
{
    g_autofree Guest *guest = guest_begin(8, 4);
    bool held[8];

    guest->writes_mb_per_s[5] = FLAT_OUT;
    while (!guest->engine.estimate.probing) {
        look(guest);
        g_assert_true(guest->bulk_left_s > 0);
    }
    g_assert_cmpuint(count_held(guest), ==, 4);
    g_assert_cmpint(guest->engine.decision.next_sync_ns, ==,
                    CONVERGENCE_PROBE_NS);
    g_assert_nonnull(strstr(guest->engine.decision.reason, "held for 250 ms"));
    for (int v = 0; v < 8; v++) {
        held[v] = guest->vcpus[v].throttle_pct;
    }
    look(guest);
    for (int v = 0; v < 8; v++) {
        g_assert_cmpint(guest->vcpus[v].throttle_pct > 0, ==, !held[v]);
    }
    /* Whoever ran while nothing was dirtied is not held again. */
    look(guest);
    g_assert_cmpuint(count_held(guest), ==, 2);
}

static void test_probes_say_nothing_of_the_guests_rate(void)
{
    g_autofree Guest *guest = guest_begin(4, 4);

    guest->writes_mb_per_s[0] = FLAT_OUT;
    while (!guest->engine.estimate.probing) {
        look(guest);
    }
    while (guest->engine.estimate.probing) {
        look(guest);
        g_assert_cmpfloat_with_epsilon(
            guest->engine.model.dirty_bytes_per_s / 1e6, FLAT_OUT, 1);
    }
    g_assert_cmpuint(guest->engine.estimate.probes, >, 2);
}

static void test_two_writers_share_alike(void)
{
    g_autofree Guest *guest = guest_begin(8, 8);

    guest->writes_mb_per_s[2] = FLAT_OUT;
    guest->writes_mb_per_s[3] = FLAT_OUT;
    bulk_pass(guest);
    look(guest);
    assert_slowed(guest, 2, 2);
    g_assert_cmpfloat_with_epsilon(guest->vcpus[2].dirty_share, 0.5, 0.1);
}

/* What is not known makes all of them alike, as where nothing is told at all. */
static void test_where_all_write_all_are_slowed(void)
{
    g_autofree Guest *guest = guest_begin(4, 4);
    const ConvergenceDecision *decision;

    for (int v = 0; v < 4; v++) {
        guest->writes_mb_per_s[v] = FLAT_OUT / 4;
    }
    g_assert_cmpuint(bulk_pass(guest), <=, 4);
    decision = look(guest);
    assert_slowed(guest, 0, 4);
    g_assert_nonnull(strstr(decision->reason, "all vCPUs sleep"));
}

static void test_a_short_tail_is_not_worth_a_probe(void)
{
    g_autofree Guest *guest = guest_begin(4, 1.5);

    guest->writes_mb_per_s[0] = FLAT_OUT;
    g_assert_cmpuint(bulk_pass(guest), ==, 0);
    look(guest);
    assert_slowed(guest, 0, 4);
}

static void test_a_guest_that_needs_no_help_is_not_probed(void)
{
    g_autofree Guest *guest = guest_begin(4, 4);

    guest->writes_mb_per_s[0] = LINK_RATE / 4;
    g_assert_cmpuint(bulk_pass(guest), ==, 0);
    look(guest);
    assert_slowed(guest, 0, 0);
}

static void test_an_idle_vcpu_is_left_out(void)
{
    g_autofree Guest *guest = guest_begin(4, 4);

    guest->writes_mb_per_s[0] = FLAT_OUT;
    guest->busy[1] = 0.001;
    guest->busy[2] = 0.001;
    bulk_pass(guest);
    look(guest);
    assert_slowed(guest, 0, 1);
}

/* It waits for most of the time, and writes all that is written. */
static void test_a_writer_that_waits_is_told(void)
{
    g_autofree Guest *guest = guest_begin(2, 4);

    guest->writes_mb_per_s[0] = 300;
    guest->busy[0] = 0.07;
    bulk_pass(guest);
    look(guest);
    assert_slowed(guest, 0, 1);
}

/*
 * Run times that vary by themselves tell without a probe: each vCPU runs when
 * another one does, and what is dirtied goes with one of them.
 */
static void test_what_varies_by_itself_is_fitted(void)
{
    g_autofree Guest *guest = guest_begin(3, 1);

    for (int i = 0; i < 12; i++) {
        guest->busy[0] = i % 2 ? 1 : 0.2;
        guest->busy[1] = i % 3 ? 0.2 : 1;
        guest->busy[2] = i % 4 < 2 ? 1 : 0.2;
        guest->writes_mb_per_s[0] = FLAT_OUT * guest->busy[0];
        look(guest);
    }
    g_assert_cmpuint(guest->engine.estimate.probes, ==, 0);
    g_assert_cmpfloat(guest->vcpus[0].dirty_share, >, 0.5);
    g_assert_cmpfloat(guest->vcpus[1].dirty_share, <, 0.3);
    g_assert_cmpfloat(guest->vcpus[2].dirty_share, <, 0.3);
}

/* All stand still, whichever half is held: that tells nothing, and is noticed. */
static void test_barriers_make_pairs_void(void)
{
    g_autofree Guest *guest = guest_begin(4, 4);

    guest->lockstep = true;
    for (int v = 0; v < 4; v++) {
        guest->writes_mb_per_s[v] = FLAT_OUT / 4;
    }
    bulk_pass(guest);
    g_assert_cmpuint(guest->engine.estimate.void_pairs, ==, 2);
    look(guest);
    assert_slowed(guest, 0, 4);
}

static void test_what_is_not_seen_is_no_probe(void)
{
    g_autofree Guest *guest = guest_begin(4, 4);

    guest->writes_mb_per_s[0] = FLAT_OUT;
    guest->unseen = true;
    for (int i = 0; i < 5; i++) {
        look(guest);
    }
    g_assert_cmpuint(guest->engine.estimate.probes, ==, 0);
    /* It is to be seen before probes begin. */
    while (!guest->engine.decision.see_rewrites) {
        look(guest);
        g_assert_true(guest->bulk_left_s > 1);
    }
    guest->unseen = false;
    g_assert_cmpuint(bulk_pass(guest), >, 0);
    look(guest);
    assert_slowed(guest, 0, 1);
}

/* The writer moves on, once: the others are slowed, too, from then on. */
static void test_readers_that_write_are_slowed(void)
{
    g_autofree Guest *guest = guest_begin(4, 4);

    guest->writes_mb_per_s[0] = FLAT_OUT;
    bulk_pass(guest);
    look(guest);
    assert_slowed(guest, 0, 1);
    guest->writes_mb_per_s[0] = 0;
    guest->writes_mb_per_s[2] = FLAT_OUT;
    for (int i = 0; i < 4; i++) {
        look(guest);
    }
    g_assert_cmpuint(guest->engine.estimate.strikes, ==, 1);
    assert_slowed(guest, 0, 4);
}

/* What a held writer leaks was there in the probe, and is no reader's. */
static void test_what_a_held_writer_leaks_is_no_mistake(void)
{
    g_autofree Guest *guest = guest_begin(4, 4);

    /* At 1 % it still dirties half of what the link carries. */
    guest->writes_mb_per_s[0] = LINK_RATE / 2 / LEAK;
    bulk_pass(guest);
    for (int i = 0; i < 20; i++) {
        look(guest);
    }
    g_assert_cmpuint(guest->engine.estimate.strikes, ==, 0);
    assert_slowed(guest, 0, 1);
}

/* A bulk pass that ends amid a probe: the tail goes on for as long as it takes. */
static void test_a_probe_at_the_end_of_the_pass_is_no_failure(void)
{
    g_autofree Guest *guest = guest_begin(4, 30);
    const ConvergenceDecision *decision = NULL;

    guest->writes_mb_per_s[0] = FLAT_OUT;
    while (!guest->engine.estimate.probing) {
        look(guest);
    }
    guest->bulk_left_s = 0.1;
    for (int i = 0; i < 80; i++) {
        decision = look(guest);
        guest->dirty_mb -= 0.9 * LINK_RATE / 4;
        g_assert_cmpuint(decision->phase, !=, CONVERGENCE_PHASE_STUCK);
    }
    g_assert_cmpuint(decision->throttle_pct, ==, 99);
}

/*
 * What is spared is of no use where the migration does not end for it: all are
 * slowed before it is given up.
 */
static void test_where_a_writer_outpaces_the_link_all_are_slowed(void)
{
    g_autofree Guest *guest = guest_begin(4, 4);

    /* 120 MB/s at 1 %, and the link carries 100. */
    guest->writes_mb_per_s[0] = 12000;
    bulk_pass(guest);
    for (int i = 0; i < 12; i++) {
        look(guest);
        g_assert_cmpuint(guest->vcpus[0].throttle_pct, ==, 99);
    }
    assert_slowed(guest, 0, 4);
    g_assert_false(guest->engine.decision.vcpus_throttled);
}

/* Nobody was told, so nobody was mistaken for a reader. */
static void test_where_none_is_told_none_is_doubted(void)
{
    g_autofree Guest *guest = guest_begin(4, 1.5);

    guest->writes_mb_per_s[0] = 2500;
    guest->writes_mb_per_s[1] = 2500;
    bulk_pass(guest);
    for (int i = 0; i < 10; i++) {
        look(guest);
    }
    g_assert_cmpuint(guest->engine.estimate.strikes, ==, 0);
}

/* A strike slows the others as much as those that were slowed, at once. */
static void test_a_strike_lets_nobody_go(void)
{
    g_autofree Guest *guest = guest_begin(4, 4);

    guest->writes_mb_per_s[0] = FLAT_OUT;
    bulk_pass(guest);
    look(guest);
    guest->writes_mb_per_s[0] = 0;
    guest->writes_mb_per_s[2] = FLAT_OUT;
    while (!guest->engine.estimate.strikes) {
        look(guest);
    }
    for (int v = 0; v < 4; v++) {
        g_assert_cmpuint(guest->vcpus[v].throttle_pct, ==, 99);
        g_assert_cmpfloat(guest->vcpus[v].dirty_share, ==, 0.25);
    }
}

/* Looks that a sync makes long are no question any more, but a punishment. */
static void test_costly_syncs_are_no_probes(void)
{
    g_autofree Guest *guest = guest_begin(4, 4);

    guest->writes_mb_per_s[0] = FLAT_OUT;
    guest->sync_cost_ns = 100 * MS_NS;
    g_assert_cmpuint(bulk_pass(guest), ==, 0);
}

static void test_who_may_not_be_held_is_not_asked(void)
{
    g_autofree Guest *guest = guest_begin(4, 4);

    guest->writes_mb_per_s[0] = FLAT_OUT;
    guest->params.max_throttle_pct = 50;
    g_assert_cmpuint(bulk_pass(guest), ==, 0);
}

static void test_one_vcpu_is_no_question(void)
{
    g_autofree Guest *guest = guest_begin(1, 4);

    guest->writes_mb_per_s[0] = FLAT_OUT;
    g_assert_cmpuint(bulk_pass(guest), ==, 0);
    g_assert_false(look(guest)->vcpus_throttled);
    assert_slowed(guest, 0, 1);
}

/* A policy that is chosen in mid-probe finds nobody held. */
static void test_a_change_of_policy_lets_go(void)
{
    g_autofree Guest *guest = guest_begin(4, 4);

    guest->writes_mb_per_s[0] = FLAT_OUT;
    while (!guest->engine.estimate.probing) {
        look(guest);
    }
    guest->params.policy = convergence_policy_find("step");
    look(guest);
    g_assert_false(guest->engine.estimate.probing);
    g_assert_false(guest->engine.decision.vcpus_throttled);
    g_assert_cmpuint(count_held(guest), ==, 0);
}

/* Nobody is held for as long as the link, or the guest, may stand still. */
static void test_a_look_that_tells_nothing_lets_go(void)
{
    g_autofree Guest *guest = guest_begin(4, 4);

    guest->writes_mb_per_s[0] = FLAT_OUT;
    while (!guest->engine.estimate.probing) {
        look(guest);
    }
    g_assert_cmpuint(count_held(guest), ==, 2);
    guest->stands_still = true;
    look(guest);
    g_assert_false(guest->engine.estimate.probing);
    g_assert_cmpuint(guest->engine.decision.throttle_pct, ==, 0);
    g_assert_cmpuint(count_held(guest), ==, 0);
    guest->stands_still = false;
    bulk_pass(guest);
    assert_slowed(guest, 0, 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/convergence/estimate/told", test_the_writer_is_told);
    g_test_add_func("/convergence/estimate/halves",
                    test_halves_are_held_in_turn);
    g_test_add_func("/convergence/estimate/model",
                    test_probes_say_nothing_of_the_guests_rate);
    g_test_add_func("/convergence/estimate/two", test_two_writers_share_alike);
    g_test_add_func("/convergence/estimate/all",
                    test_where_all_write_all_are_slowed);
    g_test_add_func("/convergence/estimate/short-tail",
                    test_a_short_tail_is_not_worth_a_probe);
    g_test_add_func("/convergence/estimate/no-help",
                    test_a_guest_that_needs_no_help_is_not_probed);
    g_test_add_func("/convergence/estimate/idle",
                    test_an_idle_vcpu_is_left_out);
    g_test_add_func("/convergence/estimate/waits",
                    test_a_writer_that_waits_is_told);
    g_test_add_func("/convergence/estimate/passive",
                    test_what_varies_by_itself_is_fitted);
    g_test_add_func("/convergence/estimate/barriers",
                    test_barriers_make_pairs_void);
    g_test_add_func("/convergence/estimate/unseen",
                    test_what_is_not_seen_is_no_probe);
    g_test_add_func("/convergence/estimate/strike",
                    test_readers_that_write_are_slowed);
    g_test_add_func("/convergence/estimate/leak",
                    test_what_a_held_writer_leaks_is_no_mistake);
    g_test_add_func("/convergence/estimate/end-of-pass",
                    test_a_probe_at_the_end_of_the_pass_is_no_failure);
    g_test_add_func("/convergence/estimate/outpaces",
                    test_where_a_writer_outpaces_the_link_all_are_slowed);
    g_test_add_func("/convergence/estimate/none-told",
                    test_where_none_is_told_none_is_doubted);
    g_test_add_func("/convergence/estimate/strike/all",
                    test_a_strike_lets_nobody_go);
    g_test_add_func("/convergence/estimate/costly-syncs",
                    test_costly_syncs_are_no_probes);
    g_test_add_func("/convergence/estimate/max-throttle",
                    test_who_may_not_be_held_is_not_asked);
    g_test_add_func("/convergence/estimate/one-vcpu",
                    test_one_vcpu_is_no_question);
    g_test_add_func("/convergence/estimate/nothing-told",
                    test_a_look_that_tells_nothing_lets_go);
    g_test_add_func("/convergence/estimate/policy",
                    test_a_change_of_policy_lets_go);
    return g_test_run();
}
