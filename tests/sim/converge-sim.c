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
#include "sim-hosts.h"
#include "sim-replay.h"
#include "sim-report.h"
#include "sim-sweep.h"

static int usage(void)
{
    g_autofree char *names = sim_report_policy_names();

    fprintf(stderr,
            "Usage: converge-sim [--log LOG] [--meter METER] VERB ...\n"
            "       converge-sim list\n"
            "       converge-sim run SCENARIO|all [POLICY] [--csv DIR]\n"
            "       converge-sim compare [SCENARIO...]\n"
            "       converge-sim plot SCENARIO FILE.svg\n"
            "       converge-sim trace SCENARIO POLICY\n"
            "       converge-sim replay FILE|-\n"
            "       converge-sim fleet N [POLICY [HOSTS]]\n"
            "       converge-sim plan N HOSTS\n"
            "       converge-sim sweep N [POLICY]\n"
            "\n"
            "Policies: %s;\npredictive if none is given.\n"
            "`stock` is the trigger of QEMU 7.2 as it is upstream.\n"
            "Logs: sets (default), exact (page by page, as TCG and KVM's dirty "
            "ring tell),\nmanual and manual-256k (KVM's bitmap, cleared by "
            "chunks of 1 GiB or 256 KiB).\nMeters, which tell vCPUs apart: "
            "usual (default: pages, or none with KVM's bitmap),\nnone, pages, "
            "estimate.\n", names);
    return 2;
}

static const char *policy_or_default(const char *name)
{
    const char *policy = name ? name : "predictive";

    if (!sim_report_knows_policy(policy)) {
        g_autofree char *names = sim_report_policy_names();

        fprintf(stderr, "converge-sim: no policy '%s'; there are %s\n",
                policy, names);
        exit(2);
    }
    return policy;
}

/* Of the option --log; NULL: each scenario's own. */
static const SimNamedLog *chosen_log;

/* Of the option --meter. */
static SimMeter chosen_meter;

static SimScenario as_chosen(const SimScenario *scenario)
{
    SimScenario chosen = *scenario;

    if (chosen_log) {
        chosen.log = chosen_log->log;
    }
    if (chosen_meter) {
        chosen.meter = chosen_meter;
    }
    return chosen;
}

static SimScenario scenario_or_die(const char *name)
{
    const SimScenario *scenario = sim_scenario_find(name);

    if (!scenario) {
        fprintf(stderr, "converge-sim: no scenario '%s'; `converge-sim list` "
                "names them\n", name);
        exit(2);
    }
    return as_chosen(scenario);
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
    SimScenario scenario;

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
        scenario = scenario_or_die(argv[0]);
        return sim_report_run(&scenario, policy, csv_dir);
    }
    for (unsigned i = 0; i < sim_n_scenarios; i++) {
        int status;

        scenario = as_chosen(&sim_scenarios[i]);
        status = sim_report_run(&scenario, policy, csv_dir);
        if (status) {
            return status;
        }
    }
    return 0;
}

static int do_compare(int argc, char **argv)
{
    SimScenario scenario;

    sim_report_compare_header();
    for (int i = 0; i < argc; i++) {
        scenario = scenario_or_die(argv[i]);
        sim_report_compare(&scenario);
    }
    for (unsigned i = 0; !argc && i < sim_n_scenarios; i++) {
        scenario = as_chosen(&sim_scenarios[i]);
        sim_report_compare(&scenario);
    }
    return 0;
}

static int do_plot(const char *name, const char *svg_path)
{
    SimScenario scenario = scenario_or_die(name);

    return sim_report_plot(&scenario, svg_path);
}

static int do_trace(const char *name, const char *policy)
{
    SimScenario scenario = scenario_or_die(name);

    return sim_report_trace(&scenario, policy_or_default(policy));
}

static unsigned number_or_die(const char *text, const char *of)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (*end || n < 1 || n > 1000000) {
        fprintf(stderr, "converge-sim: '%s' %s: 1 to 1000000 "
                "can be simulated\n", text, of);
        exit(2);
    }
    return n;
}

/* fleet and sweep: how many guests, and under which policy. */
static int do_many(int argc, char **argv,
                   int (*many)(unsigned n, const char *policy,
                               SimLogSpec log))
{
    return many(number_or_die(argv[0], "guests"),
                policy_or_default(argc > 1 ? argv[1] : NULL),
                chosen_log ? chosen_log->log : (SimLogSpec) { 0 });
}

/* fleet: on each of so many hosts. */
static int do_hosts(char **argv)
{
    return sim_hosts(number_or_die(argv[0], "guests"),
                     number_or_die(argv[2], "hosts"),
                     policy_or_default(argv[1]),
                     chosen_log ? chosen_log->log : (SimLogSpec) { 0 });
}

static const SimNamedLog *log_or_die(const char *name)
{
    const SimNamedLog *log = sim_log_find(name);

    if (!log) {
        fprintf(stderr, "converge-sim: no log '%s'; there are sets, exact, "
                "manual and manual-256k\n", name);
        exit(2);
    }
    return log;
}

static SimMeter meter_or_die(const char *name)
{
    SimMeter meter = sim_meter_find(name);

    if (meter == SIM_METER_MAX) {
        fprintf(stderr, "converge-sim: no meter '%s'; there are usual, none, "
                "pages and estimate\n", name);
        exit(2);
    }
    return meter;
}

int main(int argc, char **argv)
{
    const char *verb;

    for (; argc > 2 && g_str_has_prefix(argv[1], "--"); argc -= 2, argv += 2) {
        if (!strcmp(argv[1], "--log")) {
            chosen_log = log_or_die(argv[2]);
        } else if (!strcmp(argv[1], "--meter")) {
            chosen_meter = meter_or_die(argv[2]);
        } else {
            return usage();
        }
    }
    verb = argc > 1 ? argv[1] : "";
    if (!strcmp(verb, "list") && argc == 2) {
        return do_list();
    } else if (!strcmp(verb, "run") && argc >= 3) {
        return do_run(argc - 2, argv + 2);
    } else if (!strcmp(verb, "compare")) {
        return do_compare(argc - 2, argv + 2);
    } else if (!strcmp(verb, "plot") && argc == 4) {
        return do_plot(argv[2], argv[3]);
    } else if (!strcmp(verb, "trace") && argc == 4) {
        return do_trace(argv[2], argv[3]);
    } else if (!strcmp(verb, "replay") && argc == 3) {
        return sim_replay(argv[2], stdout);
    } else if (!strcmp(verb, "fleet") && (argc == 3 || argc == 4)) {
        return do_many(argc - 2, argv + 2, sim_fleet);
    } else if (!strcmp(verb, "fleet") && argc == 5) {
        return do_hosts(argv + 2);
    } else if (!strcmp(verb, "plan") && argc == 4) {
        return sim_plan(number_or_die(argv[2], "guests"),
                        number_or_die(argv[3], "hosts"));
    } else if (!strcmp(verb, "sweep") && (argc == 3 || argc == 4)) {
        return do_many(argc - 2, argv + 2, sim_sweep_report);
    }
    return usage();
}
