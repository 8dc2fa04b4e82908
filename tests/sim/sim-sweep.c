/*
 * Simulator: random guests and links
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "sim-migration.h"
#include "sim-sweep.h"

#define GIB (1024.0 * 1024 * 1024)
/* A migration that takes that many floors will not end. */
#define PATIENCE_FLOORS 8
#define PATIENCE_S 30
/* Differences below that are the grid of the loop. */
#define GRID_S 0.1
#define SPARED 0.75
#define SPARED_FLOORS 1.35

typedef struct Case {
    SimGuestSpec guest;
    SimLinkSpec link;
    SimSpec spec;
} Case;

/* Evenly distributed over the orders of magnitude. */
static double draw_log(uint64_t *random, double least, double most)
{
    return least * pow(most / least, sim_random(random));
}

static bool draw(uint64_t *random, double chance)
{
    return sim_random(random) < chance;
}

static void draw_case(Case *c, uint64_t *random)
{
    static const double limits_ms[] = { 50, 300, 1000 };
    double ram = draw_log(random, 0.5 * GIB, 256 * GIB);
    double link = draw_log(random, 0.5 * GBIT_PER_S, 400 * GBIT_PER_S);
    double part = draw_log(random, 0.003, 0.8);
    double rate = link * draw_log(random, 0.1, 100);
    unsigned n_vcpus = 1 + sim_random(random) * 16;
    unsigned n_writers = 1 + sim_random(random) * n_vcpus;

    *c = (Case) {
        .guest = {
            .ram_bytes = ram,
            .zero_bytes = ram * 0.4 * sim_random(random),
            .n_vcpus = n_vcpus,
            .sets = {
                { .bytes = ram * part * 0.6, .rate_bytes_per_s = rate,
                  .n_vcpus = n_writers },
                { .bytes = ram * part * 0.1,
                  .rate_bytes_per_s = 2 * rate * sim_random(random),
                  .n_vcpus = n_writers },
            },
        },
        .link = {
            .rate_bytes_per_s = link,
            .jitter = draw(random, 0.3) ? 0.3 : 0,
        },
    };
    if (draw(random, 0.3)) {
        c->guest.sets[0].capacity_bytes_per_s =
            rate * draw_log(random, 1, 100);
    }
    if (draw(random, 0.3)) {
        c->guest.sets[0].lumps = 1;
    }
    if (draw(random, 0.2)) {
        c->guest.sets[0].on_s = 0.5 + 4 * sim_random(random);
        c->guest.sets[0].off_s = 0.5 + 4 * sim_random(random);
    }
    c->spec = (SimSpec) {
        .guest = &c->guest, .link = &c->link,
        .downtime_limit_ms = limits_ms[(unsigned)(3 * sim_random(random))],
        .seed = 1 + 1000 * sim_random(random),
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
 * Slower than step, and not because the guest was spared: whoever loses less
 * than three quarters of that there may take a third longer than F.
 */
static bool is_slower(const SimFloor *floor, const SimResult *step,
                      const SimResult *r)
{
    bool spared = r->lost_vcpu_s < step->lost_vcpu_s * SPARED &&
                  r->total_s < floor->total_s * SPARED_FLOORS + GRID_S;

    return step->completed && !spared &&
           r->total_s > step->total_s * 1.05 + GRID_S;
}

static void judge(SimSweep *sweep, const Case *c, const SimFloor *floor,
                  const SimResult *step, const SimResult *r)
{
    double limit_s = c->spec.downtime_limit_ms / 1000;

    sweep->step_completed += step->completed;
    if (!r->completed) {
        sweep->only_step += step->completed;
        return;
    }
    sweep->completed++;
    sweep->slower += is_slower(floor, step, r);
    sweep->above_floors += r->total_s > floor->total_s * 1.5 + 5 * GRID_S;
    /* The downtime is the user's own wish. */
    sweep->above_stops += r->lost_vcpu_s > 1.5 * floor->lost_vcpu_s +
                          (limit_s + GRID_S) * c->guest.n_vcpus;
    sweep->above_limit += r->downtime_ms > c->spec.downtime_limit_ms;
}

SimSweep sim_sweep(unsigned n, uint64_t seed, const char *policy,
                   SimLogSpec log)
{
    uint64_t random = seed * 7919 + 12345;
    SimSweep sweep = { .guests = n };

    for (unsigned i = 0; i < n; i++) {
        SimResult step, result;
        SimFloor floor;
        Case c;

        draw_case(&c, &random);
        c.spec.log = log;
        floor = sim_floor(&c.spec);
        c.spec.limit_s = floor.total_s * PATIENCE_FLOORS + PATIENCE_S;
        step = run(&c.spec, "step");
        result = run(&c.spec, policy);
        judge(&sweep, &c, &floor, &step, &result);
    }
    return sweep;
}

int sim_sweep_report(unsigned n, const char *policy, SimLogSpec log)
{
    SimSweep sweep = sim_sweep(n, 1, policy, log);

    printf("%u random guests, policy %s: %u done (step: %u), %u by step "
           "alone\n%u slower than step by more than 5 %%, %u above 1.5 F, %u "
           "lost more than 1.5 stops, %u above their downtime limit\n", n,
           policy, sweep.completed, sweep.step_completed, sweep.only_step,
           sweep.slower, sweep.above_floors, sweep.above_stops,
           sweep.above_limit);
    return 0;
}
