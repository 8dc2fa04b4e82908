/*
 * A migration on disk: one record a look, as CSV or as JSON lines
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * One table names every field and says where in a Look it lives, so that
 * both writers and both readers cannot disagree.
 */

#include "recording.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef enum FieldKind {
    FIELD_TEXT, FIELD_INT, FIELD_INT64, FIELD_DOUBLE
} FieldKind;

typedef struct Field {
    const char *name;
    FieldKind kind;
    size_t offset;
} Field;

#define FIELD(name, kind, member) { name, kind, offsetof(Look, member) }

static const Field fields[] = {
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
};

struct Recording {
    FILE *file;
    char *path;
    RecordFormat format;
};

static double field_number(const Field *field, const Look *look)
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

static void set_field_number(const Field *field, Look *look, double value)
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

static const char *field_text(const Field *field, const Look *look)
{
    return *(char *const *)((const char *)look + field->offset) ?: "";
}

static void set_field_text(const Field *field, Look *look, const char *text)
{
    char **at = (char **)((char *)look + field->offset);

    g_free(*at);
    *at = g_strdup(text);
}

const char *recording_csv_header(void)
{
    static char *header;

    if (!header) {
        GString *line = g_string_new("");

        for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
            g_string_append_printf(line, "%s,", fields[i].name);
        }
        g_string_append(line, "vcpus,reason");
        header = g_string_free(line, FALSE);
    }
    return header;
}

static void append_vcpus(GString *line, const Look *look)
{
    for (guint i = 0; i < look->vcpus->len; i++) {
        LookVcpu *vcpu = &g_array_index(look->vcpus, LookVcpu, i);

        g_string_append_printf(line, "%s%d:%.0f:%.0f:%d", i ? " " : "",
                               vcpu->id, vcpu->dirty_bytes_per_s,
                               vcpu->limit_bytes_per_s, vcpu->throttle_pct);
    }
}

/* RFC 4180: quotes around, and doubled inside */
static void append_quoted(GString *line, const char *text)
{
    g_autoptr(GString) doubled = g_string_new(text ?: "");

    g_string_replace(doubled, "\"", "\"\"", 0);
    g_string_replace(doubled, "\n", " ", 0);
    g_string_append_printf(line, "\"%s\"", doubled->str);
}

char *recording_csv(const Look *look)
{
    GString *line = g_string_new("");

    for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
        const Field *field = &fields[i];

        if (field->kind == FIELD_TEXT) {
            g_string_append(line, field_text(field, look));
        } else if (field_number(field, look) >= 0) {
            g_string_append_printf(line, "%.0f", field_number(field, look));
        }
        g_string_append_c(line, ',');
    }
    append_vcpus(line, look);
    g_string_append_c(line, ',');
    append_quoted(line, look->reason);
    return g_string_free(line, FALSE);
}

static JsonArray *vcpus_to_json(const Look *look)
{
    JsonArray *list = json_array_new();

    for (guint i = 0; i < look->vcpus->len; i++) {
        LookVcpu *vcpu = &g_array_index(look->vcpus, LookVcpu, i);
        JsonObject *object = json_object_new();

        json_object_set_int_member(object, "id", vcpu->id);
        json_object_set_int_member(object, "dirty-bytes-per-s",
                                   vcpu->dirty_bytes_per_s);
        json_object_set_int_member(object, "limit-bytes-per-s",
                                   vcpu->limit_bytes_per_s);
        json_object_set_int_member(object, "throttle-pct",
                                   vcpu->throttle_pct);
        json_array_add_object_element(list, object);
    }
    return list;
}

char *recording_json(const Look *look)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    JsonObject *object = json_object_new();

    json_object_set_string_member(object, "type", "sample");
    for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
        const Field *field = &fields[i];

        if (field->kind != FIELD_TEXT) {
            if (field_number(field, look) >= 0) {
                json_object_set_int_member(object, field->name,
                                           field_number(field, look));
            }
        } else if (*field_text(field, look)) {
            json_object_set_string_member(object, field->name,
                                          field_text(field, look));
        }
    }
    if (look->vcpus->len) {
        json_object_set_array_member(object, "vcpus", vcpus_to_json(look));
    }
    if (look->reason && *look->reason) {
        json_object_set_string_member(object, "reason", look->reason);
    }
    json_node_take_object(node, object);
    return json_to_string(node, FALSE);
}

RecordFormat recording_format_of(const char *path)
{
    return g_str_has_suffix(path, ".json") ||
           g_str_has_suffix(path, ".jsonl") ||
           g_str_has_suffix(path, ".ndjson") ? RECORD_JSON : RECORD_CSV;
}

static gboolean write_line(Recording *recording, const char *line,
                           GError **errp)
{
    if (fprintf(recording->file, "%s\n", line) < 0 ||
        fflush(recording->file) != 0) {
        g_set_error(errp, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "cannot write %s: %s", recording->path,
                    g_strerror(errno));
        return FALSE;
    }
    return TRUE;
}

Recording *recording_create(const char *path, RecordFormat format,
                            GError **errp)
{
    g_autoptr(Recording) recording = g_new0(Recording, 1);

    recording->format = format;
    recording->path = g_strdup(path);
    recording->file = g_str_equal(path, "-") ? stdout : g_fopen(path, "we");
    if (!recording->file) {
        g_set_error(errp, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "cannot write %s: %s", path, g_strerror(errno));
        return NULL;
    }
    if (format == RECORD_CSV &&
        !write_line(recording, recording_csv_header(), errp)) {
        return NULL;
    }
    return g_steal_pointer(&recording);
}

gboolean recording_add(Recording *recording, const Look *look, GError **errp)
{
    g_autofree char *line = recording->format == RECORD_CSV
                            ? recording_csv(look) : recording_json(look);

    return write_line(recording, line, errp);
}

void recording_close(Recording *recording)
{
    if (recording) {
        if (recording->file && recording->file != stdout) {
            fclose(recording->file);
        }
        g_free(recording->path);
        g_free(recording);
    }
}

/* Splits a CSV line; a quoted field may hold commas and doubled quotes */
static GPtrArray *split_csv(const char *line)
{
    GPtrArray *cells = g_ptr_array_new_with_free_func(g_free);
    GString *cell = g_string_new("");
    gboolean quoted = FALSE;

    for (const char *p = line; ; p++) {
        if (!*p || (*p == ',' && !quoted)) {
            g_ptr_array_add(cells, g_strdup(cell->str));
            g_string_truncate(cell, 0);
            if (!*p) {
                break;
            }
        } else if (*p != '"') {
            g_string_append_c(cell, *p);
        } else if (quoted && p[1] == '"') {
            g_string_append_c(cell, *++p);
        } else {
            quoted = !quoted;
        }
    }
    g_string_free(cell, TRUE);
    return cells;
}

static gboolean parse_number(const char *text, double *value)
{
    char *end;

    *value = g_ascii_strtod(text, &end);
    return end != text && !*end && isfinite(*value);
}

static gboolean parse_vcpus(const char *text, Look *look)
{
    g_auto(GStrv) list = g_strsplit(text, " ", -1);

    for (char **item = list; *item && **item; item++) {
        LookVcpu vcpu;

        if (sscanf(*item, "%d:%lf:%lf:%d", &vcpu.id, &vcpu.dirty_bytes_per_s,
                   &vcpu.limit_bytes_per_s, &vcpu.throttle_pct) != 4) {
            return FALSE;
        }
        g_array_append_val(look->vcpus, vcpu);
    }
    return TRUE;
}

static gboolean parse_cell(Look *look, const char *name, const char *text)
{
    double value;

    for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
        if (!g_str_equal(name, fields[i].name)) {
            continue;
        }
        if (fields[i].kind == FIELD_TEXT) {
            set_field_text(&fields[i], look, text);
        } else if (*text) {
            if (!parse_number(text, &value)) {
                return FALSE;
            }
            set_field_number(&fields[i], look, value);
        }
        return TRUE;
    }
    if (g_str_equal(name, "reason")) {
        g_free(look->reason);
        look->reason = g_strdup(text);
    }
    return !g_str_equal(name, "vcpus") || parse_vcpus(text, look);
}

static Look *parse_csv(const char *line, GPtrArray *names)
{
    g_autoptr(GPtrArray) cells = split_csv(line);
    g_autoptr(Look) look = look_new();

    /* Fewer: the line was cut when the disk was full or the writer killed */
    if (cells->len != names->len) {
        return NULL;
    }
    for (guint i = 0; i < cells->len; i++) {
        if (!parse_cell(look, names->pdata[i], cells->pdata[i])) {
            return NULL;
        }
    }
    return g_steal_pointer(&look);
}

static double json_number(JsonObject *object, const char *name)
{
    JsonNode *node = json_object_get_member(object, name);

    if (!node || !JSON_NODE_HOLDS_VALUE(node)) {
        return LOOK_UNKNOWN;
    }
    return json_node_get_double(node);
}

static void json_to_vcpus(JsonObject *object, Look *look)
{
    JsonNode *node = json_object_get_member(object, "vcpus");
    JsonArray *list = node && JSON_NODE_HOLDS_ARRAY(node)
                      ? json_node_get_array(node) : NULL;

    for (guint i = 0; list && i < json_array_get_length(list); i++) {
        JsonNode *element = json_array_get_element(list, i);
        JsonObject *item;
        LookVcpu vcpu;

        if (!JSON_NODE_HOLDS_OBJECT(element)) {
            continue;
        }
        item = json_node_get_object(element);
        vcpu.id = json_number(item, "id");
        vcpu.dirty_bytes_per_s = json_number(item, "dirty-bytes-per-s");
        vcpu.limit_bytes_per_s = json_number(item, "limit-bytes-per-s");
        vcpu.throttle_pct = json_number(item, "throttle-pct");
        g_array_append_val(look->vcpus, vcpu);
    }
}

/* NULL if not JSON; a Look without status for objects of other types */
static Look *parse_json(const char *line)
{
    g_autoptr(JsonNode) node = json_from_string(line, NULL);
    g_autoptr(Look) look = look_new();
    JsonObject *object;

    if (!node || !JSON_NODE_HOLDS_OBJECT(node)) {
        return NULL;
    }
    object = json_node_get_object(node);
    if (!g_str_equal(json_object_get_string_member_with_default(
                         object, "type", ""), "sample")) {
        return g_steal_pointer(&look);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
        if (fields[i].kind == FIELD_TEXT) {
            set_field_text(&fields[i], look,
                           json_object_get_string_member_with_default(
                               object, fields[i].name, ""));
        } else if (json_object_has_member(object, fields[i].name)) {
            set_field_number(&fields[i], look,
                             json_number(object, fields[i].name));
        }
    }
    look->reason = g_strdup(json_object_get_string_member_with_default(
                                object, "reason", ""));
    json_to_vcpus(object, look);
    return g_steal_pointer(&look);
}

GPtrArray *recording_parse(const char *text, GError **errp)
{
    g_autoptr(GPtrArray) looks =
        g_ptr_array_new_with_free_func((GDestroyNotify)look_free);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    gboolean json = *text == '{';
    g_autoptr(GPtrArray) names =
        split_csv(json || !lines[0] ? "" : g_strchomp(lines[0]));

    if (!json && !g_str_has_prefix(text, "time-ms,")) {
        g_set_error_literal(errp, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                            "neither CSV that begins with 'time-ms,' nor "
                            "JSON lines");
        return NULL;
    }
    for (int i = json ? 0 : 1; lines[i]; i++) {
        char *line = g_strchomp(lines[i]);
        Look *look = !*line ? NULL : json ? parse_json(line)
                                          : parse_csv(line, names);

        /* The last line may have been cut short; no other may */
        if (!look && *line && lines[i + 1]) {
            g_set_error(errp, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                        "line %d is no record", i + 1);
            return NULL;
        }
        if (look && look->status && *look->status) {
            g_ptr_array_add(looks, look);
        } else {
            look_free(look);
        }
    }
    return g_steal_pointer(&looks);
}

GPtrArray *recording_load(const char *path, GError **errp)
{
    g_autofree char *text = NULL;
    gsize length;
    GPtrArray *looks;

    if (!g_file_get_contents(path, &text, &length, errp)) {
        return NULL;
    }
    looks = recording_parse(text, errp);
    if (!looks) {
        g_prefix_error(errp, "%s: ", path);
    } else if (!looks->len) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "%s: holds no record", path);
        g_clear_pointer(&looks, g_ptr_array_unref);
    }
    return looks;
}
