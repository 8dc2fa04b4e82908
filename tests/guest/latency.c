/*
 * How late things happen in the guest: histograms since boot
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "latency-buckets.h"
#include "latency.h"
#include "load-worker.h"

/* As often as a guest's own 1000 Hz tick, and about what a frame or a
 * request notices */
#define CLOCK_PERIOD_NS (1000 * 1000ULL)

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

static size_t print_one(unsigned histogram, char *text, size_t bytes)
{
    size_t len = 0;

    for (unsigned i = 0; i < LATENCY_BUCKETS && len < bytes; i++) {
        unsigned count = atomic_load(&counts[histogram][i]);

        if (count) {
            len += snprintf(text + len, bytes - len, "%s%u:%u",
                            len ? "+" : "", i, count);
        }
    }
    return len ? len : (size_t)snprintf(text, bytes, "-");
}

void latency_print(char *text, size_t bytes)
{
    size_t len = 0;
    bool any = false;

    for (unsigned h = 0; h < LATENCY_HISTOGRAMS && len < bytes; h++) {
        if (h) {
            text[len++] = '/';
        }
        len += print_one(h, text + len, bytes - len);
        any |= text[len - 1] != '-';
    }
    if (!any || len >= bytes) {
        text[0] = '\0';
    }
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
