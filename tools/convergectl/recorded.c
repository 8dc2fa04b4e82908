/*
 * What a recording tells of the guest, but for the migration itself
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "recorded.h"

#include "format.h"

static char *ask_name(QmpClient *qmp)
{
    JsonObject *reply = qmp_query(qmp, "query-name", NULL);
    char *name = NULL;

    if (reply) {
        name = format_sanitize(json_object_get_string_member_with_default(
                                   reply, "name", ""));
        json_object_unref(reply);
    }
    return name;
}

static void append(GString *text, const char *name, const char *value)
{
    g_string_append_printf(text, "%s%s=%s", text->len ? " " : "", name,
                           value);
}

/* Lists of structures among the parameters are no settings of a line */
static void append_parameters(GString *text, QmpClient *qmp)
{
    JsonObject *reply = qmp_query(qmp, "query-migrate-parameters", NULL);
    g_autoptr(GList) names = reply ? json_object_get_members(reply) : NULL;

    names = g_list_sort(names, (GCompareFunc)g_strcmp0);
    for (GList *name = names; name; name = name->next) {
        JsonNode *node = json_object_get_member(reply, name->data);

        if (!JSON_NODE_HOLDS_VALUE(node)) {
            continue;
        }
        if (json_node_get_value_type(node) == G_TYPE_STRING) {
            append(text, name->data, json_node_get_string(node));
        } else {
            g_autofree char *value = json_to_string(node, FALSE);

            append(text, name->data, value);
        }
    }
    g_clear_pointer(&reply, json_object_unref);
}

static void append_capabilities(GString *text, QmpClient *qmp)
{
    g_autoptr(JsonNode) reply = qmp_execute(qmp, "query-migrate-capabilities",
                                            NULL, NULL);
    JsonArray *list = reply && JSON_NODE_HOLDS_ARRAY(reply)
                      ? json_node_get_array(reply) : NULL;

    for (guint i = 0; list && i < json_array_get_length(list); i++) {
        JsonNode *item = json_array_get_element(list, i);
        JsonObject *object = JSON_NODE_HOLDS_OBJECT(item)
                             ? json_node_get_object(item) : NULL;

        if (object && json_object_get_boolean_member_with_default(
                          object, "state", FALSE)) {
            append(text, json_object_get_string_member_with_default(
                             object, "capability", ""), "on");
        }
    }
}

void recorded_ask(QmpClient *qmp, const char *otherwise, Look *look)
{
    g_autoptr(GString) text = g_string_new("");
    g_autofree char *name = ask_name(qmp);

    append_parameters(text, qmp);
    append_capabilities(text, qmp);
    g_free(look->guest);
    g_free(look->settings);
    look->guest = name && *name ? g_steal_pointer(&name)
                                : format_sanitize(otherwise);
    look->settings = format_sanitize(text->str);
}
