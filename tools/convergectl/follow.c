/*
 * Following a migration to its end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 *     look -> record -> show -> over? -> wait for the next tick, a signal or
 *      ^                                 a key -> act on it --.
 *      '-------------------------------------------------------'
 *
 * Each step is bounded.  QEMU may be silent for a while, as at the end of a
 * switch-over; who watches is told, and after silence_limit_ms() it counts as
 * lost.
 */

#include "follow.h"

#include "connection.h"
#include "display.h"
#include "follow-internal.h"
#include "format.h"
#include "message.h"
#include "recorded.h"
#include "signals.h"

#include <poll.h>
#include <signal.h>

/* One try; short, so that a Ctrl-C is heard meanwhile */
#define ANSWER_TIMEOUT_MS 500

/*
 * QEMU's monitor is silent all through the downtime.  So it may be for a
 * multiple of the downtime limit, and at least for so long, if it is still
 * there at all: a connection that is lost shows at once.
 */
#define SILENCE_LIMIT_MS 120000
#define SILENCE_DOWNTIMES 3

/* QEMU may be stuck in a write to a dead peer */
#define CANCEL_LIMIT_MS 30000

/*
 * QEMU 7.2 says "completed" a moment before it has worked out total-time and
 * downtime
 */
#define FIGURES_POLL_MS 50
#define FIGURES_TRIES 40

static void on_event(const char *name, JsonObject *event, void *opaque)
{
    JsonNode *node = json_object_get_member(event, "data");
    Follow *f = opaque;

    if (g_str_equal(name, "MIGRATION") && node &&
        JSON_NODE_HOLDS_OBJECT(node)) {
        g_free(f->event_status);
        f->event_status = g_strdup(json_object_get_string_member_with_default(
            json_node_get_object(node), "status", ""));
    }
    if (f->options->output == FOLLOW_JSON) {
        message_json_event(event);
    }
}

/* A source may be ended by its manager as soon as it says "completed" */
static void lose(Follow *f, const GError *error)
{
    g_autofree char *why = format_sanitize(error->message);
    g_autofree char *text = NULL;

    if (g_strcmp0(f->event_status, "completed") == 0) {
        follow_end(f, EXIT_COMPLETED);
        follow_tell(f, "completed",
                    "completed; QEMU has ended before it could be asked for "
                    "figures");
        return;
    }
    if (!connection_is_lost(error)) {
        follow_end(f, EXIT_FAILED);
        follow_tell(f, "failed", why);
        return;
    }
    follow_end(f, EXIT_LOST);
    text = g_strdup_printf("lost: %s; whether the migration goes on cannot "
                           "be told", why);
    if (f->options->output == FOLLOW_JSON) {
        follow_tell(f, "lost", text);
    } else {
        message_error("%s", text);
    }
}

static JsonObject *ask(Follow *f, GError **errp)
{
    JsonObject *info = qmp_query(f->qmp, "query-migrate", errp);

    if (info) {
        f->heard_us = g_get_monotonic_time();
    }
    return info;
}

static void take_look(Follow *f, JsonObject *info)
{
    look_free(f->look);
    f->look = look_from_info(info);
}

static void await_figures(Follow *f)
{
    for (int i = 0; i < FIGURES_TRIES && f->look->at_ms <= 0; i++) {
        JsonObject *info;

        g_usleep(FIGURES_POLL_MS * 1000);
        info = ask(f, NULL);
        if (!info) {
            return;
        }
        take_look(f, info);
        json_object_unref(info);
    }
}

static void tell_verdict(Follow *f)
{
    g_autofree char *text = display_verdict(f->look, f->track);

    if (g_str_equal(f->look->status, "failed") &&
        f->options->shared_capabilities) {
        char *verdict = text;

        text = g_strdup_printf("%s (both sides must have the same "
                               "capabilities; here these are on: %s)",
                               verdict, f->options->shared_capabilities);
        g_free(verdict);
    }
    follow_end(f, display_exit_status(f->look));
    follow_tell(f, f->look->status, text);
}

static void check_paused(Follow *f)
{
    if (g_str_equal(f->look->status, "postcopy-paused")) {
        follow_end(f, EXIT_FAILED);
        follow_tell(f, "postcopy-paused",
                    "postcopy is paused: its connection broke, and each side "
                    "holds a part of the guest. Recover with migrate-recover "
                    "at the destination and migrate with resume=true here");
    }
}

/* Whether @look belongs to the migration that is to be followed */
static gboolean has_begun(Follow *f)
{
    if (f->begun || look_is_running(f->look)) {
        return TRUE;
    }
    if (f->options->wait_s != 0) {
        return FALSE;
    }
    if (look_has_ended(f->look)) {
        return TRUE;
    }
    follow_end(f, EXIT_FAILED);
    follow_tell(f, "none", "no migration runs here; --wait SECONDS waits "
                "for one to begin");
    return FALSE;
}

static void check_wait(Follow *f)
{
    if (!f->begun && !f->over && f->options->wait_s > 0 &&
        follow_ms_since(f->start_us) >= f->options->wait_s * 1000LL) {
        g_autofree char *text =
            g_strdup_printf("no migration has begun within %d s",
                            f->options->wait_s);

        follow_end(f, EXIT_FAILED);
        follow_tell(f, "none", text);
    }
}

/* Once, with the first look that is written down */
static void introduce(Follow *f)
{
    if (!f->introduced && (f->options->recording ||
                           f->options->output == FOLLOW_JSON)) {
        f->introduced = TRUE;
        recorded_ask(f->qmp, f->options->guest, f->look);
    }
}

static void record(Follow *f)
{
    g_autoptr(GError) error = NULL;

    if (f->options->recording &&
        !recording_add(f->options->recording, f->look, &error)) {
        /* The migration matters more than what is written about it */
        message_error("%s", error->message);
        if (!f->options->owner) {
            follow_end(f, EXIT_FAILED);
        }
    }
}

static gint64 silence_limit_ms(const Follow *f)
{
    gint64 limit_ms = f->options->silence_s * 1000LL;

    if (limit_ms <= 0) {
        limit_ms = SILENCE_LIMIT_MS;
        if (f->look) {
            limit_ms = MAX(limit_ms, f->look->downtime_limit_ms *
                                     SILENCE_DOWNTIMES);
        }
    }
    return limit_ms;
}

static void look_once(Follow *f)
{
    g_autoptr(GError) error = NULL;
    JsonObject *info = ask(f, &error);

    if (!info) {
        if (!g_error_matches(error, QMP_ERROR, QMP_ERROR_TIMEOUT) ||
            follow_ms_since(f->heard_us) >= silence_limit_ms(f)) {
            lose(f, error);
        } else if (f->look && terminal_is_live(f->terminal)) {
            follow_draw(f);
        }
        return;
    }
    take_look(f, info);
    json_object_unref(info);
    if (!f->begun) {
        f->begun = has_begun(f);
        if (!f->begun) {
            f->waited = TRUE;
            check_wait(f);
            if (!f->over) {
                follow_show(f);
            }
            return;
        }
        f->start_us = g_get_monotonic_time();
        f->track->late = !f->options->owner && !f->waited;
    }
    if (g_str_equal(f->look->status, "completed") && !f->look->incoming) {
        await_figures(f);
    }
    introduce(f);
    track_add(f->track, f->look, follow_ms_since(f->start_us));
    record(f);
    follow_show(f);
    if (look_has_ended(f->look)) {
        tell_verdict(f);
    } else {
        check_paused(f);
    }
}

static void detach(Follow *f)
{
    follow_end(f, EXIT_DETACHED);
    follow_tell(f, "detached", "detached: the migration goes on; "
                "`convergectl watch' follows it again");
}

static void cancel(Follow *f)
{
    g_autoptr(GError) error = NULL;

    f->asking = FALSE;
    if (f->look && look_is_postcopy(f->look)) {
        message_error("a postcopy cannot be cancelled: each side holds a "
                      "part of the guest");
        return;
    }
    if (qmp_run(f->qmp, "migrate_cancel", NULL, &error)) {
        f->cancel_us = g_get_monotonic_time();
    } else if (g_error_matches(error, QMP_ERROR, QMP_ERROR_TIMEOUT)) {
        /* It is sent, and QEMU will get round to it */
        f->cancel_us = g_get_monotonic_time();
    } else {
        lose(f, error);
    }
}

static void on_interrupt(Follow *f)
{
    gboolean can_ask = terminal_is_live(f->terminal) && f->look && f->begun;

    if (f->cancel_us || !f->options->owner) {
        detach(f);
    } else if (f->asking || !can_ask) {
        cancel(f);
    } else {
        f->asking = TRUE;
        follow_draw(f);
    }
}

static void stop_and_resume(Follow *f)
{
    terminal_suspend(f->terminal);
    raise(SIGSTOP);
    terminal_resume(f->terminal);
    f->heard_us = g_get_monotonic_time();
}

static void on_signal(Follow *f, int number)
{
    switch (number) {
    case SIGINT:
        on_interrupt(f);
        break;
    case SIGTERM:
        if (f->options->owner && !f->cancel_us) {
            cancel(f);
        } else {
            detach(f);
        }
        break;
    case SIGHUP:
    case SIGQUIT:
        /* A lost ssh session must not cost a migration */
        detach(f);
        break;
    case SIGTSTP:
        stop_and_resume(f);
        break;
    default:
        if (f->look && terminal_is_live(f->terminal)) {
            follow_draw(f);
        }
        break;
    }
}

static void on_key(Follow *f, char key)
{
    if (key == 'q' && !f->options->owner) {
        detach(f);
    }
    if (!f->asking) {
        return;
    }
    if (key == 'y' || key == 'Y') {
        cancel(f);
    } else if (key == 'd' || key == 'D') {
        f->asking = FALSE;
        detach(f);
    } else if (key) {
        f->asking = FALSE;
        follow_draw(f);
    }
}

static void wait_tick(Follow *f, gint64 tick_us)
{
    struct pollfd fds[] = {
        { .fd = f->signal_fd, .events = POLLIN },
        { .fd = terminal_key_fd(f->terminal), .events = POLLIN },
    };
    gint64 left_us;
    int number;

    while (!f->over && (left_us = tick_us - g_get_monotonic_time()) > 0) {
        poll(fds, G_N_ELEMENTS(fds), (left_us + 999) / 1000);
        while (!f->over && (number = signals_next(f->signal_fd))) {
            on_signal(f, number);
        }
        if (!f->over && fds[1].revents) {
            char key = terminal_key(f->terminal);

            on_key(f, key);
            /* None: the keyboard is gone, and poll would always return */
            fds[1].fd = key ? fds[1].fd : -1;
        }
    }
}

static void check_cancel(Follow *f)
{
    if (!f->over && f->cancel_us &&
        follow_ms_since(f->cancel_us) >= CANCEL_LIMIT_MS) {
        follow_end(f, EXIT_DETACHED);
        follow_tell(f, "cancelling",
                    "QEMU is still busy cancelling, and goes on with that");
    }
}

static void run(Follow *f)
{
    gint64 tick_us = g_get_monotonic_time();

    while (!f->over) {
        look_once(f);
        if (f->options->cancel && f->begun && !f->over && !f->cancel_us) {
            cancel(f);
        }
        check_cancel(f);
        tick_us = MAX(tick_us + f->options->interval_ms * 1000LL,
                      g_get_monotonic_time());
        wait_tick(f, tick_us);
    }
}

ExitStatus follow(QmpClient *qmp, const FollowOptions *options)
{
    Follow f = {
        .qmp = qmp, .options = options, .track = track_new(),
        .start_us = g_get_monotonic_time(),
        .heard_us = g_get_monotonic_time(), .signal_fd = signals_open(),
    };

    f.terminal = options->output == FOLLOW_AUTO ? terminal_open()
                                                : terminal_none();
    qmp_set_timeout(qmp, ANSWER_TIMEOUT_MS);
    qmp_set_event_callback(qmp, on_event, &f);
    run(&f);
    qmp_set_event_callback(qmp, NULL, NULL);
    terminal_close(f.terminal);
    signals_close(f.signal_fd);
    track_free(f.track);
    look_free(f.look);
    g_free(f.shown_state);
    g_free(f.event_status);
    return f.status;
}
