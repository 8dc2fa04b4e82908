/*
 * Convergence engine: which vCPUs write, where nothing counts their pages
 *
 * All that is known is what all of them together dirtied in a look, and for
 * how long the thread of each one ran:
 *
 *   dirty rate of look k  =  sum over vCPUs (rate of v * how long v ran in k,
 *                                            of what is usual for v)
 *
 * The rates, at full speed, are fitted by least squares over the last looks,
 * recent ones above all, drawn to their common mean (ridge regression) and
 * not below zero.  With no looks that tell vCPUs apart this is the common
 * mean: all are alike.  With n vCPUs, K looks, U the parts that they ran (K
 * x n), r the rates seen, m the common mean, S the noise of each look and t
 * the spread of rates around m:
 *
 *   rates    = m + t^2 U' G^-1 (r - m U 1),      G = t^2 U U' + S
 *   variance = t^2 - t^4 u' G^-1 u               (u: the column of a vCPU)
 *
 * G is K x K, so that 512 vCPUs cost little more than two.  t^2 is that of
 * one writer among n: n m^2.
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
#include "convergence-internal.h"

#define LOOKS CONVERGENCE_ESTIMATE_LOOKS

/* Looks fade by 1/e in so long: threads of a guest wander. */
#define FORGET_S 10.0
/* Guests vary by so much from one look to the next, at least. */
#define NOISE 0.2
/* Of a calm look: not less than that of a look as this part of the mean. */
#define NOISE_FLOOR 0.1
/* Shorter looks tell of what is rewritten after each sync. */
#define LEAST_LOOK_S 0.05
/* A vCPU that ran for less is idle, and writes nothing to speak of. */
#define IDLE 0.02
/* One that ran for so much of what is usual was there to write, if it does. */
#define RUNS 0.5
/* No vCPU counts for more than so many times what is usual for it. */
#define RAN_MAX 3
/* How much of what is usual is told by the last look. */
#define BUSY_WEIGHT 0.3
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
/* What rounding may have left of a pivot that is above zero. */
#define LEAST_PIVOT 1e-9

#define FOREACH_VCPU(vcpu, sample)                                          \
    for (ConvergenceVcpu *vcpu = (sample)->vcpus;                           \
         vcpu < (sample)->vcpus + (sample)->n_vcpus; vcpu++)

/* The fit of one set of looks; on the stack. */
typedef struct Fit {
    unsigned n;                     /* looks */
    unsigned look[LOOKS];           /* which of the ring */
    double noise[LOOKS];            /* variance */
    double mean, spread;            /* m, t^2 */
    double gram[LOOKS][LOOKS];      /* G, and its Cholesky factor */
    double weights[LOOKS];          /* G^-1 (r - m U 1) */
} Fit;

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

/*
 * How long it ran, of what is usual for it: a writer that waits most of the
 * time writes no less than one that runs all of it.
 */
static double ran_part(const ConvergenceVcpu *vcpu, unsigned look)
{
    return vcpu->estimate.busy > 0 ?
           MIN(vcpu->estimate.ran_part[look] / vcpu->estimate.busy, RAN_MAX) :
           0;
}

static double look_weight(const ConvergenceEstimate *estimate, unsigned look,
                          int64_t now_ns, double interval_s)
{
    double age_s = (double)(now_ns - estimate->looks[look].at_ns) / NS_PER_S;
    double length = estimate->looks[look].interval_s / interval_s;

    /* In a longer look more writes hit the same pages. */
    length = length < 1 ? length : 1 / length;
    return exp(-age_s / FORGET_S) * length * length;
}

static void choose_looks(const ConvergenceEstimate *estimate, Fit *fit)
{
    const ConvergenceLook *last = &estimate->looks[estimate->last];
    double sum = 0;

    for (unsigned k = 0; k < LOOKS; k++) {
        if (estimate->looks[k].valid) {
            sum += estimate->looks[k].bytes_per_s;
            fit->look[fit->n++] = k;
        }
    }
    for (unsigned i = 0; i < fit->n; i++) {
        const ConvergenceLook *look = &estimate->looks[fit->look[i]];
        double rate = MAX(look->bytes_per_s, sum / fit->n * NOISE_FLOOR);
        double weight = look_weight(estimate, fit->look[i], last->at_ns,
                                    last->interval_s);

        fit->noise[i] = NOISE * rate * NOISE * rate / MAX(weight, 1e-6) + 1;
    }
}

static bool is_out(const ConvergenceVcpu *vcpu)
{
    return vcpu->estimate.is_out;
}

/* For as long as it is: held or not, it writes nothing. */
static bool is_idle(const ConvergenceVcpu *vcpu)
{
    return vcpu->estimate.known && vcpu->estimate.busy < IDLE;
}

static bool is_told(const ConvergenceVcpu *vcpu)
{
    return vcpu->estimate.reads || is_idle(vcpu);
}

/* m and t^2: rates of all looks over what all vCPUs ran. */
static void find_prior(const ConvergenceEstimate *estimate,
                       const ConvergenceSample *sample, Fit *fit)
{
    double rates = 0, ran = 0;
    unsigned in = 0;

    FOREACH_VCPU(vcpu, sample) {
        in += !is_out(vcpu);
    }
    for (unsigned i = 0; i < fit->n; i++) {
        rates += estimate->looks[fit->look[i]].bytes_per_s / fit->noise[i];
        FOREACH_VCPU(vcpu, sample) {
            ran += is_out(vcpu) ? 0 : ran_part(vcpu, fit->look[i]) /
                                      fit->noise[i];
        }
    }
    fit->mean = ran > 0 ? rates / ran : 0;
    fit->spread = fit->mean * fit->mean * in;
}

static void fill_gram(const ConvergenceSample *sample, Fit *fit)
{
    for (unsigned i = 0; i < fit->n; i++) {
        for (unsigned j = 0; j <= i; j++) {
            double sum = 0;

            FOREACH_VCPU(vcpu, sample) {
                sum += is_out(vcpu) ? 0 : ran_part(vcpu, fit->look[i]) *
                                          ran_part(vcpu, fit->look[j]);
            }
            fit->gram[i][j] = fit->spread * sum +
                              (i == j ? fit->noise[i] : 0);
        }
    }
}

/* The lower triangle of G becomes its Cholesky factor. */
static void factorise(Fit *fit)
{
    for (unsigned i = 0; i < fit->n; i++) {
        for (unsigned j = 0; j <= i; j++) {
            double sum = fit->gram[i][j];

            for (unsigned k = 0; k < j; k++) {
                sum -= fit->gram[i][k] * fit->gram[j][k];
            }
            fit->gram[i][j] = i == j ? sqrt(MAX(sum, LEAST_PIVOT)) :
                              sum / fit->gram[j][j];
        }
    }
}

/* With L the factor of G: x is replaced by the y for which L y = x. */
static void solve_lower(const Fit *fit, double *x)
{
    for (unsigned i = 0; i < fit->n; i++) {
        for (unsigned k = 0; k < i; k++) {
            x[i] -= fit->gram[i][k] * x[k];
        }
        x[i] /= fit->gram[i][i];
    }
}

/* Likewise L' y = x. */
static void solve_upper(const Fit *fit, double *x)
{
    for (unsigned i = fit->n; i-- > 0; ) {
        for (unsigned k = i + 1; k < fit->n; k++) {
            x[i] -= fit->gram[k][i] * x[k];
        }
        x[i] /= fit->gram[i][i];
    }
}

static void find_weights(const ConvergenceEstimate *estimate,
                         const ConvergenceSample *sample, Fit *fit)
{
    for (unsigned i = 0; i < fit->n; i++) {
        double ran = 0;

        FOREACH_VCPU(vcpu, sample) {
            ran += is_out(vcpu) ? 0 : ran_part(vcpu, fit->look[i]);
        }
        fit->weights[i] = estimate->looks[fit->look[i]].bytes_per_s -
                          fit->mean * ran;
    }
    solve_lower(fit, fit->weights);
    solve_upper(fit, fit->weights);
}

static double fitted_rate(const ConvergenceVcpu *vcpu, const Fit *fit)
{
    double sum = 0;

    for (unsigned i = 0; i < fit->n; i++) {
        sum += ran_part(vcpu, fit->look[i]) * fit->weights[i];
    }
    return fit->mean + fit->spread * sum;
}

static double deviation(const ConvergenceVcpu *vcpu, const Fit *fit)
{
    double x[LOOKS], variance = fit->spread;

    for (unsigned i = 0; i < fit->n; i++) {
        x[i] = ran_part(vcpu, fit->look[i]);
    }
    solve_lower(fit, x);
    for (unsigned i = 0; i < fit->n; i++) {
        variance -= fit->spread * fit->spread * x[i] * x[i];
    }
    return sqrt(MAX(variance, 0));
}

/*
 * Those that come out below zero are taken to write nothing, and the others are
 * fitted without them.  Returns: whether there were any.
 */
static bool leave_out_negative(const ConvergenceSample *sample, const Fit *fit)
{
    bool any = false;

    FOREACH_VCPU(vcpu, sample) {
        if (!is_out(vcpu) && fitted_rate(vcpu, fit) < 0) {
            vcpu->estimate.is_out = true;
            any = true;
        }
    }
    return any;
}

static void fit_rates(ConvergenceEstimate *estimate,
                      const ConvergenceSample *sample)
{
    Fit fit;
    bool again = true;

    FOREACH_VCPU(vcpu, sample) {
        vcpu->estimate.is_out = is_idle(vcpu);
    }
    /* A few rounds do in practice. */
    for (unsigned round = 0; again && round < 4; round++) {
        memset(&fit, 0, sizeof(fit));
        choose_looks(estimate, &fit);
        find_prior(estimate, sample, &fit);
        fill_gram(sample, &fit);
        factorise(&fit);
        find_weights(estimate, sample, &fit);
        again = leave_out_negative(sample, &fit);
    }
    FOREACH_VCPU(vcpu, sample) {
        double rate = is_out(vcpu) ? 0 : fitted_rate(vcpu, &fit);

        vcpu->estimate.rate_bytes_per_s = MAX(rate, 0);
        vcpu->estimate.most_bytes_per_s = MAX(rate, 0) +
                                          deviation(vcpu, &fit);
    }
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
        if (!vcpu->estimate.reads && !is_idle(vcpu) &&
            vcpu->estimate.most_bytes_per_s < fair * READER) {
            vcpu->estimate.reads = true;
            estimate->calm_bytes_per_s += vcpu->estimate.most_bytes_per_s;
        }
    }
}

static void add_look(ConvergenceEstimate *estimate,
                     const ConvergenceSample *sample)
{
    double interval_s = (double)sample->interval_ns / NS_PER_S;
    bool first = !estimate->any_look;

    estimate->last = first ? 0 : (estimate->last + 1) % LOOKS;
    estimate->any_look = true;
    estimate->looks[estimate->last] = (ConvergenceLook) {
        .at_ns = sample->now_ns,
        .interval_s = interval_s,
        .bytes_per_s = sample->touched_bytes / interval_s,
        .valid = true,
    };
    FOREACH_VCPU(vcpu, sample) {
        double part = convergence_clamp((double)vcpu->ran_ns /
                                        sample->interval_ns, 0, 1);
        double free_part = convergence_clamp(
            part / (1 - MIN(vcpu->throttle_pct, 99) / 100.0), 0, 1);

        vcpu->estimate.ran_part[estimate->last] = part;
        /* A slowed one would run for more; that is no time to learn it. */
        if (!vcpu->estimate.known) {
            vcpu->estimate.busy = free_part;
            vcpu->estimate.known = true;
        } else if (!vcpu->throttle_pct) {
            vcpu->estimate.busy += (free_part - vcpu->estimate.busy) *
                                   BUSY_WEIGHT;
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
        vcpu->estimate.reads |= ran_part(vcpu, look) > RUNS;
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
    add_look(estimate, sample);
    fit_rates(estimate, sample);
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
