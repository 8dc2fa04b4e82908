/*
 * Simulator: hosts that are emptied, by a plan and without one
 *
 * What decides is tools/convergectl/evacuation.c, as convergectl evacuate runs
 * it; what happens then is the simulator's: guests that write, the engine that
 * slows them, links with jitter.  The plan knows of a guest what a measurement
 * tells, and that is off by up to a fifth.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include <time.h>
#include "evacuation.h"
#include "sim-fleet.h"
#include "sim-hosts.h"
#include "sim-migration.h"

#define LIMIT_MS 300
/* Longer than any of them waits for the link. */
#define GUEST_LIMIT_S 7200
/* What one that has to wait for the link sends all the same. */
#define TRICKLE 1e-3
#define MEASURED_WITHIN 0.2
/* Of a slice of 50 ms, in what it was seen to take of late. */
#define TAKES_WEIGHT 0.2

typedef struct Host {
    unsigned n;
    SimGuestSpec *specs;
    EvacuationGuest *guests;        /* what is known of them */
    SimLinkSpec link;
    EvacuationTerms terms;
} Host;

typedef enum Order { BY_PLAN, AS_THEY_COME, LARGEST_FIRST, BY_CHANCE } Order;

typedef struct Way {
    const char *name;
    unsigned parallel;
    Order order;
} Way;

enum { PLANNED, TWO_AT_A_TIME = 2 };

static const Way ways[] = {
    [PLANNED] = { "as planned", 0, BY_PLAN },
    { "one by one", 1, AS_THEY_COME },
    [TWO_AT_A_TIME] = { "two at a time", 2, AS_THEY_COME },
    { "eight at a time", 8, AS_THEY_COME },
    { "two, largest first", 2, LARGEST_FIRST },
    { "two, at random", 2, BY_CHANCE },
};
#define N_WAYS (sizeof(ways) / sizeof(ways[0]))

typedef struct Outcome {
    double end_s, lost_vcpu_s, mean_s;
    double foreseen_s, error_s;
    unsigned arrived, over_limit;
} Outcome;

static double between(uint64_t *random, double low, double high)
{
    return low + (high - low) * sim_random(random);
}

/* As one measures it: what was written lately, and not to the last byte. */
static EvacuationGuest measure(const SimGuestSpec *spec, uint64_t *random)
{
    EvacuationGuest guest = {
        .data_bytes = spec->ram_bytes - spec->zero_bytes,
    };

    for (unsigned i = 0; i < SIM_MAX_SETS; i++) {
        const SimSetSpec *set = &spec->sets[i];
        double duty = set->on_s + set->off_s > 0
            ? set->on_s / (set->on_s + set->off_s) : 1;

        guest.writes.rate_bytes_per_s += set->rate_bytes_per_s * duty;
        guest.writes.working_set_bytes += set->bytes;
    }
    guest.data_bytes *= between(random, 1 - MEASURED_WITHIN / 2,
                                1 + MEASURED_WITHIN / 2);
    guest.writes.rate_bytes_per_s *= between(random, 1 - MEASURED_WITHIN,
                                             1 + MEASURED_WITHIN);
    guest.writes.working_set_bytes *= between(random, 1 - MEASURED_WITHIN,
                                              1 + MEASURED_WITHIN);
    return guest;
}

/*
 * Links as hosts have them.  One thread of QEMU sends some 12 Gb/s, however
 * fast the link is; starting the other side's QEMU takes a second or so.
 */
static void draw_host(Host *host, unsigned n, uint64_t *random)
{
    static const double gbit_per_s[] = { 10, 25, 40, 100 };

    *host = (Host) {
        .n = n,
        .specs = g_new0(SimGuestSpec, n),
        .guests = g_new0(EvacuationGuest, n),
        .link = {
            .rate_bytes_per_s = GBIT_PER_S *
                                gbit_per_s[(int)between(random, 0, 4)],
            .jitter = 0.05,
        },
        .terms = {
            .n_links = 1,
            .stream_bytes_per_s = GBIT_PER_S * between(random, 9, 15),
            .setup_s = between(random, 0.5, 2),
            .finish_s = between(random, 0.1, 0.5),
            .downtime_s = LIMIT_MS / 1000.0,
            .link_error = 0.05,
        },
    };
    for (unsigned i = 0; i < n; i++) {
        host->specs[i] = sim_draw_guest(random);
        host->guests[i] = measure(&host->specs[i], random);
    }
    host->terms.links_bytes_per_s = &host->link.rate_bytes_per_s;
}

static void free_host(Host *host)
{
    g_free(host->specs);
    g_free(host->guests);
}

/* One that runs; the younger ones come after it. */
typedef struct Running {
    SimMigration migration;
    SimSpec spec;
    unsigned index;
    EvacuationStage stage;
    double began_s;
    double at_s;                    /* up to which it was simulated */
    double offset_s;                /* from its own clock to ours */
    double takes;                   /* of late, of what it might: 0 to 1 */
} Running;

typedef struct Evening {
    const Host *host;
    EvacuationTerms terms;
    const char *policy;
    SimLogSpec log;
    Running **running;
    EvacuationRun *runs;
    unsigned n_running;
    double now_s;
    Outcome outcome;
} Evening;

static double own_clock_s(const Running *r)
{
    return (r->migration.now_ns - r->migration.start_ns) / 1e9;
}

static void begin(Evening *evening, unsigned index)
{
    Running *r = g_new0(Running, 1);

    r->index = index;
    r->stage = EVACUATION_SETUP;
    r->began_s = evening->now_s;
    r->takes = 1;
    r->at_s = evening->now_s + evening->terms.setup_s;
    r->offset_s = r->at_s;
    r->spec = (SimSpec) {
        .guest = &evening->host->specs[index], .link = &evening->host->link,
        .log = evening->log, .downtime_limit_ms = LIMIT_MS,
        .limit_s = GUEST_LIMIT_S, .seed = index + 1,
    };
    sim_migration_init(&r->migration, &r->spec, evening->policy);
    evening->running[evening->n_running++] = r;
}

/* As query-migrate and the measurement before it tell. */
static double left_bytes(const Evening *evening, const Running *r)
{
    const SimGuest *sim = &r->migration.guest;
    EvacuationGuest guest = evening->host->guests[r->index];

    guest.stage = r->stage;
    guest.stage_s = own_clock_s(r);
    guest.left_bytes = r->stage == EVACUATION_TAIL ?
        sim_guest_remaining_bytes(sim) :
        sim_guest_unsent_bytes(sim) - sim_guest_unsent_empty_bytes(sim);
    return evacuation_left_bytes(&guest,
                                 MIN(evening->terms.stream_bytes_per_s,
                                     evening->host->link.rate_bytes_per_s));
}

static void look(Evening *evening)
{
    for (unsigned i = 0; i < evening->n_running; i++) {
        const Running *r = evening->running[i];

        evening->runs[i] = (EvacuationRun) {
            .stage = r->stage,
            .setup_left_s = r->stage == EVACUATION_SETUP ?
                            r->at_s - evening->now_s : 0,
            .left_bytes = left_bytes(evening, r),
            .takes = r->takes,
        };
    }
    evacuation_share(&evening->terms, evening->runs, evening->n_running);
}

static void arrive(Evening *evening, Running *r)
{
    const SimResult *result = &r->migration.result;
    Outcome *outcome = &evening->outcome;

    outcome->arrived += result->completed;
    outcome->over_limit += result->downtime_ms > LIMIT_MS;
    outcome->lost_vcpu_s += result->lost_vcpu_s;
    outcome->mean_s += (r->at_s - r->began_s) / evening->host->n;
    outcome->end_s = MAX(outcome->end_s, r->at_s);
}

/* One slice with the part of the link that it has. */
static void send_slice(Evening *evening, Running *r, double rate_bytes_per_s)
{
    double link_bytes_per_s = evening->host->link.rate_bytes_per_s;
    double share = MAX(rate_bytes_per_s / link_bytes_per_s, TRICKLE);
    double sent_bytes = r->migration.result.wire_bytes;
    double took;

    sim_migration_slice(&r->migration, share);
    took = (r->migration.result.wire_bytes - sent_bytes) /
           (r->offset_s + own_clock_s(r) - r->at_s) /
           (share * link_bytes_per_s);
    r->takes += (took - r->takes) * TAKES_WEIGHT;
    r->at_s = r->offset_s + own_clock_s(r);
}

/* Lets the one go on that is behind. */
static void go_on(Evening *evening)
{
    unsigned next = 0;
    Running *r;

    for (unsigned i = 1; i < evening->n_running; i++) {
        if (evening->running[i]->at_s < evening->running[next]->at_s) {
            next = i;
        }
    }
    r = evening->running[next];
    evening->now_s = r->at_s;
    if (r->stage == EVACUATION_SETUP) {
        r->stage = EVACUATION_BULK;
    } else if (r->stage == EVACUATION_FINISH) {
        arrive(evening, r);
        sim_migration_free(&r->migration);
        g_free(r);
        evening->n_running--;
        memmove(&evening->running[next], &evening->running[next + 1],
                (evening->n_running - next) * sizeof(*evening->running));
    } else {
        send_slice(evening, r, evening->runs[next].rate_bytes_per_s);
        if (r->migration.done) {
            r->stage = EVACUATION_FINISH;
            r->at_s += evening->terms.finish_s;
        } else if (!sim_guest_in_bulk_pass(&r->migration.guest)) {
            r->stage = EVACUATION_TAIL;
        }
    }
    look(evening);
}

static void shuffle(unsigned *order, unsigned n, uint64_t random)
{
    for (unsigned i = n; i > 1; i--) {
        unsigned j = between(&random, 0, i);
        unsigned swapped = order[i - 1];

        order[i - 1] = order[j];
        order[j] = swapped;
    }
}

static void sort_by_size(const Host *host, unsigned *order)
{
    for (unsigned i = 1; i < host->n; i++) {
        for (unsigned j = i; j > 0 && host->specs[order[j]].ram_bytes >
             host->specs[order[j - 1]].ram_bytes; j--) {
            unsigned swapped = order[j - 1];

            order[j - 1] = order[j];
            order[j] = swapped;
        }
    }
}

/* The order of a way, and what the plan says of it. */
static void make_order(const Host *host, const EvacuationTerms *terms,
                       Order kind, unsigned *order, Outcome *outcome)
{
    g_autoptr(EvacuationPlan) plan = NULL;

    for (unsigned i = 0; i < host->n; i++) {
        order[i] = i;
    }
    if (kind == BY_PLAN) {
        plan = evacuation_plan(terms, host->guests, host->n, 0);
        memcpy(order, plan->order, host->n * sizeof(*order));
    } else {
        if (kind == LARGEST_FIRST) {
            sort_by_size(host, order);
        } else if (kind == BY_CHANCE) {
            shuffle(order, host->n, 20261130);
        }
        plan = evacuation_foresee(terms, host->guests, host->n, order);
    }
    outcome->foreseen_s = plan->end_s;
    outcome->error_s = plan->error_s;
}

static Outcome empty_host(const Host *host, const Way *way,
                          const char *policy, SimLogSpec log)
{
    g_autofree unsigned *order = g_new(unsigned, host->n);
    g_autofree Running **running = g_new(Running *, host->n);
    g_autofree EvacuationRun *runs = g_new(EvacuationRun, host->n);
    Evening evening = {
        .host = host, .terms = host->terms, .policy = policy, .log = log,
        .running = running, .runs = runs,
    };
    unsigned begun = 0;

    evening.terms.parallel = way->parallel;
    evening.terms.even = way->parallel > 0;
    if (way->order == BY_PLAN && !way->parallel) {
        evacuation_choose(&evening.terms, host->guests, host->n);
    }
    make_order(host, &evening.terms, way->order, order, &evening.outcome);
    for (;;) {
        while (begun < host->n &&
               evacuation_may_start(&evening.terms, runs, evening.n_running,
                                    0, 0)) {
            begin(&evening, order[begun++]);
            look(&evening);
        }
        if (!evening.n_running) {
            return evening.outcome;
        }
        go_on(&evening);
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double percentile(const double *values, unsigned n, unsigned pct)
{
    g_autofree double *sorted = g_memdup2(values, n * sizeof(*values));

    qsort(sorted, n, sizeof(*sorted), compare_doubles);
    return sorted[(uint64_t)(n - 1) * pct / 100];
}

/* One figure of all hosts. */
static double percentile_of(const Outcome *outcomes, unsigned n_hosts,
                            unsigned way, size_t member, unsigned pct,
                            unsigned per)
{
    g_autofree double *values = g_new(double, n_hosts);

    for (unsigned h = 0; h < n_hosts; h++) {
        const char *one = (const char *)&outcomes[h * N_WAYS + way];
        const char *other = (const char *)&outcomes[h * N_WAYS + per];

        values[h] = *(const double *)(one + member);
        if (per < N_WAYS) {
            values[h] /= *(const double *)(other + member);
        }
    }
    return percentile(values, n_hosts, pct);
}

#define END_S offsetof(Outcome, end_s)
#define LOST_S offsetof(Outcome, lost_vcpu_s)

static void print_way(const Outcome *outcomes, unsigned n_hosts, unsigned way)
{
    unsigned arrived = 0, over = 0;

    for (unsigned h = 0; h < n_hosts; h++) {
        arrived += outcomes[h * N_WAYS + way].arrived;
        over += outcomes[h * N_WAYS + way].over_limit;
    }
    printf("%-20s %8.1f %8.1f %7.2f %7.2f %7.2f %9.1f %8u %6u\n",
           ways[way].name,
           percentile_of(outcomes, n_hosts, way, END_S, 50, N_WAYS),
           percentile_of(outcomes, n_hosts, way, END_S, 90, N_WAYS),
           percentile_of(outcomes, n_hosts, way, END_S, 0, TWO_AT_A_TIME),
           percentile_of(outcomes, n_hosts, way, END_S, 50, TWO_AT_A_TIME),
           percentile_of(outcomes, n_hosts, way, END_S, 100, TWO_AT_A_TIME),
           percentile_of(outcomes, n_hosts, way, LOST_S, 50, N_WAYS),
           arrived, over);
}

/* How far off the plan's end was. */
static void print_forecast(const Outcome *outcomes, unsigned n_hosts)
{
    g_autofree double *off = g_new(double, n_hosts);
    unsigned within = 0;

    for (unsigned h = 0; h < n_hosts; h++) {
        const Outcome *o = &outcomes[h * N_WAYS + PLANNED];

        off[h] = fabs(o->end_s / o->foreseen_s - 1) * 100;
        within += fabs(o->end_s - o->foreseen_s) <= o->error_s;
    }
    printf("the plan's end was off by %.1f %% (median), %.1f %% (nine of ten), "
           "and within its band on %u of %u hosts\n",
           percentile(off, n_hosts, 50), percentile(off, n_hosts, 90), within,
           n_hosts);
}

static void print_links(const Host *hosts, const Outcome *outcomes,
                        unsigned n_hosts)
{
    static const double gbit_per_s[] = { 10, 25, 40, 100 };
    g_autofree double *ratios = g_new(double, n_hosts);

    for (unsigned l = 0; l < G_N_ELEMENTS(gbit_per_s); l++) {
        unsigned n = 0;

        for (unsigned h = 0; h < n_hosts; h++) {
            const Outcome *o = &outcomes[h * N_WAYS];

            if (hosts[h].link.rate_bytes_per_s == gbit_per_s[l] * GBIT_PER_S) {
                ratios[n++] = o[PLANNED].end_s / o[TWO_AT_A_TIME].end_s;
            }
        }
        if (n) {
            printf("%.0f Gb/s: %u hosts, %.2f of two at a time in the median, "
                   "%.2f at most\n", gbit_per_s[l], n,
                   percentile(ratios, n, 50), percentile(ratios, n, 100));
        }
    }
}

int sim_hosts(unsigned n_guests, unsigned n_hosts, const char *policy,
              SimLogSpec log)
{
    g_autofree Host *hosts = g_new(Host, n_hosts);
    g_autofree Outcome *outcomes = g_new(Outcome, n_hosts * N_WAYS);
    uint64_t random = 20261130;
    bool good = true;

    for (unsigned h = 0; h < n_hosts; h++) {
        draw_host(&hosts[h], n_guests, &random);
        for (unsigned w = 0; w < N_WAYS; w++) {
            outcomes[h * N_WAYS + w] = empty_host(&hosts[h], &ways[w], policy,
                                                  log);
        }
        good = good && outcomes[h * N_WAYS + PLANNED].arrived == n_guests &&
               outcomes[h * N_WAYS + PLANNED].end_s <=
               outcomes[h * N_WAYS + TWO_AT_A_TIME].end_s;
    }
    printf("%u hosts of %u guests, policy %s\n"
           "%-20s %8s %8s %7s %7s %7s %9s %8s %6s\n", n_hosts, n_guests,
           policy, "", "median s", "90 % s", "least", "of two", "most",
           "lost vCPU", "arrived", "over");
    for (unsigned w = 0; w < N_WAYS; w++) {
        print_way(outcomes, n_hosts, w);
    }
    print_links(hosts, outcomes, n_hosts);
    print_forecast(outcomes, n_hosts);
    for (unsigned h = 0; h < n_hosts; h++) {
        free_host(&hosts[h]);
    }
    return good ? 0 : 1;
}

int sim_plan(unsigned n_guests, unsigned n_hosts)
{
    g_autofree double *links = g_new(double, 2 * n_hosts);
    g_autofree EvacuationGuest *guests = g_new(EvacuationGuest, n_guests);
    g_autoptr(EvacuationPlan) plan = NULL;
    EvacuationTerms terms = {
        .links_bytes_per_s = links, .n_links = 2 * n_hosts,
        .stream_bytes_per_s = 12 * GBIT_PER_S, .setup_s = 1, .finish_s = 0.3,
        .downtime_s = LIMIT_MS / 1000.0, .link_error = 0.05,
    };
    uint64_t random = 20261130;
    clock_t began;

    for (unsigned l = 0; l < 2 * n_hosts; l++) {
        links[l] = 25 * GBIT_PER_S;
    }
    for (unsigned i = 0; i < n_guests; i++) {
        SimGuestSpec spec = sim_draw_guest(&random);

        guests[i] = measure(&spec, &random);
        guests[i].source = i % n_hosts;
        guests[i].destination = n_hosts + (unsigned)between(&random, 0,
                                                            n_hosts);
    }
    began = clock();
    plan = evacuation_plan(&terms, guests, n_guests, 0);
    printf("%u guests on %u hosts: gone after %.0f s, +-%.0f s; planned in "
           "%.2f s\n", n_guests, n_hosts, plan->end_s, plan->error_s,
           (double)(clock() - began) / CLOCKS_PER_SEC);
    return isfinite(plan->end_s) ? 0 : 1;
}
