/*
 * What the loads share: a worker, its clock and its account
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

#ifndef GUEST_LOAD_WORKER_H
#define GUEST_LOAD_WORKER_H

#include <stdatomic.h>
#include <time.h>

#include "load-run.h"

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

/* Of all workers; load-run.c has them. */
extern Worker load_workers[GUEST_MAX_VCPUS];

static inline uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static inline void sleep_until(uint64_t until_ns)
{
    struct timespec ts = {
        .tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000,
    };

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL)) {
    }
}

static inline uint64_t look(Worker *w)
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

static inline void did(Worker *w, uint64_t units)
{
    /* The only writer: no need for a locked add. */
    atomic_store_explicit(&w->units,
        atomic_load_explicit(&w->units, memory_order_relaxed) + units,
        memory_order_relaxed);
}

static inline void nap_until(Worker *w, uint64_t until_ns)
{
    sleep_until(until_ns);
    if (w->last_look_ns < until_ns) {
        w->last_look_ns = until_ns;
    }
    look(w);
}

static inline uint64_t next_random(Worker *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

/* Memory writers, load-write.c; never return. */
void load_fill_memory(Worker *w);
void load_run_writer(Worker *w);
void load_run_reader(Worker *w);

/* What a disk is read into, load-disk.c. */
bool load_open_disk(void);
void load_read_disk(Worker *w, uint64_t page, unsigned count);

/* Programs, load-program.c; those that run do not return. */
bool load_prepare_program(Worker *w);
void load_run_program(Worker *w);

#endif
