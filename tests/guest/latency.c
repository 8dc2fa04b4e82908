/*
 * How late things happen in the guest: histograms since boot
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <pthread.h>
#include <sched.h>

#include "latency-buckets.h"
#include "latency.h"
#include "load-worker.h"

/*
 * As often as the guest's own tick at 250 Hz.  At 1 ms the clocks took half
 * of the time that a vCPU has left at 99 % throttle.
 */
#define CLOCK_PERIOD_NS (4 * 1000 * 1000ULL)

/* Longer waits are counted as if they had begun so long ago */
#define MAX_LATE_NS (10 * 1000 * 1000 * 1000ULL)

static _Atomic uint32_t counts[LATENCY_HISTOGRAMS][LATENCY_BUCKETS];

uint64_t latency_add(unsigned histogram, uint64_t due_ns, uint64_t period_ns,
                     uint64_t now)
{
    if (now > due_ns + MAX_LATE_NS) {
        due_ns = now - MAX_LATE_NS;
    }
    for (; due_ns <= now; due_ns += period_ns) {
        atomic_fetch_add_explicit(
            &counts[histogram][latency_bucket(now - due_ns)], 1,
            memory_order_relaxed);
    }
    return due_ns;
}

/* Not printf, which costs more than all else here, ten times a second */
static char *print_number(char *at, unsigned number, char end)
{
    char digits[10];
    int len = 0;

    do {
        digits[len++] = '0' + number % 10;
        number /= 10;
    } while (number);
    while (len) {
        *at++ = digits[--len];
    }
    *at++ = end;
    return at;
}

/* Returns the end; each count is at most 14 bytes long */
static char *print_one(unsigned histogram, char *text, const char *limit)
{
    char *at = text;

    for (unsigned i = 0; i < LATENCY_BUCKETS && limit - at > 14; i++) {
        unsigned count = atomic_load_explicit(&counts[histogram][i],
                                              memory_order_relaxed);

        if (count) {
            at = print_number(at, i, ':');
            at = print_number(at, count, '+');
        }
    }
    if (at == text) {
        *at++ = '-';
        return at;
    }
    return at - 1;              /* the last '+' */
}

void latency_print(char *text, size_t bytes)
{
    char *at = text, *limit = text + bytes;
    bool any = false;

    for (unsigned h = 0; h < LATENCY_HISTOGRAMS; h++) {
        if (limit - at < 20) {
            at = text;
            break;
        }
        at = print_one(h, at, limit);
        any |= at[-1] != '-';
        *at++ = '/';
    }
    /* In place of the last '/' */
    text[any && at > text ? at - 1 - text : 0] = '\0';
}

static void *clock_main(void *opaque)
{
    unsigned vcpu = (unsigned)(uintptr_t)opaque;
    uint64_t due_ns = now_ns();

    for (;;) {
        due_ns = latency_add(vcpu, due_ns, CLOCK_PERIOD_NS, now_ns());
        sleep_until(due_ns);
    }
    return NULL;
}

/*
 * Above the loads and the reporters: what is to be seen is how the host lets
 * the vCPU run, not how the guest's scheduler shares it.
 */
bool latency_start_clocks(unsigned nr_vcpus)
{
    for (unsigned i = 0; i < nr_vcpus && i < LATENCY_VCPUS; i++) {
        if (!load_start_thread(clock_main, (void *)(uintptr_t)i, i, 2)) {
            return false;
        }
    }
    return true;
}
