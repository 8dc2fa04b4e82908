/*
 * What is in a panel of the picture: bands of states, and curves
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * For plot-script.c alone, which lays the panels out and writes the data
 * blocks: $lookN holds seconds, rates, what remains, throttle and vCPUs of
 * column N, $workN seconds and the guest's work.
 */

#ifndef CONVERGECTL_PLOT_PANEL_H
#define CONVERGECTL_PLOT_PANEL_H

#include "look.h"
#include "plot-script.h"

/* Room beside a panel, for its scale */
#define PLOT_LEFT_PX 66
#define PLOT_RIGHT_PX 18

/* More lines than these could not be told apart */
#define PLOT_MAX_VCPUS 8

typedef struct PlotScales {
    double seconds, rate_mb_per_s, remaining_mb;
    gboolean work;
    int panels;
    int width_px, height_px, column_px;
} PlotScales;

/* Runs of the same state; with labels above the panel if it is the @first */
void plot_bands(GString *script, const PlotScales *scales,
                const PlotColumn *column, gboolean first);

void plot_curves(GString *script, const PlotScales *scales,
                 const PlotColumn *column, guint nr, int panel);

/* For a gnuplot string in single quotes */
char *plot_quote(const char *text);

static inline const Look *plot_look(const PlotColumn *column, guint i)
{
    return column->looks->pdata[i];
}

#endif
