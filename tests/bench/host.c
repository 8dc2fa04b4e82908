/*
 * The host that figures were taken on, described
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "host.h"

#include <json-glib/json-glib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* What stands behind @key in a file of lines such as "key<...>value" */
static char *value_in(const char *path, const char *key, char separator)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return g_strdup("unknown");
    }
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        char *at = strchr(*line, separator);

        if (at && g_str_has_prefix(*line, key)) {
            g_autofree char *value = g_strdup(g_strstrip(at + 1));

            return g_strdup(g_strdelimit(value, "\"", ' ') ? g_strstrip(value)
                                                          : "");
        }
    }
    return g_strdup("unknown");
}

static char *version_of(const char *qemu)
{
    const char *argv[] = { qemu, "--version", NULL };
    char *output = NULL;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL,
                      &output, NULL, NULL, NULL)) {
        return g_strdup("unknown");
    }
    output[strcspn(output, "\n")] = '\0';
    return output;
}

static void add(JsonObject *o, const char *name, char *value)
{
    json_object_set_string_member(o, name, value);
    g_free(value);
}

char *host_json(const char *qemu, const char *peer, const char *accel)
{
    g_autoptr(JsonNode) root = json_node_new(JSON_NODE_OBJECT);
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    JsonObject *o = json_object_new();
    struct utsname kernel;

    uname(&kernel);
    add(o, "cpu", value_in("/proc/cpuinfo", "model name", ':'));
    json_object_set_int_member(o, "cpus", sysconf(_SC_NPROCESSORS_ONLN));
    json_object_set_int_member(o, "memory_mib",
                               sysconf(_SC_PHYS_PAGES) *
                               (sysconf(_SC_PAGESIZE) / 1024) / 1024);
    json_object_set_string_member(o, "kernel", kernel.release);
    add(o, "system", value_in("/etc/os-release", "PRETTY_NAME", '='));
    json_object_set_string_member(o, "accel", accel);
    add(o, "date", g_date_time_format(now, "%Y-%m-%d %H:%M UTC"));
    add(o, "ours", version_of(qemu));
    add(o, "stock", version_of(peer));
    json_node_take_object(root, o);
    return json_to_string(root, FALSE);
}
