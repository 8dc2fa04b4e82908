/*
 * Tests of the forecast: what two dirty rates say of a migration
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "forecast.h"

#define MB 1e6
#define RAM (512 * MB)

static void test_model_finds_rate_and_working_set(void)
{
    static const struct { double rate, set; } guests[] = {
        { 100 * MB, 256 * MB }, { 50 * MB, 20 * MB }, { 10 * MB, 400 * MB },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(guests); i++) {
        WriteModel real = { guests[i].rate, guests[i].set, FALSE };
        WriteModel found = write_model_fit(write_model_dirtied(&real, 1), 1,
                                           write_model_dirtied(&real, 3), 3,
                                           RAM);

        g_assert_cmpfloat_with_epsilon(found.rate_bytes_per_s, real.
                                       rate_bytes_per_s, real.
                                       rate_bytes_per_s / 20);
        /* Over 3 s, that is all that a slow writer lets one see */
        g_assert_cmpfloat_with_epsilon(write_model_dirtied(&found, 3),
                                       write_model_dirtied(&real, 3),
                                       write_model_dirtied(&real, 3) / 20);
    }
}

static void test_model_of_edges(void)
{
    WriteModel idle = write_model_fit(0, 1, 0, 3, RAM);
    WriteModel full = write_model_fit(64 * MB, 1, 64 * MB, 3, RAM);
    WriteModel line = write_model_fit(50 * MB, 1, 150 * MB, 3, RAM);

    g_assert_cmpfloat(write_model_dirtied(&idle, 1000), ==, 0);
    g_assert_true(full.at_least);
    g_assert_cmpfloat(full.working_set_bytes, ==, 64 * MB);
    g_assert_cmpfloat(write_model_dirtied(&full, 100), ==, 64 * MB);
    g_assert_false(line.at_least);
    g_assert_cmpfloat(line.working_set_bytes, ==, RAM);
}

static void test_forecasts(void)
{
    static const struct {
        const char *guest;
        WriteModel model;
        double bandwidth, downtime_s;
        gboolean converges, converges_slowed;
    } table[] = {
        { "idle", { 0, RAM, FALSE }, 64 * MB, 0.3, TRUE, TRUE },
        { "slow writer", { 20 * MB, RAM, FALSE }, 64 * MB, 0.3, TRUE, TRUE },
        { "outpaces", { 100 * MB, 256 * MB, FALSE }, 64 * MB, 0.3, FALSE,
          TRUE },
        { "a set that fits into the downtime", { 900 * MB, 10 * MB, TRUE },
          64 * MB, 0.3, TRUE, TRUE },
        { "a set that just does not", { 900 * MB, 30 * MB, TRUE }, 64 * MB,
          0.3, FALSE, TRUE },
        { "hopeless", { 90000 * MB, RAM, FALSE }, 64 * MB, 0.001, FALSE,
          FALSE },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        Forecast forecast = forecast_migration(&table[i].model, RAM,
            table[i].bandwidth, table[i].downtime_s);
        int pct = forecast_least_throttle_pct(&table[i].model, RAM,
            table[i].bandwidth, table[i].downtime_s);

        g_test_message("%s: throttle %d %%", table[i].guest, pct);
        g_assert_cmpint(forecast.converges, ==, table[i].converges);
        g_assert_cmpint(pct <= 99, ==, table[i].converges_slowed);
        g_assert_true(forecast.total_s >= RAM / table[i].bandwidth);
        if (forecast.converges) {
            g_assert_true(forecast.downtime_s <= table[i].downtime_s);
        } else {
            g_assert_cmpint(pct, >, 0);
        }
    }
}

static void test_more_bandwidth_never_asks_for_more_throttle(void)
{
    WriteModel model = { 100 * MB, 256 * MB, FALSE };
    int last_pct = 100;

    for (double bandwidth = 8 * MB; bandwidth < 400 * MB; bandwidth *= 1.3) {
        int pct = forecast_least_throttle_pct(&model, RAM, bandwidth, 0.3);

        g_assert_cmpint(pct, <=, last_pct);
        last_pct = pct;
    }
    g_assert_cmpint(last_pct, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/forecast/model-finds-rate-and-working-set",
                    test_model_finds_rate_and_working_set);
    g_test_add_func("/forecast/model-of-edges", test_model_of_edges);
    g_test_add_func("/forecast/forecasts", test_forecasts);
    g_test_add_func("/forecast/more-bandwidth-never-asks-for-more-throttle",
                    test_more_bandwidth_never_asks_for_more_throttle);
    return g_test_run();
}
