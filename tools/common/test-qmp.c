/*
 * Unit tests of the QMP client against a scripted peer
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * The peer is a thread that plays a list of steps: send these bytes, read
 * one line, pause, hang up.  So each test states byte for byte what a QEMU
 * in trouble would do.
 */

#include "qmp.h"

#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <string.h>

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"
#define CAPS_OK "{\"return\": {}, \"id\": 0}\r\n"

/* Long enough for any answer that comes; what times out uses SHORT_MS */
#define LONG_MS 10000
#define SHORT_MS 100

/*
 * A step is text to send, or one of these.  "$ID" in a text is replaced by
 * the id of the request read last.
 */
static const char READ_LINE[] = "read a line";
static const char PAUSE[] = "pause";
static const char HOLD[] = "hold the connection until the client is gone";

typedef struct FakePeer {
    char *dir;
    char *path;
    GSocket *listener;
    GThread *thread;
    const char *const *steps;
    GString *received;      /* the line read last */
    GString *transcript;    /* all lines read; look once the peer is done */
} FakePeer;

static gboolean peer_read_line(GSocket *socket, GString *received)
{
    char c = 0;

    g_string_truncate(received, 0);
    while (c != '\n') {
        if (g_socket_receive(socket, &c, 1, NULL, NULL) <= 0) {
            return FALSE;
        }
        g_string_append_c(received, c);
    }
    return TRUE;
}

static void peer_send(GSocket *socket, const char *step, GString *received)
{
    g_autoptr(GString) text = g_string_new(step);
    const char *id = strstr(received->str, "\"id\":");

    if (id) {
        g_autofree char *number =
            g_strdup_printf("%d", atoi(id + strlen("\"id\":")));

        g_string_replace(text, "$ID", number, 0);
    }
    g_socket_send(socket, text->str, text->len, NULL, NULL);
}

static void *peer_main(void *opaque)
{
    FakePeer *peer = opaque;
    g_autoptr(GSocket) socket = g_socket_accept(peer->listener, NULL, NULL);

    for (const char *const *step = peer->steps; socket && *step; step++) {
        if (*step == READ_LINE) {
            peer_read_line(socket, peer->received);
            g_string_append(peer->transcript, peer->received->str);
        } else if (*step == PAUSE) {
            g_usleep(20 * 1000);
        } else if (*step == HOLD) {
            while (peer_read_line(socket, peer->received)) {
                continue;
            }
        } else {
            peer_send(socket, *step, peer->received);
        }
    }
    return NULL;
}

static void peer_start(FakePeer *peer, const char *const *steps)
{
    g_autoptr(GSocketAddress) address = NULL;

    peer->dir = g_dir_make_tmp("converge-qmp-XXXXXX", NULL);
    g_assert_nonnull(peer->dir);
    peer->path = g_build_filename(peer->dir, "qmp.sock", NULL);
    peer->steps = steps;
    peer->received = g_string_new("");
    peer->transcript = g_string_new("");
    peer->listener = g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM,
                                  0, NULL);
    address = g_unix_socket_address_new(peer->path);
    g_assert_true(g_socket_bind(peer->listener, address, FALSE, NULL));
    g_assert_true(g_socket_listen(peer->listener, NULL));
    peer->thread = g_thread_new("peer", peer_main, peer);
}

static void peer_join(FakePeer *peer)
{
    g_thread_join(peer->thread);
    peer->thread = NULL;
}

static void peer_stop(FakePeer *peer)
{
    if (peer->thread) {
        peer_join(peer);
    }
    g_object_unref(peer->listener);
    g_unlink(peer->path);
    g_rmdir(peer->dir);
    g_free(peer->path);
    g_free(peer->dir);
    g_string_free(peer->received, TRUE);
    g_string_free(peer->transcript, TRUE);
}

static QmpClient *connect_ok(FakePeer *peer)
{
    g_autoptr(GError) error = NULL;
    QmpClient *qmp = qmp_connect(peer->path, LONG_MS, &error);

    g_assert_no_error(error);
    g_assert_nonnull(qmp);
    return qmp;
}

static void test_reply_is_returned(void)
{
    static const char *const steps[] = {
        GREETING, READ_LINE, CAPS_OK,
        READ_LINE, "{\"return\": {\"status\": \"running\"}, \"id\": $ID}\r\n",
        NULL
    };
    FakePeer peer;
    g_autoptr(GError) error = NULL;
    QmpClient *qmp;
    JsonObject *reply;

    peer_start(&peer, steps);
    qmp = connect_ok(&peer);
    reply = qmp_query(qmp, "query-status", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(json_object_get_string_member(reply, "status"), ==,
                    "running");
    json_object_unref(reply);
    qmp_free(qmp);
    peer_stop(&peer);
}

static void test_frames_may_be_split_and_joined(void)
{
    static const char *const steps[] = {
        "{\"QMP\": {\"ver", PAUSE, "sion\": {}}}", PAUSE, "\r\n",
        READ_LINE, "{\"return\":", PAUSE, " {}, \"id\": $ID}\r\n",
        READ_LINE,
        "{\"event\": \"A\"}\r\n{\"return\": 42, \"id\": $ID}\r\n{\"eve",
        PAUSE, "nt\": \"B\"}\r\n",
        HOLD, NULL
    };
    FakePeer peer;
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonNode) reply = NULL;
    QmpClient *qmp;
    JsonObject *event;

    peer_start(&peer, steps);
    qmp = connect_ok(&peer);
    reply = qmp_execute(qmp, "x", NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(json_node_get_int(reply), ==, 42);
    event = qmp_wait_event(qmp, "B", LONG_MS, &error);
    g_assert_no_error(error);
    g_assert_nonnull(event);
    json_object_unref(event);
    qmp_free(qmp);
    peer_stop(&peer);
}

static void note_event(const char *name, JsonObject *event, void *opaque)
{
    g_assert_true(json_object_has_member(event, "event"));
    g_string_append(opaque, name);
}

static void test_events_before_a_reply_are_kept_in_order(void)
{
    static const char *const steps[] = {
        GREETING, READ_LINE, "{\"event\": \"A\"}\r\n", CAPS_OK,
        READ_LINE, "{\"event\": \"B\"}\r\n{\"event\": \"C\"}\r\n",
        "{\"return\": {}, \"id\": $ID}\r\n",
        HOLD, NULL
    };
    FakePeer peer;
    g_autoptr(GString) seen = g_string_new("");
    g_autoptr(GString) taken = g_string_new("");
    g_autoptr(GError) error = NULL;
    QmpClient *qmp;

    peer_start(&peer, steps);
    qmp = connect_ok(&peer);
    qmp_set_event_callback(qmp, note_event, seen);
    g_assert_true(qmp_run(qmp, "stop", NULL, &error));
    g_assert_cmpstr(seen->str, ==, "BC");
    for (int i = 0; i < 3; i++) {
        JsonObject *event = qmp_next_event(qmp, 0, &error);

        g_assert_no_error(error);
        g_string_append(taken, json_object_get_string_member(event, "event"));
        json_object_unref(event);
    }
    g_assert_cmpstr(taken->str, ==, "ABC");
    g_assert_null(qmp_next_event(qmp, 0, &error));
    g_assert_error(error, QMP_ERROR, QMP_ERROR_TIMEOUT);
    qmp_free(qmp);
    peer_stop(&peer);
}

static void test_error_reply_keeps_class_and_desc(void)
{
    static const char *const steps[] = {
        GREETING, READ_LINE, CAPS_OK,
        READ_LINE, "{\"error\": {\"class\": \"CommandNotFound\", "
                   "\"desc\": \"no such\"}, \"id\": $ID}\r\n",
        READ_LINE, "{\"error\": {\"class\": \"GenericError\", "
                   "\"desc\": \"too big\"}, \"id\": $ID}\r\n",
        READ_LINE, "{\"error\": {\"class\": \"FromTheFuture\"}, "
                   "\"id\": $ID}\r\n",
        READ_LINE, "{\"error\": 7, \"id\": $ID}\r\n",
        READ_LINE, "{\"return\": {}, \"id\": $ID}\r\n",
        NULL
    };
    static const struct {
        int code;
        const char *class, *message;
    } expected[] = {
        { QMP_ERROR_COMMAND_NOT_FOUND, "CommandNotFound", "x: no such" },
        { QMP_ERROR_GENERIC, "GenericError", "x: too big" },
        { QMP_ERROR_GENERIC, "GenericError",
          "x: an error without a description" },
        { QMP_ERROR_GENERIC, "GenericError",
          "x: an error without a description" },
    };
    FakePeer peer;
    QmpClient *qmp;

    peer_start(&peer, steps);
    qmp = connect_ok(&peer);
    for (size_t i = 0; i < G_N_ELEMENTS(expected); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(qmp_execute(qmp, "x", NULL, &error));
        g_assert_error(error, QMP_ERROR, expected[i].code);
        g_assert_cmpstr(qmp_error_class(error), ==, expected[i].class);
        g_assert_cmpstr(error->message, ==, expected[i].message);
    }
    /* An error is an answer: the connection goes on */
    g_assert_true(qmp_run(qmp, "x", NULL, NULL));
    qmp_free(qmp);
    peer_stop(&peer);
}

/* Plays @after to a client's command and checks what the client makes of it */
static void check_fatal(const char *after, int code)
{
    const char *const steps[] = {
        GREETING, READ_LINE, CAPS_OK, READ_LINE, after, NULL
    };
    FakePeer peer;
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) again = NULL;
    QmpClient *qmp;

    peer_start(&peer, steps);
    qmp = connect_ok(&peer);
    g_assert_null(qmp_execute(qmp, "x", NULL, &error));
    g_assert_error(error, QMP_ERROR, code);
    g_assert_null(qmp_error_class(error));
    /* The same reason once more, not whatever the dead socket says */
    g_assert_null(qmp_execute(qmp, "x", NULL, &again));
    g_assert_error(again, QMP_ERROR, code);
    g_assert_cmpstr(again->message, ==, error->message);
    qmp_free(qmp);
    peer_stop(&peer);
}

static void test_garbage_is_an_error(void)
{
    check_fatal("SSH-2.0-OpenSSH\r\n", QMP_ERROR_PROTOCOL);
    check_fatal("{\"return\": {}, \"id\": \r\n", QMP_ERROR_PROTOCOL);
    check_fatal("[1, 2]\r\n", QMP_ERROR_PROTOCOL);
    check_fatal("{\"id\": $ID}\r\n", QMP_ERROR_PROTOCOL);
}

static void test_closed_socket_is_an_error(void)
{
    check_fatal("", QMP_ERROR_CLOSED);
    check_fatal("{\"return\": {}, \"id\":", QMP_ERROR_CLOSED);
    check_fatal("{\"event\": \"SHUTDOWN\"}\r\n", QMP_ERROR_CLOSED);
}

static void test_late_reply_is_not_taken_for_the_next(void)
{
    static const char *const steps[] = {
        GREETING, READ_LINE, CAPS_OK,
        READ_LINE, READ_LINE,
        "{\"return\": 1, \"id\": 1}\r\n{\"return\": 2, \"id\": 2}\r\n",
        HOLD, NULL
    };
    FakePeer peer;
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonNode) reply = NULL;
    QmpClient *qmp;

    peer_start(&peer, steps);
    qmp = connect_ok(&peer);
    qmp_set_timeout(qmp, SHORT_MS);
    g_assert_null(qmp_execute(qmp, "slow", NULL, &error));
    g_assert_error(error, QMP_ERROR, QMP_ERROR_TIMEOUT);
    g_clear_error(&error);

    qmp_set_timeout(qmp, LONG_MS);
    reply = qmp_execute(qmp, "fast", NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(json_node_get_int(reply), ==, 2);
    qmp_free(qmp);
    peer_stop(&peer);
}

static void test_human_monitor_output(void)
{
    static const char *const steps[] = {
        GREETING, READ_LINE, CAPS_OK,
        READ_LINE, "{\"return\": \"VM status: paused\\r\\n\", \"id\": $ID}\n",
        READ_LINE, "{\"return\": {}, \"id\": $ID}\n",
        NULL
    };
    FakePeer peer;
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    QmpClient *qmp;

    peer_start(&peer, steps);
    qmp = connect_ok(&peer);
    text = qmp_hmp(qmp, "info status", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(text, ==, "VM status: paused\r\n");
    g_assert_null(qmp_hmp(qmp, "info status", &error));
    g_assert_error(error, QMP_ERROR, QMP_ERROR_PROTOCOL);
    peer_join(&peer);
    g_assert_nonnull(strstr(peer.transcript->str,
                            "\"command-line\":\"info status\""));
    qmp_free(qmp);
    peer_stop(&peer);
}

static void check_no_connection(const char *const *steps, int code)
{
    FakePeer peer;
    g_autoptr(GError) error = NULL;

    peer_start(&peer, steps);
    g_assert_null(qmp_connect(peer.path, SHORT_MS * 5, &error));
    g_assert_error(error, QMP_ERROR, code);
    peer_stop(&peer);
}

static void test_connect_fails_without_qmp(void)
{
    static const char *const silent[] = { HOLD, NULL };
    static const char *const closed[] = { NULL };
    static const char *const wrong[] = { "{\"hello\": 1}\r\n", NULL };
    static const char *const refused[] = {
        GREETING, READ_LINE,
        "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\r\n",
        NULL
    };
    g_autoptr(GError) error = NULL;

    check_no_connection(silent, QMP_ERROR_TIMEOUT);
    check_no_connection(closed, QMP_ERROR_CLOSED);
    check_no_connection(wrong, QMP_ERROR_PROTOCOL);
    check_no_connection(refused, QMP_ERROR_GENERIC);

    g_assert_null(qmp_connect("/nonexistent/qmp.sock", SHORT_MS, &error));
    g_assert_error(error, QMP_ERROR, QMP_ERROR_TIMEOUT);
    g_assert_nonnull(strstr(error->message, "/nonexistent/qmp.sock"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qmp/reply-is-returned", test_reply_is_returned);
    g_test_add_func("/qmp/frames-may-be-split-and-joined",
                    test_frames_may_be_split_and_joined);
    g_test_add_func("/qmp/events-before-a-reply-are-kept-in-order",
                    test_events_before_a_reply_are_kept_in_order);
    g_test_add_func("/qmp/error-reply-keeps-class-and-desc",
                    test_error_reply_keeps_class_and_desc);
    g_test_add_func("/qmp/garbage-is-an-error", test_garbage_is_an_error);
    g_test_add_func("/qmp/closed-socket-is-an-error",
                    test_closed_socket_is_an_error);
    g_test_add_func("/qmp/late-reply-is-not-taken-for-the-next",
                    test_late_reply_is_not_taken_for_the_next);
    g_test_add_func("/qmp/human-monitor-output", test_human_monitor_output);
    g_test_add_func("/qmp/connect-fails-without-qmp",
                    test_connect_fails_without_qmp);
    return g_test_run();
}
