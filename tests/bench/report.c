/*
 * Measured migrations as text for people and JSON for programs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "report.h"

#include <stdlib.h>

#define MEGA 1e6

const char *report_outcome(const MigrateResult *result)
{
    static const char *const names[] = {
        [MIGRATE_COMPLETED] = "completed",
        [MIGRATE_CAPPED] = "capped",
        [MIGRATE_FAILED] = "failed",
    };

    return names[result->outcome];
}

char *report_verdict(const MigrateResult *result)
{
    switch (result->outcome) {
    case MIGRATE_COMPLETED:
        return g_strdup_printf("completed in %.1f s",
                               result->total_ms / 1e3);
    case MIGRATE_CAPPED:
        return g_strdup_printf("not done after %.0f s",
                               result->total_ms / 1e3);
    default:
        return g_strdup_printf("failed after %.1f s: %s",
                               result->total_ms / 1e3, result->why);
    }
}

char *report_work_shares_pct(const MigrateResult *result)
{
    GString *text = g_string_new("");

    for (unsigned i = 0; i < result->nr_vcpus; i++) {
        g_string_append_printf(text, "%s%.0f", i ? "/" : "",
                               result->vcpus[i].work_share_pct);
    }
    return g_string_free(text, FALSE);
}

char *report_lost_s(const MigrateResult *result)
{
    GString *text = g_string_new("");

    for (unsigned i = 0; i < result->nr_vcpus; i++) {
        g_string_append_printf(text, "%s%.1f", i ? "/" : "",
                               result->vcpus[i].lost_s);
    }
    return g_string_free(text, FALSE);
}

void report_table_head(FILE *out)
{
    fprintf(out, "%-8s %-11s %-10s %8s %6s %6s %8s %8s %5s %10s %10s %8s\n",
            "qemu", "policy", "outcome", "total s", "x F", "x C", "down ms",
            "sent MB", "thr %", "work %", "lost s", "silent s");
}

void report_table_row(FILE *out, const MigrateSpec *spec,
                      const MigrateFloor *floor, const MigrateResult *result)
{
    g_autofree char *shares = report_work_shares_pct(result);
    g_autofree char *lost = report_lost_s(result);
    double total_s = result->total_ms / 1e3;

    fprintf(out, "%-8s %-11s %-10s %8.1f ", spec->label,
            spec->policy ?: "-", report_outcome(result), total_s);
    if (floor) {
        fprintf(out, "%6.2f %6.2f ", total_s / floor->f_s,
                total_s / floor->c_s);
    } else {
        fprintf(out, "%6s %6s ", "-", "-");
    }
    fprintf(out, "%8" G_GINT64_FORMAT " %8.0f %5d %10s %10s %8.2f\n",
            result->downtime_ms, result->sent_bytes / MEGA,
            result->max_throttle_pct, shares, lost,
            result->max_silence_ms / 1e3);
    if (result->why) {
        fprintf(out, "  why: %s\n", result->why);
    }
    if (result->host_wait_pct >= MIGRATE_HOST_WAIT_WARN_PCT && !spec->pin) {
        fprintf(out, "  the host was busy: even before, vCPUs waited %.0f %% "
                "of their time for a CPU; work and times are unreliable\n",
                result->host_wait_pct);
    }
    if (result->host_others_pct >= MIGRATE_HOST_OTHERS_WARN_PCT) {
        fprintf(out, "  the host did other things: they took %.0f %% of its "
                "CPUs meanwhile; work and times are unreliable\n",
                result->host_others_pct);
    }
    fflush(out);
}

static void add_string(JsonBuilder *b, const char *name, const char *value)
{
    json_builder_set_member_name(b, name);
    if (value) {
        json_builder_add_string_value(b, value);
    } else {
        json_builder_add_null_value(b);
    }
}

static void add_int(JsonBuilder *b, const char *name, gint64 value)
{
    json_builder_set_member_name(b, name);
    json_builder_add_int_value(b, value);
}

/* Three places: what is finer than a thousandth is noise here */
static void add_double(JsonBuilder *b, const char *name, double value)
{
    char text[G_ASCII_DTOSTR_BUF_SIZE];

    g_ascii_formatd(text, sizeof(text), "%.3f", value);
    json_builder_set_member_name(b, name);
    json_builder_add_double_value(b, g_ascii_strtod(text, NULL));
}

static void add_spec(JsonBuilder *b, const MigrateSpec *spec)
{
    add_string(b, "label", spec->label);
    add_string(b, "qemu", spec->qemu);
    add_string(b, "policy", spec->policy);
    add_string(b, "accel", spec->accel ?: "tcg");
    add_string(b, "load", spec->load);
    add_int(b, "mem_mib", spec->mem_mib);
    add_int(b, "vcpus", spec->smp);
    add_int(b, "bandwidth_bytes_per_s", spec->bandwidth_bytes_per_s);
    add_int(b, "downtime_limit_ms", spec->downtime_limit_ms);
    add_int(b, "cap_s", spec->cap_s);
    json_builder_set_member_name(b, "wire");
    json_builder_add_boolean_value(b, spec->wire != NULL);
    json_builder_set_member_name(b, "pinned");
    json_builder_add_boolean_value(b, spec->pin);
    json_builder_set_member_name(b, "settings");
    json_builder_begin_array(b);
    for (const char *const *s = spec->settings; s && *s; s++) {
        json_builder_add_string_value(b, *s);
    }
    json_builder_end_array(b);
}

static void add_floor(JsonBuilder *b, const MigrateFloor *floor)
{
    json_builder_set_member_name(b, "floor");
    json_builder_begin_object(b);
    add_double(b, "bulk_pass_s", floor->bulk_pass_s);
    add_int(b, "dirty_bytes", floor->dirty_bytes);
    add_int(b, "nonzero_bytes", floor->nonzero_bytes);
    add_double(b, "f_s", floor->f_s);
    add_double(b, "c_s", floor->c_s);
    json_builder_end_object(b);
}

static void add_result(JsonBuilder *b, const MigrateResult *result)
{
    add_string(b, "outcome", report_outcome(result));
    add_string(b, "why", result->why);
    add_string(b, "slowed", result->slowed);
    add_int(b, "total_ms", result->total_ms);
    /* Not a number where there is none */
    json_builder_set_member_name(b, "downtime_ms");
    if (result->downtime_ms >= 0) {
        json_builder_add_int_value(b, result->downtime_ms);
    } else {
        json_builder_add_null_value(b);
    }
    if (result->felt_downtime_ms >= 0) {
        add_double(b, "felt_downtime_ms", result->felt_downtime_ms);
    }
    add_int(b, "expected_downtime_ms", result->expected_downtime_ms);
    add_int(b, "sent_bytes", result->sent_bytes);
    add_int(b, "passes", result->passes);
    add_int(b, "max_throttle_pct", result->max_throttle_pct);
    if (result->longest_pause_ms >= 0) {
        add_int(b, "longest_pause_ms", result->longest_pause_ms);
    }
    add_double(b, "max_silence_ms", result->max_silence_ms);
    add_int(b, "bad_pages", result->bad_pages);
    add_double(b, "host_wait_pct", result->host_wait_pct);
    add_double(b, "host_others_pct", result->host_others_pct);
}

/* Of the guest's timers vCPU by vCPU, and last of a program's answers */
static void add_latencies(JsonBuilder *b, const MigrateResult *result)
{
    json_builder_set_member_name(b, "guest_latencies");
    json_builder_begin_array(b);
    for (unsigned i = 0; i < GUEST_WORK_LATENCIES; i++) {
        const GuestWorkLatency *latency = &result->latencies[i];

        if (!latency->count) {
            continue;
        }
        json_builder_begin_object(b);
        if (i == GUEST_WORK_PROGRAM_LATENCY) {
            add_string(b, "of", "program");
        } else {
            add_int(b, "of", i);
        }
        add_int(b, "count", latency->count);
        add_double(b, "p50_us", latency->p50_us);
        add_double(b, "p99_us", latency->p99_us);
        add_double(b, "max_us", latency->max_us);
        add_double(b, "before_p50_us", latency->before_p50_us);
        add_double(b, "before_p99_us", latency->before_p99_us);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
}

static void add_vcpus(JsonBuilder *b, const MigrateResult *result)
{
    json_builder_set_member_name(b, "guest_vcpus");
    json_builder_begin_array(b);
    for (unsigned i = 0; i < result->nr_vcpus; i++) {
        const GuestWorkVcpu *vcpu = &result->vcpus[i];

        json_builder_begin_object(b);
        add_double(b, "rate_before_per_s", vcpu->rate_before_per_s);
        add_double(b, "work_share_pct", vcpu->work_share_pct);
        add_double(b, "lost_s", vcpu->lost_s);
        add_double(b, "silence_ms", vcpu->silence_ms);
        if (vcpu->held_pct >= 0) {
            add_double(b, "held_pct", vcpu->held_pct);
        }
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
}

/* Only what was told: a time line has a hundred of these and more */
static void add_forecast(JsonBuilder *b, const MigrateSample *s)
{
    if (s->expected_downtime_ms) {
        add_int(b, "expected_downtime_ms", s->expected_downtime_ms);
    }
    if (!s->state) {
        return;
    }
    add_string(b, "state", s->state);
    add_int(b, "dirty_bytes_per_s", s->dirty_bytes_per_s);
    add_int(b, "drain_bytes_per_s", s->drain_bytes_per_s);
    if (s->predicted_total_ms >= 0) {
        add_int(b, "predicted_total_ms", s->predicted_total_ms);
    }
    if (s->predicted_downtime_ms >= 0) {
        add_int(b, "predicted_downtime_ms", s->predicted_downtime_ms);
    }
}

static void add_meters(JsonBuilder *b, const MigrateSample *s)
{
    if (!s->nr_metered) {
        return;
    }
    json_builder_set_member_name(b, "vcpus");
    json_builder_begin_array(b);
    for (unsigned i = 0; i < s->nr_metered; i++) {
        json_builder_begin_object(b);
        add_int(b, "dirty_bytes_per_s", s->vcpu_dirty_bytes_per_s[i]);
        add_int(b, "limit_bytes_per_s", s->vcpu_limit_bytes_per_s[i]);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
}

/*
 * What the first vCPU did from @from_us on, in units a second: when it was
 * slowest, and fastest.  What is told of it is to be held against that, and not
 * against what it is meant to do: an emulated host holds vCPUs up for a second.
 */
static void add_tail_work(JsonBuilder *b, const MigrateResult *result,
                          gint64 from_us)
{
    double least = G_MAXDOUBLE, most = 0;
    gint64 begin_us = 0;

    for (unsigned i = 0; i < result->work_timeline->len; i++) {
        const GuestWorkSpan *span =
            &g_array_index(result->work_timeline, GuestWorkSpan, i);
        double per_s = result->vcpus[0].rate_before_per_s *
                       span->work_share_pct[0] / 100;

        if (begin_us >= from_us) {
            least = MIN(least, per_s);
            most = MAX(most, per_s);
        }
        begin_us = span->end_us;
    }
    if (least <= most) {
        add_int(b, "tail_work_least_per_s", least);
        add_int(b, "tail_work_most_per_s", most);
    }
}

/* What was told of the guest's dirtying after the bulk pass, least and most */
static void add_tail(JsonBuilder *b, const MigrateResult *result)
{
    guint64 least = G_MAXUINT64, most = 0;
    gint64 from_ms = -1;
    const char *meter = NULL;

    for (unsigned i = 0; i < result->timeline->len; i++) {
        const MigrateSample *s =
            &g_array_index(result->timeline, MigrateSample, i);

        meter = s->state ? s->meter : meter;
        if (s->state && !s->bulk_pass) {
            from_ms = from_ms < 0 ? s->at_ms : from_ms;
            least = MIN(least, s->dirty_bytes_per_s);
            most = MAX(most, s->dirty_bytes_per_s);
        }
    }
    if (least <= most) {
        add_int(b, "tail_dirty_least_bytes_per_s", least);
        add_int(b, "tail_dirty_most_bytes_per_s", most);
        if (result->work_timeline && result->nr_vcpus) {
            add_tail_work(b, result, from_ms * 1000);
        }
    }
    add_string(b, "meter", meter);
}

static void add_timeline(JsonBuilder *b, const MigrateResult *result)
{
    json_builder_set_member_name(b, "timeline");
    json_builder_begin_array(b);
    for (unsigned i = 0; i < result->timeline->len; i++) {
        const MigrateSample *s =
            &g_array_index(result->timeline, MigrateSample, i);

        json_builder_begin_object(b);
        add_int(b, "at_ms", s->at_ms);
        add_int(b, "throttle_pct", s->throttle_pct);
        add_int(b, "remaining_bytes", s->remaining_bytes);
        add_int(b, "sent_bytes", s->sent_bytes);
        add_int(b, "passes", s->passes);
        add_forecast(b, s);
        add_meters(b, s);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
}

char *report_json(const MigrateSpec *spec, const char *workload,
                  unsigned run, const MigrateFloor *floor,
                  const MigrateResult *result)
{
    g_autoptr(JsonBuilder) b = json_builder_new();
    g_autoptr(JsonNode) root = NULL;

    json_builder_begin_object(b);
    add_string(b, "workload", workload);
    add_int(b, "run", run);
    add_spec(b, spec);
    if (floor) {
        add_floor(b, floor);
    }
    add_result(b, result);
    add_tail(b, result);
    add_vcpus(b, result);
    add_latencies(b, result);
    add_timeline(b, result);
    json_builder_end_object(b);
    root = json_builder_get_root(b);
    return json_to_string(root, FALSE);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double report_median(double *values, unsigned count)
{
    if (!count) {
        return 0;
    }
    qsort(values, count, sizeof(*values), compare_doubles);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}
