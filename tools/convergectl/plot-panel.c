/*
 * What is in a panel of the picture: bands of states, and curves
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "plot-panel.h"

#include "format.h"

#include <string.h>

/* About the width of a letter in the name of a band */
#define LABEL_CHAR_PX 6

typedef struct BandColor {
    const char *phase;
    const char *fill;
} BandColor;

static const BandColor band_colors[] = {
    { "first pass", "#eef2f8" }, { "watching", "#e3ecf9" },
    { "throttling", "#fdeed3" }, { "converging", "#dff3e3" },
    { "stuck", "#fadcdc" }, { "timed-out", "#f1dff3" },
    { "active", "#eef2f8" }, { "switch-over", "#d9d9d9" },
};

static const char *const line_colors[] = {
    "#e07b00", "#7a4fbf", "#0a8f8f", "#b0306a", "#5b7c1d", "#2f5fb3",
    "#8a5a2b", "#555555",
};

static const char *band_color(const char *phase)
{
    for (size_t i = 0; i < G_N_ELEMENTS(band_colors); i++) {
        if (g_str_equal(phase, band_colors[i].phase)) {
            return band_colors[i].fill;
        }
    }
    return "#f2f2f2";
}

static double width_px(const PlotScales *scales, double seconds)
{
    return seconds / (scales->seconds * 1.02) *
           (scales->column_px - PLOT_LEFT_PX - scales->right_px);
}

static gboolean has_room(const PlotScales *scales, const char *text,
                         double seconds)
{
    return width_px(scales, seconds) > strlen(text) * LABEL_CHAR_PX + 6;
}

static void put_label(GString *script, const char *text, int tag, double at_s,
                      const char *where)
{
    g_string_append_printf(script, "set label %d '%s' at %.3f, graph 1.055 %s "
        "front font ',10' textcolor rgb '#444444'\n", tag, text, at_s, where);
}

static void put_band(GString *script, const char *phase, int tag,
                     double from_s, double to_s, gboolean first)
{
    g_string_append_printf(script, "set object %d rectangle from %.3f, graph "
        "0 to %.3f, graph %s noclip behind fillcolor rgb '%s' fillstyle solid "
        "1 noborder\n", tag, from_s, to_s, first ? "1.11" : "1",
        band_color(phase));
}

/*
 * The last look's phase is the end, and no run of its own.  Bands that are
 * too narrow for their names are named to the right of them all.
 */
void plot_bands(GString *script, const PlotScales *scales,
                const PlotColumn *column, gboolean first)
{
    g_autoptr(GString) unnamed = g_string_new("");
    double from_s = plot_look(column, 0)->at_ms / 1e3;
    const char *phase = look_phase(plot_look(column, 0));
    int tag = 100;

    for (guint i = 1; i < column->looks->len; i++) {
        const Look *look = plot_look(column, i);
        double at_s = look->at_ms / 1e3;

        if (i < column->looks->len - 1 &&
            g_str_equal(look_phase(look), phase)) {
            continue;
        }
        put_band(script, phase, ++tag, from_s, at_s, first);
        if (has_room(scales, phase, at_s - from_s)) {
            if (first) {
                put_label(script, phase, tag, (from_s + at_s) / 2, "center");
            }
        } else if (!strstr(unnamed->str, phase)) {
            g_string_append_printf(unnamed, "%s%s", unnamed->len ? ", " : "",
                                   phase);
        }
        from_s = at_s;
        phase = look_phase(look);
    }
    if (first && has_room(scales, unnamed->str, scales->seconds - from_s)) {
        put_label(script, unnamed->str, ++tag,
                  from_s + scales->seconds * 0.01, "left");
    }
}

/* Eight colours solid, then the same eight dashed, dotted and both */
static void put_vcpu(GString *script, const PlotVcpus *vcpus, guint v,
                     guint nr)
{
    g_string_append_printf(script, "%s$look%u using 1:%u with steps "
        "linewidth 2 linecolor rgb '%s' dashtype %zu ", v ? ", " : "", nr,
        6 + v, line_colors[v % G_N_ELEMENTS(line_colors)],
        1 + v / G_N_ELEMENTS(line_colors));
    if (v < vcpus->ids->len) {
        g_string_append_printf(script, "title 'vCPU %d'",
                               g_array_index(vcpus->ids, int, v));
    } else {
        g_string_append_printf(script, "title '%u others'", vcpus->others);
    }
}

static void put_throttle(GString *script, const PlotVcpus *vcpus, guint nr)
{
    guint n = plot_vcpus_curves(vcpus);

    g_string_append(script, "set yrange [0:104]; set ytics 25\nplot ");
    if (n == 0) {
        g_string_append_printf(script, "$look%u using 1:5 with steps "
            "linewidth 2 linecolor rgb '%s' title 'all vCPUs'\n", nr,
            line_colors[0]);
    }
    for (guint v = 0; v < n; v++) {
        put_vcpu(script, vcpus, v, nr);
    }
    g_string_append(script, "\n");
}

static void put_work_plot(GString *script, const PlotScales *scales,
                          const PlotColumn *column, guint nr)
{
    g_string_append_printf(script, "set yrange [0:%.1f]; set ytics %s\n"
        "plot ", MAX(125, scales->work_pct * 1.08),
        scales->work_pct <= 250 ? "50" : "auto");
    if (!column->work) {
        g_string_append(script, "NaN notitle\n");
        return;
    }
    for (guint i = 0; column->work->names[i]; i++) {
        g_autofree char *name = plot_quote(column->work->names[i]);

        g_string_append_printf(script, "%s$work%u using 1:%u with lines "
            "linewidth 2 linecolor rgb '%s' title %s", i ? ", " : "", nr,
            2 + i, line_colors[i % G_N_ELEMENTS(line_colors)], name);
    }
    g_string_append(script, "\n");
}

void plot_curves(GString *script, const PlotScales *scales,
                 const PlotColumn *column, guint nr, int panel)
{
    switch (panel) {
    case 0:
        g_string_append_printf(script, "set yrange [0:%.3f]; set ytics auto\n"
            "plot $look%u using 1:2 with lines linewidth 2 linecolor rgb "
            "'#c8323c' title 'dirtied', '' using 1:3 with lines linewidth 2 "
            "linecolor rgb '#1f7a4d' title 'drained'\n",
            scales->rate_mb_per_s * 1.08, nr);
        break;
    case 1:
        g_string_append_printf(script, "set yrange [0:%.3f]; set ytics auto\n"
            "plot $look%u using 1:4 with filledcurves y=0 fillcolor rgb "
            "'#9db8dd' fillstyle transparent solid 0.55 notitle, '' using "
            "1:4 with lines linewidth 2 linecolor rgb '#2f5fb3' notitle\n",
            scales->remaining_mb * 1.08, nr);
        break;
    case PLOT_THROTTLE_PANEL:
        put_throttle(script, &scales->vcpus[nr], nr);
        break;
    default:
        put_work_plot(script, scales, column, nr);
        break;
    }
}

void plot_terminal(GString *script, PlotForm form, int width_px,
                   int height_px)
{
    g_string_append_printf(script, "set terminal %s size %d,%d noenhanced "
        "font '%s,11' %sbackground '#ffffff'\n",
        form == PLOT_PNG ? "pngcairo" : "svg", width_px, height_px,
        form == PLOT_PNG ? "Helvetica" : "Helvetica,Arial,sans-serif",
        /* There a size is in points, of which an inch of 96 pixels has 72 */
        form == PLOT_PNG ? "fontscale 0.75 " : "");
}

char *plot_quote(const char *text)
{
    g_autofree char *clean = format_sanitize(text);
    g_autoptr(GString) quoted = g_string_new(clean);

    g_string_replace(quoted, "'", "''", 0);
    return g_strdup_printf("'%s'", quoted->str);
}
