/*
 * One look at a migration: a reply of query-migrate as a struct
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "look.h"

#include <string.h>

static JsonObject *object_of(JsonObject *object, const char *name)
{
    JsonNode *node = object ? json_object_get_member(object, name) : NULL;

    return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node)
                                                : NULL;
}

static JsonNode *value_of(JsonObject *object, const char *name)
{
    JsonNode *node = object ? json_object_get_member(object, name) : NULL;

    return node && JSON_NODE_HOLDS_VALUE(node) ? node : NULL;
}

static char *text_of(JsonObject *object, const char *name)
{
    JsonNode *node = value_of(object, name);

    if (node && json_node_get_value_type(node) == G_TYPE_STRING) {
        return json_node_dup_string(node);
    }
    return g_strdup("");
}

static double number_of(JsonObject *object, const char *name)
{
    JsonNode *node = value_of(object, name);
    GType type = node ? json_node_get_value_type(node) : G_TYPE_INVALID;

    if (type == G_TYPE_INT64) {
        return json_node_get_int(node);
    }
    return type == G_TYPE_DOUBLE ? json_node_get_double(node) : LOOK_UNKNOWN;
}

Look *look_new(void)
{
    Look *look = g_new0(Look, 1);

    look->at_ms = LOOK_UNKNOWN;
    look->clock_ms = LOOK_UNKNOWN;
    look->dirty_bytes_per_s = LOOK_UNKNOWN;
    look->drain_bytes_per_s = LOOK_UNKNOWN;
    look->remaining_bytes = LOOK_UNKNOWN;
    look->total_bytes = LOOK_UNKNOWN;
    look->sent_bytes = LOOK_UNKNOWN;
    look->drained_bytes = LOOK_UNKNOWN;
    look->passes = LOOK_UNKNOWN;
    look->throttle_pct = LOOK_UNKNOWN;
    look->progress_pct = LOOK_UNKNOWN;
    look->predicted_total_ms = LOOK_UNKNOWN;
    look->predicted_error_pct = LOOK_UNKNOWN;
    look->predicted_downtime_ms = LOOK_UNKNOWN;
    look->downtime_limit_ms = LOOK_UNKNOWN;
    look->downtime_ms = LOOK_UNKNOWN;
    look->longest_pause_ms = LOOK_UNKNOWN;
    look->vcpus = g_array_new(FALSE, FALSE, sizeof(LookVcpu));
    return look;
}

void look_free(Look *look)
{
    if (look) {
        g_free(look->status);
        g_free(look->state);
        g_free(look->policy);
        g_free(look->reason);
        g_free(look->error);
        g_free(look->guest);
        g_free(look->settings);
        g_array_unref(look->vcpus);
        g_free(look);
    }
}

static void take_ram(Look *look, JsonObject *ram)
{
    double page_bytes = number_of(ram, "page-size");
    double dirty_pages_per_s = number_of(ram, "dirty-pages-rate");
    double zero_pages = number_of(ram, "duplicate");
    double normal_pages = number_of(ram, "normal");
    double syncs = number_of(ram, "dirty-sync-count");

    look->remaining_bytes = number_of(ram, "remaining");
    look->total_bytes = number_of(ram, "total");
    look->sent_bytes = number_of(ram, "transferred");
    /* The first sync is the one before the first pass */
    look->passes = syncs > 0 ? syncs - 1 : syncs;
    if (page_bytes > 0) {
        /* 0 until the second sync: not a rate, but no figure yet */
        if (dirty_pages_per_s > 0) {
            look->dirty_bytes_per_s = dirty_pages_per_s * page_bytes;
        }
        if (zero_pages >= 0 && normal_pages >= 0) {
            look->drained_bytes = (zero_pages + normal_pages) * page_bytes;
        }
    }
}

/* No rate is negative, and none is too large for an integer of JSON */
static double sane_rate(double bytes_per_s)
{
    return bytes_per_s > 0 ? MIN(bytes_per_s, 9e18) : 0;
}

void look_add_vcpu(Look *look, LookVcpu vcpu)
{
    vcpu.dirty_bytes_per_s = sane_rate(vcpu.dirty_bytes_per_s);
    vcpu.limit_bytes_per_s = sane_rate(vcpu.limit_bytes_per_s);
    g_array_append_val(look->vcpus, vcpu);
}

static void take_vcpus(Look *look, JsonObject *convergence)
{
    JsonNode *node = json_object_get_member(convergence, "vcpus");
    JsonArray *list;

    if (!node || !JSON_NODE_HOLDS_ARRAY(node)) {
        return;
    }
    list = json_node_get_array(node);
    for (guint i = 0; i < json_array_get_length(list); i++) {
        JsonNode *element = json_array_get_element(list, i);
        JsonObject *vcpu = JSON_NODE_HOLDS_OBJECT(element)
                           ? json_node_get_object(element) : NULL;
        LookVcpu taken = {
            .id = number_of(vcpu, "id"),
            .throttle_pct = number_of(vcpu, "throttle-percentage"),
            .dirty_bytes_per_s = number_of(vcpu, "dirty-rate"),
            .limit_bytes_per_s = number_of(vcpu, "dirty-limit"),
        };

        look_add_vcpu(look, taken);
    }
}

/*
 * Where no policy acts, the engine looks once a pass and foretells nothing:
 * what can be told of any QEMU is better then, but for the progress, of which
 * there is to be one figure.
 */
static void take_onlooker(Look *look, JsonObject *convergence)
{
    double dirty_bytes_per_s = number_of(convergence, "dirty-rate");

    if (dirty_bytes_per_s > 0) {
        look->dirty_bytes_per_s = dirty_bytes_per_s;
    }
    look->progress_pct = number_of(convergence, "progress-percentage");
    look->downtime_limit_ms = number_of(convergence, "downtime-limit");
    take_vcpus(look, convergence);
}

/* Where the engine reports, its figures are pages against pages, and fresh */
static void take_convergence(Look *look, JsonObject *convergence)
{
    double throttle_pct = number_of(convergence, "throttle-percentage");

    look->has_convergence = TRUE;
    look->dirty_bytes_per_s = number_of(convergence, "dirty-rate");
    look->drain_bytes_per_s = number_of(convergence, "drain-rate");
    look->passes = number_of(convergence, "passes");
    look->progress_pct = number_of(convergence, "progress-percentage");
    look->predicted_total_ms = number_of(convergence,
                                         "predicted-total-time");
    look->predicted_error_pct = number_of(convergence,
                                          "predicted-error-percentage");
    look->predicted_downtime_ms = number_of(convergence,
                                            "predicted-downtime");
    look->downtime_limit_ms = number_of(convergence, "downtime-limit");
    look->longest_pause_ms = number_of(convergence, "longest-pause");
    look->throttle_pct = MAX(look->throttle_pct, throttle_pct);
    /* An engine that has had no sample yet has nothing to say */
    if (look->drain_bytes_per_s == 0) {
        look->drain_bytes_per_s = LOOK_UNKNOWN;
        look->dirty_bytes_per_s = LOOK_UNKNOWN;
    }
    take_vcpus(look, convergence);
}

static gboolean is_one_of(const char *status, const char *const *list)
{
    return status && g_strv_contains(list, status);
}

/* In each of these a source tells of its RAM */
static gboolean is_incoming(const Look *look)
{
    static const char *const statuses[] = {
        "active", "postcopy-active", "postcopy-paused", "postcopy-recover",
        "completed", NULL
    };

    return look->total_bytes < 0 && look->at_ms < 0 &&
           is_one_of(look->status, statuses);
}

Look *look_from_info(JsonObject *info)
{
    JsonObject *convergence = object_of(info, "convergence");
    Look *look = look_new();

    look->status = text_of(info, "status");
    if (!*look->status) {
        g_free(look->status);
        look->status = g_strdup("none");
    }
    look->clock_ms = g_get_real_time() / 1000;
    look->error = text_of(info, "error-desc");
    look->state = text_of(convergence, "state");
    look->policy = text_of(convergence, "policy");
    look->reason = text_of(convergence, "reason");
    look->at_ms = number_of(info, "total-time");
    look->downtime_ms = number_of(info, "downtime");
    look->predicted_downtime_ms = number_of(info, "expected-downtime");
    look->throttle_pct = number_of(info, "cpu-throttle-percentage");
    take_ram(look, object_of(info, "ram"));
    look->incoming = is_incoming(look);
    if (convergence && g_str_equal(look->state, "off")) {
        take_onlooker(look, convergence);
    } else if (convergence) {
        take_convergence(look, convergence);
    }
    return look;
}

gboolean look_has_ended(const Look *look)
{
    static const char *const ended[] = { "completed", "failed", "cancelled",
                                         NULL };

    return is_one_of(look->status, ended);
}

gboolean look_is_running(const Look *look)
{
    return !look_has_ended(look) && look->status &&
           !g_str_equal(look->status, "none");
}

gboolean look_is_postcopy(const Look *look)
{
    return look->status && g_str_has_prefix(look->status, "postcopy");
}

const char *look_phase(const Look *look)
{
    if (!look->status || !*look->status) {
        return "?";
    }
    if (!g_str_equal(look->status, "active")) {
        return g_str_equal(look->status, "device") ? "switch-over"
                                                   : look->status;
    }
    if (look->incoming) {
        return "arriving";
    }
    if (look->state && *look->state && !g_str_equal(look->state, "off")) {
        return look->state;
    }
    return look->passes > 0 ? "active" : "first pass";
}
