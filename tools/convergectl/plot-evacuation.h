/*
 * The picture of an evacuation, as a script for gnuplot
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_PLOT_EVACUATION_H
#define CONVERGECTL_PLOT_EVACUATION_H

#include "plot-script.h"

/* Whether a record is that of convergectl evacuate */
gboolean plot_is_evacuation(const char *text);

/*
 * A bar a guest: when it was set up, sent, and in its tail; and what the link
 * carried.  NULL: the record is not whole enough to be drawn.
 */
char *plot_evacuation_script(const char *text, const char *title,
                             PlotForm form, GError **errp);

#endif
