/*
 * What a QEMU was set to before a migration, and is to be set to after it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "before.h"

#include "connection.h"
#include "guard-place.h"
#include "look.h"
#include "message.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* What ends the guard's errand; no JSON begins so */
#define DISMISSED "done\n"

/* What bids the guard take its place, and its answer */
#define TAKE_PLACE "place\n"
#define PLACE_TAKEN '.'

/* The process that the rest is for */
#define PEER "peer"

/* QEMU has to see first that we have gone */
#define SOON_MS 100
#define POLL_S 1
#define CONNECT_TIMEOUT_MS 10000
/* One whose migration has ended needs no longer: it looks each POLL_S */
#define AWAIT_OTHERS_S 3
#define AWAIT_OTHERS_MS 50
/* A QEMU whose socket another client holds for longer is left alone. */
#define MAX_TRIES 8640

static gboolean set_parameters(QmpClient *qmp, JsonObject *before,
                               GError **errp)
{
    JsonNode *node = json_object_get_member(before, BEFORE_PARAMETERS);

    return !node || !json_object_get_size(json_node_get_object(node)) ||
           qmp_run(qmp, "migrate-set-parameters",
                   json_node_dup_object(node), errp);
}

static gboolean set_capabilities(QmpClient *qmp, JsonObject *before,
                                 GError **errp)
{
    JsonNode *node = json_object_get_member(before, BEFORE_CAPABILITIES);
    JsonObject *object = node ? json_node_get_object(node) : NULL;
    g_autoptr(GList) names = object ? json_object_get_members(object) : NULL;
    JsonObject *arguments;
    JsonArray *list;

    if (!names) {
        return TRUE;
    }
    arguments = json_object_new();
    list = json_array_new();
    for (GList *name = names; name; name = name->next) {
        JsonObject *item = json_object_new();

        json_object_set_string_member(item, "capability", name->data);
        json_object_set_member(item, "state", json_node_copy(
            json_object_get_member(object, name->data)));
        json_array_add_object_element(list, item);
    }
    json_object_set_array_member(arguments, "capabilities", list);
    return qmp_run(qmp, "migrate-set-capabilities", arguments, errp);
}

/*
 * What was set first is taken back last.  A parameter that needs a capability
 * that was on before (postcopy) is taken at the second try.
 */
gboolean before_restore(QmpClient *qmp, JsonObject *before, GError **errp)
{
    gboolean at_once = set_parameters(qmp, before, NULL);

    return set_capabilities(qmp, before, errp) &&
           (at_once || set_parameters(qmp, before, errp));
}

struct Guard {
    int fd;
};

/* All that we were told until we are alone; NULL: nothing is to be done */
static char *listen_to(int fd, const char *path, GuardPlace *place)
{
    GString *text = g_string_new("");
    char piece[4096];
    ssize_t n;

    while ((n = read(fd, piece, sizeof(piece))) != 0) {
        if (n > 0) {
            g_string_append_len(text, piece, n);
            if (g_str_equal(text->str, TAKE_PLACE)) {
                *place = guard_place_take(path);
                g_string_truncate(text, 0);
                send(fd, &(char){ PLACE_TAKEN }, 1, MSG_NOSIGNAL);
            }
        } else if (errno != EINTR) {
            break;
        }
    }
    return g_string_free(text, !text->len ||
                         g_str_has_suffix(text->str, DISMISSED));
}

static gboolean is_running(QmpClient *qmp)
{
    JsonObject *info = qmp_query(qmp, "query-migrate", NULL);
    g_autoptr(Look) look = info ? look_from_info(info) : NULL;

    g_clear_pointer(&info, json_object_unref);
    return !look || look_is_running(look);
}

/* Another QEMU may have been started there since */
static gboolean is_the_same(QmpClient *qmp, JsonObject *before)
{
    return json_object_get_int_member_with_default(before, PEER, 0) ==
           qmp_peer(qmp);
}

/* Returns TRUE once there is nothing more to do */
static gboolean try_restore(const char *path, JsonObject *before,
                            const GuardPlace *place)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(QmpClient) qmp = NULL;

    if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
        return TRUE;
    }
    qmp = qmp_connect(path, CONNECT_TIMEOUT_MS, &error);
    if (!qmp) {
        /* Another client may hold it; but a QEMU that is gone is gone */
        return !g_error_matches(error, QMP_ERROR, QMP_ERROR_TIMEOUT) ||
               strstr(error->message, "refused") != NULL;
    }
    if (!is_the_same(qmp, before)) {
        return TRUE;
    }
    if (is_running(qmp) || guard_place_is_followed(path, place->number)) {
        return FALSE;
    }
    before_restore(qmp, before, NULL);
    return TRUE;
}

static void stand_guard(const char *path, int fd)
{
    GuardPlace place = { -1, G_MAXINT - 1 };
    g_autofree char *text = listen_to(fd, path, &place);
    g_autoptr(JsonNode) node = text ? json_from_string(text, NULL) : NULL;

    if (!node || !JSON_NODE_HOLDS_OBJECT(node)) {
        return;
    }
    for (int i = 0; i < MAX_TRIES; i++) {
        g_usleep(i ? POLL_S * G_USEC_PER_SEC : SOON_MS * 1000);
        if (try_restore(path, json_node_get_object(node), &place)) {
            return;
        }
    }
}

/* Nobody shall wait for it, as a pipe's reader does for all that write */
static void let_go_of_all(int fd)
{
    int null = open("/dev/null", O_RDWR);

    for (int i = 0; i < 3; i++) {
        dup2(null, i);
    }
    dup2(fd, 3);
    close_range(4, ~0U, 0);
    setsid();
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}

Guard *guard_start(const char *path)
{
    Guard *guard = g_new0(Guard, 1);
    int fds[2];
    pid_t child;

    guard->fd = -1;
    fflush(NULL);
    if (!path || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        return guard;
    }
    child = fork();
    switch (child) {
    case -1:
        close(fds[1]);
        break;
    case 0:
        /* A child of nobody's, so that nobody has to bury it */
        if (fork() == 0) {
            let_go_of_all(fds[0]);
            stand_guard(path, 3);
        }
        _exit(0);
    default:
        waitpid(child, NULL, 0);
        guard->fd = fds[1];
        break;
    }
    close(fds[0]);
    return guard;
}

static void say(Guard *guard, const char *text)
{
    size_t left = strlen(text);

    while (guard->fd >= 0 && left) {
        ssize_t n = send(guard->fd, text, left, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR) {
            return;
        }
        text += MAX(n, 0);
        left -= MAX(n, 0);
    }
}

void guard_take_place(Guard *guard)
{
    char answer;

    say(guard, TAKE_PLACE);
    while (guard->fd >= 0 && recv(guard->fd, &answer, 1, 0) < 0 &&
           errno == EINTR) {
    }
}

void guard_await_others(const char *path)
{
    gint64 deadline_us = g_get_monotonic_time() +
                         AWAIT_OTHERS_S * G_USEC_PER_SEC;

    while (path && guard_place_is_followed(path, 0) &&
           g_get_monotonic_time() < deadline_us) {
        g_usleep(AWAIT_OTHERS_MS * 1000);
    }
}

void guard_tell(Guard *guard, QmpClient *qmp, JsonObject *before)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    g_autofree char *text = NULL;

    json_object_set_int_member(before, PEER, qmp_peer(qmp));
    json_node_set_object(node, before);
    text = json_to_string(node, FALSE);
    say(guard, text);
    say(guard, "\n");
}

void guard_dismiss(Guard *guard)
{
    if (guard) {
        say(guard, DISMISSED);
        guard_hand_over(guard);
    }
}

void guard_hand_over(Guard *guard)
{
    if (guard) {
        if (guard->fd >= 0) {
            close(guard->fd);
        }
        g_free(guard);
    }
}

static gboolean still_runs(QmpClient *qmp)
{
    g_autoptr(GError) error = NULL;
    JsonObject *info = qmp_query(qmp, "query-migrate", &error);
    g_autoptr(Look) look = info ? look_from_info(info) : NULL;

    g_clear_pointer(&info, json_object_unref);
    return look ? look_is_running(look) : connection_is_lost(error);
}

/* What was set is taken back now, or by the guard once the end has come. */
void guard_take_back(Guard *guard, QmpClient *qmp, JsonObject *before)
{
    g_autoptr(GError) error = NULL;

    if (!before) {
        guard_dismiss(guard);
        return;
    }
    if (still_runs(qmp)) {
        guard_hand_over(guard);
    } else {
        if (!before_restore(qmp, before, &error) &&
            !connection_is_lost(error)) {
            message_error("not all settings could be taken back: %s",
                          error->message);
        }
        guard_dismiss(guard);
    }
    json_object_unref(before);
}
