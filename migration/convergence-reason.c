/*
 * Convergence engine: reasons for people, key=value for the trace
 *
 * A reason says what is the case, in figures, and where there is something
 * that its reader can do, what.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include "convergence-devices.h"
#include "convergence-estimate.h"
#include "convergence-internal.h"

/* Of many vCPUs, so many are named. */
#define NAMED_MAX 8

/* Appends to a buffer of any size, NULL included, and counts what it needs. */
typedef struct Text {
    char *buffer;
    size_t size;
    size_t length;
} Text;

static void __attribute__((format(printf, 2, 3)))
append(Text *text, const char *format, ...)
{
    bool room = text->length < text->size;
    va_list ap;
    int n;

    va_start(ap, format);
    n = vsnprintf(room ? text->buffer + text->length : NULL,
                  room ? text->size - text->length : 0, format, ap);
    va_end(ap);
    text->length += n > 0 ? n : 0;
}

static double mb(double bytes)
{
    return bytes / BYTES_PER_MB;
}

/* "vCPU 3", "vCPUs 3 and 7", "vCPUs 3, 7 and 5 more": those of @which. */
static void name_vcpus(Text *text, const ConvergenceSample *sample,
                       bool (*which)(const ConvergenceVcpu *vcpu))
{
    unsigned n = 0, named = 0;

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        n += which(&sample->vcpus[i]);
    }
    append(text, n == 1 ? "vCPU" : "vCPUs");
    for (unsigned i = 0; i < sample->n_vcpus && named < NAMED_MAX; i++) {
        if (which(&sample->vcpus[i])) {
            append(text, named ? named + 1 == n ? " and %d" : ", %d" : " %d",
                   sample->vcpus[i].id);
            named++;
        }
    }
    if (n > named) {
        append(text, " and %u more", n - named);
    }
}

static bool is_slowed(const ConvergenceVcpu *vcpu)
{
    return vcpu->throttle_pct;
}

/* What those that are slowed have in common. */
typedef struct Slowed {
    unsigned n;
    uint8_t least_pct, most_pct;
    double dirty_share;
} Slowed;

static Slowed find_slowed(const ConvergenceSample *sample)
{
    Slowed slowed = { .least_pct = 100 };

    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        const ConvergenceVcpu *vcpu = &sample->vcpus[i];

        if (is_slowed(vcpu)) {
            slowed.n++;
            slowed.least_pct = MIN(slowed.least_pct, vcpu->throttle_pct);
            slowed.most_pct = MAX(slowed.most_pct, vcpu->throttle_pct);
            slowed.dirty_share += vcpu->dirty_share;
        }
    }
    return slowed;
}

static void explain_throttle(Text *text, const ConvergenceEngine *engine,
                             const ConvergenceSample *sample,
                             const ConvergenceDecision *decision)
{
    const char *by = convergence_devices_by_run_times(engine) ? "estimate" :
                     sample->meter;
    Slowed slowed = find_slowed(sample);

    if (!decision->vcpus_throttled || slowed.n == sample->n_vcpus) {
        append(text, "all vCPUs sleep ");
        if (decision->vcpus_throttled && slowed.least_pct < slowed.most_pct) {
            append(text, "%u to ", slowed.least_pct);
        }
        append(text, "%u %% of their time", decision->throttle_pct);
        return;
    }
    name_vcpus(text, sample, is_slowed);
    append(text, " write%s %.0f %% of that (by %s) and sleep%s ",
           slowed.n == 1 ? "s" : "", slowed.dirty_share * 100, by,
           slowed.n == 1 ? "s" : "");
    if (slowed.least_pct < slowed.most_pct) {
        append(text, "%u to ", slowed.least_pct);
    }
    append(text, "%u %% of %s time, the others run on", slowed.most_pct,
           slowed.n == 1 ? "its" : "their");
}

static void explain_probe(Text *text, const ConvergenceSample *sample)
{
    append(text, "first pass over RAM; held for %d ms, to see whether the "
           "others write: ", (int)(CONVERGENCE_PROBE_NS / NS_PER_MS));
    name_vcpus(text, sample, is_slowed);
}

static void explain_trial(Text *text, const ConvergenceEngine *engine)
{
    append(text, "devices dirty %.1f MB/s; all vCPUs are held to see "
           "whether devices write less then",
           mb(engine->devices.free_bytes_per_s));
}

static void explain_slowdown(Text *text, const ConvergenceEngine *engine,
                             const ConvergenceSample *sample,
                             const ConvergenceDecision *decision)
{
    if (engine->devices.trying) {
        explain_trial(text, engine);
    } else if (decision->vcpus_limited) {
        append(text, "each vCPU may dirty %.1f MB/s (counted by %s)",
               mb(decision->level_bytes_per_s),
               sample->meter ? sample->meter : "no meter");
    } else if (decision->throttle_pct) {
        if (convergence_devices_follow(engine)) {
            append(text, "devices write what vCPUs ask for; ");
        }
        explain_throttle(text, engine, sample, decision);
    } else {
        append(text, "the guest runs at full speed");
    }
}

static bool limits_vcpus(const ConvergenceEngine *engine)
{
    return engine->policy && engine->policy->needs_vcpu_meters;
}

static void explain_devices(Text *text, const ConvergenceEngine *engine,
                            const ConvergenceParams *params)
{
    append(text, "devices alone dirty %.1f MB/s",
           mb(engine->model.device_bytes_per_s));
    if (convergence_devices_are_deaf(engine)) {
        append(text, ", and still %.1f MB/s while all vCPUs slept %u %% of "
               "their time: less I/O, ", mb(engine->devices.judged_bytes_per_s),
               engine->devices.held_pct);
    } else if (limits_vcpus(engine) && !params->policy_by_auto) {
        append(text, ", which limits on vCPUs do not lower: "
               "convergence-policy auto, less I/O, ");
    } else {
        append(text, ": less I/O, ");
    }
}

/* The limit is the user's, and the link cannot take that much. */
static void explain_fixed_limit(Text *text, const ConvergenceParams *params)
{
    append(text, "each vCPU may dirty %.1f MB/s by convergence-vcpu-limit, "
           "which is too much for the link: a lower limit or none, ",
           mb(params->vcpu_dirty_limit_bytes_per_s));
}

static void explain_stuck(Text *text, const ConvergenceEngine *engine,
                          const ConvergenceParams *params,
                          const ConvergenceSample *sample,
                          const ConvergenceDecision *decision)
{
    if (decision->vcpus_limited && params->vcpu_dirty_limit_bytes_per_s) {
        explain_fixed_limit(text, params);
    } else if (limits_vcpus(engine) && decision->vcpus_limited) {
        append(text, "vCPUs that write little rewrite %.1f MB after each "
               "look, and that does not fit into the downtime: ",
               mb(decision->rewritten_bytes));
    } else if (convergence_devices_outpace(&engine->model)) {
        explain_devices(text, engine, params);
    } else if (!decision->throttle_pct) {
        append(text, "slowing the guest down did not help");
        if (engine->policy && engine->policy->least_bytes_per_s) {
            append(text, " (still %.1f MB/s at %u %%)",
                   mb(engine->policy->least_bytes_per_s(engine)),
                   params->max_throttle_pct);
        }
        append(text, ": ");
    } else {
        explain_throttle(text, engine, sample, decision);
        append(text, ", and max-cpu-throttle allows no more: ");
    }
    append(text, "more bandwidth, a higher downtime-limit, a "
           "convergence-timeout or postcopy would end it");
}

/*
 * A pass in which about as much was dirtied as was drained is as long as the
 * one before.
 */
#define NO_PROGRESS 0.9
/* On top of what the downtime would have been: it is a figure to set. */
#define DOWNTIME_MARGIN 1.2
#define DOWNTIME_STEP_MS 100

static uint64_t downtime_to_set_ms(const ConvergenceModel *model,
                                   const ConvergenceSample *sample)
{
    double ms = sample->remaining_bytes / model->drain_bytes_per_s * 1000 *
                DOWNTIME_MARGIN;

    return (convergence_to_u64(convergence_clamp(ms, 0, 1e12)) /
            DOWNTIME_STEP_MS + 1) * DOWNTIME_STEP_MS;
}

static void explain_off(Text *text, const ConvergenceEngine *engine,
                        const ConvergenceParams *params,
                        const ConvergenceSample *sample)
{
    const ConvergenceModel *model = &engine->model;
    bool ends = model->last_dirty_bytes_per_s < model->drain_bytes_per_s &&
                sample->dirtied_bytes < sample->drained_bytes * NO_PROGRESS;

    if (!(model->drain_bytes_per_s >= 1)) {
        append(text, "nothing has been measured yet");
    } else if (ends) {
        append(text, "what remains shrinks");
    } else if (params->timeout_s || params->max_iterations ||
               params->max_transfer_pct) {
        append(text, "this ends by its deadline alone");
    } else {
        append(text, "this does not end; more bandwidth, a downtime-limit of "
               "%" PRIu64 " ms or a convergence-timeout would end it, and so "
               "would auto-converge, switched on before the start",
               downtime_to_set_ms(model, sample));
    }
}

/* What is told goes before what the policy meant. */
static ConvergencePhase phase_to_explain(const ConvergenceEngine *engine,
                                         const ConvergenceDecision *decision)
{
    if (!engine->state.known || decision->told == decision->phase) {
        return decision->phase;
    }
    if (decision->told == CONVERGENCE_PHASE_STUCK) {
        return CONVERGENCE_PHASE_STUCK;
    }
    return decision->phase == CONVERGENCE_PHASE_CONVERGING ?
           CONVERGENCE_PHASE_THROTTLING : decision->phase;
}

void convergence_explain(const ConvergenceEngine *engine,
                         const ConvergenceParams *params,
                         const ConvergenceSample *sample,
                         ConvergenceDecision *decision)
{
    const ConvergenceModel *model = &engine->model;
    Text text = { decision->reason, sizeof(decision->reason), 0 };

    if (decision->phase == CONVERGENCE_PHASE_OFF) {
        append(&text, CONVERGENCE_REASON_OFF ": ");
    }
    append(&text, "the guest dirties %s%.1f MB/s, the link drains %.1f MB/s, "
           "%.1f MB remain: ", model->dirty_known ? "" : "at least ",
           mb(model->last_dirty_bytes_per_s), mb(model->drain_bytes_per_s),
           mb(sample->remaining_bytes));
    switch (phase_to_explain(engine, decision)) {
    case CONVERGENCE_PHASE_OFF:
        explain_off(&text, engine, params, sample);
        break;
    case CONVERGENCE_PHASE_WATCHING:
        if (engine->estimate.probing) {
            explain_probe(&text, sample);
        } else {
            append(&text, sample->bulk_pass ? "first pass over RAM" :
                   "no need to slow it down");
        }
        break;
    case CONVERGENCE_PHASE_STUCK:
        explain_stuck(&text, engine, params, sample, decision);
        break;
    case CONVERGENCE_PHASE_CONVERGING:
        explain_slowdown(&text, engine, sample, decision);
        append(&text, ", and what remains shrinks");
        break;
    default:
        explain_slowdown(&text, engine, sample, decision);
        break;
    }
}

size_t convergence_format_sample(const ConvergenceEngine *engine,
                                 const ConvergenceSample *sample,
                                 const ConvergenceParams *params,
                                 char *buffer, size_t size)
{
    Text text = { buffer, size, 0 };

    append(&text, "auto=%d policy=%s by_auto=%d initial=%u increment=%u max=%u "
           "threshold=%u tailslow=%d period_ms=%" PRIu32 " downtime_ms=%"
           PRIu64 " vcpu_limit=%" PRIu64 " switchover=%" PRIu64,
           params->auto_converge,
           params->policy ? params->policy->name : "none",
           params->policy_by_auto,
           params->initial_throttle_pct, params->throttle_increment_pct,
           params->max_throttle_pct, params->trigger_threshold_pct,
           params->tailslow, params->sync_period_ms,
           convergence_limit_ms(engine, params),
           params->vcpu_dirty_limit_bytes_per_s,
           params->switchover_bytes_per_s);
    append(&text, " now_ns=%" PRId64 " interval_ns=%" PRId64 " dirtied=%"
           PRIu64 " touched=%" PRIu64 " unseen=%" PRIu64 " drained=%" PRIu64
           " zero=%" PRIu64 " wire=%" PRIu64 " remaining=%" PRIu64
           " ram=%" PRIu64 " bulk_remaining=%" PRIu64 " bulk_empty=%" PRIu64
           " bandwidth=%" PRIu64,
           sample->now_ns, sample->interval_ns, sample->dirtied_bytes,
           sample->touched_bytes, sample->unseen_bytes,
           sample->drained_bytes, sample->zero_bytes, sample->wire_bytes,
           sample->remaining_bytes, sample->ram_bytes,
           sample->bulk_remaining_bytes, sample->bulk_empty_bytes,
           sample->bandwidth_bytes_per_s);
    append(&text, " queued=%" PRIu64 " recent=%" PRIu64 " low=%" PRIu64
           " burst=%" PRIu64 " devices=%" PRIu64, sample->queued_bytes,
           sample->link.recent_bytes_per_s, sample->link.low_bytes_per_s,
           sample->link.burst_bytes_per_s, sample->link.devices_bytes);
    append(&text, " sync_cost_ns=%" PRId64 " sync_busy_ns=%" PRId64
           " throttle=%u bulk=%d valid=%d meter=%s metered=%d run_times=%d",
           sample->sync_cost_ns, sample->sync_busy_ns, sample->throttle_pct,
           sample->bulk_pass, sample->valid,
           sample->meter ? sample->meter : "none", sample->metered,
           sample->run_times_known);
    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        append(&text, " v=%d:%" PRIu64 ":%" PRIu64 ":%" PRId64,
               sample->vcpus[i].id,
               sample->vcpus[i].dirtied_bytes - sample->vcpus[i].late_bytes,
               sample->vcpus[i].touched_bytes, sample->vcpus[i].ran_ns);
    }
    return text.length;
}

size_t convergence_format_decision(const ConvergenceDecision *decision,
                                   const ConvergenceSample *sample,
                                   char *buffer, size_t size)
{
    Text text = { buffer, size, 0 };

    append(&text, "phase=%s decided_throttle=%u limited=%d rewrites=%d "
           "next_sync_ns=%" PRId64 " predicted=%d remaining_ms=%" PRIu64
           " predicted_downtime_ms=%" PRIu64 " error_pct=%u",
           convergence_phase_name(decision->phase), decision->throttle_pct,
           decision->vcpus_limited, decision->see_rewrites,
           decision->next_sync_ns,
           decision->predicted, decision->predicted_remaining_ms,
           decision->predicted_downtime_ms, decision->predicted_error_pct);
    for (unsigned i = 0; decision->vcpus_limited && i < sample->n_vcpus;
         i++) {
        append(&text, " l=%d:%" PRIu64, sample->vcpus[i].id,
               sample->vcpus[i].limit_bytes_per_s);
    }
    for (unsigned i = 0; decision->vcpus_throttled && i < sample->n_vcpus;
         i++) {
        append(&text, " t=%d:%u", sample->vcpus[i].id,
               sample->vcpus[i].throttle_pct);
    }
    return text.length;
}
