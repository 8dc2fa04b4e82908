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
#include "plot-vcpus.h"

/* Room beside a panel: for its scale, and for nothing where no legend is */
#define PLOT_LEFT_PX 66
#define PLOT_RIGHT_PX 18

/* From so many curves on their legend is beside the panel, not above it */
#define PLOT_BESIDE_CURVES 8
#define PLOT_LEGEND_ROWS 17
#define PLOT_LEGEND_ROW_PX 13
#define PLOT_LEGEND_COLUMN_PX 88

#define PLOT_THROTTLE_PANEL 2

typedef struct PlotScales {
    double seconds, rate_mb_per_s, remaining_mb, work_pct;
    gboolean work;
    int panels;
    int top_px, throttle_px, right_px;
    int width_px, height_px, column_px;
    PlotVcpus *vcpus;           /* one a column */
} PlotScales;

/* What the picture is to be, for gnuplot */
void plot_terminal(GString *script, PlotForm form, int width_px,
                   int height_px);

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
