/*
 * Simulator: the link, and the numbers that chance is made of
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SIM_LINK_H
#define SIM_LINK_H

#include <stdint.h>

/* Gb/s as network people say it. */
#define GBIT_PER_S 125e6
#define MB_PER_S   1e6

typedef struct SimLinkSpec {
    double rate_bytes_per_s;        /* of the wire */
    double cap_bytes_per_s;         /* max-bandwidth; 0: none */
    double jitter;                  /* 0.3: +-30 % each 100 ms */
    /* Between the two it carries only that part. */
    double drop_from_s, drop_until_s, drop_to;
    /* What the sender's kernel takes before it blocks; 0: nothing */
    double queue_bytes;
    double devices_bytes;           /* that are sent after the last page */
} SimLinkSpec;

typedef struct SimLink {
    const SimLinkSpec *spec;
    uint64_t random;
} SimLink;

void sim_link_init(SimLink *link, const SimLinkSpec *spec, uint64_t seed);

/* What the wire carries in the 100 ms from @now_s on, without the cap. */
double sim_link_rate(SimLink *link, double now_s);

/* Evenly distributed over [0, 1); fixed seeds make each run the same. */
double sim_random(uint64_t *state);

#endif /* SIM_LINK_H */
