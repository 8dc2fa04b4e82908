/*
 * Switch-overs over links that have a queue, fall, and are shared
 *
 * What the sender's kernel takes before it blocks is 4 MB, as with TCP on
 * Linux.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "sim-migration.h"

#define MIB (1024.0 * 1024)
#define TCP_QUEUE_BYTES 4e6
#define DEVICES_BYTES   170e3

static const double limits_ms[] = { 50, 300, 1000 };

/* At 99 %, it writes 0.4 MB/s: a tenth of the slowest link here. */
static const SimGuestSpec writer = {
    .ram_bytes = 256 * MIB, .zero_bytes = 192 * MIB, .n_vcpus = 2, .sets = {
        { .bytes = 16 * MIB, .rate_bytes_per_s = 20e6,
          .capacity_bytes_per_s = 40e6, .n_vcpus = 1, },
    },
};

static SimSpec spec_of(const SimGuestSpec *guest, const SimLinkSpec *link,
                       double limit_ms)
{
    return (SimSpec) {
        .guest = guest, .link = link, .downtime_limit_ms = limit_ms,
        .limit_s = 300, .seed = 1,
    };
}

static SimResult run(const SimSpec *spec, const char *policy)
{
    SimMigration m;
    SimResult result = sim_migration_run(&m, spec, policy);

    sim_migration_free(&m);
    return result;
}

/*
 * The queue alone is a second of the first of them, and what devices send is
 * most of 50 ms there: half of the limit is left to pages even so.
 */
static void test_queue_is_part_of_the_downtime(void)
{
    static const double rates[] = { 4e6, 40e6, 400e6 };

    for (unsigned r = 0; r < G_N_ELEMENTS(rates); r++) {
        for (unsigned l = 0; l < G_N_ELEMENTS(limits_ms); l++) {
            SimLinkSpec link = {
                .rate_bytes_per_s = rates[r], .jitter = 0.05,
                .queue_bytes = TCP_QUEUE_BYTES,
                .devices_bytes = DEVICES_BYTES,
            };
            SimSpec spec = spec_of(&writer, &link, limits_ms[l]);
            double devices_ms = DEVICES_BYTES / rates[r] * 1000;
            double over_ms = devices_ms > limits_ms[l] / 2 ? devices_ms / 2 : 0;

            for (spec.seed = 1; spec.seed <= 10; spec.seed++) {
                SimResult result = run(&spec, "predictive");

                g_assert_true(result.completed);
                g_test_message("%.0f MB/s, %.0f ms: %.0f ms, after %.1f s",
                               rates[r] / 1e6, limits_ms[l],
                               result.downtime_ms, result.total_s);
                g_assert_cmpfloat(result.downtime_ms, <=,
                                  limits_ms[l] + over_ms);
            }
        }
    }
}

/*
 * From 40 to 4 MB/s in the last two seconds before a switch-over of hot sets
 * that fit the limit, or did; but for the very last 300 ms, which nobody can
 * know of.
 */
static void test_fall_is_followed_within_300_ms(void)
{
    unsigned n = 0, soon = 0;

    for (double set_bytes = 2e6; set_bytes < 40e6; set_bytes *= 1.3) {
        SimGuestSpec guest = {
            .ram_bytes = 256 * MIB, .zero_bytes = 192 * MIB, .n_vcpus = 2,
            .sets = { { .bytes = set_bytes, .rate_bytes_per_s = 200e6,
                        .capacity_bytes_per_s = 200e6, .n_vcpus = 1, }, },
        };
        SimLinkSpec link = {
            .rate_bytes_per_s = 40e6, .jitter = 0.05, .drop_to = 0.1,
            .queue_bytes = TCP_QUEUE_BYTES, .devices_bytes = DEVICES_BYTES,
        };
        SimSpec spec = spec_of(&guest, &link, 1000);
        double end_s = run(&spec, "predictive").total_s;

        link.drop_until_s = 1000;
        for (link.drop_from_s = end_s - 2; link.drop_from_s < end_s;
             link.drop_from_s += 0.02) {
            SimResult result = run(&spec, "predictive");
            double after_s = result.total_s - result.downtime_ms / 1000 -
                             link.drop_from_s;

            g_assert_true(result.completed);
            if (after_s < 0.3) {
                continue;
            }
            n++;
            soon += after_s < 5;
            g_test_message("%.1f MB: stopped %.2f s after it fell, %.0f ms",
                           set_bytes / 1e6, after_s, result.downtime_ms);
            g_assert_cmpfloat(result.downtime_ms, <=, 1000);
        }
    }
    g_test_message("%u falls, %u of them soon before the end", n, soon);
    g_assert_cmpuint(soon, >=, 20);
}

/*
 * Another guest comes and goes on the same line, and while it is there takes
 * half of it.  Hot sets that the whole line would have through in 0.75 of the
 * limit, and half of it would not.
 */
static void test_shared_line_has_a_reserve(void)
{
    static const SimLinkSpec link = {
        .rate_bytes_per_s = 40e6, .jitter = 0.05,
        .queue_bytes = TCP_QUEUE_BYTES, .devices_bytes = DEVICES_BYTES,
    };
    unsigned n = 0, within = 0;

    for (unsigned seed = 1; seed <= 200; seed++) {
        double limit_ms = limits_ms[1 + seed % 2];
        SimGuestSpec guest = {
            .ram_bytes = 256 * MIB, .zero_bytes = 192 * MIB, .n_vcpus = 2,
            .sets = { { .bytes = 40e6 * limit_ms / 1000 * 0.75,
                        .rate_bytes_per_s = 200e6,
                        .capacity_bytes_per_s = 200e6, .n_vcpus = 1, }, },
        };
        SimSpec spec = spec_of(&guest, &link, limit_ms);
        uint64_t random = seed * 2654435761u + 88172645463325252ULL;
        double change_s = 0, share = 1;
        SimMigration m;

        spec.seed = seed;
        sim_migration_init(&m, &spec, "predictive");
        while (!m.done) {
            double at_s = (m.now_ns - m.start_ns) / 1e9;

            if (at_s >= change_s) {
                share = share < 1 ? 1 : 0.5;
                change_s = at_s + 0.2 + sim_random(&random);
            }
            sim_migration_slice(&m, share);
        }
        g_assert_true(m.result.completed);
        within += m.result.downtime_ms <= limit_ms;
        n++;
        sim_migration_free(&m);
    }
    g_test_message("%u of %u within their limits", within, n);
    g_assert_cmpuint(within * 100, >=, n * 99);
}

/*
 * 20 MiB at 100 MB/s under a cap of 32 MB/s: at the switch-over, which is not
 * capped, a wire of 10 Gb/s has them through in 17 ms.
 */
static void test_hot_set_that_fits_the_wire_is_not_slowed(void)
{
    static const SimGuestSpec guest = {
        .ram_bytes = 256 * MIB, .zero_bytes = 192 * MIB, .n_vcpus = 2,
        .sets = { { .bytes = 20 * MIB, .rate_bytes_per_s = 100e6,
                    .capacity_bytes_per_s = 1e9, .n_vcpus = 1, }, },
    };
    SimLinkSpec link = {
        .rate_bytes_per_s = 10 * GBIT_PER_S, .cap_bytes_per_s = 32e6,
        .queue_bytes = TCP_QUEUE_BYTES,
    };
    SimSpec spec = spec_of(&guest, &link, 300);
    SimResult result = run(&spec, "predictive");

    g_assert_true(result.completed);
    g_assert_cmpuint(result.max_throttle_pct, ==, 0);
    g_assert_cmpfloat(result.downtime_ms, <=, 300);
    /* Over a wire that does no more than the cap it has to be. */
    link.rate_bytes_per_s = 33e6;
    result = run(&spec, "predictive");
    g_assert_true(result.completed);
    g_assert_cmpuint(result.max_throttle_pct, >, 50);
    g_assert_cmpfloat(result.downtime_ms, <=, 300);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sim/link/queue", test_queue_is_part_of_the_downtime);
    g_test_add_func("/sim/link/falls", test_fall_is_followed_within_300_ms);
    g_test_add_func("/sim/link/shared", test_shared_line_has_a_reserve);
    g_test_add_func("/sim/link/capped",
                    test_hot_set_that_fits_the_wire_is_not_slowed);
    return g_test_run();
}
