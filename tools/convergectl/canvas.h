/*
 * Lines of coloured text that never exceed a width
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Pure text: knows no terminal, so that tests see what a terminal would.
 */

#ifndef CONVERGECTL_CANVAS_H
#define CONVERGECTL_CANVAS_H

#include <glib.h>

typedef enum Ink {
    INK_PLAIN, INK_BOLD, INK_DIM, INK_GOOD, INK_WARN, INK_BAD, INK_LINK,
} Ink;

/* What the output can show */
typedef struct Looks {
    int columns;
    int rows;
    gboolean color;
    gboolean unicode;
} Looks;

typedef struct Canvas {
    Looks looks;
    GPtrArray *lines;               /* char *, with escapes */
    GArray *widths;                 /* int: columns that each line takes */
    GString *line;                  /* the one being written */
    int column;
} Canvas;

Canvas *canvas_new(Looks looks);
void canvas_free(Canvas *canvas);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Canvas, canvas_free)

/* What does not fit into the line's width is cut off */
void canvas_put(Canvas *canvas, Ink ink, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* Goes to @column unless the line is there already */
void canvas_tab(Canvas *canvas, int column);

void canvas_end_line(Canvas *canvas);

/* Columns left in the line */
int canvas_room(const Canvas *canvas);

/*
 * A bar of @cells cells, the part @share (0 to 1) of it filled, to an eighth
 * of a cell where the output knows such characters.
 */
void canvas_bar(Canvas *canvas, Ink ink, int cells, double share);

/*
 * A curve of @cells cells, one row high; values below zero are gaps.  All of
 * @values is shown, however many there are; 0 is at the bottom, @max at
 * the top.
 */
void canvas_curve(Canvas *canvas, Ink ink, int cells, const double *values,
                  guint n, double max);

/* @text, over as many lines as it takes, at most @max_lines */
void canvas_wrap(Canvas *canvas, Ink ink, const char *text, int max_lines);

#endif
