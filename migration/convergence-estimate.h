/*
 * Convergence engine: which vCPU writes, where nothing counts pages
 *
 * Called by policies and by the engine, which is serialised.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONVERGENCE_ESTIMATE_H
#define MIGRATION_CONVERGENCE_ESTIMATE_H

#include "convergence-internal.h"

/* convergence-estimate-fit.c */

/**
 * convergence_estimate_is_idle: a vCPU that hardly runs, which writes nothing
 *
 * For as long as that is so, whether it is held or not.
 */
bool convergence_estimate_is_idle(const ConvergenceVcpu *vcpu);

/**
 * convergence_estimate_ran: whether it was there in that look to write, if it
 * does
 */
bool convergence_estimate_ran(const ConvergenceVcpu *vcpu, unsigned look);

/**
 * convergence_estimate_add_look: what was dirtied, and how long each vCPU ran
 *
 * The oldest of the looks is forgotten.
 */
void convergence_estimate_add_look(ConvergenceEstimate *estimate,
                                   const ConvergenceSample *sample);

/**
 * convergence_estimate_fit: what each vCPU writes at full speed, by the looks
 *
 * Sets rate_bytes_per_s of each, and most_bytes_per_s, which is that and its
 * standard deviation.  Source: ridge regression, as derived in that file.
 */
void convergence_estimate_fit(ConvergenceEstimate *estimate,
                              const ConvergenceSample *sample);

/* convergence-estimate.c */

/* How long some vCPUs are held for, to see whether the others write. */
#define CONVERGENCE_PROBE_NS (250 * NS_PER_MS)

/**
 * convergence_tells_vcpus_apart: whether single vCPUs are throttled
 *
 * False where nothing tells them apart, and once it was wrong twice in this
 * migration about who writes.
 */
bool convergence_tells_vcpus_apart(const ConvergenceEngine *engine,
                                   const ConvergenceSample *sample);

/**
 * convergence_estimate_works: whether that is told by an estimate
 *
 * False where something counts the pages of each, or run times are not known.
 */
bool convergence_estimate_works(const ConvergenceEngine *engine,
                                const ConvergenceSample *sample);

/**
 * convergence_estimate_learn: take a look into account
 *
 * Sets dirty_share of the vCPUs.
 */
void convergence_estimate_learn(ConvergenceEngine *engine,
                                const ConvergenceSample *sample);

/**
 * convergence_estimate_looks: how many looks probes may take
 */
unsigned convergence_estimate_looks(unsigned n_vcpus);

/**
 * convergence_estimate_wants_probe: whether a probe may tell more
 * @tail_s: how long the guest would be slowed for
 *
 * And costs less than it saves.
 */
bool convergence_estimate_wants_probe(const ConvergenceEngine *engine,
                                      const ConvergenceSample *sample,
                                      double tail_s);

/**
 * convergence_estimate_probe: choose who is held for the next look
 *
 * convergence_estimate_end_probe: nobody is, and a pair that was begun is void.
 */
void convergence_estimate_probe(ConvergenceEngine *engine,
                                const ConvergenceSample *sample);
void convergence_estimate_end_probe(ConvergenceEngine *engine,
                                    const ConvergenceSample *sample);

/**
 * convergence_estimate_doubts: whether those taken for readers seem to write
 * @bytes_per_s: that are dirtied while the others are slowed as far as can be
 */
bool convergence_estimate_doubts(const ConvergenceEngine *engine,
                                 double bytes_per_s);

/**
 * convergence_estimate_told_any: whether any vCPU is told to write next to
 * nothing
 */
bool convergence_estimate_told_any(const ConvergenceSample *sample);

/**
 * convergence_estimate_stop: slow all vCPUs alike for the rest of the migration
 */
void convergence_estimate_stop(ConvergenceEngine *engine);

/**
 * convergence_estimate_strike: those taken for readers were seen to write
 *
 * All that was learned is forgotten.
 */
void convergence_estimate_strike(ConvergenceEngine *engine,
                                 const ConvergenceSample *sample);

#endif /* MIGRATION_CONVERGENCE_ESTIMATE_H */
