/*
 * Convergence engine: which vCPUs write, where nothing counts their pages
 *
 * All that is known is what all of them together dirtied in a look, and for
 * how long the thread of each one ran.  convergence-estimate-fit.c has the
 * rates that fit the last looks best.
 *
 * Most guests keep all vCPUs busy or idle for long, and then looks are
 * alike.  So near the end of the bulk pass, when it pays, some are made
 * unlike: half of those that are not told yet are held for a look, then the
 * other half.
 *
 *   not told:   0 1 2 3     held: 0 1 -> little is dirtied: 2 and 3 read
 *                           held: 2 3 -> as much as ever
 *   not told:   0 1         held: 0   -> little is dirtied: 1 reads
 *                           held: 1   -> as much as ever
 *   not told:   0           it is what is left
 *
 * A look in which next to nothing is dirtied tells that all that ran only
 * read; this is group testing, and takes looks in the order of 2 log2(n)
 * where few write.  Where many do, no look is calm, and the fit has to tell
 * them.  Halves by chance were tried: two vCPUs that are on one side each
 * time cannot be told.
 *
 * A guest may do something else just then.  So looks count in pairs: both
 * halves together dirty at least half of what all did before, or the pair is
 * void.  Barriers do that, where who is held makes all wait, and bursts.
 * After two void pairs, and when those told turn out to write after all for
 * the second time, all are taken to be alike for good.
 *
 * What a pair costs: each of those not told stands still for one look.  What
 * it saves: those that read go without the throttle of the tail.  If half of
 * the vCPUs read, it pays where the tail takes longer than two looks.  If
 * none do it is lost, and it should be no more than an eighth of what the
 * tail is expected to cost anyway: the tail has to take as long as eight
 * looks.  How many vCPUs there are does not matter: each pair that tells
 * something halves the number of those that the next one costs anything.
 *
 * Rejected: to let single vCPUs go in the tail, one by one.  Who lets a
 * writer go by mistake has all of its pages to send once more.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "convergence-devices.h"
#include "convergence-estimate.h"

#define LOOKS CONVERGENCE_ESTIMATE_LOOKS

/* Shorter looks tell of what is rewritten after each sync. */
#define LEAST_LOOK_S 0.05
/* Looks with less than this part of what is usual are calm. */
#define CALM 0.25
/* Of its fair share: who surely writes less than this is a reader. */
#define READER 0.5
/* What two halves dirty, of what the whole did. */
#define PAIR_LEAST 0.5
#define VOID_PAIRS_MAX 2
/* Pairs in a row that told nothing: where all write, it takes no more. */
#define FRUITLESS_MAX 2
#define STRIKES_MAX 2
/* So many times what was dirtied while those that write were held is odd. */
#define DOUBTFUL 2
/*
 * The tail has to take as long as so many looks, and twice as long for another
 * pair after one in vain.
 */
#define TAIL_LOOKS 8
#define FRUITLESS_TAIL 2

bool convergence_estimate_works(const ConvergenceEngine *engine,
                                const ConvergenceSample *sample)
{
    return sample->run_times_known &&
           (!sample->metered || convergence_devices_by_run_times(engine)) &&
           convergence_tells_vcpus_apart(engine, sample);
}

bool convergence_tells_vcpus_apart(const ConvergenceEngine *engine,
                                   const ConvergenceSample *sample)
{
    /* Meters tell who writes, and not who has devices write. */
    return sample->n_vcpus > 1 && !sample->one_thread &&
           engine->estimate.strikes < STRIKES_MAX &&
           (sample->metered && !convergence_devices_by_run_times(engine) ?
            !convergence_devices_follow(engine) : sample->run_times_known);
}

static bool is_told(const ConvergenceVcpu *vcpu)
{
    return vcpu->estimate.reads || convergence_estimate_is_idle(vcpu);
}

/* What all would dirty at full speed. */
static double all_bytes_per_s(const ConvergenceSample *sample)
{
    double sum = 0;

    FOREACH_VCPU(vcpu, sample) {
        sum += vcpu->estimate.rate_bytes_per_s;
    }
    return sum;
}

/* Who is known to write little by the fit alone. */
static void tell_by_fit(ConvergenceEstimate *estimate,
                        const ConvergenceSample *sample)
{
    double fair = all_bytes_per_s(sample) / sample->n_vcpus;

    FOREACH_VCPU(vcpu, sample) {
        if (!vcpu->estimate.reads && !convergence_estimate_is_idle(vcpu) &&
            vcpu->estimate.most_bytes_per_s < fair * READER) {
            vcpu->estimate.reads = true;
            estimate->calm_bytes_per_s += vcpu->estimate.most_bytes_per_s;
        }
    }
}

/* All vCPUs are alike again. */
static void forget(ConvergenceEngine *engine, const ConvergenceSample *sample)
{
    ConvergenceEstimate *estimate = &engine->estimate;

    for (unsigned k = 0; k < LOOKS; k++) {
        estimate->looks[k].valid = false;
    }
    estimate->probing = false;
    estimate->calm_bytes_per_s = 0;
    FOREACH_VCPU(vcpu, sample) {
        vcpu->estimate.reads = false;
        vcpu->estimate.held = false;
        vcpu->estimate.rate_bytes_per_s = 0;
        vcpu->full_bytes_per_s = 0;
        vcpu->dirty_share = 1.0 / sample->n_vcpus;
    }
}

bool convergence_estimate_told_any(const ConvergenceSample *sample)
{
    bool told = false;

    FOREACH_VCPU(vcpu, sample) {
        told |= vcpu->estimate.reads;
    }
    return told;
}

bool convergence_estimate_doubts(const ConvergenceEngine *engine,
                                 double bytes_per_s)
{
    return bytes_per_s > engine->estimate.calm_bytes_per_s * DOUBTFUL;
}

void convergence_estimate_stop(ConvergenceEngine *engine)
{
    engine->estimate.strikes = STRIKES_MAX;
}

void convergence_estimate_strike(ConvergenceEngine *engine,
                                 const ConvergenceSample *sample)
{
    engine->estimate.strikes++;
    forget(engine, sample);
}

/* --- Probes --- */

static unsigned count_untold(const ConvergenceSample *sample)
{
    unsigned n = 0;

    FOREACH_VCPU(vcpu, sample) {
        n += !is_told(vcpu);
    }
    return n;
}

unsigned convergence_estimate_looks(unsigned n_vcpus)
{
    /* In pairs. */
    return n_vcpus > 1 ? 2 * ceil((3 * log2(n_vcpus) + 1) / 2) : 0;
}

/* Among those not told, by what they are taken to write: 0 writes most. */
static unsigned rank_of(const ConvergenceSample *sample,
                        const ConvergenceVcpu *one)
{
    unsigned rank = 0;

    FOREACH_VCPU(vcpu, sample) {
        if (!is_told(vcpu)) {
            rank += vcpu->estimate.rate_bytes_per_s >
                    one->estimate.rate_bytes_per_s ||
                    (vcpu < one && vcpu->estimate.rate_bytes_per_s ==
                                   one->estimate.rate_bytes_per_s);
        }
    }
    return rank;
}

/*
 * The half that seems to write most: if it is all that does, the other one is
 * told.  Where that told nothing, those with a bit set in their rank, another
 * bit each time.
 */
static void hold_half(const ConvergenceEstimate *estimate,
                      const ConvergenceSample *sample)
{
    unsigned untold = count_untold(sample);

    FOREACH_VCPU(vcpu, sample) {
        unsigned rank = is_told(vcpu) ? 0 : rank_of(sample, vcpu);

        vcpu->estimate.held = !is_told(vcpu) &&
            (estimate->fruitless ? rank >> (estimate->fruitless - 1) & 1 :
                                   rank < untold / 2);
    }
}

static void hold_other_half(const ConvergenceSample *sample)
{
    FOREACH_VCPU(vcpu, sample) {
        vcpu->estimate.held = !is_told(vcpu) && !vcpu->estimate.held;
    }
}

void convergence_estimate_end_probe(ConvergenceEngine *engine,
                                    const ConvergenceSample *sample)
{
    engine->estimate.probing = false;
    FOREACH_VCPU(vcpu, sample) {
        vcpu->estimate.held = false;
    }
}

/* All that ran in a calm look only read. */
static void tell_by_look(ConvergenceEstimate *estimate,
                         const ConvergenceSample *sample, unsigned look)
{
    double rate = estimate->looks[look].bytes_per_s;

    if (rate > estimate->usual_bytes_per_s * CALM) {
        return;
    }
    /* Those that were told before ran, too. */
    estimate->calm_bytes_per_s = rate;
    FOREACH_VCPU(vcpu, sample) {
        vcpu->estimate.reads |= convergence_estimate_ran(vcpu, look);
    }
}

/* All of them read?  Then what was seen contradicts itself. */
static void take_back_if_none_is_left(ConvergenceEstimate *estimate,
                                      const ConvergenceSample *sample)
{
    if (count_untold(sample)) {
        return;
    }
    FOREACH_VCPU(vcpu, sample) {
        vcpu->estimate.reads = false;
    }
    estimate->calm_bytes_per_s = 0;
}

static void end_pair(ConvergenceEstimate *estimate,
                     const ConvergenceSample *sample)
{
    unsigned second = estimate->last, first = (second + LOOKS - 1) % LOOKS;
    double a = estimate->looks[first].bytes_per_s;
    double b = estimate->looks[second].bytes_per_s;
    double all = estimate->usual_bytes_per_s;

    if (a + b < all * PAIR_LEAST) {
        estimate->looks[first].valid = false;
        estimate->looks[second].valid = false;
        estimate->void_pairs++;
        return;
    }
    tell_by_look(estimate, sample, first);
    tell_by_look(estimate, sample, second);
    tell_by_fit(estimate, sample);
    take_back_if_none_is_left(estimate, sample);
    estimate->fruitless = count_untold(sample) < estimate->pair_untold ? 0 :
                          estimate->fruitless + 1;
}

/*
 * Those not told are alike: what the fit gives to each of them is not certain,
 * and the one that writes would be slowed by less than it has to be.
 */
static void share(const ConvergenceSample *sample)
{
    unsigned n = count_untold(sample);

    FOREACH_VCPU(vcpu, sample) {
        vcpu->dirty_share = !n ? 1.0 / sample->n_vcpus :
                            is_told(vcpu) ? 0 : 1.0 / n;
    }
}

static void learn_look(ConvergenceEstimate *estimate,
                       const ConvergenceSample *sample)
{
    convergence_estimate_add_look(estimate, sample);
    convergence_estimate_fit(estimate, sample);
    estimate->probes += estimate->probing;
    if (!estimate->probing) {
        tell_by_fit(estimate, sample);
        take_back_if_none_is_left(estimate, sample);
    } else if (estimate->second_half) {
        /* Amid a pair nothing is told: it may turn out to be void. */
        end_pair(estimate, sample);
    }
}

void convergence_estimate_learn(ConvergenceEngine *engine,
                                const ConvergenceSample *sample)
{
    if (!convergence_estimate_works(engine, sample)) {
        return;
    }
    if (!sample->unseen_bytes &&
        sample->interval_ns >= LEAST_LOOK_S * NS_PER_S) {
        learn_look(&engine->estimate, sample);
    } else {
        /* What was dirtied is not known; a pair that was begun is void. */
        convergence_estimate_end_probe(engine, sample);
    }
    share(sample);
}

bool convergence_estimate_wants_probe(const ConvergenceEngine *engine,
                                      const ConvergenceSample *sample,
                                      double tail_s)
{
    const ConvergenceEstimate *estimate = &engine->estimate;
    unsigned looks = convergence_estimate_looks(sample->n_vcpus);
    double look_s = (double)CONVERGENCE_PROBE_NS / NS_PER_S;

    if (!convergence_estimate_works(engine, sample) ||
        count_untold(sample) < 2) {
        return false;
    }
    if (estimate->probing && !estimate->second_half) {
        /* A pair that was begun is ended. */
        return true;
    }
    return estimate->probes < looks &&
           estimate->void_pairs < VOID_PAIRS_MAX &&
           estimate->fruitless < FRUITLESS_MAX &&
           tail_s > look_s * TAIL_LOOKS *
                    (estimate->fruitless ? FRUITLESS_TAIL : 1);
}

void convergence_estimate_probe(ConvergenceEngine *engine,
                                const ConvergenceSample *sample)
{
    ConvergenceEstimate *estimate = &engine->estimate;

    if (!estimate->probing) {
        /* The first one: so far nobody was held. */
        estimate->usual_bytes_per_s =
            estimate->looks[estimate->last].bytes_per_s;
    }
    estimate->second_half = estimate->probing && !estimate->second_half;
    if (estimate->second_half) {
        hold_other_half(sample);
    } else {
        estimate->pair_untold = count_untold(sample);
        hold_half(estimate, sample);
    }
    estimate->probing = true;
}
