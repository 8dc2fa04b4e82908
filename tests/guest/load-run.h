/*
 * The loads at work: one pinned thread for each vCPU that has one
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GUEST_LOAD_RUN_H
#define GUEST_LOAD_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "load-spec.h"

/* What a worker did.  Written by its thread, read by the reporter. */
typedef struct LoadStats {
    uint64_t units;             /* since ready */
    uint64_t gap_us;            /* longest since the last load_run_stats() */
} LoadStats;

/*
 * Pin a thread to each vCPU i and let it do @loads[i].  Returns when all have
 * filled their memory; they then wait for load_run_go().  @populate maps all
 * memory in one call (MAP_POPULATE) before it is filled.
 */
bool load_run_prepare(const Load *loads, unsigned count, bool populate,
                      char *error, unsigned error_bytes);
void load_run_go(void);

/* A thread on @vcpu; @fifo_priority 0 is a plain one. */
bool load_start_thread(void *(*run)(void *), void *opaque, unsigned vcpu,
                       int fifo_priority);

/* Takes the gap: the next call starts from none. */
LoadStats load_run_stats(unsigned vcpu);

/* Pages found with something else than was last written there; all vCPUs. */
uint64_t load_run_bad_pages(void);

#endif
