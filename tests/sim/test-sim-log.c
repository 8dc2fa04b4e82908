/*
 * What is reported again is no dirtying: all scenarios under KVM's manual log
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "sim-log.h"
#include "sim-scenarios.h"

#define MIB (1024.0 * 1024)

/* Against an exact log: total time, and work lost, a grain of either apart. */
#define SLOWER_MAX 1.10
#define SLOWER_GRAIN_S 0.3
#define LOST_MAX 1.15
/* Of a rate told to the user, by the true one. */
#define TOLD_MIN 0.5
#define TOLD_MAX 2.0
#define ROUNDING_S 0.0001

/* --- The log itself --- */

#define N_PAGES 64
#define CHUNK_PAGES 8

static SimDirtyLog log_begin(bool manual)
{
    SimLogSpec spec = { .manual = manual, .chunk_bytes = CHUNK_PAGES };
    SimDirtyLog log;

    sim_log_init(&log, &spec, N_PAGES, 1);
    return log;
}

static void assert_count(const SimLogCount *count, unsigned dirtied,
                         unsigned touched, unsigned unseen)
{
    g_assert_cmpuint(count->dirtied, ==, dirtied);
    g_assert_cmpuint(count->touched, ==, touched);
    g_assert_cmpuint(count->unseen, ==, unseen);
}

/* All bits are set at the start, and none of them was written. */
static void test_initial_bits_are_no_writes(void)
{
    SimDirtyLog log = log_begin(true);
    SimLogCount count = sim_log_sync(&log);

    assert_count(&count, 0, 0, N_PAGES);
    count = sim_log_sync(&log);
    assert_count(&count, 0, 0, N_PAGES);
    sim_log_free(&log);
}

/* Sending a page of a chunk makes all of that chunk seen, and no other. */
static void test_a_chunk_is_seen_from_its_first_page_sent_on(void)
{
    SimDirtyLog log = log_begin(true);
    SimLogCount count;

    sim_log_sync(&log);
    sim_log_write(&log, 0);                 /* before that: not kept */
    sim_log_send(&log, 1);
    sim_log_write(&log, 1);                 /* sent: adds to the work */
    sim_log_write(&log, 2);                 /* waits: rewritten */
    sim_log_write(&log, CHUNK_PAGES);       /* elsewhere: nobody can tell */
    count = sim_log_sync(&log);
    assert_count(&count, 1, 2, N_PAGES - CHUNK_PAGES);
    g_assert_cmpuint(count.written, ==, 4);

    /* Not visited since: the two are reported once more, and seen no more. */
    count = sim_log_sync(&log);
    assert_count(&count, 0, 0, N_PAGES - CHUNK_PAGES + 2);
    sim_log_free(&log);
}

static void test_cleared_by_hand_all_is_seen(void)
{
    SimDirtyLog log = log_begin(true);
    SimLogCount count;

    sim_log_sync(&log);
    sim_log_clear_all(&log);
    sim_log_write(&log, 3);
    sim_log_write(&log, 3);
    sim_log_send(&log, 4);                  /* clears nothing any more */
    count = sim_log_sync(&log);
    assert_count(&count, 0, 1, 0);
    sim_log_free(&log);
}

/*
 * Whatever is written, sent and synced by chance: newly dirtied pages are
 * counted in full, what was touched is never overstated, it is exact where
 * nothing is unseen from the start on, and no write is lost to the other side.
 */
static void test_counts_hold_by_chance(const void *opaque)
{
    bool manual = *(const bool *)opaque;

    for (unsigned round = 0; round < 2000; round++) {
        unsigned version[N_PAGES] = { 0 }, sent[N_PAGES] = { 0 };
        bool all_seen = !manual, written[N_PAGES] = { false };
        SimDirtyLog log = log_begin(manual);

        for (unsigned i = 0; i < 200; i++) {
            unsigned page = g_test_rand_int_range(0, N_PAGES);

            switch (g_test_rand_int_range(0, 16)) {
            case 0: {
                unsigned clean = N_PAGES - log.waiting;
                SimLogCount count = sim_log_sync(&log);

                g_assert_cmpuint(count.dirtied, <=, clean);
                g_assert_cmpuint(count.dirtied, <=, count.touched);
                g_assert_cmpuint(count.touched, <=, count.written);
                if (all_seen) {
                    g_assert_cmpuint(count.touched, ==, count.written);
                    g_assert_cmpuint(count.unseen, ==, 0);
                }
                memset(written, 0, sizeof(written));
                all_seen = !manual;
                if (manual && g_test_rand_bit()) {
                    sim_log_clear_all(&log);
                    all_seen = true;
                }
                break;
            }
            case 1 ... 6:
                if (sim_log_waits(&log, page)) {
                    sim_log_send(&log, page);
                    sent[page] = version[page];
                }
                break;
            default:
                sim_log_write(&log, page);
                version[page]++;
                break;
            }
        }
        sim_log_sync(&log);
        for (unsigned page = 0; page < N_PAGES; page++) {
            g_assert_true(sim_log_waits(&log, page) ||
                          sent[page] == version[page]);
        }
        sim_log_free(&log);
    }
}

/* --- In closed loop --- */

static SimResult run(const SimScenario *scenario, SimLogSpec log,
                     const char *policy)
{
    SimSpec spec = sim_scenario_spec(scenario);
    SimResult result;
    SimMigration m;

    spec.log = log;
    /* What a log tells is what is asked; that meters help is another matter. */
    spec.meter = strcmp(policy, "dirty-limit") ? SIM_METER_NONE :
                 SIM_METER_USUAL;
    result = sim_migration_run(&m, &spec, policy);
    sim_migration_free(&m);
    return result;
}

static void check_against_exact(const SimScenario *scenario,
                                const SimResult *exact, const char *log,
                                const char *policy)
{
    SimResult r = run(scenario, sim_log_find(log)->log, policy);
    double grain_s = SLOWER_GRAIN_S * scenario->guest.n_vcpus;

    g_test_message("%s, %s: %.2f s instead of %.2f, throttle %u %% instead of "
                   "%u, lost %.2f s instead of %.2f", policy, log, r.total_s,
                   exact->total_s, r.max_throttle_pct,
                   exact->max_throttle_pct, r.lost_vcpu_s,
                   exact->lost_vcpu_s);
    g_assert_true(r.completed == exact->completed);
    g_assert_true(r.stuck == exact->stuck);
    if (!exact->max_throttle_pct) {
        g_assert_cmpuint(r.max_throttle_pct, ==, 0);
    }
    if (exact->completed) {
        g_assert_cmpfloat(r.total_s, <=,
                          exact->total_s * SLOWER_MAX + SLOWER_GRAIN_S);
        g_assert_cmpfloat(r.downtime_ms, <=, scenario->downtime_limit_ms);
        g_assert_cmpfloat(r.lost_vcpu_s, <=,
                          exact->lost_vcpu_s * LOST_MAX + grain_s);
    }
}

static void test_manual_log_is_as_good_as_an_exact_one(const void *opaque)
{
    static const char *const policies[] = { "predictive", "step" };
    const SimScenario *scenario = opaque;

    for (unsigned i = 0; i < G_N_ELEMENTS(policies); i++) {
        SimResult exact = run(scenario, sim_log_find("exact")->log,
                              policies[i]);

        check_against_exact(scenario, &exact, "manual", policies[i]);
        check_against_exact(scenario, &exact, "manual-256k", policies[i]);
    }
}

/*
 * Two models that share no formula, and all comes out alike.  But for the one
 * guest that gets busy just when the bulk pass has ended: there a tenth of a
 * second decides on which look it is seen.
 */
static void test_pages_agree_with_sets(const void *opaque)
{
    const SimScenario *scenario = opaque;
    double grain_s = strcmp(scenario->name, "two-phases") ? SLOWER_GRAIN_S :
                     1.5;
    SimResult sets = run(scenario, (SimLogSpec) { 0 }, "predictive");
    SimResult pages = run(scenario, (SimLogSpec) { .by_page = true },
                          "predictive");

    g_test_message("sets: %.2f s, throttle %u %%; pages: %.2f s, %u %%",
                   sets.total_s, sets.max_throttle_pct, pages.total_s,
                   pages.max_throttle_pct);
    g_assert_true(pages.completed == sets.completed);
    g_assert_true(!pages.max_throttle_pct == !sets.max_throttle_pct);
    g_assert_cmpfloat(pages.total_s, <=, sets.total_s * 1.1 + grain_s);
    g_assert_cmpfloat(pages.total_s, >=, sets.total_s / 1.1 - grain_s);
}

static const SimScenario *slow_writer(void)
{
    return sim_scenario_find("kvm-slow-writer");
}

/* So this simulator would have shown it. */
static void test_counting_reports_throttles_the_slow_writer(void)
{
    SimLogSpec naive = slow_writer()->log, right = naive;
    SimResult r;

    naive.counts_reports = true;
    r = run(slow_writer(), naive, "predictive");
    g_test_message("every report taken for a write: %u %%, %.1f s lost",
                   r.max_throttle_pct, r.lost_vcpu_s);
    g_assert_cmpuint(r.max_throttle_pct, >=, 90);
    g_assert_cmpfloat(r.lost_vcpu_s, >=, 1);

    r = run(slow_writer(), right, "predictive");
    g_assert_cmpuint(r.max_throttle_pct, ==, 0);
}

/* The slow writer, each vCPU with so many pages that it rewrites. */
static SimScenario slow_writer_with(unsigned rewritten_pages)
{
    SimScenario scenario = *slow_writer();
    SimSetSpec *rewritten = &scenario.guest.sets[1];
    double before = rewritten->bytes;

    rewritten->bytes = rewritten_pages * SIM_PAGE_BYTES *
                       scenario.guest.n_vcpus;
    rewritten->rate_bytes_per_s *= rewritten->bytes / before;
    return scenario;
}

static void check_told(const SimScenario *scenario, const char *policy)
{
    SimSpec spec = sim_scenario_spec(scenario);
    double written_bytes = 0, s = 0;
    unsigned n = 0;
    SimMigration m;

    spec.keep_record = true;
    sim_migration_run(&m, &spec, policy);
    g_assert_true(m.result.completed);
    g_assert_cmpuint(m.result.max_throttle_pct, ==, 0);
    for (unsigned i = 1; i < m.record->len; i++) {
        const SimRecord *r = &g_array_index(m.record, SimRecord, i);
        double interval_s = r->at_s - (r - 1)->at_s, rate;

        if (r->bulk_pass) {
            continue;
        }
        /* What is told is smoothed over some time, and so is the truth. */
        written_bytes += r->true_bytes_per_s * interval_s;
        s += interval_s;
        rate = written_bytes / s;
        g_test_message("%s, %.2f s: told %.2f MB/s, true %.2f, since the bulk "
                       "pass %.2f", policy, r->at_s, r->told_bytes_per_s / 1e6,
                       r->true_bytes_per_s / 1e6, rate / 1e6);
        g_assert_cmpfloat(r->told_bytes_per_s, >=, rate * TOLD_MIN);
        g_assert_cmpfloat(r->told_bytes_per_s, <=, rate * TOLD_MAX);
        n++;
    }
    g_assert_cmpuint(n, >=, 2);
    sim_migration_free(&m);
}

static void test_slow_writer_is_let_be_and_told_as_it_is(void)
{
    static const unsigned rewritten_pages[] = { 2, 30, 100, 200 };
    static const double chunk_bytes[] = { 256 * 1024, 16 * MIB, 1024 * MIB };

    for (unsigned i = 0; i < G_N_ELEMENTS(rewritten_pages); i++) {
        for (unsigned j = 0; j < G_N_ELEMENTS(chunk_bytes); j++) {
            SimScenario scenario = slow_writer_with(rewritten_pages[i]);

            g_test_message("%u pages rewritten, chunks of %.1f MiB",
                           rewritten_pages[i], chunk_bytes[j] / MIB);
            scenario.log.chunk_bytes = chunk_bytes[j];
            check_told(&scenario, "predictive");
            check_told(&scenario, "step");
        }
    }
}

/* To cut the bulk pass short pays there as it does where all is seen. */
static void test_early_cut_is_found_with_a_lower_bound(void)
{
    static const char *const names[] = { "huge-set", "huge-set-slow" };

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        const SimScenario *scenario = sim_scenario_find(names[i]);
        SimSpec spec = sim_scenario_spec(scenario);
        SimResult r = run(scenario, sim_log_find("manual")->log, "predictive");

        g_assert_cmpfloat(r.total_s, <=, 0.8 * sim_floor(&spec).total_s);
    }
}

/* What rewrites never sleeps. */
static void check_readers(const char *name, unsigned pages,
                          double downtime_limit_ms)
{
    SimScenario scenario = *sim_scenario_find(name);
    SimSetSpec *rewritten = &scenario.guest.sets[1];
    unsigned n_vcpus = scenario.guest.n_vcpus;
    double before = rewritten->bytes, most_s = 0;
    double link_bytes_per_s = scenario.link.cap_bytes_per_s > 0 ?
                              scenario.link.cap_bytes_per_s :
                              scenario.link.rate_bytes_per_s;
    SimSpec spec;
    SimMigration m;

    rewritten->bytes = pages * SIM_PAGE_BYTES * n_vcpus;
    rewritten->rate_bytes_per_s *= rewritten->bytes / before;
    scenario.downtime_limit_ms = downtime_limit_ms;
    spec = sim_scenario_spec(&scenario);
    sim_migration_run(&m, &spec, "dirty-limit");
    for (unsigned v = 1; v < n_vcpus; v++) {
        most_s = MAX(most_s, m.guest.vcpu_lost_s[v] -
                             m.result.downtime_ms / 1000 - ROUNDING_S);
    }
    g_test_message("%s, %u pages, %.0f ms: %s after %.1f s, a reader slept "
                   "for %.3f s at most, the writer for %.1f s", name, pages,
                   downtime_limit_ms, m.result.completed ? "done" : "not done",
                   m.result.total_s, most_s, m.guest.vcpu_lost_s[0]);
    g_assert_true(m.result.limited);
    g_assert_cmpfloat(most_s, <=, 0);
    g_assert_cmpfloat(m.guest.vcpu_lost_s[0], >, 0);
    /* It ends where that leaves half of the downtime for what is written. */
    if (rewritten->bytes < link_bytes_per_s * downtime_limit_ms / 2000) {
        g_assert_true(m.result.completed);
    }
    g_assert_true(m.result.completed || m.result.stuck);
    sim_migration_free(&m);
}

static void test_readers_never_sleep(const void *opaque)
{
    static const unsigned pages[] = { 30, 50, 100, 200 };
    const char *name = opaque;

    for (unsigned i = 0; i < G_N_ELEMENTS(pages); i++) {
        check_readers(name, pages[i], 100);
        check_readers(name, pages[i], 200);
    }
    if (g_str_has_suffix(name, "-slow")) {
        /* Enough for 128 times 30 pages over 16 MB/s. */
        check_readers(name, 30, 2500);
    }
}

static void add(const char *what, const SimScenario *scenario,
                void (*test)(const void *))
{
    g_autofree char *path = g_strdup_printf("/sim/log/%s/%s", what,
                                            scenario->name);

    g_test_add_data_func(path, scenario, test);
}

int main(int argc, char **argv)
{
    static const bool manual = true, exact;

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sim/log/initial", test_initial_bits_are_no_writes);
    g_test_add_func("/sim/log/chunk",
                    test_a_chunk_is_seen_from_its_first_page_sent_on);
    g_test_add_func("/sim/log/cleared", test_cleared_by_hand_all_is_seen);
    g_test_add_data_func("/sim/log/by-chance/exact", &exact,
                         test_counts_hold_by_chance);
    g_test_add_data_func("/sim/log/by-chance/manual", &manual,
                         test_counts_hold_by_chance);
    for (unsigned i = 0; i < sim_n_scenarios; i++) {
        const SimScenario *scenario = &sim_scenarios[i];

        /* Those made for a log of their own are not for others. */
        if (!scenario->log.by_page && !scenario->log.manual) {
            add("pages", scenario, test_pages_agree_with_sets);
            add("manual", scenario,
                test_manual_log_is_as_good_as_an_exact_one);
        }
    }
    g_test_add_func("/sim/log/naive",
                    test_counting_reports_throttles_the_slow_writer);
    g_test_add_func("/sim/log/slow-writer",
                    test_slow_writer_is_let_be_and_told_as_it_is);
    g_test_add_func("/sim/log/early",
                    test_early_cut_is_found_with_a_lower_bound);
    g_test_add_data_func("/sim/log/readers/2-slow", "readers-2-slow",
                         test_readers_never_sleep);
    g_test_add_data_func("/sim/log/readers/2-10gbit", "readers-2-10gbit",
                         test_readers_never_sleep);
    g_test_add_data_func("/sim/log/readers/128-slow", "readers-128-slow",
                         test_readers_never_sleep);
    g_test_add_data_func("/sim/log/readers/128-10gbit", "readers-128-10gbit",
                         test_readers_never_sleep);
    return g_test_run();
}
