/*
 * Settings of a migration: what is in force from before
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "settings-internal.h"

/* As QEMU starts; what differs has been set by somebody */
static const struct { const char *parameter, *value; } usual[] = {
    { "max-bandwidth", "134217728" },
    { "downtime-limit", "300" },
    { "cpu-throttle-initial", "20" },
    { "cpu-throttle-increment", "10" },
    { "max-cpu-throttle", "99" },
    { "convergence-policy", "step" },
    { "convergence-timeout", "0" },
    { "convergence-timeout-action", "downtime" },
    { "convergence-max-downtime", "5000" },
    { "convergence-max-iterations", "0" },
    { "convergence-max-transfer", "0" },
    { "convergence-vcpu-limit", "0" },
    { "dirty-sync-period", "1000" },
    { "avail-switchover-bandwidth", "0" },
};

static char *plain_value(JsonNode *node)
{
    GType type = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_value_type(node)
                                             : G_TYPE_INVALID;

    return type == G_TYPE_STRING ? json_node_dup_string(node) :
           type == G_TYPE_INT64 ?
           g_strdup_printf("%" G_GINT64_FORMAT, json_node_get_int(node)) :
           g_strdup("");
}

/* What clients send for "no limit": nothing, or as much as QEMU takes */
#define NO_BANDWIDTH_LIMIT 9e18

static gboolean is_no_limit(const char *parameter, JsonNode *node)
{
    return g_str_equal(parameter, "max-bandwidth") &&
           JSON_NODE_HOLDS_VALUE(node) &&
           (json_node_get_int(node) == 0 ||
            json_node_get_double(node) >= NO_BANDWIDTH_LIMIT);
}

static void append_item(GString *text, const char *name, const char *value)
{
    g_string_append_printf(text, "%s%s %s", text->len ? ", " : "", name,
                           value);
}

char *settings_in_force(const Settings *settings)
{
    g_autoptr(GList) names =
        json_object_get_members(settings->known_capabilities);
    GString *text = g_string_new("");

    for (size_t i = 0; i < G_N_ELEMENTS(usual); i++) {
        JsonNode *node = json_object_get_member(settings->known_parameters,
                                                usual[i].parameter);
        g_autofree char *value = node ? plain_value(node) : NULL;

        if (value && is_no_limit(usual[i].parameter, node)) {
            g_free(value);
            value = g_strdup("none");
        }
        if (value && !g_str_equal(value, usual[i].value) &&
            !json_object_has_member(settings->parameters,
                                    usual[i].parameter)) {
            append_item(text, usual[i].parameter, value);
        }
    }
    for (GList *name = names; name; name = name->next) {
        if (json_object_get_boolean_member(settings->known_capabilities,
                                           name->data) &&
            !json_object_has_member(settings->capabilities, name->data) &&
            !json_object_has_member(settings->implied, name->data)) {
            append_item(text, name->data, "on");
        }
    }
    return g_string_free(text, text->len == 0);
}
