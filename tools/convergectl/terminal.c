/*
 * The terminal we write to: its size, its keys, a block drawn over itself
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * The block is at the end of what has been written, not on a screen of its
 * own: what it said last stays, with the verdict below it.  Most terminals
 * break lines anew when they get narrower, so that the way back to the
 * block's first line is counted in the columns of now.
 */

#include "terminal.h"

#include <langinfo.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define DEFAULT_COLUMNS 80
#define DEFAULT_ROWS 24
#define MIN_COLUMNS 10

#define HIDE_CURSOR "\033[?25l"
#define SHOW_CURSOR "\033[?25h"
/* A character wider than we think must not break the line */
#define NO_WRAP "\033[?7l"
#define WRAP "\033[?7h"

struct Terminal {
    gboolean live;
    gboolean has_keys;
    struct termios before;
    GArray *drawn_widths;           /* int, of the block that stands there */
};

static gboolean is_set(const char *name)
{
    const char *value = g_getenv(name);

    return value && *value;
}

static gboolean can_move_cursor(void)
{
    const char *term = g_getenv("TERM");

    return isatty(STDOUT_FILENO) && term && *term &&
           !g_str_equal(term, "dumb");
}

/* Line by line input would make 'y' wait for Enter; Ctrl-C stays a signal */
static void take_keys(Terminal *terminal)
{
    struct termios raw;

    /* Touching it from the background would stop us */
    if (!terminal->live || !isatty(STDIN_FILENO) ||
        tcgetpgrp(STDIN_FILENO) != getpgrp() ||
        tcgetattr(STDIN_FILENO, &terminal->before) < 0) {
        return;
    }
    raw = terminal->before;
    raw.c_lflag &= ~(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    terminal->has_keys = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

static void give_keys_back(Terminal *terminal)
{
    if (terminal->has_keys) {
        tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal->before);
        terminal->has_keys = FALSE;
    }
}

static void write_code(const char *code)
{
    fputs(code, stdout);
    fflush(stdout);
}

Terminal *terminal_none(void)
{
    Terminal *terminal = g_new0(Terminal, 1);

    terminal->drawn_widths = g_array_new(FALSE, FALSE, sizeof(int));
    return terminal;
}

Terminal *terminal_open(void)
{
    Terminal *terminal = terminal_none();

    terminal->live = can_move_cursor();
    take_keys(terminal);
    if (terminal->live) {
        write_code(HIDE_CURSOR);
    }
    return terminal;
}

void terminal_suspend(Terminal *terminal)
{
    give_keys_back(terminal);
    if (terminal->live) {
        write_code(SHOW_CURSOR);
    }
}

void terminal_resume(Terminal *terminal)
{
    take_keys(terminal);
    if (terminal->live) {
        /* The shell has written below the block: begin a new one */
        g_array_set_size(terminal->drawn_widths, 0);
        write_code(HIDE_CURSOR);
    }
}

void terminal_close(Terminal *terminal)
{
    if (terminal) {
        terminal_suspend(terminal);
        g_array_unref(terminal->drawn_widths);
        g_free(terminal);
    }
}

gboolean terminal_is_live(const Terminal *terminal)
{
    return terminal->live;
}

Looks terminal_looks(const Terminal *terminal)
{
    Looks looks = { .columns = DEFAULT_COLUMNS, .rows = DEFAULT_ROWS };
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col) {
        looks.columns = size.ws_col;
        looks.rows = size.ws_row;
    }
    /* The last column stays free: terminals differ in what follows it */
    looks.columns = MAX(looks.columns - 1, MIN_COLUMNS);
    looks.color = !is_set("NO_COLOR");
    looks.unicode = g_str_equal(nl_langinfo(CODESET), "UTF-8");
    return looks;
}

static int rows_drawn(const Terminal *terminal, int columns)
{
    int rows = 0;

    for (guint i = 0; i < terminal->drawn_widths->len; i++) {
        int width = g_array_index(terminal->drawn_widths, int, i);

        rows += width ? (width + columns - 1) / columns : 1;
    }
    return rows;
}

void terminal_draw(Terminal *terminal, const Canvas *canvas)
{
    int columns = canvas->looks.columns + 1;
    int rows = MIN(rows_drawn(terminal, columns), canvas->looks.rows - 1);
    /* What scrolls out at the top cannot be drawn over */
    guint n = MIN(canvas->lines->len, (guint)MAX(canvas->looks.rows - 1, 1));
    g_autoptr(GString) out = g_string_new("");

    if (!terminal->live) {
        return;
    }
    g_string_append(out, "\r");
    if (rows > 0) {
        g_string_append_printf(out, "\033[%dA", rows);
    }
    g_string_append(out, NO_WRAP);
    g_array_set_size(terminal->drawn_widths, 0);
    for (guint i = 0; i < n; i++) {
        g_string_append_printf(out, "%s\033[K\n",
                               (char *)canvas->lines->pdata[i]);
        g_array_append_val(terminal->drawn_widths,
                           g_array_index(canvas->widths, int, i));
    }
    g_string_append(out, WRAP "\033[J");
    /* In one piece: half a block must not be seen */
    fputs(out->str, stdout);
    fflush(stdout);
}

int terminal_key_fd(const Terminal *terminal)
{
    return terminal->has_keys ? STDIN_FILENO : -1;
}

char terminal_key(Terminal *terminal)
{
    char key;

    if (!terminal->has_keys) {
        return 0;
    }
    if (read(STDIN_FILENO, &key, 1) == 1) {
        return key;
    }
    return 0;
}
