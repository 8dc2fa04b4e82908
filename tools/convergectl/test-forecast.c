/*
 * Tests of what two dirty rates say of what a guest writes
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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/forecast/model-finds-rate-and-working-set",
                    test_model_finds_rate_and_working_set);
    g_test_add_func("/forecast/model-of-edges", test_model_of_edges);
    return g_test_run();
}
