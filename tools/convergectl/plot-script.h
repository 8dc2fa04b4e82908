/*
 * The picture of a migration, as a script for gnuplot
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_PLOT_SCRIPT_H
#define CONVERGECTL_PLOT_SCRIPT_H

#include "plot-work.h"

typedef struct PlotColumn {
    char *title;
    GPtrArray *looks;           /* Look *, at least one */
    GuestWorkTable *work;       /* NULL: none */
} PlotColumn;

typedef enum PlotForm { PLOT_SVG, PLOT_PNG } PlotForm;

/* @columns, side by side on the same scales, so that they can be compared */
char *plot_script(const PlotColumn *columns, guint n, PlotForm form);

#endif
