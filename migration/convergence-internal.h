/*
 * Convergence engine: what its files share among themselves
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONVERGENCE_INTERNAL_H
#define MIGRATION_CONVERGENCE_INTERNAL_H

#include "migration/convergence-engine.h"

#define NS_PER_S  1000000000LL
#define NS_PER_MS 1000000LL
#define BYTES_PER_MB 1000000.0

/* The policies, each in a file of its own. */
extern const ConvergencePolicyOps convergence_step;
extern const ConvergencePolicyOps convergence_predictive;
extern const ConvergencePolicyOps convergence_dirty_limit;

/**
 * convergence_rate: bytes per second, 0 for an empty or negative interval
 */
static inline double convergence_rate(uint64_t bytes, int64_t interval_ns)
{
    return interval_ns > 0 ? (double)bytes * NS_PER_S / interval_ns : 0;
}

static inline double convergence_clamp(double value, double min, double max)
{
    /* Written so that NaN becomes min. */
    return value > min ? (value < max ? value : max) : min;
}

/**
 * convergence_share_to_pct: the throttle that leaves so much of the run time
 */
static inline uint8_t convergence_share_to_pct(const ConvergenceParams *params,
                                               double share)
{
    return (uint8_t)convergence_clamp((1 - share) * 100 + 0.5, 0,
                                      params->max_throttle_pct);
}

/**
 * convergence_to_u64: a rate or an amount as an integer
 *
 * Saturates; what is below zero or not a number becomes 0.
 */
static inline uint64_t convergence_to_u64(double value)
{
    return (uint64_t)convergence_clamp(value, 0, 9.0e18);
}

/* convergence-model.c */

/**
 * convergence_model_update: learn from a valid sample
 * @probed: some vCPUs were held meanwhile: of what the guest dirties it tells
 *          nothing
 */
void convergence_model_update(ConvergenceModel *model,
                              const ConvergenceSample *sample, bool probed);

/* What is measured, and forecasts, rest on at least that many samples. */
#define CONVERGENCE_MIN_SAMPLES 2

/**
 * convergence_model_per_wire_byte: how many bytes of pages one on the wire is
 * worth
 */
double convergence_model_per_wire_byte(const ConvergenceModel *model);

/**
 * convergence_model_note_sync: a sync of the bitmap was busy for so long
 */
void convergence_model_note_sync(ConvergenceModel *model, int64_t busy_ns);

/*
 * New dirtying to aim at, as a share of the drain rate.  The head of
 * convergence-seek.c says why it is small.
 */
#define CONVERGENCE_RHO 0.20

/**
 * convergence_model_remaining_s: how long until what remains fits a threshold
 * @remaining_bytes: now
 * @threshold_bytes: at the switch-over
 * @dirty_bytes_per_s: different pages that the guest will go on to write
 * @all_new: all of them newly dirtied, since that is what is limited
 *
 * Returns seconds, or a negative value if that never happens.
 */
double convergence_model_remaining_s(const ConvergenceModel *model,
                                     double remaining_bytes,
                                     double threshold_bytes,
                                     double dirty_bytes_per_s, bool all_new);

/**
 * convergence_model_bulk_ends_s: how long until each page was sent once
 */
double convergence_model_bulk_ends_s(const ConvergenceModel *model,
                                     const ConvergenceSample *sample);

/**
 * convergence_model_dirty_at_bulk_end: what will be dirty when the bulk pass
 * ends, in bytes
 * @dirty_bytes_per_s: different pages that the guest will write until then, at
 *                     most; HUGE_VAL if it goes on as it is
 */
double convergence_model_dirty_at_bulk_end(const ConvergenceModel *model,
                                           const ConvergenceSample *sample,
                                           double dirty_bytes_per_s);

/**
 * convergence_model_is_early: whether slowing the guest now would cost it more
 * than to wait for the end of the bulk pass
 * @least_bytes_per_s: that the guest will dirty however much it is slowed
 */
bool convergence_model_is_early(const ConvergenceModel *model,
                                const ConvergenceSample *sample,
                                double least_bytes_per_s);

/**
 * convergence_model_let_be: the dirty rate, in bytes/s, up to which a guest
 * gets along without help
 */
double convergence_model_let_be(const ConvergenceModel *model,
                                const ConvergenceParams *params);

/**
 * convergence_model_needs_help: whether the guest outpaces the link for good
 * @threshold_bytes: at the switch-over
 * @downtime_limit_ms: that it was made from
 * @unsure: of the caller, zero at first: looks in a row that cannot tell
 */
bool convergence_model_needs_help(const ConvergenceModel *model,
                                  const ConvergenceParams *params,
                                  double threshold_bytes,
                                  uint64_t downtime_limit_ms,
                                  unsigned *unsure);

/**
 * convergence_model_expect_watched: how fast a guest will dirty memory after
 * the bulk pass that is not slowed so far
 * @target_bytes_per_s: what it will be slowed to if need be
 */
double convergence_model_expect_watched(const ConvergenceModel *model,
                                        const ConvergenceParams *params,
                                        double target_bytes_per_s);

/* convergence-target.c */

/**
 * convergence_target_tail_s: how long what follows the bulk pass may take
 *
 * As of the first look after it, or expected while it goes on.
 */
double convergence_target_tail_s(const ConvergenceEngine *engine,
                                 const ConvergenceSample *sample);

/**
 * convergence_target: the dirty rate under which the guest loses least after
 * the bulk pass
 * @full_bytes_per_s: different pages that it writes if it is not slowed
 * @may_take_s: how long that may take, from now or from the end of the bulk pass
 *
 * Returns: from CONVERGENCE_RHO of the drain rate, which is aimed at where there
 * is no time for more, to @full_bytes_per_s: the guest gets along without help.
 */
double convergence_target(const ConvergenceEngine *engine,
                          const ConvergenceParams *params,
                          const ConvergenceSample *sample,
                          double full_bytes_per_s, double may_take_s);

/* convergence-threshold.c */

/**
 * convergence_limit_ms, convergence_threshold: the downtime limit in force,
 * and what may remain under it
 */
uint64_t convergence_limit_ms(const ConvergenceEngine *engine,
                              const ConvergenceParams *params);
double convergence_threshold(const ConvergenceEngine *engine,
                             const ConvergenceParams *params);

/**
 * convergence_downtime_s: how long the guest will stand still for @bytes of
 * pages
 */
double convergence_downtime_s(const ConvergenceEngine *engine,
                              const ConvergenceParams *params, double bytes);

/* convergence-looks.c */

/* When to look again, and whether a sync may cost more for that. */
typedef struct ConvergenceNextLook {
    int64_t in_ns;
    bool seeks;
} ConvergenceNextLook;

/**
 * convergence_watch: when to look again while the guest runs freely
 * @unsure: the last look could not tell whether it needs help
 */
ConvergenceNextLook convergence_watch(const ConvergenceEngine *engine,
                                      const ConvergenceParams *params,
                                      const ConvergenceSample *sample,
                                      bool unsure);

/**
 * convergence_probe_lead_ns: how long before the end of the bulk pass probes
 * begin, 0 if there will be none
 */
int64_t convergence_probe_lead_ns(const ConvergenceEngine *engine,
                                  const ConvergenceSample *sample);

/**
 * convergence_look_ns: when to look again while the guest is slowed down
 *
 * Soon while the policy is still seeking, and several times before the end.
 */
int64_t convergence_look_ns(const ConvergenceEngine *engine,
                            const ConvergenceParams *params,
                            const ConvergenceSample *sample);

/**
 * convergence_bound_look_ns: the same, but no sooner than syncs may cost
 * @look_ns: when a policy would look again
 */
int64_t convergence_bound_look_ns(const ConvergenceEngine *engine,
                                  bool bulk_pass, int64_t look_ns);

/**
 * convergence_see_rewrites: whether to see, by the next look, which of the pages
 * that wait are written again; that costs the guest a fault for each
 * @decision: what was decided so far
 */
bool convergence_see_rewrites(const ConvergenceEngine *engine,
                              const ConvergenceSample *sample,
                              const ConvergenceDecision *decision);

/* convergence-fair-share.c */

/**
 * convergence_limit_binds: whether a vCPU would dirty more without its limit
 */
bool convergence_limit_binds(const ConvergenceVcpu *vcpu);

/**
 * convergence_fair_level: the level up to which each vCPU may dirty
 * @vcpus: their rates, and the limits they were measured under
 * @n_vcpus: how many
 * @budget_bytes_per_s: for all of them
 *
 * Max-min fair: those that want less than the level get what they want, the
 * others the level, and together they use up the budget.
 *
 * Returns the level in bytes/s; infinity (HUGE_VAL) if no limit is needed.
 */
double convergence_fair_level(const ConvergenceVcpu *vcpus, unsigned n_vcpus,
                              double budget_bytes_per_s);

/*
 * What a vCPU may rewrite between two syncs without being taken for a writer.
 * dirtylimit lets a vCPU save up as much.
 */
#define CONVERGENCE_REWRITTEN_BYTES (256 * 4096)

/**
 * convergence_charge_late: charge vCPUs for what no meter charged
 * @sample: sets late_bytes of its vCPUs
 *
 * Where the bitmap found more newly dirtied than vCPUs and devices account for.
 */
void convergence_charge_late(const ConvergenceSample *sample);

/**
 * convergence_learn_shares: what part of the dirtying is whose, by the meters
 *
 * Where the sample is metered.
 */
void convergence_learn_shares(const ConvergenceSample *sample);

/**
 * convergence_share_in_force: the part of its full speed at which the guest
 * dirties memory, by what each vCPU is throttled and what it writes
 */
double convergence_share_in_force(const ConvergenceSample *sample);

/**
 * convergence_share_out: throttle single vCPUs, for all of them together to
 * dirty so much less
 * @share: of what they dirty at full speed
 *
 * Max-min fair: those that write most are slowed first, and down to a level
 * that is one for all.  Sets throttle_pct of the vCPUs, and @changed if that
 * makes a difference to any.
 *
 * Returns: the highest of them.
 */
uint8_t convergence_share_out(const ConvergenceSample *sample,
                              const ConvergenceParams *params, double share,
                              bool *changed);

#define FOREACH_VCPU(vcpu, sample)                                          \
    for (ConvergenceVcpu *vcpu = (sample)->vcpus;                           \
         vcpu < (sample)->vcpus + (sample)->n_vcpus; vcpu++)

/* convergence-state.c */

/**
 * convergence_state_tell: what people are to be told of a decision
 *
 * To be called once a sample, after the policy has decided.
 */
void convergence_state_tell(ConvergenceEngine *engine,
                            const ConvergenceParams *params,
                            const ConvergenceSample *sample,
                            ConvergenceDecision *decision);

/* convergence-reason.c */

/**
 * convergence_explain: put what is told into words and figures
 */
void convergence_explain(const ConvergenceEngine *engine,
                         const ConvergenceParams *params,
                         const ConvergenceSample *sample,
                         ConvergenceDecision *decision);

#endif /* MIGRATION_CONVERGENCE_INTERNAL_H */
