/*
 * A QMP server that says what a script tells it to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Usage: fake-qmp SOCKET SCRIPT LOG
 *
 * Lines of the script are COMMAND<TAB>COUNT<TAB>REPLY: the next COUNT times
 * the command is answered with REPLY; the last line of a command stays.  A
 * command without lines succeeds.  "[COMMAND]" begins a section that is in
 * force once COMMAND has come; what it does not hold is sought in the one
 * before.  The command "greeting" is the greeting.  A REPLY is an object, to
 * which the id is added, or
 *
 *     @silence        nothing
 *     @close          the connection ends
 *     @raw TEXT       TEXT, whatever it is
 *     @event OBJECT   OBJECT, then {"return": {}}
 *     @event-close OBJECT   OBJECT, then the connection ends
 *
 * Commands go to LOG, one a line.  As QEMU, it serves one client at a time.
 */

#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <json-glib/json-glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GREETING "{\"QMP\":{\"version\":{\"qemu\":{\"major\":7,\"minor\":2," \
    "\"micro\":22},\"package\":\"\"},\"capabilities\":[]}}"

typedef struct Line {
    char *section;
    char *command;
    int count;
    char *reply;
} Line;

static GPtrArray *script;
static char *section;
static FILE *log_file;

static void die(const char *text)
{
    fprintf(stderr, "fake-qmp: error: %s\n", text);
    exit(1);
}

static void load_script(const char *path)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    g_autofree char *current = g_strdup("");

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        die("cannot read the script");
    }
    lines = g_strsplit(text, "\n", -1);
    script = g_ptr_array_new();
    for (char **line = lines; *line; line++) {
        g_auto(GStrv) parts = g_strsplit(*line, "\t", 3);

        if (**line == '[') {
            g_free(current);
            current = g_strndup(*line + 1, strlen(*line) - 2);
        } else if (g_strv_length(parts) == 3) {
            Line *new_line = g_new0(Line, 1);

            new_line->section = g_strdup(current);
            new_line->command = g_strdup(parts[0]);
            new_line->count = atoi(parts[1]);
            new_line->reply = g_strdup(parts[2]);
            g_ptr_array_add(script, new_line);
        } else if (**line) {
            die(*line);
        }
    }
}

static const char *find_in(const char *where, const char *command)
{
    const char *last = NULL;

    for (guint i = 0; i < script->len; i++) {
        Line *line = script->pdata[i];

        if (g_str_equal(line->section, where) &&
            g_str_equal(line->command, command)) {
            last = line->reply;
            if (line->count > 0) {
                line->count--;
                return last;
            }
        }
    }
    return last;
}

static const char *find_reply(const char *command)
{
    return find_in(section, command) ?: find_in("", command)
           ?: "{\"return\":{}}";
}

static void enter_section(const char *command)
{
    for (guint i = 0; i < script->len; i++) {
        Line *line = script->pdata[i];

        if (g_str_equal(line->section, command)) {
            g_free(section);
            section = g_strdup(command);
            return;
        }
    }
}

static gboolean send_line(GOutputStream *out, const char *text)
{
    g_autofree char *line = g_strconcat(text, "\n", NULL);

    return g_output_stream_write_all(out, line, strlen(line), NULL, NULL,
                                     NULL);
}

static gboolean send_object(GOutputStream *out, const char *reply,
                            JsonNode *id)
{
    g_autoptr(JsonNode) node = json_from_string(reply, NULL);
    g_autofree char *text = NULL;

    if (!node) {
        die(reply);
    }
    if (id) {
        json_object_set_member(json_node_get_object(node), "id",
                               json_node_copy(id));
    }
    text = json_to_string(node, FALSE);
    return send_line(out, text);
}

/* FALSE if the connection is to end */
static gboolean answer(GOutputStream *out, const char *command, JsonNode *id)
{
    const char *reply = find_reply(command);

    if (g_str_equal(reply, "@silence")) {
        return TRUE;
    } else if (g_str_equal(reply, "@close")) {
        return FALSE;
    } else if (g_str_has_prefix(reply, "@raw ")) {
        return send_line(out, reply + strlen("@raw "));
    } else if (g_str_has_prefix(reply, "@event-close ")) {
        send_line(out, reply + strlen("@event-close "));
        return FALSE;
    } else if (g_str_has_prefix(reply, "@event ")) {
        return send_line(out, reply + strlen("@event ")) &&
               send_object(out, "{\"return\":{}}", id);
    }
    return send_object(out, reply, id);
}

static gboolean serve_line(GOutputStream *out, const char *line)
{
    g_autoptr(JsonNode) node = json_from_string(line, NULL);
    JsonObject *request = node ? json_node_get_object(node) : NULL;
    const char *command;

    if (!request) {
        return FALSE;
    }
    command = json_object_get_string_member_with_default(request, "execute",
                                                         "");
    fprintf(log_file, "%s\n", line);
    fflush(log_file);
    enter_section(command);
    return answer(out, command, json_object_get_member(request, "id"));
}

static void serve(GSocketConnection *connection)
{
    GOutputStream *out =
        g_io_stream_get_output_stream(G_IO_STREAM(connection));
    g_autoptr(GDataInputStream) in = g_data_input_stream_new(
        g_io_stream_get_input_stream(G_IO_STREAM(connection)));
    const char *greeting = find_in("", "greeting") ?: "@raw " GREETING;
    char *line;
    gboolean more = TRUE;

    if (g_str_has_prefix(greeting, "@raw ")) {
        more = send_line(out, greeting + strlen("@raw "));
    }
    while (more && (line = g_data_input_stream_read_line(in, NULL, NULL,
                                                         NULL))) {
        more = serve_line(out, line);
        g_free(line);
    }
    g_io_stream_close(G_IO_STREAM(connection), NULL, NULL);
}

int main(int argc, char **argv)
{
    g_autoptr(GSocketListener) listener = g_socket_listener_new();
    g_autoptr(GSocketAddress) address = NULL;

    if (argc != 4) {
        die("usage: fake-qmp SOCKET SCRIPT LOG");
    }
    load_script(argv[2]);
    section = g_strdup("");
    log_file = fopen(argv[3], "a");
    address = g_unix_socket_address_new(argv[1]);
    if (!log_file ||
        !g_socket_listener_add_address(listener, address,
            G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, NULL, NULL,
            NULL)) {
        die("cannot listen");
    }
    for (;;) {
        g_autoptr(GSocketConnection) connection =
            g_socket_listener_accept(listener, NULL, NULL, NULL);

        if (connection) {
            serve(connection);
        }
    }
}
