/*
 * A QMP client: commands, replies and events over one wire
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "qmp.h"

#include "qmp-domain.h"
#include "qmp-wire.h"

/* Events kept for a caller that never takes any; the oldest go first */
#define MAX_QUEUED_EVENTS 4096

struct QmpClient {
    QmpWire *wire;          /* NULL: commands go through libvirt */
    char *domain;
    GQueue events;          /* JsonObject *, oldest first */
    QmpEventFunc event_func;
    void *event_opaque;
    gint64 next_id;
    int timeout_ms;
};

static const char *const error_classes[] = {
    [QMP_ERROR_GENERIC] = "GenericError",
    [QMP_ERROR_COMMAND_NOT_FOUND] = "CommandNotFound",
    [QMP_ERROR_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
    [QMP_ERROR_DEVICE_NOT_FOUND] = "DeviceNotFound",
    [QMP_ERROR_KVM_MISSING_CAP] = "KVMMissingCap",
};

G_DEFINE_QUARK(converge-qmp-error, qmp_error)

const char *qmp_error_class(const GError *error)
{
    if (error->domain != QMP_ERROR || error->code < 0 ||
        error->code >= (int)G_N_ELEMENTS(error_classes)) {
        return NULL;
    }
    return error_classes[error->code];
}

static gint64 deadline_after_ms(int timeout_ms)
{
    return g_get_monotonic_time() + (gint64)timeout_ms * 1000;
}

/* Takes over @message if it is an event */
static gboolean take_event(QmpClient *qmp, JsonObject *message)
{
    JsonNode *name = json_object_get_member(message, "event");

    if (!name || json_node_get_value_type(name) != G_TYPE_STRING) {
        return FALSE;
    }
    if (qmp->event_func) {
        qmp->event_func(json_node_get_string(name), message,
                        qmp->event_opaque);
    }
    g_queue_push_tail(&qmp->events, message);
    if (g_queue_get_length(&qmp->events) > MAX_QUEUED_EVENTS) {
        json_object_unref(g_queue_pop_head(&qmp->events));
    }
    return TRUE;
}

/* A string member, or @fallback: the peer may send any type there */
static const char *string_member(JsonObject *object, const char *name,
                                 const char *fallback)
{
    JsonNode *node = json_object_get_member(object, name);

    if (!node || json_node_get_value_type(node) != G_TYPE_STRING) {
        return fallback;
    }
    return json_node_get_string(node);
}

static void set_error_reply(GError **errp, const char *command,
                            JsonNode *node)
{
    const char *class = "", *desc = "an error without a description";
    int code = QMP_ERROR_GENERIC;

    if (JSON_NODE_HOLDS_OBJECT(node)) {
        class = string_member(json_node_get_object(node), "class", class);
        desc = string_member(json_node_get_object(node), "desc", desc);
    }
    for (int i = 0; i < (int)G_N_ELEMENTS(error_classes); i++) {
        if (g_str_equal(class, error_classes[i])) {
            code = i;
        }
    }
    g_set_error(errp, QMP_ERROR, code, "%s: %s", command, desc);
}

static gboolean has_id(JsonObject *message, gint64 id)
{
    JsonNode *node = json_object_get_member(message, "id");

    return node && json_node_get_value_type(node) == G_TYPE_INT64 &&
           json_node_get_int(node) == id;
}

static JsonNode *read_reply(QmpClient *qmp, const char *command, gint64 id,
                            gint64 deadline_us, GError **errp)
{
    for (;;) {
        JsonObject *message = qmp_wire_receive(qmp->wire, deadline_us, errp);
        JsonNode *reply = NULL, *node;

        if (!message) {
            g_prefix_error(errp, "%s: ", command);
            return NULL;
        }
        if (take_event(qmp, message)) {
            continue;
        }
        node = json_object_get_member(message, "error");
        /* QEMU has no id to give back for what it could not parse */
        if (!has_id(message, id) &&
            (!node || json_object_has_member(message, "id"))) {
            json_object_unref(message);
            continue;
        }
        if (node) {
            set_error_reply(errp, command, node);
        } else if (json_object_has_member(message, "return")) {
            reply = json_node_copy(json_object_get_member(message,
                                                          "return"));
        } else {
            qmp_wire_fail(qmp->wire, QMP_ERROR_PROTOCOL,
                          "a reply holds neither return nor error", errp);
            g_prefix_error(errp, "%s: ", command);
        }
        json_object_unref(message);
        return reply;
    }
}

/* What libvirt passes on of QEMU's answer, its own id with it */
static JsonNode *execute_by_libvirt(QmpClient *qmp, const char *command,
                                    const char *json, GError **errp)
{
    JsonObject *message = qmp_domain_ask(qmp->domain, json, qmp->timeout_ms,
                                         errp);
    JsonNode *node, *reply = NULL;

    if (!message) {
        g_prefix_error(errp, "%s: ", command);
        return NULL;
    }
    node = json_object_get_member(message, "error");
    if (node) {
        set_error_reply(errp, command, node);
    } else if (json_object_has_member(message, "return")) {
        reply = json_node_copy(json_object_get_member(message, "return"));
    } else {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_PROTOCOL,
                    "%s: a reply holds neither return nor error", command);
    }
    json_object_unref(message);
    return reply;
}

JsonNode *qmp_execute(QmpClient *qmp, const char *command,
                      JsonObject *arguments, GError **errp)
{
    gint64 deadline_us = deadline_after_ms(qmp->timeout_ms);
    gint64 id = qmp->next_id++;
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    JsonObject *request = json_object_new();
    g_autofree char *json = NULL;
    g_autofree char *text = NULL;

    json_object_set_string_member(request, "execute", command);
    if (arguments) {
        json_object_set_object_member(request, "arguments", arguments);
    }
    if (qmp->wire) {
        /* libvirt has an id of its own */
        json_object_set_int_member(request, "id", id);
    }
    json_node_take_object(node, request);
    json = json_to_string(node, FALSE);
    if (!qmp->wire) {
        return execute_by_libvirt(qmp, command, json, errp);
    }
    text = g_strconcat(json, "\n", NULL);

    if (!qmp_wire_send(qmp->wire, text, deadline_us, errp)) {
        g_prefix_error(errp, "%s: ", command);
        return NULL;
    }
    return read_reply(qmp, command, id, deadline_us, errp);
}

gboolean qmp_run(QmpClient *qmp, const char *command, JsonObject *arguments,
                 GError **errp)
{
    g_autoptr(JsonNode) reply = qmp_execute(qmp, command, arguments, errp);

    return reply != NULL;
}

JsonObject *qmp_query(QmpClient *qmp, const char *command, GError **errp)
{
    g_autoptr(JsonNode) reply = qmp_execute(qmp, command, NULL, errp);

    if (!reply) {
        return NULL;
    }
    if (!JSON_NODE_HOLDS_OBJECT(reply)) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_PROTOCOL,
                    "%s: the reply is not an object", command);
        return NULL;
    }
    return json_node_dup_object(reply);
}

char *qmp_hmp(QmpClient *qmp, const char *line, GError **errp)
{
    JsonObject *arguments = json_object_new();
    g_autoptr(JsonNode) reply = NULL;

    json_object_set_string_member(arguments, "command-line", line);
    reply = qmp_execute(qmp, "human-monitor-command", arguments, errp);
    if (!reply) {
        return NULL;
    }
    if (json_node_get_value_type(reply) != G_TYPE_STRING) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_PROTOCOL,
                    "human-monitor-command: the reply is not a string");
        return NULL;
    }
    return json_node_dup_string(reply);
}

void qmp_set_event_callback(QmpClient *qmp, QmpEventFunc func, void *opaque)
{
    qmp->event_func = func;
    qmp->event_opaque = opaque;
}

JsonObject *qmp_next_event(QmpClient *qmp, int timeout_ms, GError **errp)
{
    gint64 deadline_us = deadline_after_ms(timeout_ms);

    while (g_queue_is_empty(&qmp->events)) {
        if (!qmp->wire) {
            g_set_error_literal(errp, QMP_ERROR, QMP_ERROR_TIMEOUT,
                                "libvirt passes no events on");
            return NULL;
        }
        JsonObject *message = qmp_wire_receive(qmp->wire, deadline_us, errp);

        if (!message) {
            return NULL;
        }
        if (!take_event(qmp, message)) {
            /* The late reply of a command that timed out */
            json_object_unref(message);
        }
    }
    return g_queue_pop_head(&qmp->events);
}

JsonObject *qmp_wait_event(QmpClient *qmp, const char *name, int timeout_ms,
                           GError **errp)
{
    gint64 deadline_us = deadline_after_ms(timeout_ms);

    for (;;) {
        gint64 left_us = MAX(deadline_us - g_get_monotonic_time(), 0);
        JsonObject *event = qmp_next_event(qmp, left_us / 1000, errp);

        if (!event) {
            g_prefix_error(errp, "event %s: ", name);
            return NULL;
        }
        if (g_str_equal(json_object_get_string_member(event, "event"),
                        name)) {
            return event;
        }
        json_object_unref(event);
    }
}

void qmp_set_timeout(QmpClient *qmp, int timeout_ms)
{
    qmp->timeout_ms = timeout_ms;
}

GPid qmp_peer(QmpClient *qmp)
{
    return qmp->wire ? qmp_wire_peer(qmp->wire) : 0;
}

static gboolean read_greeting(QmpClient *qmp, gint64 deadline_us,
                              GError **errp)
{
    JsonObject *greeting = qmp_wire_receive(qmp->wire, deadline_us, errp);
    gboolean ok;

    if (!greeting) {
        return FALSE;
    }
    ok = json_object_has_member(greeting, "QMP");
    json_object_unref(greeting);
    if (!ok) {
        qmp_wire_fail(qmp->wire, QMP_ERROR_PROTOCOL,
                      "the peer does not greet as QMP does", errp);
    }
    return ok;
}

QmpClient *qmp_connect(const char *path, int timeout_ms, GError **errp)
{
    gint64 deadline_us = deadline_after_ms(timeout_ms);
    QmpWire *wire = qmp_wire_connect(path, deadline_us, errp);
    g_autoptr(QmpClient) qmp = NULL;

    if (!wire) {
        return NULL;
    }
    qmp = g_new0(QmpClient, 1);
    qmp->wire = wire;
    g_queue_init(&qmp->events);
    qmp->timeout_ms = timeout_ms;

    if (!read_greeting(qmp, deadline_us, errp) ||
        !qmp_run(qmp, "qmp_capabilities", NULL, errp)) {
        return NULL;
    }
    return g_steal_pointer(&qmp);
}

QmpClient *qmp_open_domain(const char *name, int timeout_ms, GError **errp)
{
    g_autoptr(QmpClient) qmp = g_new0(QmpClient, 1);

    qmp->domain = g_strdup(name);
    qmp->timeout_ms = timeout_ms;
    g_queue_init(&qmp->events);
    return qmp_run(qmp, "query-status", NULL, errp) ? g_steal_pointer(&qmp)
                                                    : NULL;
}

void qmp_free(QmpClient *qmp)
{
    if (!qmp) {
        return;
    }
    g_queue_clear_full(&qmp->events, (GDestroyNotify)json_object_unref);
    g_clear_pointer(&qmp->wire, qmp_wire_free);
    g_free(qmp->domain);
    g_free(qmp);
}
