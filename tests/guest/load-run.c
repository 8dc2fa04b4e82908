/*
 * The loads at work
 *
 * A worker's loop is: look at the clock, do a bit of work, publish.  The looks
 * are what measures the guest's silence: the longest time between two of them
 * is how long the vCPU did not run (the host slept it) or ran something else.
 * Time asleep by plan is no silence, but waking late is.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "console.h"
#include "load-run.h"

/* Work between two looks at the clock: 20 to 50 us under TCG, less on KVM. */
#define LOOK_COMPUTE_UNITS 10
#define LOOK_READ_PAGES 16
#define LOOK_SYSCALL_UNITS 4
/*
 * Fewer, since a host that limits dirtying may put a sleep before each page:
 * the gap should show one such sleep and not the sum of many.
 */
#define LOOK_WRITE_PAGES 16

/* A paced writer wakes this often; what it owes is written in one go. */
#define SLICE_NS (5 * 1000 * 1000ULL)
/* After a stop it catches up on no more than this; the rest is forgotten. */
#define MAX_CATCH_UP_NS (100 * 1000 * 1000ULL)

/* Room left for the kernel, in MiB, beside the loads' memory. */
#define SPARE_MIB 16

/* A host that loses pages loses thousands; the count tells of the others. */
#define MAX_CORRUPT_LINES 16

#define WORDS_PER_PAGE (GUEST_PAGE_BYTES / sizeof(uint64_t))

/* First words of a page under "verify"; the rest of it is filler. */
typedef struct Stamp {
    uint64_t page;
    uint64_t generation;
    uint64_t sum;
} Stamp;

typedef struct Worker {
    /* Published, in a cache line of its own. */
    _Alignas(64) _Atomic uint64_t units;
    _Atomic uint64_t gap_ns;

    /* The thread's own. */
    _Alignas(64) Load load;
    unsigned vcpu;
    volatile uint64_t *memory;
    uint64_t last_look_ns;
    uint64_t cursor;            /* next page in a walk */
    uint64_t generation;        /* of the walk; what is written */
    uint64_t random;
    int pipe_fd[2];
} Worker;

/* What a paced writer may write: earned since from_ns at pages_per_s. */
typedef struct Pace {
    uint64_t pages_per_s;
    uint64_t from_ns;
} Pace;

static Worker workers[GUEST_MAX_VCPUS];
static _Atomic uint64_t bad_pages;
static sem_t filled;
static pthread_barrier_t go;
static bool populate_memory;

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static uint64_t look(Worker *w)
{
    uint64_t now = now_ns();
    uint64_t gap = now > w->last_look_ns ? now - w->last_look_ns : 0;
    uint64_t seen = atomic_load_explicit(&w->gap_ns, memory_order_relaxed);

    /* The reporter may take the old one meanwhile; then try again. */
    while (gap > seen &&
           !atomic_compare_exchange_weak(&w->gap_ns, &seen, gap)) {
    }
    w->last_look_ns = now;
    return now;
}

static void did(Worker *w, uint64_t units)
{
    /* The only writer: no need for a locked add. */
    atomic_store_explicit(&w->units,
        atomic_load_explicit(&w->units, memory_order_relaxed) + units,
        memory_order_relaxed);
}

static void nap_until(Worker *w, uint64_t until_ns)
{
    struct timespec ts = {
        .tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000,
    };

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL)) {
    }
    if (w->last_look_ns < until_ns) {
        w->last_look_ns = until_ns;
    }
    look(w);
}

static uint64_t pace_due_pages(Pace *pace, uint64_t now)
{
    uint64_t pages;

    if (now - pace->from_ns > MAX_CATCH_UP_NS) {
        pace->from_ns = now - MAX_CATCH_UP_NS;
    }
    pages = (now - pace->from_ns) * pace->pages_per_s / 1000000000;
    /* Keeps the part of a page that is earned and not yet written. */
    pace->from_ns += pages * 1000000000 / pace->pages_per_s;
    return pages;
}

static uint64_t next_random(Worker *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

/* Even over 0 to @below - 1, which fits in 32 bits. */
static uint64_t random_below(Worker *w, uint64_t below)
{
    return (next_random(w) >> 32) * below >> 32;
}

static volatile uint64_t *page_at(Worker *w, uint64_t page)
{
    return w->memory + page * WORDS_PER_PAGE;
}

static uint64_t next_in_walk(Worker *w, uint64_t pages)
{
    uint64_t page = w->cursor < pages ? w->cursor : 0;

    if (!page) {
        w->generation++;
    }
    w->cursor = page + 1;
    return page;
}

static uint64_t stamp_sum(uint64_t page, uint64_t generation)
{
    uint64_t sum = (page + 1) * 0x9e3779b97f4a7c15 ^ generation;

    sum = (sum ^ sum >> 31) * 0xbf58476d1ce4e5b9;
    return sum ^ sum >> 29;
}

static void write_stamp(Worker *w, uint64_t page, uint64_t generation)
{
    volatile Stamp *stamp = (volatile Stamp *)page_at(w, page);

    stamp->page = page;
    stamp->generation = generation;
    stamp->sum = stamp_sum(page, generation);
}

/*
 * The generation expected is the worker's own, not the page's: a page that
 * fell back to an older state is as consistent in itself as a good one.
 */
static void check_stamp(Worker *w, uint64_t page, uint64_t want)
{
    volatile Stamp *stamp = (volatile Stamp *)page_at(w, page);
    uint64_t got_page = stamp->page, got = stamp->generation;
    uint64_t got_sum = stamp->sum;

    if (got_page == page && got == want &&
        got_sum == stamp_sum(page, want)) {
        return;
    }
    if (atomic_fetch_add(&bad_pages, 1) < MAX_CORRUPT_LINES) {
        console_say(true, "corrupt page=%llu want=%llu got=%llu "
                    "got_page=%llu sum_ok=%d vcpu=%u t_ms=%llu",
                    (unsigned long long)page, (unsigned long long)want,
                    (unsigned long long)got, (unsigned long long)got_page,
                    got_sum == stamp_sum(got_page, got), w->vcpu,
                    (unsigned long long)now_ns() / 1000000);
    }
}

/* Each word changes, so that no compression finds an old one. */
static void write_page(Worker *w, uint64_t page)
{
    volatile uint64_t *at = page_at(w, page);

    for (unsigned i = 0; i < WORDS_PER_PAGE; i++) {
        at[i] += w->generation + 1;
    }
}

static void write_pages(Worker *w, uint64_t pages, unsigned count)
{
    const Load *load = &w->load;
    uint64_t hot_pages = pages * load->hot_pct / 100;
    uint64_t page;

    for (unsigned i = 0; i < count; i++) {
        switch (load->work) {
        case LOAD_VERIFY:
            page = next_in_walk(w, pages);
            check_stamp(w, page, w->generation - 1);
            write_stamp(w, page, w->generation);
            continue;
        case LOAD_TOUCH:
            *page_at(w, next_in_walk(w, pages)) += 1;
            continue;
        case LOAD_RAND:
            page = random_below(w, pages);
            break;
        case LOAD_HOT:
            page = random_below(w, 100) < load->share_pct ?
                random_below(w, hot_pages) :
                hot_pages + random_below(w, pages - hot_pages);
            break;
        default:
            page = next_in_walk(w, pages);
            break;
        }
        write_page(w, page);
    }
}

static void run_phase(Worker *w, const LoadPhase *phase, uint64_t end_ns)
{
    Pace pace = {
        .pages_per_s = phase->pages_per_s, .from_ns = w->last_look_ns,
    };

    while (w->last_look_ns < end_ns) {
        uint64_t now = w->last_look_ns;
        uint64_t due = pace.pages_per_s ? pace_due_pages(&pace, now)
                                        : LOOK_WRITE_PAGES;

        while (due) {
            unsigned count = due < LOOK_WRITE_PAGES ? due : LOOK_WRITE_PAGES;

            write_pages(w, phase->pages, count);
            did(w, count);
            due -= count;
            look(w);
        }
        if (pace.pages_per_s) {
            nap_until(w, now + SLICE_NS);
        }
    }
}

static void run_writer(Worker *w)
{
    for (unsigned i = 0; ; i = (i + 1) % w->load.nr_phases) {
        const LoadPhase *phase = &w->load.phase[i];
        uint64_t end_ns = phase->for_ms ?
            w->last_look_ns + phase->for_ms * 1000000 : UINT64_MAX;

        if (phase->pages) {
            run_phase(w, phase, end_ns);
        } else {
            nap_until(w, end_ns);
        }
    }
}

static void run_reader(Worker *w)
{
    for (;;) {
        for (int i = 0; i < LOOK_READ_PAGES; i++) {
            volatile uint64_t *at = page_at(w, next_in_walk(w, w->load.pages));

            /* A word of each cache line. */
            for (unsigned j = 0; j < WORDS_PER_PAGE; j += 8) {
                (void)at[j];
            }
        }
        did(w, LOOK_READ_PAGES);
        look(w);
    }
}

static void run_compute(Worker *w)
{
    for (;;) {
        for (int i = 0; i < LOOK_COMPUTE_UNITS * 1000; i++) {
            next_random(w);
            /* Or the compiler would skip ahead. */
            __asm__ volatile("" : "+m"(w->random));
        }
        did(w, LOOK_COMPUTE_UNITS);
        look(w);
    }
}

/* A unit is three entries into the kernel. */
static void run_syscall(Worker *w)
{
    char byte = 1;

    for (;;) {
        for (int i = 0; i < LOOK_SYSCALL_UNITS; i++) {
            getppid();
            if (write(w->pipe_fd[1], &byte, 1) != 1 ||
                read(w->pipe_fd[0], &byte, 1) != 1) {
                console_say(true, "error syscall load: its pipe broke");
                pause();
            }
        }
        did(w, LOOK_SYSCALL_UNITS);
        look(w);
    }
}

/*
 * All of each page, with data that does not compress: what a migration sends
 * should cost what real memory costs.
 */
static void fill_memory(Worker *w)
{
    for (uint64_t page = 0; page < w->load.pages; page++) {
        volatile uint64_t *at = page_at(w, page);

        for (unsigned i = 0; i < WORDS_PER_PAGE; i++) {
            at[i] = next_random(w);
        }
        if (w->load.work == LOAD_VERIFY) {
            write_stamp(w, page, w->generation);
        }
    }
}

static void *worker_main(void *opaque)
{
    Worker *w = opaque;

    fill_memory(w);
    sem_post(&filled);
    pthread_barrier_wait(&go);
    w->last_look_ns = now_ns();

    switch (w->load.work) {
    case LOAD_IDLE:
        break;
    case LOAD_COMPUTE:
        run_compute(w);
        break;
    case LOAD_SYSCALL:
        run_syscall(w);
        break;
    case LOAD_READ:
        run_reader(w);
        break;
    default:
        run_writer(w);
        break;
    }
    return NULL;
}

static bool start_worker(Worker *w)
{
    pthread_attr_t attr;
    pthread_t thread;
    cpu_set_t only;
    void *memory;

    if (w->load.pages) {
        memory = mmap(NULL, w->load.pages * GUEST_PAGE_BYTES,
                      PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS |
                      (populate_memory ? MAP_POPULATE : 0), -1, 0);
        if (memory == MAP_FAILED) {
            return false;
        }
        w->memory = memory;
    }
    if (w->load.work == LOAD_SYSCALL && pipe(w->pipe_fd)) {
        return false;
    }
    CPU_ZERO(&only);
    CPU_SET(w->vcpu, &only);
    pthread_attr_init(&attr);
    return !pthread_attr_setaffinity_np(&attr, sizeof(only), &only) &&
           !pthread_create(&thread, &attr, worker_main, w);
}

static bool enough_memory(const Load *loads, unsigned count,
                          char *error, unsigned error_bytes)
{
    uint64_t want_mib = 0, free_mib;
    struct sysinfo info;

    for (unsigned i = 0; i < count; i++) {
        want_mib += loads[i].pages * GUEST_PAGE_BYTES >> 20;
    }
    sysinfo(&info);
    free_mib = (uint64_t)info.freeram * info.mem_unit >> 20;
    if (want_mib + SPARE_MIB <= free_mib) {
        return true;
    }
    snprintf(error, error_bytes, "the loads want %llu MiB and the guest has "
             "%llu MiB free, %u of them its own: give it more with -m",
             (unsigned long long)want_mib, (unsigned long long)free_mib,
             SPARE_MIB);
    return false;
}

bool load_run_prepare(const Load *loads, unsigned count, bool populate,
                      char *error, unsigned error_bytes)
{
    if (!enough_memory(loads, count, error, error_bytes)) {
        return false;
    }
    populate_memory = populate;
    sem_init(&filled, 0, 0);
    pthread_barrier_init(&go, NULL, count + 1);
    for (unsigned i = 0; i < count; i++) {
        Worker *w = &workers[i];

        w->load = loads[i];
        w->vcpu = i;
        w->random = 0x2545f4914f6cdd1d + i;
        if (!start_worker(w)) {
            snprintf(error, error_bytes, "item %u: cannot start its thread", i);
            return false;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        sem_wait(&filled);
    }
    return true;
}

void load_run_go(void)
{
    pthread_barrier_wait(&go);
}

LoadStats load_run_stats(unsigned vcpu)
{
    Worker *w = &workers[vcpu];

    return (LoadStats) {
        .units = atomic_load(&w->units),
        .gap_us = atomic_exchange(&w->gap_ns, 0) / 1000,
    };
}

uint64_t load_run_bad_pages(void)
{
    return atomic_load(&bad_pages);
}
