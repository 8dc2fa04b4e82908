/*
 * Recordings read back, in either form
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "recording.h"

#include "record-fields.h"

#include <gio/gio.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

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
        look_add_vcpu(look, vcpu);
    }
    return TRUE;
}

static gboolean parse_cell(Look *look, const char *name, const char *text)
{
    double value;

    for (size_t i = 0; i < record_nr_fields; i++) {
        if (!g_str_equal(name, record_fields[i].name)) {
            continue;
        }
        if (record_is_text(&record_fields[i])) {
            record_set_text(&record_fields[i], look, text);
        } else if (*text) {
            if (!parse_number(text, &value)) {
                return FALSE;
            }
            record_set_number(&record_fields[i], look, value);
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
        look_add_vcpu(look, vcpu);
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
    for (size_t i = 0; i < record_nr_fields; i++) {
        if (record_is_text(&record_fields[i])) {
            record_set_text(&record_fields[i], look,
                           json_object_get_string_member_with_default(
                               object, record_fields[i].name, ""));
        } else if (json_object_has_member(object, record_fields[i].name)) {
            record_set_number(&record_fields[i], look,
                             json_number(object, record_fields[i].name));
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
