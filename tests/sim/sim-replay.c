/*
 * Simulator: a real migration, decided again
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <errno.h>
#include "migration/convergence-engine.h"
#include "sim-guest.h"
#include "sim-replay.h"

#define MARK "convergence_decision "

typedef struct Replay {
    ConvergenceEngine engine;
    ConvergenceParams params;
    ConvergenceSample sample;
    ConvergenceVcpu vcpus[SIM_MAX_VCPUS];
    char phase[32];
    unsigned throttle_pct;
    int64_t next_sync_ns;
    bool limited;
    bool rewrites, knows_rewrites;
    bool knows_metered;
    uint64_t limits_bytes_per_s[SIM_MAX_VCPUS];
    uint8_t throttles_pct[SIM_MAX_VCPUS];
    unsigned n_limits, n_throttles;
    unsigned decisions, differences, damaged;
    bool started;
} Replay;

typedef struct Field {
    const char *key;
    size_t size;
    void *value;
    uint64_t min, max;
} Field;

/* The engine may rely on these, which QEMU has checked or counted. */
#define FIELD(key, member, min, max) \
    { key, sizeof(replay->member), &replay->member, min, max }
#define MAX_NS      (INT64_MAX / 4)
#define MAX_BYTES   ((uint64_t)INT64_MAX)

/* Returns: false if the value cannot be one of QEMU's. */
static bool set_number(Replay *replay, const char *key, const char *value)
{
    const Field fields[] = {
        FIELD("auto", params.auto_converge, 0, 1),
        FIELD("by_auto", params.policy_by_auto, 0, 1),
        FIELD("initial", params.initial_throttle_pct, 1, 99),
        FIELD("increment", params.throttle_increment_pct, 1, 99),
        FIELD("max", params.max_throttle_pct, 1, 99),
        FIELD("threshold", params.trigger_threshold_pct, 1, 100),
        FIELD("tailslow", params.tailslow, 0, 1),
        FIELD("period_ms", params.sync_period_ms, 100, 60000),
        FIELD("downtime_ms", params.downtime_limit_ms, 0, 2000000),
        FIELD("vcpu_limit", params.vcpu_dirty_limit_bytes_per_s, 0, UINT64_MAX),
        FIELD("switchover", params.switchover_bytes_per_s, 0, UINT64_MAX),
        FIELD("now_ns", sample.now_ns, 0, MAX_NS),
        FIELD("interval_ns", sample.interval_ns, 0, MAX_NS),
        FIELD("dirtied", sample.dirtied_bytes, 0, MAX_BYTES),
        FIELD("touched", sample.touched_bytes, 0, MAX_BYTES),
        FIELD("unseen", sample.unseen_bytes, 0, MAX_BYTES),
        FIELD("drained", sample.drained_bytes, 0, MAX_BYTES),
        FIELD("zero", sample.zero_bytes, 0, MAX_BYTES),
        FIELD("wire", sample.wire_bytes, 0, MAX_BYTES),
        FIELD("remaining", sample.remaining_bytes, 0, MAX_BYTES),
        FIELD("ram", sample.ram_bytes, 0, MAX_BYTES),
        FIELD("bulk_remaining", sample.bulk_remaining_bytes, 0, MAX_BYTES),
        FIELD("bulk_empty", sample.bulk_empty_bytes, 0, MAX_BYTES),
        FIELD("bandwidth", sample.bandwidth_bytes_per_s, 0, UINT64_MAX),
        FIELD("queued", sample.queued_bytes, 0, MAX_BYTES),
        FIELD("recent", sample.link.recent_bytes_per_s, 0, UINT64_MAX),
        FIELD("low", sample.link.low_bytes_per_s, 0, UINT64_MAX),
        FIELD("burst", sample.link.burst_bytes_per_s, 0, UINT64_MAX),
        FIELD("devices", sample.link.devices_bytes, 0, MAX_BYTES),
        FIELD("sync_cost_ns", sample.sync_cost_ns, 0, MAX_NS),
        FIELD("sync_busy_ns", sample.sync_busy_ns, 0, MAX_NS),
        FIELD("throttle", sample.throttle_pct, 0, 99),
        FIELD("bulk", sample.bulk_pass, 0, 1),
        FIELD("valid", sample.valid, 0, 1),
        FIELD("run_times", sample.run_times_known, 0, 1),
        FIELD("decided_throttle", throttle_pct, 0, 99),
        FIELD("next_sync_ns", next_sync_ns, 0, MAX_NS),
        FIELD("limited", limited, 0, 1),
    };
    uint64_t number = value[0] == '-' ? (uint64_t)strtoll(value, NULL, 10) :
                      strtoull(value, NULL, 10);

    for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++) {
        if (!strcmp(fields[i].key, key)) {
            if (number < fields[i].min || number > fields[i].max) {
                return false;
            }
            switch (fields[i].size) {
            case 1:
                *(uint8_t *)fields[i].value = number;
                break;
            case 4:
                *(uint32_t *)fields[i].value = number;
                break;
            default:
                *(uint64_t *)fields[i].value = number;
                break;
            }
            break;
        }
    }
    /* Forecasts are not decisions; what is unknown is from the future. */
    return true;
}

/* v=ID:DIRTIED:TOUCHED:RAN_NS; traces of old have no more than the first. */
static void set_vcpu(ConvergenceVcpu *vcpu, const char *value)
{
    const char *dirtied = strchr(value, ':') + 1;
    const char *touched = strchr(dirtied, ':');

    const char *ran = touched ? strchr(touched + 1, ':') : NULL;

    vcpu->id = atoi(value);
    vcpu->ran_ns = ran ? strtoll(ran + 1, NULL, 10) : 0;
    vcpu->dirtied_bytes = strtoull(dirtied, NULL, 10);
    vcpu->touched_bytes = touched ? strtoull(touched + 1, NULL, 10) :
                          vcpu->dirtied_bytes;
}

static bool set_field(Replay *replay, const char *key, const char *value)
{
    const char *colon = strchr(value, ':');

    if (!strcmp(key, "policy")) {
        replay->params.policy = convergence_policy_find(value);
        return replay->params.policy;
    } else if (!strcmp(key, "phase")) {
        g_strlcpy(replay->phase, value, sizeof(replay->phase));
    } else if (!strcmp(key, "v") && colon &&
               replay->sample.n_vcpus < SIM_MAX_VCPUS) {
        set_vcpu(&replay->vcpus[replay->sample.n_vcpus++], value);
    } else if (!strcmp(key, "rewrites")) {
        replay->rewrites = atoi(value);
        replay->knows_rewrites = true;
    } else if (!strcmp(key, "metered")) {
        replay->sample.metered = atoi(value);
        replay->knows_metered = true;
    } else if (!strcmp(key, "meter")) {
        /* For people. */
        replay->sample.meter = "a meter";
    } else if (!strcmp(key, "t") && colon &&
               replay->n_throttles < SIM_MAX_VCPUS) {
        replay->throttles_pct[replay->n_throttles++] =
            strtoul(colon + 1, NULL, 10);
    } else if (!strcmp(key, "l") && colon &&
               replay->n_limits < SIM_MAX_VCPUS) {
        replay->limits_bytes_per_s[replay->n_limits++] =
            strtoull(colon + 1, NULL, 10);
    } else {
        return set_number(replay, key, value);
    }
    return true;
}

/* Returns: false if it is no decision of QEMU's, but what became of one. */
static bool parse(Replay *replay, char *text)
{
    char *save = NULL;

    replay->sample = (ConvergenceSample) { .vcpus = replay->vcpus };
    replay->n_limits = 0;
    replay->n_throttles = 0;
    replay->knows_rewrites = false;
    replay->knows_metered = false;
    for (char *word = strtok_r(text, " \n", &save); word;
         word = strtok_r(NULL, " \n", &save)) {
        char *equals = strchr(word, '=');

        if (equals) {
            *equals = '\0';
            if (!set_field(replay, word, equals + 1)) {
                return false;
            }
        }
    }
    if (!replay->knows_metered) {
        /* Traces of old have vCPUs only where they are. */
        replay->sample.metered = replay->sample.n_vcpus;
        replay->sample.meter = "a meter";
    }
    return replay->params.policy;
}

static bool same_throttles(const Replay *replay, const ConvergenceDecision *d)
{
    /* Traces of old know of no throttles of single vCPUs. */
    if (replay->knows_metered && d->vcpus_throttled != !!replay->n_throttles) {
        return false;
    }
    for (unsigned i = 0; d->vcpus_throttled && i < replay->n_throttles &&
         i < replay->sample.n_vcpus; i++) {
        if (replay->vcpus[i].throttle_pct != replay->throttles_pct[i]) {
            return false;
        }
    }
    return true;
}

static bool same_limits(const Replay *replay, const ConvergenceDecision *d)
{
    if (d->vcpus_limited != replay->limited) {
        return false;
    }
    for (unsigned i = 0; replay->limited && i < replay->n_limits &&
         i < replay->sample.n_vcpus; i++) {
        if (replay->vcpus[i].limit_bytes_per_s !=
            replay->limits_bytes_per_s[i]) {
            return false;
        }
    }
    return true;
}

/* Traces of old do not have it. */
static bool same_rewrites(const Replay *replay, const ConvergenceDecision *d)
{
    return !replay->knows_rewrites || d->see_rewrites == replay->rewrites;
}

static void decide_again(Replay *replay, FILE *out)
{
    const ConvergenceDecision *d;

    if (!replay->started) {
        convergence_engine_init(&replay->engine, replay->sample.now_ns -
                                                 replay->sample.interval_ns);
        replay->started = true;
    }
    d = convergence_engine_update(&replay->engine, &replay->params,
                                  &replay->sample);
    replay->decisions++;
    if (d->throttle_pct == replay->throttle_pct &&
        d->next_sync_ns == replay->next_sync_ns && same_limits(replay, d) &&
        same_throttles(replay, d) && same_rewrites(replay, d) &&
        !strcmp(convergence_phase_name(d->phase), replay->phase)) {
        return;
    }
    replay->differences++;
    fprintf(out, "%.3f s: was %s, throttle %u %%%s%s, next sync in %.3f s; is "
            "%s, throttle %u %%%s%s, next sync in %.3f s\n",
            (replay->sample.now_ns - replay->engine.start_ns) / 1e9,
            replay->phase, replay->throttle_pct,
            replay->limited ? ", limits" : "",
            replay->knows_rewrites && replay->rewrites ? ", rewrites" : "",
            replay->next_sync_ns / 1e9,
            convergence_phase_name(d->phase), d->throttle_pct,
            d->vcpus_limited ? ", limits" : "",
            d->see_rewrites ? ", rewrites" : "", d->next_sync_ns / 1e9);
}

int sim_replay(const char *path, FILE *out)
{
    g_autofree Replay *replay = g_new0(Replay, 1);
    FILE *file = strcmp(path, "-") ? fopen(path, "r") : stdin;
    char *line = NULL;
    size_t size = 0;

    if (!file) {
        fprintf(stderr, "converge-sim: %s: %s\n", path, strerror(errno));
        return 2;
    }
    /* For lines that were cut short. */
    replay->params = (ConvergenceParams) {
        .initial_throttle_pct = 20, .throttle_increment_pct = 10,
        .max_throttle_pct = 99, .trigger_threshold_pct = 50,
        .sync_period_ms = 1000, .downtime_limit_ms = 300,
    };
    while (getline(&line, &size, file) > 0) {
        char *text = strstr(line, MARK);

        if (text && parse(replay, text + strlen(MARK))) {
            decide_again(replay, out);
        } else if (text) {
            replay->damaged++;
        }
    }
    free(line);     /* getline's own, not GLib's */
    if (file != stdin) {
        fclose(file);
    }
    if (replay->damaged) {
        fprintf(out, "%u damaged lines were passed over\n", replay->damaged);
    }
    fprintf(out, "%u decisions, %u of them differ\n", replay->decisions,
            replay->differences);
    if (!replay->decisions) {
        fprintf(stderr, "converge-sim: %s holds no convergence_decision; "
                "start QEMU with -trace convergence_decision\n", path);
        return 2;
    }
    return replay->differences ? 1 : 0;
}
