/*
 * converge-sim: the convergence engine in closed loop with model guests
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <stdio.h>
#include "sim-fleet.h"
#include "sim-replay.h"
#include "sim-report.h"
#include "sim-sweep.h"

static int usage(void)
{
    fputs("Usage: converge-sim list\n"
          "       converge-sim run SCENARIO|all [POLICY] [--csv DIR]\n"
          "       converge-sim compare [SCENARIO...]\n"
          "       converge-sim plot SCENARIO FILE.svg\n"
          "       converge-sim trace SCENARIO POLICY\n"
          "       converge-sim replay FILE|-\n"
          "       converge-sim fleet N [POLICY]\n"
          "       converge-sim sweep N [POLICY]\n"
          "\n"
          "Policies: none, stock, step, predictive (default), dirty-limit.\n"
          "`stock` is the trigger of QEMU 7.2 as it is upstream.\n", stderr);
    return 2;
}

static const char *policy_or_default(const char *name)
{
    const char *policy = name ? name : "predictive";

    if (!sim_report_knows_policy(policy)) {
        fprintf(stderr, "converge-sim: no policy '%s'; there are none, stock, "
                "step, predictive and dirty-limit\n", policy);
        exit(2);
    }
    return policy;
}

static const SimScenario *scenario_or_die(const char *name)
{
    const SimScenario *scenario = sim_scenario_find(name);

    if (!scenario) {
        fprintf(stderr, "converge-sim: no scenario '%s'; `converge-sim list` "
                "names them\n", name);
        exit(2);
    }
    return scenario;
}

static int do_list(void)
{
    for (unsigned i = 0; i < sim_n_scenarios; i++) {
        printf("%-24s %s\n", sim_scenarios[i].name, sim_scenarios[i].claim);
    }
    return 0;
}

static int do_run(int argc, char **argv)
{
    const char *csv_dir = NULL, *policy = NULL;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--csv") && i + 1 < argc) {
            csv_dir = argv[++i];
        } else if (!policy) {
            policy = argv[i];
        } else {
            return usage();
        }
    }
    policy = policy_or_default(policy);
    if (strcmp(argv[0], "all")) {
        return sim_report_run(scenario_or_die(argv[0]), policy, csv_dir);
    }
    for (unsigned i = 0; i < sim_n_scenarios; i++) {
        int status = sim_report_run(&sim_scenarios[i], policy, csv_dir);

        if (status) {
            return status;
        }
    }
    return 0;
}

static int do_compare(int argc, char **argv)
{
    sim_report_compare_header();
    for (int i = 0; i < argc; i++) {
        sim_report_compare(scenario_or_die(argv[i]));
    }
    for (unsigned i = 0; !argc && i < sim_n_scenarios; i++) {
        sim_report_compare(&sim_scenarios[i]);
    }
    return 0;
}

/* fleet and sweep: how many guests, and under which policy. */
static int do_many(int argc, char **argv,
                   int (*many)(unsigned n, const char *policy))
{
    char *end;
    unsigned long n = strtoul(argv[0], &end, 10);

    if (*end || n < 1 || n > 1000000) {
        fprintf(stderr, "converge-sim: '%s' guests: 1 to 1000000 "
                "can be simulated\n", argv[0]);
        return 2;
    }
    return many(n, policy_or_default(argc > 1 ? argv[1] : NULL));
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";

    if (!strcmp(verb, "list") && argc == 2) {
        return do_list();
    } else if (!strcmp(verb, "run") && argc >= 3) {
        return do_run(argc - 2, argv + 2);
    } else if (!strcmp(verb, "compare")) {
        return do_compare(argc - 2, argv + 2);
    } else if (!strcmp(verb, "plot") && argc == 4) {
        return sim_report_plot(scenario_or_die(argv[2]), argv[3]);
    } else if (!strcmp(verb, "trace") && argc == 4) {
        return sim_report_trace(scenario_or_die(argv[2]),
                                policy_or_default(argv[3]));
    } else if (!strcmp(verb, "replay") && argc == 3) {
        return sim_replay(argv[2], stdout);
    } else if (!strcmp(verb, "fleet") && (argc == 3 || argc == 4)) {
        return do_many(argc - 2, argv + 2, sim_fleet);
    } else if (!strcmp(verb, "sweep") && (argc == 3 || argc == 4)) {
        return do_many(argc - 2, argv + 2, sim_sweep_report);
    }
    return usage();
}
