/*
 * A migration on disk: one record a look, as CSV or as JSON lines
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "recording.h"

#include "record-fields.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

struct Recording {
    FILE *file;
    char *path;
    RecordFormat format;
};

const char *recording_csv_header(void)
{
    static char *header;

    if (!header) {
        GString *line = g_string_new("");

        for (size_t i = 0; i < record_nr_fields; i++) {
            g_string_append_printf(line, "%s,", record_fields[i].name);
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

/* A word as it is; what would end a cell or a line, quoted */
static void append_text(GString *line, const char *text)
{
    if (strpbrk(text, ",\"\n")) {
        append_quoted(line, text);
    } else {
        g_string_append(line, text);
    }
}

char *recording_csv(const Look *look)
{
    GString *line = g_string_new("");

    for (size_t i = 0; i < record_nr_fields; i++) {
        const Field *field = &record_fields[i];

        if (record_is_text(field)) {
            g_autofree char *text = record_field_text(field, look);

            append_text(line, text);
        } else if (record_field_number(field, look) >= 0) {
            g_string_append_printf(line, "%.0f",
                                   record_field_number(field, look));
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
    for (size_t i = 0; i < record_nr_fields; i++) {
        const Field *field = &record_fields[i];

        if (!record_is_text(field)) {
            if (record_field_number(field, look) >= 0) {
                json_object_set_int_member(object, field->name,
                                           record_field_number(field, look));
            }
        } else {
            g_autofree char *text = record_field_text(field, look);

            if (*text) {
                json_object_set_string_member(object, field->name, text);
            }
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
