/*
 * Lines of coloured text that never exceed a width
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "canvas.h"

#include "format.h"

#include <math.h>
#include <string.h>

static const char *const inks[] = {
    [INK_PLAIN] = "", [INK_BOLD] = "1", [INK_DIM] = "2", [INK_GOOD] = "32",
    [INK_WARN] = "33", [INK_BAD] = "31", [INK_LINK] = "36",
};

static const char *const bar_eighths[] = {
    "", "▏", "▎", "▍", "▌", "▋", "▊", "▉",
};
static const char *const curve_eighths[] = {
    "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█",
};
static const char *const curve_ascii[] = { "_", ".", "-", "=", "*", "#" };

Canvas *canvas_new(Looks looks)
{
    Canvas *canvas = g_new0(Canvas, 1);

    canvas->looks = looks;
    canvas->lines = g_ptr_array_new_with_free_func(g_free);
    canvas->widths = g_array_new(FALSE, FALSE, sizeof(int));
    canvas->line = g_string_new("");
    return canvas;
}

void canvas_free(Canvas *canvas)
{
    if (canvas) {
        g_ptr_array_unref(canvas->lines);
        g_array_unref(canvas->widths);
        g_string_free(canvas->line, TRUE);
        g_free(canvas);
    }
}

int canvas_room(const Canvas *canvas)
{
    return MAX(canvas->looks.columns - canvas->column, 0);
}

static void put_text(Canvas *canvas, Ink ink, const char *text)
{
    gboolean inked = canvas->looks.color && *inks[ink];
    glong length = MIN(g_utf8_strlen(text, -1), canvas_room(canvas));
    const char *end = g_utf8_offset_to_pointer(text, length);

    if (!length) {
        return;
    }
    if (inked) {
        g_string_append_printf(canvas->line, "\033[%sm", inks[ink]);
    }
    g_string_append_len(canvas->line, text, end - text);
    if (inked) {
        g_string_append(canvas->line, "\033[0m");
    }
    canvas->column += length;
}

void canvas_put(Canvas *canvas, Ink ink, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    put_text(canvas, ink, text);
}

void canvas_tab(Canvas *canvas, int column)
{
    if (column > canvas->column) {
        canvas_put(canvas, INK_PLAIN, "%*s", column - canvas->column, "");
    }
}

void canvas_end_line(Canvas *canvas)
{
    g_ptr_array_add(canvas->lines, g_strdup(canvas->line->str));
    g_array_append_val(canvas->widths, canvas->column);
    g_string_truncate(canvas->line, 0);
    canvas->column = 0;
}

static void repeat(GString *text, const char *what, int times)
{
    while (times-- > 0) {
        g_string_append(text, what);
    }
}

void canvas_bar(Canvas *canvas, Ink ink, int cells, double share)
{
    gboolean unicode = canvas->looks.unicode;
    int eighths = lrint(CLAMP(share, 0, 1) * cells * 8);
    int full = unicode ? eighths / 8 : (eighths + 4) / 8;
    gboolean part = unicode && eighths % 8;
    g_autoptr(GString) done = g_string_new("");
    g_autoptr(GString) rest = g_string_new("");

    repeat(done, unicode ? "█" : "#", full);
    if (part) {
        g_string_append(done, bar_eighths[eighths % 8]);
    }
    repeat(rest, unicode ? "░" : ".", cells - full - part);
    put_text(canvas, ink, done->str);
    put_text(canvas, INK_DIM, rest->str);
}

/* The mean of the known values that cell @cell stands for; -1 if none is */
static double cell_value(const double *values, guint n, int cell, int cells)
{
    guint from = (guint64)cell * n / cells;
    guint to = MAX((guint64)(cell + 1) * n / cells, from + 1);
    double sum = 0;
    int known = 0;

    for (guint i = from; i < to && i < n; i++) {
        if (values[i] >= 0) {
            sum += values[i];
            known++;
        }
    }
    return known ? sum / known : -1;
}

void canvas_curve(Canvas *canvas, Ink ink, int cells, const double *values,
                  guint n, double max)
{
    gboolean unicode = canvas->looks.unicode;
    const char *const *steps = unicode ? curve_eighths : curve_ascii;
    int levels = unicode ? G_N_ELEMENTS(curve_eighths)
                         : G_N_ELEMENTS(curve_ascii);
    g_autoptr(GString) curve = g_string_new("");

    /* A short history is as long as it is, and grows to the right */
    cells = MIN(cells, (int)n);
    for (int i = 0; i < cells; i++) {
        double value = cell_value(values, n, i, cells);
        int level = max > 0 ? value / max * levels : 0;

        g_string_append(curve, value < 0 ? " " :
                               steps[CLAMP(level, 0, levels - 1)]);
    }
    put_text(canvas, ink, curve->str);
}

/* How many bytes of @text go into @columns, broken at a space if possible */
static gsize fitting_bytes(const char *text, int columns)
{
    const char *end, *space;

    if (g_utf8_strlen(text, -1) <= columns) {
        return strlen(text);
    }
    end = g_utf8_offset_to_pointer(text, columns);
    for (space = end; space > text && *space != ' '; space--) {
        continue;
    }
    return (space > text ? space : end) - text;
}

void canvas_wrap(Canvas *canvas, Ink ink, const char *text, int max_lines)
{
    while (*text && max_lines-- > 0 && canvas_room(canvas) > 0) {
        gsize length = fitting_bytes(text, canvas_room(canvas));
        g_autofree char *part = g_strndup(text, length);

        put_text(canvas, ink, part);
        canvas_end_line(canvas);
        for (text += length; *text == ' '; text++) {
            continue;
        }
    }
}
