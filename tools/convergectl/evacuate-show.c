/*
 * An evacuation on the terminal, as lines, as JSON, and on disk
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "evacuate.h"

#include "format.h"
#include "message.h"
#include "record-fields.h"
#include "signals.h"
#include "terminal.h"

#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>

/* Where there is no terminal, a line as often */
#define LINE_S 10

#define QUESTION "f: let those under way finish, c: cancel them, g: go on"

struct EvacuateShow {
    Terminal *terminal;
    FollowOutput output;
    FILE *record;               /* NULL: none */
    int signal_fd;
    int n_signals;
    gboolean asking;
    gint64 told_us;
    gint64 created_us;
};

static const char *const fates[] = {
    [EVACUATE_WAITS] = "waiting", [EVACUATE_RUNS] = "moving",
    [EVACUATE_MOVED] = "moved", [EVACUATE_ENDED] = "ended",
    [EVACUATE_LEFT] = "left",
};

static const char *const stages[] = {
    [EVACUATION_WAITING] = "waiting", [EVACUATION_SETUP] = "set-up",
    [EVACUATION_BULK] = "first pass", [EVACUATION_TAIL] = "tail",
    [EVACUATION_FINISH] = "finish", [EVACUATION_GONE] = "moved",
};

static const char *state_of(const EvacuateGuest *guest)
{
    return guest->fate == EVACUATE_RUNS ? stages[guest->known.stage]
                                        : fates[guest->fate];
}

static Ink ink_of(const EvacuateGuest *guest)
{
    switch (guest->fate) {
    case EVACUATE_MOVED:
    case EVACUATE_ENDED:
        return INK_GOOD;
    case EVACUATE_LEFT:
        return INK_BAD;
    case EVACUATE_RUNS:
        return guest->known.stage == EVACUATION_TAIL ? INK_WARN : INK_LINK;
    default:
        return INK_DIM;
    }
}

EvacuateShow *evacuate_show_new(const EvacuateOptions *options,
                                GError **errp)
{
    g_autoptr(EvacuateShow) show = g_new0(EvacuateShow, 1);

    show->output = options->output;
    show->signal_fd = -1;
    show->created_us = g_get_monotonic_time();
    if (options->record) {
        show->record = fopen(options->record, "we");
        if (!show->record) {
            g_set_error(errp, G_FILE_ERROR, g_file_error_from_errno(errno),
                        "%s: %s", options->record, g_strerror(errno));
            return NULL;
        }
    }
    show->signal_fd = signals_open();
    show->terminal = options->output == FOLLOW_AUTO && !options->dry_run
                     ? terminal_open() : terminal_none();
    return g_steal_pointer(&show);
}

void evacuate_show_free(EvacuateShow *show)
{
    if (show) {
        if (show->terminal) {
            terminal_close(show->terminal);
        }
        if (show->signal_fd >= 0) {
            signals_close(show->signal_fd);
        }
        if (show->record) {
            fclose(show->record);
        }
        g_free(show);
    }
}

static gint64 at_ms(const EvacuateShow *show, const Evacuation *e)
{
    return (g_get_monotonic_time() - (e->began_us ?: show->created_us)) / 1000;
}

/* A line of JSON: to the record, and to stdout if that is wanted */
static void put_json(EvacuateShow *show, JsonBuilder *builder)
{
    g_autoptr(JsonNode) node = NULL;
    g_autofree char *text = NULL;

    json_builder_end_object(builder);
    node = json_builder_get_root(builder);
    text = json_to_string(node, FALSE);
    if (show->record) {
        fprintf(show->record, "%s\n", text);
        fflush(show->record);
    }
    if (show->output == FOLLOW_JSON) {
        printf("%s\n", text);
        fflush(stdout);
    }
    g_object_unref(builder);
}

static JsonBuilder *begin_json(const EvacuateShow *show, const Evacuation *e,
                               const char *type)
{
    g_autofree char *clock = record_time_text(g_get_real_time() / 1000);
    JsonBuilder *builder = json_builder_new();

    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "type");
    json_builder_add_string_value(builder, type);
    json_builder_set_member_name(builder, "at-ms");
    json_builder_add_int_value(builder, at_ms(show, e));
    json_builder_set_member_name(builder, "clock");
    json_builder_add_string_value(builder, clock);
    return builder;
}

static void add_int(JsonBuilder *builder, const char *name, double value)
{
    json_builder_set_member_name(builder, name);
    json_builder_add_int_value(builder, isfinite(value)
                               ? (gint64)MIN(value, 9e18) : -1);
}

static void add_text(JsonBuilder *builder, const char *name, const char *text)
{
    json_builder_set_member_name(builder, name);
    json_builder_add_string_value(builder, text);
}

static void add_guests(JsonBuilder *builder, const Evacuation *e)
{
    json_builder_set_member_name(builder, "guests");
    json_builder_begin_array(builder);
    for (guint i = 0; i < e->guests->len; i++) {
        const EvacuateGuest *guest = e->guests->pdata[i];
        const EvacuationTimes *times = &e->plan->times[i];

        json_builder_begin_object(builder);
        add_text(builder, "name", guest->name);
        add_text(builder, "state", state_of(guest));
        add_int(builder, "data-bytes", guest->known.data_bytes);
        add_int(builder, "dirty-rate", guest->known.writes.rate_bytes_per_s);
        add_int(builder, "working-set", guest->known.writes.working_set_bytes);
        add_int(builder, "remaining", guest->known.left_bytes);
        add_int(builder, "rate", guest->rate_bytes_per_s);
        add_int(builder, "tries", guest->tries);
        add_text(builder, "why", guest->why);
        if (guest->fate <= EVACUATE_RUNS) {
            add_int(builder, "start-ms", times->start_s * 1000);
            add_int(builder, "end-ms", times->end_s * 1000);
            add_int(builder, "error-ms", times->error_s * 1000);
        }
        json_builder_end_object(builder);
    }
    json_builder_end_array(builder);
}

static void put_state(EvacuateShow *show, const Evacuation *e,
                      const char *type)
{
    JsonBuilder *builder = begin_json(show, e, type);

    add_int(builder, "link", e->links_bytes_per_s[0]);
    /* From now on. */
    add_int(builder, "end-ms", e->plan->end_s * 1000);
    add_int(builder, "error-ms", e->plan->error_s * 1000);
    add_guests(builder, e);
    put_json(show, builder);
}

/* "22:41", of real time in so many seconds */
static char *clock_in(double s)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autoptr(GDateTime) then = isfinite(s) && s < 1e8
                                ? g_date_time_add_seconds(now, s) : NULL;

    return then ? g_date_time_format(then, "%H:%M:%S") : g_strdup("never");
}

/* How it stands with --by, in a clause; "" without it */
static char *by_clause(const Evacuation *e)
{
    double by_s, late_s = e->plan->end_s - e->plan->error_s;

    if (!e->options->by_us) {
        return g_strdup("");
    }
    by_s = (e->options->by_us - g_get_real_time()) / 1e6;
    if (e->plan->end_s + e->plan->error_s <= by_s) {
        return g_strdup("; in time");
    }
    if (e->plan->end_s <= by_s) {
        return g_strdup("; in time, but it may get late");
    }
    return g_strdup_printf("; %s: %u would not be gone by then",
                           late_s <= by_s ? "probably late" : "too late",
                           e->plan->n - evacuation_gone_by(e->plan, by_s));
}

static char *summary(const Evacuation *e)
{
    guint gone = 0, left = 0, n = e->guests->len;
    char link[FORMAT_MAX], s[FORMAT_MAX], error[FORMAT_MAX];
    g_autofree char *when = clock_in(e->plan->end_s);
    g_autofree char *by = by_clause(e);

    for (guint i = 0; i < n; i++) {
        const EvacuateGuest *guest = e->guests->pdata[i];

        gone += guest->fate == EVACUATE_MOVED ||
                guest->fate == EVACUATE_ENDED;
        left += guest->fate == EVACUATE_LEFT;
    }
    return g_strdup_printf(
        "%u of %u gone%s over %s%s; all gone in %s (+-%s), at %s%s", gone, n,
        left ? ", some are left," : "",
        format_rate(link, e->links_bytes_per_s[0]),
        e->link_known ? "" : " (a guess)",
        format_duration(s, MIN(e->plan->end_s, 1e9) * 1000),
        format_duration(error, MIN(e->plan->error_s, 1e9) * 1000), when, by);
}

void evacuate_show_plan(EvacuateShow *show, const Evacuation *e)
{
    g_autofree char *all = summary(e);

    put_state(show, e, "plan");
    if (show->output == FOLLOW_JSON) {
        return;
    }
    for (unsigned k = 0; k < e->plan->n; k++) {
        const EvacuateGuest *guest = e->guests->pdata[e->plan->order[k]];
        const EvacuationTimes *times = &e->plan->times[e->plan->order[k]];
        char data[FORMAT_MAX], rate[FORMAT_MAX], from[FORMAT_MAX];
        char to[FORMAT_MAX];

        printf("%-20s %10s in use, writes %s: %s to %s%s\n", guest->name,
               format_bytes(data, guest->known.data_bytes),
               format_rate(rate, guest->known.writes.rate_bytes_per_s),
               format_duration(from, times->start_s * 1000),
               format_duration(to, MIN(times->end_s, 1e9) * 1000),
               times->stuck ? "; to slow it down may not be enough" : "");
    }
    printf("%s\n", all);
    fflush(stdout);
}

static void draw_guest(Canvas *canvas, const Evacuation *e, guint i)
{
    const EvacuateGuest *guest = e->guests->pdata[i];
    char rate[FORMAT_MAX], s[FORMAT_MAX];
    double share = guest->fate == EVACUATE_MOVED ? 1 :
        guest->known.stage < EVACUATION_BULK ? 0 :
        1 - guest->known.left_bytes / MAX(guest->known.data_bytes, 1);

    canvas_put(canvas, INK_BOLD, "%-16.16s ", guest->name);
    canvas_put(canvas, ink_of(guest), "%-10s", state_of(guest));
    canvas_bar(canvas, ink_of(guest), 12, CLAMP(share, 0, 1));
    if (guest->fate == EVACUATE_RUNS) {
        canvas_put(canvas, INK_PLAIN, " %10s",
                   format_rate(rate, guest->rate_bytes_per_s));
    }
    if (guest->fate <= EVACUATE_RUNS) {
        canvas_put(canvas, INK_DIM, " gone in %s",
                   format_duration(s, MIN(e->plan->times[i].end_s, 1e9) *
                                      1000));
    }
    if (*guest->why) {
        canvas_put(canvas, INK_WARN, " %s", guest->why);
    }
    canvas_end_line(canvas);
}

static void draw(EvacuateShow *show, const Evacuation *e)
{
    g_autoptr(Canvas) canvas = canvas_new(terminal_looks(show->terminal));
    g_autofree char *all = summary(e);

    for (guint i = 0; i < e->guests->len; i++) {
        draw_guest(canvas, e, i);
    }
    canvas_put(canvas, INK_BOLD, "%s", all);
    canvas_end_line(canvas);
    if (show->asking) {
        canvas_put(canvas, INK_WARN, "%s", QUESTION);
        canvas_end_line(canvas);
    }
    terminal_draw(show->terminal, canvas);
}

void evacuate_show_look(EvacuateShow *show, const Evacuation *e)
{
    put_state(show, e, "look");
    if (terminal_is_live(show->terminal)) {
        draw(show, e);
    } else if (show->output != FOLLOW_JSON &&
               g_get_monotonic_time() - show->told_us > LINE_S *
               G_USEC_PER_SEC) {
        g_autofree char *all = summary(e);

        printf("%s\n", all);
        fflush(stdout);
        show->told_us = g_get_monotonic_time();
    }
}

void evacuate_show_event(EvacuateShow *show, const Evacuation *e,
                         const EvacuateGuest *guest, const char *format, ...)
{
    JsonBuilder *builder = begin_json(show, e, "event");
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    if (guest) {
        add_text(builder, "guest", guest->name);
    }
    add_text(builder, "text", text);
    put_json(show, builder);
    if (show->output == FOLLOW_JSON) {
        return;
    }
    /* Above the block, which is drawn anew below it. */
    if (terminal_is_live(show->terminal)) {
        g_autoptr(Canvas) empty = canvas_new(terminal_looks(show->terminal));

        terminal_draw(show->terminal, empty);
    }
    printf("%8.1f s  %s%s%s\n", at_ms(show, e) / 1000.0,
           guest ? guest->name : "", guest ? " " : "", text);
    fflush(stdout);
    if (terminal_is_live(show->terminal)) {
        g_autoptr(Canvas) empty = canvas_new(terminal_looks(show->terminal));

        terminal_draw(show->terminal, empty);
    }
}

void evacuate_show_end(EvacuateShow *show, const Evacuation *e,
                       ExitStatus status)
{
    guint counts[EVACUATE_LEFT + 1] = { 0 };
    JsonBuilder *builder = begin_json(show, e, "verdict");
    double took_s = at_ms(show, e) / 1000.0;

    for (guint i = 0; i < e->guests->len; i++) {
        counts[((EvacuateGuest *)e->guests->pdata[i])->fate]++;
    }
    add_int(builder, "status", status);
    add_int(builder, "moved", counts[EVACUATE_MOVED]);
    add_int(builder, "ended", counts[EVACUATE_ENDED]);
    add_int(builder, "left", counts[EVACUATE_LEFT]);
    add_int(builder, "planned-ms", e->first_end_s * 1000);
    add_int(builder, "planned-error-ms", e->first_error_s * 1000);
    add_guests(builder, e);
    put_json(show, builder);
    if (show->output == FOLLOW_JSON) {
        return;
    }
    if (terminal_is_live(show->terminal)) {
        draw(show, e);
    }
    for (guint i = 0; i < e->guests->len; i++) {
        const EvacuateGuest *guest = e->guests->pdata[i];

        if (guest->fate == EVACUATE_LEFT) {
            printf("%s is still here: %s\n", guest->name, guest->why);
        }
    }
    printf("%u of %u guests moved in %.1f s (planned: %.1f s, +-%.1f s)\n",
           counts[EVACUATE_MOVED], e->guests->len, took_s, e->first_end_s,
           e->first_error_s);
}

static EvacuateAnswer take_signal(EvacuateShow *show, int signal)
{
    switch (signal) {
    case SIGINT:
        if (terminal_key_fd(show->terminal) >= 0 && !show->asking) {
            show->asking = TRUE;
            return EVACUATE_NO_ANSWER;
        }
        /* Nobody to ask: gently, and at the second time not. */
        return show->n_signals++ ? EVACUATE_CANCEL : EVACUATE_FINISH;
    case SIGTERM:
    case SIGHUP:
        return EVACUATE_FINISH;
    case SIGQUIT:
        return EVACUATE_CANCEL;
    case SIGTSTP:
        terminal_suspend(show->terminal);
        raise(SIGSTOP);
        terminal_resume(show->terminal);
        return EVACUATE_NO_ANSWER;
    default:
        return EVACUATE_NO_ANSWER;
    }
}

static EvacuateAnswer take_key(EvacuateShow *show, char key)
{
    if (!show->asking) {
        return EVACUATE_NO_ANSWER;
    }
    switch (key) {
    case 'f':
        show->asking = FALSE;
        return EVACUATE_FINISH;
    case 'c':
        show->asking = FALSE;
        return EVACUATE_CANCEL;
    case 'g':
        show->asking = FALSE;
        return EVACUATE_GO_ON;
    default:
        return EVACUATE_NO_ANSWER;
    }
}

EvacuateAnswer evacuate_show_wait(EvacuateShow *show, const Evacuation *e,
                                  int ms)
{
    struct pollfd fds[] = {
        { .fd = show->signal_fd, .events = POLLIN },
        { .fd = terminal_key_fd(show->terminal), .events = POLLIN },
    };
    gint64 until_us = g_get_monotonic_time() + ms * 1000;
    EvacuateAnswer answer = EVACUATE_NO_ANSWER;
    int left_ms;

    while (answer == EVACUATE_NO_ANSWER &&
           (left_ms = (until_us - g_get_monotonic_time()) / 1000) > 0) {
        if (poll(fds, G_N_ELEMENTS(fds), left_ms) <= 0) {
            continue;
        }
        if (fds[0].revents) {
            answer = take_signal(show, signals_next(show->signal_fd));
        }
        if (fds[1].revents && answer == EVACUATE_NO_ANSWER) {
            answer = take_key(show, terminal_key(show->terminal));
        }
        if (show->asking && terminal_is_live(show->terminal)) {
            draw(show, e);
        }
    }
    return answer;
}
