/*
 * The picture of a migration, as a script for gnuplot
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 *     title, origin, verdict       one column a recording
 *     | state | state     |        what the engine was at, as bands behind
 *     | rates             |        all panels
 *     | what remains      |
 *     | throttle          |
 *     | guest work        |        if given
 *       seconds
 *
 * All columns share the scales: which line ends first is what is to be seen.
 */

#include "plot-script.h"

#include "display.h"
#include "format.h"
#include "plot-panel.h"

#define COLUMN_PX 470
#define SINGLE_PX 800
#define TOP_PX 118
#define BOTTOM_PX 46
#define GAP_PX 34
#define LINE_PX 15

#define VERDICT_CHAR_PX 7
#define MAX_VERDICT_LINES 2

typedef struct Panel {
    const char *caption;
    int height_px;
} Panel;

static const Panel panels[] = {
    { "dirty rate and drain rate, MB/s", 170 },
    { "what remains, MB", 110 },
    { "slow-down of the vCPUs, %", 110 },
    { "work of the guest, % of normal", 110 },
};

static void take_scales(const PlotColumn *column, PlotScales *scales)
{
    for (guint i = 0; i < column->looks->len; i++) {
        const Look *look = plot_look(column, i);

        scales->seconds = MAX(scales->seconds, look->at_ms / 1e3);
        scales->rate_mb_per_s = MAX(scales->rate_mb_per_s,
            MAX(look->dirty_bytes_per_s, look->drain_bytes_per_s) /
            BYTES_PER_MB);
        scales->remaining_mb = MAX(scales->remaining_mb,
                                   look->remaining_bytes / BYTES_PER_MB);
    }
    if (column->work) {
        guint width = 1 + g_strv_length(column->work->names);

        scales->work = TRUE;
        for (guint i = 0; i < column->work->values->len; i++) {
            if (i % width) {
                scales->work_pct = MAX(scales->work_pct,
                    g_array_index(column->work->values, double, i));
            }
        }
    }
}

static int panel_px(const PlotScales *scales, int panel)
{
    return panel == PLOT_THROTTLE_PANEL ? scales->throttle_px
                                        : panels[panel].height_px;
}

static gboolean is_beside(const PlotVcpus *vcpus)
{
    return plot_vcpus_curves(vcpus) >= PLOT_BESIDE_CURVES;
}

/* Old recordings tell neither whose they are nor from when */
static gboolean has_origin(const PlotColumn *column)
{
    const Look *first = plot_look(column, 0);

    return first->clock_ms >= 0 || (first->guest && *first->guest);
}

static char *tell_origin(const PlotColumn *column)
{
    const Look *first = plot_look(column, 0);
    g_autoptr(GDateTime) time = first->clock_ms >= 0
        ? g_date_time_new_from_unix_utc(first->clock_ms / 1000) : NULL;
    g_autofree char *when =
        time ? g_date_time_format(time, "%Y-%m-%d %H:%M:%S UTC") : NULL;
    const char *guest = first->guest ?: "";

    return g_strdup_printf("%s%s%s", guest, *guest && when ? ", " : "",
                           when ?: "");
}

/* All columns get the room that the longest legend needs */
static void make_room(PlotScales *scales, const PlotVcpus *vcpus)
{
    int curves = plot_vcpus_curves(vcpus);
    int rows = MIN(curves, PLOT_LEGEND_ROWS);
    int columns = (curves + PLOT_LEGEND_ROWS - 1) / PLOT_LEGEND_ROWS;

    if (is_beside(vcpus)) {
        scales->throttle_px = MAX(scales->throttle_px,
                                  rows * PLOT_LEGEND_ROW_PX);
        scales->right_px = MAX(scales->right_px, PLOT_RIGHT_PX +
                               columns * PLOT_LEGEND_COLUMN_PX);
    }
}

static PlotScales make_scales(const PlotColumn *columns, guint n)
{
    PlotScales scales = {
        .seconds = 0.1, .rate_mb_per_s = 1, .remaining_mb = 1,
        .top_px = TOP_PX,
        .throttle_px = panels[PLOT_THROTTLE_PANEL].height_px,
        .right_px = PLOT_RIGHT_PX, .vcpus = g_new(PlotVcpus, n),
    };

    for (guint i = 0; i < n; i++) {
        scales.vcpus[i] = plot_vcpus_choose(columns[i].looks);
        take_scales(&columns[i], &scales);
        make_room(&scales, &scales.vcpus[i]);
        if (has_origin(&columns[i])) {
            scales.top_px = TOP_PX + LINE_PX;
        }
    }
    scales.panels = scales.work ? 4 : 3;
    scales.column_px = (n == 1 ? SINGLE_PX : COLUMN_PX) + scales.right_px -
                       PLOT_RIGHT_PX;
    scales.width_px = scales.column_px * n;
    scales.height_px = scales.top_px + BOTTOM_PX - GAP_PX;
    for (int i = 0; i < scales.panels; i++) {
        scales.height_px += panel_px(&scales, i) + GAP_PX;
    }
    return scales;
}

static void clear_scales(PlotScales *scales, guint n)
{
    for (guint i = 0; i < n; i++) {
        plot_vcpus_clear(&scales->vcpus[i]);
    }
    g_free(scales->vcpus);
}

static void put_value(GString *script, double value, double unit)
{
    if (value >= 0) {
        g_string_append_printf(script, " %.4f", value / unit);
    } else {
        g_string_append(script, " NaN");
    }
}

static void put_looks(GString *script, const PlotColumn *column,
                      const PlotVcpus *vcpus, guint nr)
{
    guint curves = plot_vcpus_curves(vcpus);
    g_autofree double *throttle_pct = g_new(double, curves + 1);

    g_string_append_printf(script, "$look%u << EOD\n", nr);
    for (guint i = 0; i < column->looks->len; i++) {
        const Look *look = plot_look(column, i);

        g_string_append_printf(script, "%.3f", look->at_ms / 1e3);
        put_value(script, look->dirty_bytes_per_s, BYTES_PER_MB);
        put_value(script, look->drain_bytes_per_s, BYTES_PER_MB);
        put_value(script, look->remaining_bytes, BYTES_PER_MB);
        put_value(script, MAX(look->throttle_pct, 0), 1);
        plot_vcpus_values(vcpus, look->vcpus, throttle_pct);
        for (guint v = 0; v < curves; v++) {
            put_value(script, throttle_pct[v], 1);
        }
        g_string_append(script, "\n");
    }
    g_string_append(script, "EOD\n");
}

static void put_work(GString *script, const PlotColumn *column, guint nr)
{
    guint width = column->work ? 1 + g_strv_length(column->work->names) : 0;

    if (!column->work) {
        return;
    }
    g_string_append_printf(script, "$work%u << EOD\n", nr);
    for (guint i = 0; i < column->work->values->len; i++) {
        double value = g_array_index(column->work->values, double, i);

        g_string_append_printf(script, "%.4f%s",
                               i % width ? value : value / 1e3,
                               i % width == width - 1 ? "\n" : " ");
    }
    g_string_append(script, "EOD\n");
}

static double screen_x(const PlotScales *scales, double px)
{
    return px / scales->width_px;
}

static double screen_y(const PlotScales *scales, double px_from_top)
{
    return 1 - px_from_top / scales->height_px;
}

/* So far above the panel, for gnuplot; above the first are names of bands */
static double above(const PlotScales *scales, int panel, double px)
{
    return 1 + px / panel_px(scales, panel);
}

/* Above the panel at its right, or beside it from its top on */
static void put_legend(GString *script, const PlotScales *scales, guint nr,
                       int panel, int top_px)
{
    if (panel == PLOT_THROTTLE_PANEL && is_beside(&scales->vcpus[nr])) {
        g_string_append_printf(script, "set key at screen %.5f, screen %.5f "
            "left top Left reverse vertical maxrows %d samplen 2 spacing "
            "0.9 font ',9'\n",
            screen_x(scales, (nr + 1) * scales->column_px - scales->right_px +
                             PLOT_RIGHT_PX / 2),
            screen_y(scales, top_px), PLOT_LEGEND_ROWS);
    } else {
        g_string_append_printf(script, "set key default; set key at graph 1, "
            "graph %.4f right vertical maxrows 1 samplen 1.5\n",
            above(scales, panel, panel == 0 ? 43 : 23));
    }
}

static void put_panel(GString *script, const PlotScales *scales,
                      const PlotColumn *column, guint nr, int panel)
{
    int left_px = nr * scales->column_px;
    int top_px = scales->top_px;

    for (int i = 0; i < panel; i++) {
        top_px += panel_px(scales, i) + GAP_PX;
    }
    g_string_append_printf(script, "unset object; unset label\n"
        "set lmargin at screen %.5f; set rmargin at screen %.5f\n"
        "set tmargin at screen %.5f; set bmargin at screen %.5f\n",
        screen_x(scales, left_px + PLOT_LEFT_PX),
        screen_x(scales, left_px + scales->column_px - scales->right_px),
        screen_y(scales, top_px),
        screen_y(scales, top_px + panel_px(scales, panel)));
    plot_bands(script, scales, column, panel == 0);
    g_string_append_printf(script, "set label 1 '%s' at graph 0, graph %.4f "
        "left font ',12' textcolor rgb '#333333'\n", panels[panel].caption,
        above(scales, panel, panel == 0 ? 32 : 12));
    put_legend(script, scales, nr, panel, top_px);
    g_string_append_printf(script, "set format x '%s'; set xlabel '%s' "
        "offset 0,0.4\n", panel == scales->panels - 1 ? "%g" : "",
        panel == scales->panels - 1 ? "seconds" : "");
    plot_curves(script, scales, column, nr, panel);
}

/* How it ended, over as many lines as the column's width takes */
static Canvas *tell_end(const PlotScales *scales, const PlotColumn *column)
{
    const Look *last = plot_look(column, column->looks->len - 1);
    Looks looks = { .columns = (scales->column_px - PLOT_LEFT_PX) /
                               VERDICT_CHAR_PX };
    Canvas *canvas = canvas_new(looks);
    g_autoptr(Track) track = track_new();
    g_autofree char *text = NULL;
    char duration[FORMAT_MAX];

    for (guint i = 0; i < column->looks->len; i++) {
        track_add(track, column->looks->pdata[i], 0);
    }
    text = look_has_ended(last) ? display_verdict(last, track) :
           g_strdup_printf("not done after %s",
                           format_duration(duration, last->at_ms));
    canvas_wrap(canvas, INK_PLAIN, text, MAX_VERDICT_LINES);
    return canvas;
}

static void put_text(GString *script, const PlotScales *scales, int label,
                     const char *text, double x_px, double y_px,
                     const char *style)
{
    g_autofree char *quoted = plot_quote(text);

    g_string_append_printf(script, "set label %d %s at screen %.5f, screen "
        "%.5f left %s\n", label, quoted, screen_x(scales, x_px),
        screen_y(scales, y_px), style);
}

/* Title, origin and verdict, in screen coordinates above the first panel */
static void put_column_title(GString *script, const PlotScales *scales,
                             const PlotColumn *column, guint nr)
{
    double x_px = nr * scales->column_px + PLOT_LEFT_PX;
    g_autoptr(Canvas) verdict = tell_end(scales, column);
    int label = 10 + nr * (2 + MAX_VERDICT_LINES);
    int y_px = 41;

    put_text(script, scales, label, column->title, x_px, 20,
             "font 'Helvetica:Bold,16' "
             "textcolor rgb '#111111'");
    if (has_origin(column)) {
        g_autofree char *origin = tell_origin(column);

        put_text(script, scales, label + 1, origin, x_px, y_px,
                 "font ',11' textcolor rgb '#444444'");
        y_px += LINE_PX;
    }
    for (guint i = 0; i < verdict->lines->len; i++) {
        put_text(script, scales, label + 2 + i, verdict->lines->pdata[i],
                 x_px, y_px + LINE_PX * i,
                 "font ',11' textcolor rgb '#444444'");
    }
}

char *plot_script(const PlotColumn *columns, guint n, PlotForm form)
{
    GString *script = g_string_new("");
    PlotScales scales = make_scales(columns, n);

    plot_terminal(script, form, scales.width_px, scales.height_px);
    g_string_append(script, "set datafile missing 'NaN'\n");
    for (guint i = 0; i < n; i++) {
        put_looks(script, &columns[i], &scales.vcpus[i], i);
        put_work(script, &columns[i], i);
    }
    g_string_append_printf(script, "set multiplot\nset border 3 linecolor "
        "rgb '#888888'\nset tics nomirror scale 0.5 textcolor rgb '#555555'\n"
        "set grid y linetype 1 linewidth 0.5 linecolor rgb '#dddddd'\n"
        "set xrange [0:%.3f]\n", scales.seconds * 1.02);
    for (guint i = 0; i < n; i++) {
        for (int panel = 0; panel < scales.panels; panel++) {
            put_panel(script, &scales, &columns[i], i, panel);
        }
    }
    g_string_append(script, "unset object; unset label; unset border; unset "
        "tics; unset grid; unset key; set xlabel ''\nset lmargin 0; set "
        "rmargin 0; set tmargin 0; set bmargin 0; set yrange [0:1]\n");
    for (guint i = 0; i < n; i++) {
        put_column_title(script, &scales, &columns[i], i);
    }
    g_string_append(script, "plot NaN notitle\nunset multiplot\n");
    clear_scales(&scales, n);
    return g_string_free(script, FALSE);
}
