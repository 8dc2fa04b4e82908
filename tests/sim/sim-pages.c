/*
 * Simulator: a guest page by page
 *
 * Each page has a place, an owner (a working set) and its bits in a dirty log
 * (sim-log.h); the sender's cursor goes round as QEMU's does.  A vCPU with a
 * limit is charged for each page that it newly dirties, by the very token
 * bucket that QEMU has, and sleeps when that says so.
 *
 * A guest of more than 640 MiB has fewer, larger pages instead.  Rates and
 * sizes keep their ratio, and that is all that matters to when it ends; not to
 * limits, though: what a bucket can save up is no ratio.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "sysemu/dirtylimit-bucket.h"
#include "sim-link.h"
#include "sim-log.h"

#define MAX_PAGES (640 * 256)
#define LARGE_PAGES 65536
/* Sending and running take turns: QEMU's threads do both at a time. */
#define TURN_S 0.005
/* A set's lumps are that long. */
#define LUMP_S 0.05
/* Buckets take a zero for long ago. */
#define CLOCK_NS(s) (INT64_C(1000000000000) + (int64_t)((s) * 1e9))

typedef struct PageSet {
    unsigned *pages, n_pages;
    double grows;                   /* pages that it has yet to grow by */
    double lump, lump_until_s;      /* its rate varies by that factor now */
    /* Of each writer; devices are the first. */
    struct {
        double due;                 /* pages to write by now */
        /* In order: pages so far; and since the log was last cleared. */
        uint64_t next;
        unsigned in_a_row, clears;
    } writers[SIM_MAX_VCPUS];
} PageSet;

typedef struct SimVcpu {
    DirtyBucket bucket;
    uint64_t limit_bytes_per_s;
    /* It sleeps between the two; so far as this is accounted for. */
    double stops_s, resumes_s, accounted_s;
} SimVcpu;

typedef struct SimPages {
    double page_bytes;
    SimDirtyLog log;
    PageSet sets[SIM_MAX_SETS];
    unsigned *idle, n_idle;
    bool *taken, *zero;
    SimVcpu vcpus[SIM_MAX_VCPUS];
    unsigned cursor, unsent_empty;
    bool bulk_pass;
    double wire_credit_bytes;
    uint64_t random;
} SimPages;

static unsigned below(SimPages *p, unsigned n)
{
    return MIN(sim_random(&p->random) * n, n - 1);
}

/* Evenly spread over what is free of the pages from @begin to @end. */
static unsigned *take_pages(SimPages *p, unsigned begin, unsigned end,
                            unsigned n)
{
    g_autofree unsigned *found = g_new(unsigned, end - begin + 1);
    /* Any set may grow to all of RAM. */
    unsigned *pages = g_new(unsigned, p->log.n_pages);
    unsigned n_found = 0;

    for (unsigned i = begin; i < end; i++) {
        if (!p->taken[i]) {
            found[n_found++] = i;
        }
    }
    assert(n <= n_found);
    for (unsigned i = 0; i < n; i++) {
        pages[i] = found[(uint64_t)i * n_found / n];
        p->taken[pages[i]] = true;
    }
    return pages;
}

static void place_set(SimPages *p, const SimSetSpec *spec, PageSet *set)
{
    unsigned all = p->log.n_pages;
    double end = spec->end > 0 ? spec->end : 1;

    set->n_pages = spec->bytes / p->page_bytes + 0.5;
    set->pages = take_pages(p, spec->begin * all, end * all, set->n_pages);
}

static void place_idle(SimPages *p, double zero_bytes)
{
    unsigned all = p->log.n_pages;
    g_autofree unsigned *zero = NULL;

    p->unsent_empty = zero_bytes / p->page_bytes;
    zero = take_pages(p, 0, all, p->unsent_empty);
    for (unsigned i = 0; i < p->unsent_empty; i++) {
        p->zero[zero[i]] = true;
    }
    for (unsigned i = 0; i < all; i++) {
        p->n_idle += !p->taken[i];
    }
    p->idle = take_pages(p, 0, all, p->n_idle);
    /* Sets that grow do so all over RAM. */
    for (unsigned i = p->n_idle; i > 1; i--) {
        unsigned other = below(p, i), page = p->idle[other];

        p->idle[other] = p->idle[i - 1];
        p->idle[i - 1] = page;
    }
}

static void *pages_create(SimGuest *guest)
{
    const SimGuestSpec *spec = guest->spec;
    SimPages *p = g_new0(SimPages, 1);
    double n = spec->ram_bytes / SIM_PAGE_BYTES;
    unsigned n_pages = n > MAX_PAGES ? LARGE_PAGES : n;

    p->page_bytes = spec->ram_bytes / n_pages;
    p->random = 0x5eed;
    p->bulk_pass = true;
    p->taken = g_new0(bool, n_pages);
    p->zero = g_new0(bool, n_pages);
    sim_log_init(&p->log, &guest->log, n_pages, p->page_bytes);
    /* Those with a place of their own choose first. */
    for (unsigned i = 0; i < SIM_MAX_SETS * 2; i++) {
        const SimSetSpec *set = &spec->sets[i % SIM_MAX_SETS];

        if ((set->end > 0) == (i < SIM_MAX_SETS)) {
            place_set(p, set, &p->sets[i % SIM_MAX_SETS]);
        }
    }
    place_idle(p, spec->zero_bytes);
    return p;
}

static void pages_destroy(SimGuest *guest)
{
    SimPages *p = guest->model;

    for (unsigned i = 0; i < SIM_MAX_SETS; i++) {
        g_free(p->sets[i].pages);
    }
    g_free(p->idle);
    g_free(p->taken);
    g_free(p->zero);
    sim_log_free(&p->log);
}

/* --- Writing --- */

/* The part of a set that is one writer's: where it begins. */
static unsigned part_begin(const SimSetSpec *spec, const PageSet *set,
                           unsigned writer)
{
    return (uint64_t)set->n_pages * writer / MAX(spec->n_vcpus, 1);
}

static unsigned part_pages(const SimSetSpec *spec, const PageSet *set,
                           unsigned writer)
{
    return part_begin(spec, set, writer + 1) - part_begin(spec, set, writer);
}

static unsigned pick_page(SimPages *p, const SimSetSpec *spec, PageSet *set,
                          unsigned writer)
{
    unsigned n = part_pages(spec, set, writer);
    uint64_t next;

    if (!spec->in_order || !n) {
        return set->pages[below(p, set->n_pages)];
    }
    set->writers[writer].in_a_row++;
    next = set->writers[writer].next++;
    return set->pages[part_begin(spec, set, writer) + next % n];
}

/*
 * Once round all that it writes to, a writer in order changes no bit any more,
 * until some are cleared: it just goes on.
 */
static bool goes_round(const SimPages *p, const SimSetSpec *spec,
                       PageSet *set, unsigned writer, unsigned n)
{
    if (set->writers[writer].clears != p->log.clears) {
        set->writers[writer].clears = p->log.clears;
        set->writers[writer].in_a_row = 0;
    }
    if (!spec->in_order || set->writers[writer].in_a_row <
                           part_pages(spec, set, writer)) {
        return false;
    }
    set->writers[writer].next += n;
    return true;
}

/* Returns: how long the vCPU has to sleep for it. */
static double charge(SimPages *p, SimVcpu *vcpu, double at_s)
{
    int64_t now_ns = CLOCK_NS(at_s);

    if (!vcpu->limit_bytes_per_s ||
        !dirty_bucket_charge(&vcpu->bucket, vcpu->limit_bytes_per_s,
                             p->page_bytes, now_ns)) {
        return 0;
    }
    return dirty_bucket_owed_ns(&vcpu->bucket, vcpu->limit_bytes_per_s,
                                now_ns) / 1e9;
}

static void pages_charge_late(SimGuest *guest, unsigned v, double now_s,
                              uint64_t bytes)
{
    SimVcpu *vcpu = &((SimPages *)guest->model)->vcpus[v];

    /* It sleeps for that from its next turn on. */
    if (vcpu->limit_bytes_per_s) {
        dirty_bucket_charge(&vcpu->bucket, vcpu->limit_bytes_per_s, bytes,
                            CLOCK_NS(now_s));
    }
}

static void sleep_for(SimGuest *guest, unsigned v, double at_s, double s,
                      double end_s)
{
    SimVcpu *vcpu = &((SimPages *)guest->model)->vcpus[v];
    double from_s = MAX(at_s, vcpu->accounted_s);
    double until_s = MIN(at_s + s, end_s);

    vcpu->stops_s = at_s;
    vcpu->resumes_s = at_s + s;
    if (until_s > from_s) {
        guest->vcpu_lost_s[v] += until_s - from_s;
        guest->vcpu_ran_s[v] -= until_s - from_s;
        vcpu->accounted_s = until_s;
    }
}

static void vcpu_writes(SimGuest *guest, unsigned v, unsigned page,
                        double at_s, double end_s)
{
    SimPages *p = guest->model;
    SimWrite write = sim_log_write(&p->log, page);
    double sleep_s = 0;

    if (write == SIM_WRITE_UNSEEN) {
        return;
    }
    guest->faults++;
    guest->vcpu_touched_bytes[v] += p->page_bytes;
    if (write == SIM_WRITE_NEW) {
        guest->vcpu_new_bytes[v] += p->page_bytes;
        sleep_s = charge(p, &p->vcpus[v], at_s);
    }
    if (sleep_s > 0) {
        sleep_for(guest, v, at_s, sleep_s, end_s);
    }
}

/* A turn of one writer; those of devices are no vCPU's. */
static void run_writer(SimGuest *guest, unsigned i, unsigned writer,
                       double rate_bytes_per_s, double now_s, double dt_s)
{
    const SimSetSpec *spec = &guest->spec->sets[i];
    SimPages *p = guest->model;
    PageSet *set = &p->sets[i];
    unsigned v = sim_set_vcpu(guest->spec, spec, writer, now_s), n;

    set->writers[writer].due += rate_bytes_per_s * dt_s / p->page_bytes;
    n = set->writers[writer].due;
    set->writers[writer].due -= n;
    for (unsigned k = 0; k < n; k++) {
        double at_s = now_s + dt_s * (k + 0.5) / n;

        if (goes_round(p, spec, set, writer, n - k)) {
            break;
        } else if (!spec->n_vcpus) {
            sim_log_write(&p->log, pick_page(p, spec, set, writer));
        } else if (at_s >= p->vcpus[v].stops_s &&
                   at_s < p->vcpus[v].resumes_s) {
            continue;
        } else if (spec->dma) {
            sim_log_write(&p->log, pick_page(p, spec, set, writer));
        } else {
            vcpu_writes(guest, v, pick_page(p, spec, set, writer), at_s,
                        now_s + dt_s);
        }
    }
}

static void grow(SimPages *p, const SimSetSpec *spec, PageSet *set,
                 double dt_s)
{
    set->grows += spec->growth_bytes_per_s * dt_s / p->page_bytes;
    for (; set->grows >= 1 && p->n_idle; set->grows--) {
        set->pages[set->n_pages++] = p->idle[--p->n_idle];
    }
}

static void run_set(SimGuest *guest, unsigned i, double now_s, double dt_s,
                    const SimSlowdown *slowdown)
{
    const SimSetSpec *spec = &guest->spec->sets[i];
    SimPages *p = guest->model;
    PageSet *set = &p->sets[i];
    unsigned n_writers = MAX(spec->n_vcpus, 1);

    if (now_s >= set->lump_until_s) {
        set->lump = 1 + spec->lumps * (2 * sim_random(&p->random) - 1);
        set->lump_until_s = now_s + MAX(spec->lump_s, LUMP_S);
    }
    grow(p, spec, set, dt_s);
    for (unsigned j = 0; j < n_writers && set->n_pages; j++) {
        double rate = sim_set_rate(guest->spec, spec, j, now_s, slowdown);

        run_writer(guest, i, j, rate * set->lump, now_s, dt_s);
    }
}

/* Its limit may be another one now, and it may sleep since an earlier turn. */
static void begin_turn(SimGuest *guest, unsigned v, double now_s, double dt_s,
                       uint64_t limit_bytes_per_s)
{
    SimPages *p = guest->model;
    SimVcpu *vcpu = &p->vcpus[v];
    int64_t now_ns = CLOCK_NS(now_s);
    double owed_s;

    if (limit_bytes_per_s != vcpu->limit_bytes_per_s) {
        dirty_bucket_relimit(&vcpu->bucket, vcpu->limit_bytes_per_s,
                             limit_bytes_per_s, now_ns);
        vcpu->limit_bytes_per_s = limit_bytes_per_s;
    }
    owed_s = dirty_bucket_owed_ns(&vcpu->bucket, limit_bytes_per_s,
                                  now_ns) / 1e9;
    sleep_for(guest, v, now_s, MAX(owed_s, 0), now_s + dt_s);
}

static void run_turn(SimGuest *guest, double now_s, double dt_s,
                     const SimSlowdown *slowdown)
{
    const uint64_t *limits = slowdown ? slowdown->limits_bytes_per_s : NULL;

    for (unsigned v = 0; v < guest->spec->n_vcpus; v++) {
        double share = sim_vcpu_share(slowdown, v);

        guest->vcpu_ran_s[v] += share * dt_s;
        guest->vcpu_lost_s[v] += (1 - share) * dt_s;
        begin_turn(guest, v, now_s, dt_s, limits ? limits[v] : 0);
    }
    for (unsigned i = 0; i < SIM_MAX_SETS; i++) {
        run_set(guest, i, now_s, dt_s, slowdown);
    }
}

static void pages_run(SimGuest *guest, double now_s, double dt_s,
                      const SimSlowdown *slowdown)
{
    for (double at_s = 0; at_s < dt_s; at_s += TURN_S) {
        run_turn(guest, now_s + at_s, MIN(TURN_S, dt_s - at_s), slowdown);
    }
}

/* --- Sending --- */

static SimSync pages_sync(SimGuest *guest)
{
    SimPages *p = guest->model;
    SimLogCount count = sim_log_sync(&p->log);

    return (SimSync) {
        .dirtied_bytes = count.dirtied * p->page_bytes,
        .touched_bytes = count.touched * p->page_bytes,
        .unseen_bytes = count.unseen * p->page_bytes,
        .written_bytes = count.written * p->page_bytes,
    };
}

static void pages_see_rewrites(SimGuest *guest)
{
    SimPages *p = guest->model;

    if (p->log.manual && !p->log.counts_reports) {
        sim_log_clear_all(&p->log);
    }
}

/* Returns: false at the end of RAM, from where on it begins anew. */
static bool find_page(SimPages *p)
{
    while (p->cursor < p->log.n_pages && !sim_log_waits(&p->log, p->cursor)) {
        p->cursor++;
    }
    if (p->cursor < p->log.n_pages) {
        return true;
    }
    p->cursor = 0;
    return false;
}

static double send_page(SimPages *p, SimDrain *drain)
{
    bool empty = p->bulk_pass && p->zero[p->cursor];
    double wire_bytes = p->page_bytes * (empty ? SIM_WIRE_PER_ZERO_BYTE :
                                         SIM_WIRE_PER_PAGE_BYTE);

    sim_log_send(&p->log, p->cursor++);
    p->unsent_empty -= empty;
    drain->page_bytes += p->page_bytes;
    drain->zero_bytes += empty ? p->page_bytes : 0;
    drain->wire_bytes += wire_bytes;
    return wire_bytes;
}

/* What a page was too large for is left for the next turn, and the reverse. */
static SimDrain pages_drain(SimGuest *guest, double wire_bytes,
                            double scan_bytes)
{
    SimPages *p = guest->model;
    SimDrain drain = { 0 };

    p->wire_credit_bytes += wire_bytes;
    while (p->wire_credit_bytes > 0 && drain.page_bytes < scan_bytes) {
        if (find_page(p)) {
            p->wire_credit_bytes -= send_page(p, &drain);
        } else if (p->bulk_pass) {
            /* A sync comes first. */
            p->bulk_pass = false;
            return drain;
        } else if (!p->log.waiting) {
            break;
        }
    }
    p->wire_credit_bytes = MIN(p->wire_credit_bytes, 0);
    return drain;
}

static bool pages_in_bulk_pass(const SimGuest *guest)
{
    const SimPages *p = guest->model;

    return p->bulk_pass;
}

static double pages_remaining_bytes(const SimGuest *guest)
{
    const SimPages *p = guest->model;

    return p->log.waiting * p->page_bytes;
}

static double pages_unsent_bytes(const SimGuest *guest)
{
    const SimPages *p = guest->model;

    return p->bulk_pass ? (p->log.n_pages - p->cursor) * p->page_bytes : 0;
}

static double pages_unsent_empty_bytes(const SimGuest *guest)
{
    const SimPages *p = guest->model;

    return p->unsent_empty * p->page_bytes;
}

const SimGuestOps sim_pages_ops = {
    .create = pages_create,
    .destroy = pages_destroy,
    .run = pages_run,
    .sync = pages_sync,
    .see_rewrites = pages_see_rewrites,
    .charge_late = pages_charge_late,
    .drain = pages_drain,
    .in_bulk_pass = pages_in_bulk_pass,
    .remaining_bytes = pages_remaining_bytes,
    .unsent_bytes = pages_unsent_bytes,
    .unsent_empty_bytes = pages_unsent_empty_bytes,
    .turn_s = TURN_S,
};
