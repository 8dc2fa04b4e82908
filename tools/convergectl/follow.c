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
 * switch-over; who watches is told, and after SILENCE_LIMIT_MS it counts as
 * lost.
 */

#include "follow.h"

#include "connection.h"
#include "display.h"
#include "format.h"
#include "message.h"
#include "signals.h"
#include "terminal.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* One try; short, so that a Ctrl-C is heard meanwhile */
#define ANSWER_TIMEOUT_MS 500
#define SILENCE_TELL_MS 1500
#define SILENCE_LIMIT_MS 10000
#define PLAIN_PERIOD_MS 1000

/* QEMU may be stuck in a write to a dead peer */
#define CANCEL_LIMIT_MS 30000

/*
 * QEMU 7.2 says "completed" a moment before it has worked out total-time and
 * downtime
 */
#define FIGURES_POLL_MS 50
#define FIGURES_TRIES 40

typedef struct Follow {
    QmpClient *qmp;
    const FollowOptions *options;
    Terminal *terminal;
    Track *track;
    Look *look;                     /* the last one; NULL before the first */
    int signal_fd;
    gint64 start_us;
    gint64 heard_us;                /* when QEMU last answered */
    gint64 cancel_us;               /* when we cancelled; 0: not */
    gint64 next_line_ms;
    char *shown_state;              /* of the last line that told a state */
    char *event_status;             /* of the last MIGRATION event */
    gboolean asking;                /* whether to cancel */
    gboolean begun;                 /* the migration to follow is there */
    gboolean over;
    ExitStatus status;
} Follow;

static gint64 ms_since(gint64 us)
{
    return (g_get_monotonic_time() - us) / 1000;
}

static void end(Follow *f, ExitStatus status)
{
    f->over = TRUE;
    f->status = status;
}

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

static const char *notice_of(const Follow *f, char *text, size_t size)
{
    gint64 silent_ms = ms_since(f->heard_us);

    if (f->cancel_us) {
        return "cancelling ...";
    }
    if (f->asking) {
        return terminal_key_fd(f->terminal) >= 0
               ? "Cancel this migration? The guest stays here.  "
                 "[y]es or Ctrl-C   [n]o   [d]etach: leave it running"
               : "Ctrl-C again cancels this migration";
    }
    if (silent_ms >= SILENCE_TELL_MS) {
        g_snprintf(text, size, "QEMU has not answered for %d s",
                   (int)(silent_ms / 1000));
        return text;
    }
    if (!f->begun) {
        return "No migration runs yet; waiting for one to begin";
    }
    if (f->look && f->look->status &&
        g_str_equal(f->look->status, "pre-switchover")) {
        return "QEMU waits for migrate-continue";
    }
    return NULL;
}

static void draw(Follow *f)
{
    g_autoptr(Canvas) canvas = canvas_new(terminal_looks(f->terminal));
    char text[64];
    DisplayText words = { .title = f->options->title };

    words.notice = notice_of(f, text, sizeof(text));
    if (f->begun) {
        display_block(canvas, &words, f->look, f->track);
    } else {
        canvas_wrap(canvas, INK_DIM, words.notice, 2);
    }
    terminal_draw(f->terminal, canvas);
}

/* A state and its reason once, when it is entered; the figures each second */
static void print_lines(Follow *f, gboolean ended)
{
    g_autofree char *line = display_line(f->look, f->track);
    const char *phase = look_phase(f->look);

    if (g_strcmp0(phase, f->shown_state) != 0) {
        g_free(f->shown_state);
        f->shown_state = g_strdup(phase);
        if (f->look->reason && *f->look->reason && !ended) {
            g_autofree char *reason = format_sanitize(f->look->reason);

            printf("state: %s: %s\n", phase, reason);
        }
    }
    if (f->look->at_ms >= f->next_line_ms || ended) {
        printf("%s\n", line);
        f->next_line_ms = f->look->at_ms - f->look->at_ms % PLAIN_PERIOD_MS +
                          PLAIN_PERIOD_MS;
    }
    fflush(stdout);
}

static void show(Follow *f)
{
    gboolean ended = f->look && look_has_ended(f->look);

    if (f->options->output == FOLLOW_SILENT) {
        return;
    }
    if (f->options->output == FOLLOW_JSON) {
        if (f->begun) {
            g_autofree char *line = recording_json(f->look);

            printf("%s\n", line);
            fflush(stdout);
        }
    } else if (terminal_is_live(f->terminal)) {
        draw(f);
    } else if (f->begun) {
        print_lines(f, ended);
    }
}

static void tell_end(Follow *f, const char *outcome, const char *text)
{
    switch (f->options->output) {
    case FOLLOW_JSON:
        message_json_verdict(outcome, f->status, text, f->look, f->track);
        break;
    case FOLLOW_SILENT:
        message_note("%s", text);
        break;
    default:
        printf("%s\n", text);
        fflush(stdout);
        break;
    }
}

/* A source may be ended by its manager as soon as it says "completed" */
static void lose(Follow *f, const GError *error)
{
    g_autofree char *why = format_sanitize(error->message);
    g_autofree char *text = NULL;

    if (g_strcmp0(f->event_status, "completed") == 0) {
        end(f, EXIT_COMPLETED);
        tell_end(f, "completed", "completed; QEMU has ended before it could "
                 "be asked for figures");
        return;
    }
    if (!connection_is_lost(error)) {
        end(f, EXIT_FAILED);
        tell_end(f, "failed", why);
        return;
    }
    end(f, EXIT_LOST);
    text = g_strdup_printf("lost: %s; whether the migration goes on cannot "
                           "be told", why);
    if (f->options->output == FOLLOW_JSON) {
        tell_end(f, "lost", text);
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

    end(f, display_exit_status(f->look));
    tell_end(f, f->look->status, text);
}

static void check_paused(Follow *f)
{
    if (g_str_equal(f->look->status, "postcopy-paused")) {
        end(f, EXIT_FAILED);
        tell_end(f, "postcopy-paused",
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
    end(f, EXIT_FAILED);
    tell_end(f, "none", "no migration runs here; --wait SECONDS waits for "
             "one to begin");
    return FALSE;
}

static void check_wait(Follow *f)
{
    if (!f->begun && !f->over && f->options->wait_s > 0 &&
        ms_since(f->start_us) >= f->options->wait_s * 1000LL) {
        g_autofree char *text =
            g_strdup_printf("no migration has begun within %d s",
                            f->options->wait_s);

        end(f, EXIT_FAILED);
        tell_end(f, "none", text);
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
            end(f, EXIT_FAILED);
        }
    }
}

static void look_once(Follow *f)
{
    g_autoptr(GError) error = NULL;
    JsonObject *info = ask(f, &error);

    if (!info) {
        if (!g_error_matches(error, QMP_ERROR, QMP_ERROR_TIMEOUT) ||
            ms_since(f->heard_us) >= SILENCE_LIMIT_MS) {
            lose(f, error);
        } else if (f->look && terminal_is_live(f->terminal)) {
            draw(f);
        }
        return;
    }
    take_look(f, info);
    json_object_unref(info);
    if (!f->begun) {
        f->begun = has_begun(f);
        if (!f->begun) {
            check_wait(f);
            if (!f->over) {
                show(f);
            }
            return;
        }
        f->start_us = g_get_monotonic_time();
    }
    if (g_str_equal(f->look->status, "completed")) {
        await_figures(f);
    }
    track_add(f->track, f->look, ms_since(f->start_us));
    record(f);
    show(f);
    if (look_has_ended(f->look)) {
        tell_verdict(f);
    } else {
        check_paused(f);
    }
}

static void detach(Follow *f)
{
    end(f, EXIT_DETACHED);
    tell_end(f, "detached", "detached: the migration goes on; "
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
        draw(f);
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
            draw(f);
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
        draw(f);
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
        ms_since(f->cancel_us) >= CANCEL_LIMIT_MS) {
        end(f, EXIT_DETACHED);
        tell_end(f, "cancelling", "QEMU is still busy cancelling; it is left "
                 "to that");
    }
}

static void run(Follow *f)
{
    gint64 tick_us = g_get_monotonic_time();

    while (!f->over) {
        look_once(f);
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
