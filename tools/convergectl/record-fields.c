/*
 * The fields of a record
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "record-fields.h"

#define FIELD(name, kind, member) { name, kind, offsetof(Look, member) }

const Field record_fields[] = {
    FIELD("time-ms", FIELD_INT64, at_ms),
    FIELD("status", FIELD_TEXT, status),
    FIELD("state", FIELD_TEXT, state),
    FIELD("policy", FIELD_TEXT, policy),
    FIELD("dirty-bytes-per-s", FIELD_DOUBLE, dirty_bytes_per_s),
    FIELD("drain-bytes-per-s", FIELD_DOUBLE, drain_bytes_per_s),
    FIELD("remaining-bytes", FIELD_DOUBLE, remaining_bytes),
    FIELD("total-bytes", FIELD_DOUBLE, total_bytes),
    FIELD("sent-bytes", FIELD_DOUBLE, sent_bytes),
    FIELD("passes", FIELD_INT64, passes),
    FIELD("throttle-pct", FIELD_INT, throttle_pct),
    FIELD("progress-pct", FIELD_INT, progress_pct),
    FIELD("predicted-total-ms", FIELD_INT64, predicted_total_ms),
    FIELD("predicted-downtime-ms", FIELD_INT64, predicted_downtime_ms),
    FIELD("downtime-limit-ms", FIELD_INT64, downtime_limit_ms),
    FIELD("downtime-ms", FIELD_INT64, downtime_ms),
    FIELD("longest-pause-ms", FIELD_INT64, longest_pause_ms),
    FIELD("predicted-error-pct", FIELD_INT, predicted_error_pct),
    FIELD("clock", FIELD_TIME, clock_ms),
    FIELD("guest", FIELD_TEXT, guest),
    FIELD("settings", FIELD_TEXT, settings),
};

const size_t record_nr_fields = G_N_ELEMENTS(record_fields);

double record_field_number(const Field *field, const Look *look)
{
    const char *at = (const char *)look + field->offset;

    switch (field->kind) {
    case FIELD_INT:
        return *(const int *)at;
    case FIELD_INT64:
        return *(const gint64 *)at;
    default:
        return *(const double *)at;
    }
}

void record_set_number(const Field *field, Look *look, double value)
{
    char *at = (char *)look + field->offset;

    switch (field->kind) {
    case FIELD_INT:
        *(int *)at = CLAMP(value, G_MININT, G_MAXINT);
        break;
    case FIELD_INT64:
        *(gint64 *)at = CLAMP(value, -9e18, 9e18);
        break;
    default:
        *(double *)at = value;
        break;
    }
}

char *record_time_text(gint64 ms)
{
    g_autoptr(GDateTime) time =
        ms < 0 ? NULL : g_date_time_new_from_unix_utc(ms / 1000);
    g_autofree char *seconds =
        time ? g_date_time_format(time, "%Y-%m-%dT%H:%M:%S") : NULL;

    return seconds ? g_strdup_printf("%s.%03dZ", seconds, (int)(ms % 1000))
                   : g_strdup("");
}

static gint64 parse_time(const char *text)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(text, NULL);

    return time ? MAX(g_date_time_to_unix(time) * 1000 +
                      g_date_time_get_microsecond(time) / 1000, LOOK_UNKNOWN)
                : LOOK_UNKNOWN;
}

char *record_field_text(const Field *field, const Look *look)
{
    const char *at = (const char *)look + field->offset;

    return field->kind == FIELD_TIME ? record_time_text(*(const gint64 *)at)
                                     : g_strdup(*(char *const *)at ?: "");
}

void record_set_text(const Field *field, Look *look, const char *text)
{
    char *at = (char *)look + field->offset;

    if (field->kind == FIELD_TIME) {
        *(gint64 *)at = parse_time(text);
    } else {
        g_free(*(char **)at);
        *(char **)at = g_strdup(text);
    }
}
