/*
 * Simulator: the link, and the numbers that chance is made of
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "sim-link.h"

double sim_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (double)(*state * 2685821657736338717ULL >> 11) / (1ULL << 53);
}

void sim_link_init(SimLink *link, const SimLinkSpec *spec, uint64_t seed)
{
    *link = (SimLink) {
        .spec = spec,
        /* The generator stands still at zero. */
        .random = seed * 2654435761u + 88172645463325252ULL,
    };
}

double sim_link_rate(SimLink *link, double now_s)
{
    const SimLinkSpec *spec = link->spec;
    double noise = 2 * sim_random(&link->random) - 1;
    double rate = spec->rate_bytes_per_s * (1 + spec->jitter * noise);

    if (now_s >= spec->drop_from_s && now_s < spec->drop_until_s) {
        rate *= spec->drop_to;
    }
    return rate;
}
