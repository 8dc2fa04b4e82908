/*
 * Following a migration: what is shown of it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "follow-internal.h"

#include "display.h"
#include "format.h"
#include "message.h"

#include <stdio.h>

#define SILENCE_TELL_MS 1500
#define PLAIN_PERIOD_MS 1000

gint64 follow_ms_since(gint64 us)
{
    return (g_get_monotonic_time() - us) / 1000;
}

void follow_end(Follow *f, ExitStatus status)
{
    f->over = TRUE;
    f->status = status;
}

static const char *notice_of(const Follow *f, char *text, size_t size)
{
    gint64 silent_ms = follow_ms_since(f->heard_us);

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

void follow_draw(Follow *f)
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
    gboolean told = f->look->reason && *f->look->reason;

    if (g_strcmp0(phase, f->shown_state) != 0 ||
        (f->track->endless && !f->endless_shown) ||
        (!f->look->has_convergence && told != f->reason_shown)) {
        g_free(f->shown_state);
        f->shown_state = g_strdup(phase);
        f->reason_shown = told;
        f->endless_shown = f->track->endless;
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

void follow_show(Follow *f)
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
        follow_draw(f);
    } else if (f->begun) {
        print_lines(f, ended);
    }
}

void follow_tell(Follow *f, const char *outcome, const char *text)
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
