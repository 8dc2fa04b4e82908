/*
 * The simulator's guests under each meter: who writes, and what it costs to be
 * wrong about it
 *
 * The policy is predictive throughout.  "Alike" is what it does where vCPUs
 * cannot be told apart, "knows" where something counts their pages.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "sim-scenarios.h"

#define MIB (1024.0 * 1024)
#define GIB (1024 * MIB)
#define MB_PER_S 1e6
#define GBIT_PER_S 125e6

/* A look more or less, of all vCPUs; and a pair of looks in vain. */
#define GRAIN_S 0.1
#define PAIR_S 0.35
#define SLOWER_MAX 1.05
/* Shorter tails are not worth a question. */
#define TAIL_S 2

typedef struct Bounds {
    /* Work lost, of what it is where all are taken to be alike. */
    double max_lost;
    double max_slower;              /* total time, likewise */
    /* Work lost, of what it is where it is known who writes; 0: no bound. */
    double max_regret;
    bool named;                     /* those that write, and no one else */
} Bounds;

typedef struct Case {
    const char *name;
    const char *claim;
    unsigned n_vcpus;
    /* Writers, each with pages of its own; or in so many groups that share. */
    unsigned n_writers, n_groups;
    double mb_per_s;                /* of all writers; 0: flat out */
    double noise;                   /* standard deviation from look to look */
    double wander_s, on_s;
    bool lockstep, apart;           /* writers are on vCPUs far apart */
    Bounds bounds;
} Case;

#define NAMED(lost) { .max_lost = (lost), .max_slower = 1.05, \
                      .max_regret = 3, .named = true }
/* To ask costs some looks in which halves stand still, told or not. */
#define HARMLESS { .max_lost = 1.2, .max_slower = 1.1 }

static const Case cases[] = {
    { "one-of-2", "one writer of two is told, the other one spared",
      .n_vcpus = 2, .n_writers = 1, .bounds = NAMED(0.75) },
    { "one-of-4", "one writer of four",
      .n_vcpus = 4, .n_writers = 1, .bounds = NAMED(0.5) },
    { "one-of-16", "one writer of 16",
      .n_vcpus = 16, .n_writers = 1, .bounds = NAMED(0.5) },
    { "one-of-128", "one writer of 128",
      .n_vcpus = 128, .n_writers = 1, .bounds = NAMED(0.5) },
    { "paced-of-4", "one that writes at three times the link's rate",
      .n_vcpus = 4, .n_writers = 1, .mb_per_s = 375, .bounds = NAMED(0.6) },
    { "two-of-8", "two writers of eight, whichever halves they are in",
      .n_vcpus = 8, .n_writers = 2, .bounds = NAMED(0.6) },
    { "four-of-16", "four of 16",
      .n_vcpus = 16, .n_writers = 4, .bounds = NAMED(0.8) },
    { "two-of-8-apart", "two of eight, one in each half",
      .n_vcpus = 8, .n_writers = 2, .apart = true, .bounds = NAMED(0.6) },
    { "three-of-16-apart", "three far from each other: each half has one",
      .n_vcpus = 16, .n_writers = 3, .apart = true, .bounds = HARMLESS },
    { "noise-15", "looks that vary by 15 %",
      .n_vcpus = 4, .n_writers = 1, .mb_per_s = 375, .noise = 0.15,
      .bounds = NAMED(0.6) },
    { "noise-30", "looks that vary by 30 %",
      .n_vcpus = 4, .n_writers = 1, .mb_per_s = 375, .noise = 0.30,
      .bounds = NAMED(0.6) },
    { "noise-50", "looks that vary by 50 %",
      .n_vcpus = 4, .n_writers = 1, .mb_per_s = 375, .noise = 0.50,
      .bounds = NAMED(0.7) },
    { "all-of-4", "where all write, to ask costs little",
      .n_vcpus = 4, .n_writers = 4, .bounds = HARMLESS },
    { "all-of-16", "where all write, to ask costs little",
      .n_vcpus = 16, .n_writers = 16, .n_groups = 4, .bounds = HARMLESS },
    { "shared-by-2", "two of four write to the same pages",
      .n_vcpus = 4, .n_writers = 2, .n_groups = 1, .bounds = HARMLESS },
    { "wanders", "a writer that moves to the next vCPU each two seconds",
      .n_vcpus = 4, .n_writers = 1, .wander_s = 2, .bounds = HARMLESS },
    { "wanders-fast", "and one that does each tenth of a second",
      .n_vcpus = 4, .n_writers = 1, .wander_s = 0.1, .bounds = HARMLESS },
    { "lockstep", "four of eight wait for each other",
      .n_vcpus = 8, .n_writers = 4, .lockstep = true, .bounds = HARMLESS },
    { "bursts", "a writer that is on for a second and off for one",
      .n_vcpus = 4, .n_writers = 1, .on_s = 1, .bounds = HARMLESS },
};

static SimGuestSpec guest_of(const Case *c)
{
    unsigned groups = c->n_groups ? c->n_groups : c->n_writers;
    double rate = c->mb_per_s > 0 ? c->mb_per_s * MB_PER_S : 2e9;
    SimGuestSpec guest = {
        .ram_bytes = 2 * GIB, .zero_bytes = 0.5 * GIB, .n_vcpus = c->n_vcpus,
    };

    assert(groups <= SIM_MAX_SETS);
    for (unsigned i = 0; i < groups; i++) {
        guest.sets[i] = (SimSetSpec) {
            .bytes = 768 * MIB / groups,
            .rate_bytes_per_s = rate / groups,
            .first_vcpu = i * (c->apart ? c->n_vcpus : c->n_writers) / groups,
            .n_vcpus = c->n_writers / groups,
            /* Evenly distributed: sqrt(3) standard deviations to either side. */
            .lumps = MIN(c->noise * 1.732, 1), .lump_s = 0.25,
            .wander_s = c->wander_s,
            .on_s = c->on_s, .off_s = c->on_s,
            .lockstep = c->lockstep,
        };
    }
    return guest;
}

static SimResult run(SimMigration *m, const SimGuestSpec *guest,
                     const SimLinkSpec *link, SimMeter meter)
{
    SimSpec spec = {
        .guest = guest, .link = link, .meter = meter,
        .downtime_limit_ms = 300, .limit_s = 120, .seed = 1,
    };

    return sim_migration_run(m, &spec, "predictive");
}

static bool writes(const SimGuestSpec *guest, unsigned vcpu)
{
    for (unsigned i = 0; i < SIM_MAX_SETS; i++) {
        const SimSetSpec *set = &guest->sets[i];

        if (vcpu >= set->first_vcpu &&
            vcpu < set->first_vcpu + set->n_vcpus) {
            return true;
        }
    }
    return false;
}

/* Those that were slowed in the end are those that write. */
static bool are_named(const SimMigration *m)
{
    for (unsigned v = 0; v < m->spec.guest->n_vcpus; v++) {
        if ((m->throttles_pct[v] > 0) != writes(m->spec.guest, v)) {
            return false;
        }
    }
    return true;
}

static void test_case(const void *opaque)
{
    const Case *c = opaque;
    SimGuestSpec guest = guest_of(c);
    SimLinkSpec link = { .rate_bytes_per_s = 1 * GBIT_PER_S };
    double grain_s = GRAIN_S * c->n_vcpus;
    SimMigration m;
    SimResult alike, knows, r;
    bool named;

    alike = run(&m, &guest, &link, SIM_METER_NONE);
    sim_migration_free(&m);
    knows = run(&m, &guest, &link, SIM_METER_PAGES);
    sim_migration_free(&m);
    r = run(&m, &guest, &link, SIM_METER_ESTIMATE);
    named = are_named(&m);
    g_test_message("%s: %s", c->name, c->claim);
    g_test_message("%.1f s (alike %.1f, knows %.1f), lost %.1f vCPU-s (alike "
                   "%.1f, knows %.1f), a reader %.2f s, %u looks in probes, %u "
                   "strikes, named: %d", r.total_s, alike.total_s,
                   knows.total_s, r.lost_vcpu_s, alike.lost_vcpu_s,
                   knows.lost_vcpu_s, r.reader_lost_s,
                   m.engine.estimate.probes, m.engine.estimate.strikes, named);
    sim_migration_free(&m);
    g_assert_true(r.completed && alike.completed && knows.completed);
    g_assert_true(!c->bounds.named || named);
    g_assert_cmpfloat(r.lost_vcpu_s, <=,
                      alike.lost_vcpu_s * c->bounds.max_lost + grain_s);
    if (c->bounds.max_regret > 0) {
        g_assert_cmpfloat(r.lost_vcpu_s, <=,
                          knows.lost_vcpu_s * c->bounds.max_regret);
    }
    g_assert_cmpfloat(r.total_s, <=, alike.total_s * c->bounds.max_slower);
    g_assert_cmpfloat(r.downtime_ms, <=, 300);
}

static SimResult run_scenario(const SimScenario *scenario, SimMeter meter)
{
    SimSpec spec = sim_scenario_spec(scenario);
    SimMigration m;
    SimResult result;

    spec.meter = meter;
    result = sim_migration_run(&m, &spec, "predictive");
    sim_migration_free(&m);
    return result;
}

/* Scenarios that may take longer by the estimate, and why. */
static const struct {
    const char *name;
    const char *why;
    double max_slower;
} slower[] = {
    { "bursts", "probes meet a pause of the writer's, and are void", 1.1 },
    { "slow-bursts", "while it is asked, a burst begins", 1.1 },
    { "kvm-flat-out", "what the spared vCPU rewrites takes a sixth of the link, "
      "and the writer most of the rest, slowed as far as can be", 1.45 },
};

static double slower_max(const SimScenario *scenario, SimMeter meter)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(slower); i++) {
        if (meter == SIM_METER_ESTIMATE &&
            !strcmp(slower[i].name, scenario->name)) {
            g_test_message("may take longer: %s", slower[i].why);
            return slower[i].max_slower;
        }
    }
    return SLOWER_MAX;
}

/* Then two pairs of looks are lost in which halves stand still. */
static bool all_write(const SimGuestSpec *guest)
{
    unsigned n = 0;

    for (unsigned v = 0; v < guest->n_vcpus; v++) {
        n += writes(guest, v);
    }
    return n == guest->n_vcpus;
}

/* Told apart or not: no scenario ends later for it, or loses more. */
static void test_scenario(const void *opaque)
{
    static const SimMeter meters[] = { SIM_METER_PAGES, SIM_METER_ESTIMATE };
    const SimScenario *scenario = opaque;
    SimResult alike = run_scenario(scenario, SIM_METER_NONE);
    double pairs = all_write(&scenario->guest) ? 2 : 1;

    for (unsigned i = 0; i < G_N_ELEMENTS(meters); i++) {
        SimResult r = run_scenario(scenario, meters[i]);
        double grain_s = (i ? PAIR_S * pairs : GRAIN_S) *
                         scenario->guest.n_vcpus;

        g_test_message("%s: %.2f s instead of %.2f, lost %.2f vCPU-s instead of "
                       "%.2f", i ? "estimate" : "pages", r.total_s,
                       alike.total_s, r.lost_vcpu_s, alike.lost_vcpu_s);
        g_assert_true(r.completed || !alike.completed);
        /* One that is stuck for a while ends by when it is tried again. */
        if (alike.completed && !scenario->predictive.says_stuck) {
            g_assert_cmpfloat(r.total_s, <=,
                              alike.total_s * slower_max(scenario, meters[i]) +
                              GRAIN_S);
            g_assert_cmpfloat(r.lost_vcpu_s, <=,
                              alike.lost_vcpu_s * 1.02 + grain_s);
        }
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/*
 * Of the guests in which some vCPUs write and some do not, and which are slowed
 * for longer than it takes to ask.  Of two vCPUs, one of which writes, half is
 * lost by whoever knows.
 */
static void test_half_is_lost_in_the_median(void)
{
    g_autofree double *parts = g_new(double, sim_n_scenarios +
                                             G_N_ELEMENTS(cases));
    unsigned n = 0;

    for (unsigned i = 0; i < sim_n_scenarios; i++) {
        const SimScenario *scenario = &sim_scenarios[i];
        SimResult alike = run_scenario(scenario, SIM_METER_NONE);

        if (alike.completed && scenario->guest.n_vcpus > 2 &&
            !all_write(&scenario->guest) && alike.reader_lost_s > TAIL_S) {
            SimResult r = run_scenario(scenario, SIM_METER_ESTIMATE);

            parts[n++] = r.lost_vcpu_s / alike.lost_vcpu_s;
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        SimGuestSpec guest = guest_of(&cases[i]);
        SimLinkSpec link = { .rate_bytes_per_s = 1 * GBIT_PER_S };
        SimMigration m;
        SimResult alike, r;

        if (guest.n_vcpus <= 2 || all_write(&guest)) {
            continue;
        }
        alike = run(&m, &guest, &link, SIM_METER_NONE);
        sim_migration_free(&m);
        r = run(&m, &guest, &link, SIM_METER_ESTIMATE);
        sim_migration_free(&m);
        parts[n++] = r.lost_vcpu_s / alike.lost_vcpu_s;
    }
    g_assert_cmpuint(n, >=, 15);
    qsort(parts, n, sizeof(*parts), compare_doubles);
    g_test_message("median of %u: %.2f of the work lost", n,
                   parts[(n - 1) / 2]);
    g_assert_cmpfloat(parts[(n - 1) / 2], <=, 0.52);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/sim/meters/%s",
                                                cases[i].name);

        g_test_add_data_func(path, &cases[i], test_case);
    }
    g_test_add_func("/sim/meters/median", test_half_is_lost_in_the_median);
    for (unsigned i = 0; i < sim_n_scenarios; i++) {
        g_autofree char *path = g_strdup_printf("/sim/meters/scenario/%s",
                                                sim_scenarios[i].name);

        g_test_add_data_func(path, &sim_scenarios[i], test_scenario);
    }
    return g_test_run();
}
