/*
 * The loads that a guest is asked for, as its kernel command line names them
 *
 * "load=write:256:100,compute" is a list of items, item i for vCPU i.  The
 * parser knows no clock, no memory and no thread; load-run.c does the work.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GUEST_LOAD_SPEC_H
#define GUEST_LOAD_SPEC_H

#include <stddef.h>
#include <stdint.h>

#define GUEST_PAGE_BYTES 4096
#define GUEST_MAX_VCPUS 64

typedef enum LoadWork {
    LOAD_IDLE,
    LOAD_COMPUTE,
    LOAD_SYSCALL,
    LOAD_UNMAP,
    LOAD_MEMBARRIER,
    LOAD_READ,
    /* These write. */
    LOAD_WRITE,
    LOAD_TOUCH,
    LOAD_RAND,
    LOAD_HOT,
    LOAD_VERIFY,
    LOAD_STRADDLE,
    LOAD_READ_DISK,             /* devices write what it asks for */
    /* Programs of Debian's packages, all below. */
    LOAD_PROGRAM,
    LOAD_REDIS,
    LOAD_REDIS_LOAD,
    LOAD_SQLITE,
    LOAD_COMPILE,
    LOAD_STRESS,
} LoadWork;

/* A writer goes round its phases; one phase without an end is the usual. */
typedef struct LoadPhase {
    uint64_t pages;             /* 0: rest */
    uint64_t pages_per_s;       /* 0: flat out */
    uint64_t for_ms;            /* 0: for ever */
} LoadPhase;

typedef struct Load {
    LoadWork work;
    uint64_t pages;             /* the largest phase's: what to map */
    LoadPhase phase[2];
    unsigned nr_phases;
    unsigned hot_pct;           /* LOAD_HOT: so many of the pages ... */
    unsigned share_pct;         /* ... get so many of the writes */
    uint64_t amount;            /* programs: MB of data, or files */
} Load;

/*
 * Parse a comma separated list into @loads, which has room for @max.  Returns
 * the number of items, or -1 with a sentence in @error that names the item,
 * the value and what would be accepted.
 */
int load_spec_parse(const char *spec, Load *loads, unsigned max,
                    char *error, size_t error_bytes);

#endif
