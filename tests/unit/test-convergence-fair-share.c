/*
 * Max-min fair levels: who is limited, to what, and who never notices
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "convergence-fixture.h"

#define MAX_VCPUS 8

typedef struct Share {
    const char *claim;
    unsigned n_vcpus;
    double rate_mb_per_s[MAX_VCPUS];    /* measured: different pages */
    double limit_mb_per_s[MAX_VCPUS];   /* in force then, 0: none */
    double budget_mb_per_s;
    double level_mb_per_s;              /* expected; HUGE_VAL: no limit */
    /* Of the rates, as percent: newly dirtied.  0: all. */
    unsigned new_pct[MAX_VCPUS];
} Share;

static const Share shares[] = {
    { "no vCPU wants no limit", 0, { 0 }, { 0 }, 32, HUGE_VAL },
    { "an idle vCPU needs no limit", 1, { 0 }, { 0 }, 32, HUGE_VAL },
    { "one vCPU gets all of the budget", 1, { 100 }, { 0 }, 32, 32 },
    { "demand equal to the budget is no excess", 1, { 32 }, { 0 }, 32,
      HUGE_VAL },
    { "all idle", 8, { 0 }, { 0 }, 32, HUGE_VAL },
    { "demand below the budget", 4, { 5, 6, 7, 8 }, { 0 }, 32, HUGE_VAL },
    { "two writers of eight share it, the others never feel it", 8,
      { 100, 1, 0, 2, 200, 0, 1, 0 }, { 0 }, 32, 14 },
    { "a modest writer keeps what it has", 3, { 4, 50, 60 }, { 0 }, 32, 14 },
    { "three rounds of water filling", 4, { 3, 8, 9, 100 }, { 0 }, 32, 12 },
    { "all want more than an equal part", 4, { 50, 60, 70, 80 }, { 0 }, 32,
      8 },
    { "no budget: no level above zero", 2, { 10, 20 }, { 0 }, 0, 0 },
    { "no budget, and nobody who wants any", 2, { 0, 0 }, { 0 }, 0,
      HUGE_VAL },
    { "who is held at its limit wants more", 2, { 14, 1 }, { 16, 16 }, 32,
      31 },
    { "who stays well below its limit is content", 2, { 10, 1 },
      { 16, 16 }, 32, HUGE_VAL },
    { "what a vCPU wants is all it writes, waiting pages included", 2,
      { 100, 1 }, { 0 }, 32, 31, { 5 } },
    { "a limit binds by what is newly dirtied: 12 of 16", 2, { 24, 1 },
      { 16, 16 }, 32, 31, { 50 } },
    { "and not below: 11.9 of 16", 2, { 23.8, 1 }, { 16, 16 }, 32, HUGE_VAL,
      { 50 } },
    { "held at its limit while it hardly rewrites anything", 2, { 16, 1 },
      { 16, 16 }, 32, 31, { 100 } },
    { "rewriting within a limit counts at what it will be", 2, { 40, 1 },
      { 16, 16 }, 32, 31, { 10 } },
};

static double find_level(const Share *share, ConvergenceVcpu *vcpus)
{
    for (unsigned i = 0; i < share->n_vcpus; i++) {
        double rate = share->rate_mb_per_s[i];
        unsigned new_pct = share->new_pct[i] ? share->new_pct[i] : 100;

        vcpus[i] = (ConvergenceVcpu) {
            .id = i,
            .dirty_rate_bytes_per_s = MB(rate),
            .new_rate_bytes_per_s = MB(rate * new_pct / 100),
            .limit_bytes_per_s = MB(share->limit_mb_per_s[i]),
        };
    }
    return convergence_fair_level(vcpus, share->n_vcpus,
                                  share->budget_mb_per_s * BYTES_PER_MB);
}

static void test_level(const void *opaque)
{
    const Share *share = opaque;
    ConvergenceVcpu vcpus[MAX_VCPUS];
    double level = find_level(share, vcpus);

    if (share->level_mb_per_s == HUGE_VAL) {
        g_assert_true(level == HUGE_VAL);
    } else {
        g_assert_cmpfloat_with_epsilon(level / BYTES_PER_MB,
                                       share->level_mb_per_s, 0.001);
    }
}

/* What makes it max-min fair, whatever the demands are. */
static void test_levels_use_the_budget_up(void)
{
    for (unsigned round = 0; round < 20000; round++) {
        unsigned n = g_test_rand_int_range(1, 289);
        double budget = g_test_rand_double_range(0, 1e9), used = 0, all = 0;
        g_autofree ConvergenceVcpu *vcpus = g_new0(ConvergenceVcpu, n);
        double level;

        for (unsigned i = 0; i < n; i++) {
            vcpus[i].dirty_rate_bytes_per_s =
                g_test_rand_bit() ? g_test_rand_double_range(0, 1e8) : 0;
        }
        level = convergence_fair_level(vcpus, n, budget);
        for (unsigned i = 0; i < n; i++) {
            double rate = vcpus[i].dirty_rate_bytes_per_s;

            used += MIN(rate, level);
            all += rate;
        }
        if (level == HUGE_VAL) {
            g_assert_cmpfloat(all, <=, budget * (1 + 1e-9));
        } else {
            g_assert_cmpfloat_with_epsilon(used, budget, budget * 1e-6 + 1);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(shares); i++) {
        g_autofree char *path = g_strdup_printf("/convergence/fair-share/%s",
                                                shares[i].claim);

        g_test_add_data_func(path, &shares[i], test_level);
    }
    g_test_add_func("/convergence/fair-share/random",
                    test_levels_use_the_budget_up);
    return g_test_run();
}
