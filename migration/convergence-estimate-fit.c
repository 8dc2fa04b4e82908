/*
 * Convergence engine: which vCPUs write, fitted to what they ran
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
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "convergence-estimate.h"

#define LOOKS CONVERGENCE_ESTIMATE_LOOKS

/* Looks fade by 1/e in so long: threads of a guest wander. */
#define FORGET_S 10.0
/* Guests vary by so much from one look to the next, at least. */
#define NOISE 0.2
/* Of a calm look: not less than that of a look as this part of the mean. */
#define NOISE_FLOOR 0.1
/* A vCPU that ran for less is idle, and writes nothing to speak of. */
#define IDLE 0.02
/* How much of what is usual is told by the last look. */
#define BUSY_WEIGHT 0.3
/* One that ran for so much of what is usual was there to write, if it does. */
#define RUNS 0.5
/* No vCPU counts for more than so many times what is usual for it. */
#define RAN_MAX 3
/* What rounding may have left of a pivot that is above zero. */
#define LEAST_PIVOT 1e-9

/* The fit of one set of looks; on the stack. */
typedef struct Fit {
    unsigned n;                     /* looks */
    unsigned look[LOOKS];           /* which of the ring */
    double noise[LOOKS];            /* variance */
    double mean, spread;            /* m, t^2 */
    double gram[LOOKS][LOOKS];      /* G, and its Cholesky factor */
    double weights[LOOKS];          /* G^-1 (r - m U 1) */
} Fit;

bool convergence_estimate_is_idle(const ConvergenceVcpu *vcpu)
{
    return vcpu->estimate.known && vcpu->estimate.busy < IDLE;
}

void convergence_estimate_add_look(ConvergenceEstimate *estimate,
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

bool convergence_estimate_ran(const ConvergenceVcpu *vcpu, unsigned look)
{
    return ran_part(vcpu, look) > RUNS;
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

void convergence_estimate_fit(ConvergenceEstimate *estimate,
                              const ConvergenceSample *sample)
{
    Fit fit;
    bool again = true;

    FOREACH_VCPU(vcpu, sample) {
        vcpu->estimate.is_out = convergence_estimate_is_idle(vcpu);
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
