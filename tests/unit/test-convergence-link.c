/*
 * What the link does between two samples, and what a switch-over makes of it
 *
 * Looks come 100 ms apart, as QEMU's do.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-fixture.h"

#define LOOK_NS (100 * NS_PER_MS)
#define QUEUE_BYTES MB(4)

typedef struct Stream {
    ConvergenceLink link;
    ConvergenceLinkLook look;
} Stream;

static void stream_start(Stream *stream)
{
    convergence_link_init(&stream->link);
    stream->look = (ConvergenceLinkLook) {
        .now_ns = FIRST_NS, .busy_ns = -1, .queue_known = true,
    };
    convergence_link_look(&stream->link, &stream->look);
}

/* For 100 ms the link carries so much; the sender keeps its queue full. */
static void carry_queued(Stream *stream, double mb_per_s)
{
    ConvergenceLinkLook *look = &stream->look;

    look->now_ns += LOOK_NS;
    look->sent_bytes += MB(mb_per_s) / 10 +
                        (look->queued_bytes ? 0 : QUEUE_BYTES);
    look->queued_bytes = look->unsent_bytes = QUEUE_BYTES;
    convergence_link_look(&stream->link, look);
}

/* All that was handed to it goes at once, in so many ms. */
static void carry_burst(Stream *stream, double mb_per_s, unsigned busy_ms)
{
    ConvergenceLinkLook *look = &stream->look;

    look->now_ns += LOOK_NS;
    look->sent_bytes += MB(mb_per_s) / 10;
    look->queued_bytes = look->unsent_bytes = 0;
    if (look->queue_known) {
        look->busy_ns = MAX(look->busy_ns, 0) + busy_ms * NS_PER_MS;
    }
    convergence_link_look(&stream->link, look);
}

static ConvergenceLinkView view(const Stream *stream)
{
    return convergence_link_view(&stream->link, stream->look.now_ns);
}

static void assert_near(double value, double expected)
{
    g_assert_cmpfloat(value, >, expected * 0.98);
    g_assert_cmpfloat(value, <, expected * 1.02);
}

/* 4 MB at once are a second's worth of this link, and tell nothing of it. */
static void test_what_fills_the_queue_was_not_carried(void)
{
    Stream stream;

    stream_start(&stream);
    for (unsigned i = 0; i < 5; i++) {
        carry_queued(&stream, 4);
        g_assert_cmpuint(view(&stream).recent_bytes_per_s, <=, MB(4));
    }
    assert_near(view(&stream).recent_bytes_per_s, MB(4));
}

static void test_a_link_that_falls_is_followed_in_300_ms(void)
{
    Stream stream;

    stream_start(&stream);
    for (unsigned i = 0; i < 30; i++) {
        carry_queued(&stream, 100);
    }
    assert_near(view(&stream).recent_bytes_per_s, MB(100));
    for (unsigned i = 0; i < 3; i++) {
        carry_queued(&stream, 10);
    }
    g_assert_cmpuint(view(&stream).recent_bytes_per_s, <=, MB(10.2));
}

static void test_a_link_that_stands_still_is_not_unknown(void)
{
    Stream stream;

    stream_start(&stream);
    for (unsigned i = 0; i < 10; i++) {
        carry_queued(&stream, 100);
    }
    carry_queued(&stream, 0);
    g_assert_cmpuint(view(&stream).recent_bytes_per_s, ==, 1);
}

static void test_a_link_that_recovers_is_believed_again(void)
{
    Stream stream;

    stream_start(&stream);
    for (unsigned i = 0; i < 10; i++) {
        carry_queued(&stream, 10);
    }
    for (unsigned i = 0; i < 6; i++) {
        carry_queued(&stream, 100);
    }
    assert_near(view(&stream).recent_bytes_per_s, MB(100));
    /* Not that it stays so. */
    assert_near(view(&stream).low_bytes_per_s, MB(10));
    for (unsigned i = 0; i < CONVERGENCE_LINK_WINDOWS; i++) {
        carry_queued(&stream, 100);
    }
    assert_near(view(&stream).low_bytes_per_s, MB(100));
}

/* A guest that is idle, or all zero pages: the link could do more. */
static void test_who_sends_little_learns_nothing_of_the_link(void)
{
    Stream stream;

    stream_start(&stream);
    for (unsigned i = 0; i < 30; i++) {
        carry_burst(&stream, 1, 1);
    }
    g_assert_cmpuint(view(&stream).recent_bytes_per_s, ==, 0);
    g_assert_cmpuint(view(&stream).low_bytes_per_s, ==, 0);
    g_assert_cmpuint(view(&stream).burst_bytes_per_s, ==, 0);
}

/* The queue was dry for half of the time, during a long sync. */
static void test_time_without_anything_to_carry_does_not_count(void)
{
    Stream stream;

    stream_start(&stream);
    stream.look.busy_ns = 0;
    for (unsigned i = 0; i < 10; i++) {
        stream.look.busy_ns += 50 * NS_PER_MS;
        carry_queued(&stream, 100);
    }
    g_assert_cmpuint(view(&stream).recent_bytes_per_s, >, MB(150));
    g_assert_cmpuint(view(&stream).recent_bytes_per_s, <=, MB(200));
}

/* A pipe tells of no queue: what it took is all that is known. */
static void test_without_a_queue_what_was_sent_counts(void)
{
    Stream stream;

    stream_start(&stream);
    stream.look.queue_known = false;
    for (unsigned i = 0; i < 10; i++) {
        carry_burst(&stream, 40, 0);
    }
    assert_near(view(&stream).recent_bytes_per_s, MB(40));
}

/* 3.2 MB in 20 ms, each 100 ms: what goes on is taken for 2/3 of that. */
static void test_bursts_below_the_cap_tell_of_the_wire(void)
{
    Stream stream;

    stream_start(&stream);
    stream.look.cap_bytes_per_s = MB(32);
    for (unsigned i = 0; i < 4; i++) {
        carry_burst(&stream, 32, 20);
        g_assert_cmpuint(view(&stream).burst_bytes_per_s, ==, 0);
    }
    for (unsigned i = 0; i < 30; i++) {
        carry_burst(&stream, 32, 20);
    }
    g_assert_cmpuint(view(&stream).burst_bytes_per_s, >, MB(100));
    g_assert_cmpuint(view(&stream).burst_bytes_per_s, <=, MB(160) * 2 / 3);
    /* However fast they are, not more than four caps. */
    for (unsigned i = 0; i < 30; i++) {
        carry_burst(&stream, 32, 0);
    }
    assert_near(view(&stream).burst_bytes_per_s, MB(128));
    for (unsigned i = 0; i < 30; i++) {
        carry_burst(&stream, 32, 80);
    }
    /* This wire does 40 MB/s: nothing beyond the cap is to be had. */
    g_assert_cmpuint(view(&stream).burst_bytes_per_s, <, MB(32));
}

static void test_a_wire_below_the_cap_has_no_bursts(void)
{
    Stream stream;

    stream_start(&stream);
    stream.look.cap_bytes_per_s = MB(32);
    for (unsigned i = 0; i < 20; i++) {
        carry_burst(&stream, 32, 10);
    }
    carry_queued(&stream, 20);
    carry_queued(&stream, 20);
    g_assert_cmpuint(view(&stream).burst_bytes_per_s, ==, 0);
}

static void set_up_engine(ConvergenceEngine *engine, double mb_per_s)
{
    ConvergenceParams params = fixture_params("predictive");

    convergence_engine_init(engine, FIRST_NS);
    for (unsigned i = 0; i < 10; i++) {
        ConvergenceSample sample = fixture_sample(engine, SECOND_NS, 1,
                                                  mb_per_s);

        convergence_engine_update(engine, &params, &sample);
    }
}

static uint64_t threshold(const ConvergenceEngine *engine,
                          const ConvergenceParams *params,
                          uint64_t queued_bytes)
{
    return convergence_engine_threshold_bytes(engine, params, 300, MB(100),
                                              queued_bytes);
}

static void test_queue_and_devices_count_as_remaining(void)
{
    ConvergenceParams params = fixture_params("predictive");
    ConvergenceEngine engine;
    ConvergenceLinkView link = { .devices_bytes = MB(1) };
    uint64_t alone;

    set_up_engine(&engine, 100);
    alone = threshold(&engine, &params, 0);
    assert_near(alone, MB(27));
    assert_near(threshold(&engine, &params, MB(4)), alone - MB(4));
    g_assert_cmpuint(threshold(&engine, &params, MB(28)), ==, 0);
    convergence_engine_see_link(&engine, &link);
    assert_near(threshold(&engine, &params, MB(4)), alone - MB(5));
    /* Devices alone never keep a migration from its end. */
    link.devices_bytes = MB(1000);
    convergence_engine_see_link(&engine, &link);
    assert_near(threshold(&engine, &params, 0), alone / 2);
}

static void test_threshold_is_never_above_what_was_carried_lately(void)
{
    ConvergenceParams params = fixture_params("predictive");
    ConvergenceEngine engine;
    ConvergenceLinkView link = { .recent_bytes_per_s = MB(10),
                                 .low_bytes_per_s = MB(10) };

    set_up_engine(&engine, 100);
    convergence_engine_see_link(&engine, &link);
    g_assert_cmpuint(threshold(&engine, &params, 0), <=, MB(10) * 3 / 10);
    /* Better than usual is no better than usual. */
    link = (ConvergenceLinkView) { .recent_bytes_per_s = MB(1000),
                                   .low_bytes_per_s = MB(1000) };
    convergence_engine_see_link(&engine, &link);
    assert_near(threshold(&engine, &params, 0), MB(27));
}

static void test_what_others_took_is_left_to_them(void)
{
    ConvergenceParams params = fixture_params("predictive");
    ConvergenceEngine engine;
    ConvergenceLinkView link = { .recent_bytes_per_s = MB(100),
                                 .low_bytes_per_s = MB(60) };

    set_up_engine(&engine, 100);
    convergence_engine_see_link(&engine, &link);
    assert_near(threshold(&engine, &params, 0), MB(60) * 0.3 * 0.9);
    /* Half of it at most: a link that broke down once is not lost. */
    link.low_bytes_per_s = MB(1);
    convergence_engine_see_link(&engine, &link);
    assert_near(threshold(&engine, &params, 0), MB(50) * 0.3);
}

static void test_what_is_said_of_the_wire_is_believed(void)
{
    ConvergenceParams params = fixture_params("predictive");
    ConvergenceEngine engine;
    ConvergenceLinkView link = { .recent_bytes_per_s = MB(10),
                                 .low_bytes_per_s = MB(1) };

    set_up_engine(&engine, 100);
    params.switchover_bytes_per_s = MB(1000);
    convergence_engine_see_link(&engine, &link);
    assert_near(threshold(&engine, &params, 0), MB(270));
    params.switchover_bytes_per_s = MB(1);
    assert_near(threshold(&engine, &params, 0), MB(0.27));
    params.switchover_bytes_per_s = UINT64_MAX;
    g_assert_cmpuint(threshold(&engine, &params, 0), >, 0);
}

static void test_bursts_raise_the_threshold_of_a_capped_stream(void)
{
    ConvergenceParams params = fixture_params("predictive");
    ConvergenceEngine engine;
    ConvergenceLinkView link = { .burst_bytes_per_s = MB(128) };

    set_up_engine(&engine, 32);
    assert_near(threshold(&engine, &params, 0), MB(32) * 0.3 * 0.9);
    convergence_engine_see_link(&engine, &link);
    assert_near(threshold(&engine, &params, 0), MB(128) * 0.3);
}

/* A queue that fills up is no progress; one that empties is. */
static void test_drain_rate_is_by_what_left_the_queue(void)
{
    ConvergenceParams params = fixture_params("predictive");
    ConvergenceEngine engine;

    convergence_engine_init(&engine, FIRST_NS);
    for (unsigned i = 0; i < 10; i++) {
        ConvergenceSample sample = fixture_sample(&engine, SECOND_NS, 1,
                                                  i ? 4 : 8);

        sample.queued_bytes = QUEUE_BYTES;
        convergence_engine_update(&engine, &params, &sample);
        assert_near(engine.model.drain_bytes_per_s, MB(4));
        assert_near(engine.model.link_bytes_per_s, MB(4));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/convergence/link/queue",
                    test_what_fills_the_queue_was_not_carried);
    g_test_add_func("/convergence/link/falls",
                    test_a_link_that_falls_is_followed_in_300_ms);
    g_test_add_func("/convergence/link/stands",
                    test_a_link_that_stands_still_is_not_unknown);
    g_test_add_func("/convergence/link/recovers",
                    test_a_link_that_recovers_is_believed_again);
    g_test_add_func("/convergence/link/little",
                    test_who_sends_little_learns_nothing_of_the_link);
    g_test_add_func("/convergence/link/dry",
                    test_time_without_anything_to_carry_does_not_count);
    g_test_add_func("/convergence/link/pipe",
                    test_without_a_queue_what_was_sent_counts);
    g_test_add_func("/convergence/link/bursts",
                    test_bursts_below_the_cap_tell_of_the_wire);
    g_test_add_func("/convergence/link/no-bursts",
                    test_a_wire_below_the_cap_has_no_bursts);
    g_test_add_func("/convergence/link/threshold/beside-pages",
                    test_queue_and_devices_count_as_remaining);
    g_test_add_func("/convergence/link/threshold/recent",
                    test_threshold_is_never_above_what_was_carried_lately);
    g_test_add_func("/convergence/link/threshold/shared",
                    test_what_others_took_is_left_to_them);
    g_test_add_func("/convergence/link/threshold/said",
                    test_what_is_said_of_the_wire_is_believed);
    g_test_add_func("/convergence/link/threshold/bursts",
                    test_bursts_raise_the_threshold_of_a_capped_stream);
    g_test_add_func("/convergence/link/drain",
                    test_drain_rate_is_by_what_left_the_queue);
    return g_test_run();
}
