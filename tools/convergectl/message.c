/*
 * What convergectl says, to people and to programs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "message.h"

#include "format.h"

#include <stdio.h>

static void say(const char *prefix, const char *format, va_list ap)
{
    g_autofree char *text = g_strdup_vprintf(format, ap);
    g_autofree char *clean = format_sanitize(text);

    fprintf(stderr, "convergectl: %s%s\n", prefix, clean);
}

void message_error(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    say("error: ", format, ap);
    va_end(ap);
}

void message_note(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    say("", format, ap);
    va_end(ap);
}

static void print_object(JsonObject *object)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    g_autofree char *line = NULL;

    json_node_take_object(node, object);
    line = json_to_string(node, FALSE);
    printf("%s\n", line);
    fflush(stdout);
}

void message_json_event(JsonObject *event)
{
    JsonObject *object = json_object_new();
    JsonNode *data = json_object_get_member(event, "data");

    json_object_set_string_member(object, "type", "event");
    json_object_set_member(object, "event",
                           json_node_copy(json_object_get_member(event,
                                                                 "event")));
    if (data) {
        json_object_set_member(object, "data", json_node_copy(data));
    }
    print_object(object);
}

static void set_if_known(JsonObject *object, const char *name, double value)
{
    if (value >= 0) {
        json_object_set_int_member(object, name, value);
    }
}

void message_json_verdict(const char *outcome, ExitStatus status,
                          const char *text, const Look *look,
                          const Track *track)
{
    JsonObject *object = json_object_new();

    json_object_set_string_member(object, "type", "verdict");
    json_object_set_string_member(object, "outcome", outcome);
    json_object_set_int_member(object, "exit-status", status);
    json_object_set_string_member(object, "text", text);
    if (look) {
        set_if_known(object, "total-ms",
                     track->timed ? look->at_ms : LOOK_UNKNOWN);
        set_if_known(object, "downtime-ms", look->downtime_ms);
        set_if_known(object, "longest-pause-ms", look->longest_pause_ms);
        set_if_known(object, "sent-bytes", look->sent_bytes);
        set_if_known(object, "passes", look->passes);
        set_if_known(object, "max-throttle-pct", track->max_throttle_pct);
    }
    print_object(object);
}
