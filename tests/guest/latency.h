/*
 * How late things happen in the guest: histograms since boot
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GUEST_LATENCY_H
#define GUEST_LATENCY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One for each of the first vCPUs that has a clock, one for a program */
#define LATENCY_VCPUS 4
#define LATENCY_PROGRAM LATENCY_VCPUS
#define LATENCY_HISTOGRAMS (LATENCY_VCPUS + 1)

/*
 * What was due at @due_ns, and each @period_ns later up to now, happened at
 * @now_ns.  Whoever is held up for 400 ms misses a hundred turns of 4 ms, not
 * one: all of them count.  Returns when it is due next.  One caller for each
 * histogram.
 */
uint64_t latency_add(unsigned histogram, uint64_t due_ns, uint64_t period_ns,
                     uint64_t now_ns);

/* "2:17+9:1/-/..." (bucket:count, "-" if empty), "" if all are empty */
void latency_print(char *text, size_t bytes);

/* Starts a thread on each of the first vCPUs that wakes each 4 ms */
bool latency_start_clocks(unsigned nr_vcpus);

#endif
