/*
 * The picture of a migration, as a script for gnuplot
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 *     title, verdict               one column a recording
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

#include <gio/gio.h>
#include <math.h>
#include <string.h>

#define COLUMN_PX 470
#define SINGLE_PX 800
#define LEFT_PX 66
#define RIGHT_PX 18
#define TOP_PX 118
#define BOTTOM_PX 46
#define GAP_PX 34

/* More lines than these could not be told apart */
#define MAX_VCPU_LINES 8

/* A band too narrow for its label is known by its colour */
#define LABEL_CHAR_PX 6

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

typedef struct Scales {
    double seconds, rate_mb_per_s, remaining_mb;
    gboolean work;
    int panels;
    int width_px, height_px, column_px;
} Scales;

static const Look *look_at(const PlotColumn *column, guint i)
{
    return column->looks->pdata[i];
}

static void take_scales(const PlotColumn *column, Scales *scales)
{
    for (guint i = 0; i < column->looks->len; i++) {
        const Look *look = look_at(column, i);

        scales->seconds = MAX(scales->seconds, look->at_ms / 1e3);
        scales->rate_mb_per_s = MAX(scales->rate_mb_per_s,
            MAX(look->dirty_bytes_per_s, look->drain_bytes_per_s) /
            BYTES_PER_MB);
        scales->remaining_mb = MAX(scales->remaining_mb,
                                   look->remaining_bytes / BYTES_PER_MB);
    }
    scales->work |= column->work != NULL;
}

static Scales make_scales(const PlotColumn *columns, guint n)
{
    Scales scales = { 0.1, 1, 1, FALSE };

    for (guint i = 0; i < n; i++) {
        take_scales(&columns[i], &scales);
    }
    scales.panels = scales.work ? 4 : 3;
    scales.column_px = n == 1 ? SINGLE_PX : COLUMN_PX;
    scales.width_px = scales.column_px * n;
    scales.height_px = TOP_PX + BOTTOM_PX - GAP_PX;
    for (int i = 0; i < scales.panels; i++) {
        scales.height_px += panels[i].height_px + GAP_PX;
    }
    return scales;
}

/* For a gnuplot string in single quotes */
static char *quote(const char *text)
{
    g_autofree char *clean = format_sanitize(text);
    g_autoptr(GString) quoted = g_string_new(clean);

    g_string_replace(quoted, "'", "''", 0);
    return g_strdup_printf("'%s'", quoted->str);
}

static void put_value(GString *script, double value, double unit)
{
    if (value >= 0) {
        g_string_append_printf(script, " %.4f", value / unit);
    } else {
        g_string_append(script, " NaN");
    }
}

static void put_looks(GString *script, const PlotColumn *column, guint nr)
{
    g_string_append_printf(script, "$look%u << EOD\n", nr);
    for (guint i = 0; i < column->looks->len; i++) {
        const Look *look = look_at(column, i);

        g_string_append_printf(script, "%.3f", look->at_ms / 1e3);
        put_value(script, look->dirty_bytes_per_s, BYTES_PER_MB);
        put_value(script, look->drain_bytes_per_s, BYTES_PER_MB);
        put_value(script, look->remaining_bytes, BYTES_PER_MB);
        put_value(script, MAX(look->throttle_pct, 0), 1);
        for (guint v = 0; v < MIN(look->vcpus->len, MAX_VCPU_LINES); v++) {
            LookVcpu *vcpu = &g_array_index(look->vcpus, LookVcpu, v);

            put_value(script, vcpu->throttle_pct, 1);
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

static const char *band_color(const char *phase)
{
    for (size_t i = 0; i < G_N_ELEMENTS(band_colors); i++) {
        if (g_str_equal(phase, band_colors[i].phase)) {
            return band_colors[i].fill;
        }
    }
    return "#f2f2f2";
}

static void put_band(GString *script, const Scales *scales, const char *phase,
                     double from_s, double to_s, int *object, gboolean first)
{
    double width_px = (to_s - from_s) / (scales->seconds * 1.02) *
                      (scales->column_px - LEFT_PX - RIGHT_PX);

    g_string_append_printf(script, "set object %d rectangle from %.3f, graph "
        "0 to %.3f, graph %s noclip behind fillcolor rgb '%s' fillstyle solid "
        "1 noborder\n", ++*object, from_s, to_s, first ? "1.11" : "1",
        band_color(phase));
    if (first && width_px > strlen(phase) * LABEL_CHAR_PX + 6) {
        g_string_append_printf(script, "set label %d '%s' at %.3f, graph "
            "1.055 center front font ',10' textcolor rgb '#444444'\n",
            *object, phase, (from_s + to_s) / 2);
    }
}

/* Runs of looks of the same phase; the last look's phase is the end */
static void put_bands(GString *script, const Scales *scales,
                     const PlotColumn *column, gboolean first)
{
    guint from = 0;
    int object = 100;

    for (guint i = 1; i < column->looks->len; i++) {
        const Look *start = look_at(column, from);

        if (i == column->looks->len - 1 ||
            !g_str_equal(look_phase(look_at(column, i)),
                         look_phase(start))) {
            put_band(script, scales, look_phase(start), start->at_ms / 1e3,
                     look_at(column, i)->at_ms / 1e3, &object, first);
            from = i;
        }
    }
}

static guint nr_vcpus(const PlotColumn *column)
{
    guint n = 0, throttled = 0;

    for (guint i = 0; i < column->looks->len; i++) {
        const GArray *vcpus = look_at(column, i)->vcpus;

        n = MAX(n, vcpus->len);
        for (guint v = 0; v < vcpus->len; v++) {
            throttled += g_array_index(vcpus, LookVcpu, v).throttle_pct > 0;
        }
    }
    return throttled ? MIN(n, MAX_VCPU_LINES) : 0;
}

static void put_throttle(GString *script, const PlotColumn *column, guint nr)
{
    guint n = nr_vcpus(column);

    g_string_append(script, "set yrange [0:104]; set ytics 25\nplot ");
    if (n == 0) {
        g_string_append_printf(script, "$look%u using 1:5 with steps "
            "linewidth 2 linecolor rgb '%s' title 'all vCPUs'\n", nr,
            line_colors[0]);
    }
    for (guint v = 0; v < n; v++) {
        g_string_append_printf(script, "%s$look%u using 1:%u with steps "
            "linewidth 2 linecolor rgb '%s' title 'vCPU %u'", v ? ", " : "",
            nr, 6 + v, line_colors[v], v);
    }
    g_string_append(script, "\n");
}

static void put_work_plot(GString *script, const PlotColumn *column, guint nr)
{
    g_string_append(script, "set yrange [0:*<125]; set ytics 50\nplot ");
    if (!column->work) {
        g_string_append(script, "NaN notitle\n");
        return;
    }
    for (guint i = 0; column->work->names[i]; i++) {
        g_autofree char *name = quote(column->work->names[i]);

        g_string_append_printf(script, "%s$work%u using 1:%u with lines "
            "linewidth 2 linecolor rgb '%s' title %s", i ? ", " : "", nr,
            2 + i, line_colors[i % G_N_ELEMENTS(line_colors)], name);
    }
    g_string_append(script, "\n");
}

static void put_plot(GString *script, const Scales *scales,
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
    case 2:
        put_throttle(script, column, nr);
        break;
    default:
        put_work_plot(script, column, nr);
        break;
    }
}

static double screen_x(const Scales *scales, double px)
{
    return px / scales->width_px;
}

static double screen_y(const Scales *scales, double px_from_top)
{
    return 1 - px_from_top / scales->height_px;
}

static void put_panel(GString *script, const Scales *scales,
                      const PlotColumn *column, guint nr, int panel)
{
    int left_px = nr * scales->column_px;
    int top_px = TOP_PX;

    for (int i = 0; i < panel; i++) {
        top_px += panels[i].height_px + GAP_PX;
    }
    g_string_append_printf(script, "unset object; unset label\n"
        "set lmargin at screen %.5f; set rmargin at screen %.5f\n"
        "set tmargin at screen %.5f; set bmargin at screen %.5f\n",
        screen_x(scales, left_px + LEFT_PX),
        screen_x(scales, left_px + scales->column_px - RIGHT_PX),
        screen_y(scales, top_px),
        screen_y(scales, top_px + panels[panel].height_px));
    put_bands(script, scales, column, panel == 0);
    g_string_append_printf(script, "set label 1 '%s' at graph 0, graph %s "
        "left font ',12' textcolor rgb '#333333'\n", panels[panel].caption,
        panel == 0 ? "1.19" : "1.11");
    g_string_append_printf(script, "set key at graph 1, graph %s right "
        "vertical maxrows 1 samplen 1.5\n", panel == 0 ? "1.255" : "1.21");
    g_string_append_printf(script, "set format x '%s'; set xlabel '%s' "
        "offset 0,0.4\n", panel == scales->panels - 1 ? "%g" : "",
        panel == scales->panels - 1 ? "seconds" : "");
    put_plot(script, scales, column, nr, panel);
}

/* How it ended, over as many lines as the column's width takes */
static Canvas *tell_end(const Scales *scales, const PlotColumn *column)
{
    const Look *last = look_at(column, column->looks->len - 1);
    Looks looks = { .columns = (scales->column_px - LEFT_PX) /
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

static void put_text(GString *script, const Scales *scales, int label,
                     const char *text, double x_px, double y_px,
                     const char *style)
{
    g_autofree char *quoted = quote(text);

    g_string_append_printf(script, "set label %d %s at screen %.5f, screen "
        "%.5f left %s\n", label, quoted, screen_x(scales, x_px),
        screen_y(scales, y_px), style);
}

/* Title and verdict, in screen coordinates above the first panel */
static void put_column_title(GString *script, const Scales *scales,
                             const PlotColumn *column, guint nr)
{
    double x_px = nr * scales->column_px + LEFT_PX;
    g_autoptr(Canvas) verdict = tell_end(scales, column);
    int label = 10 + nr * (1 + MAX_VERDICT_LINES);

    put_text(script, scales, label, column->title, x_px, 20,
             "font 'Helvetica:Bold,16' "
             "textcolor rgb '#111111'");
    for (guint i = 0; i < verdict->lines->len; i++) {
        put_text(script, scales, label + 1 + i, verdict->lines->pdata[i],
                 x_px, 41 + 15 * i, "font ',11' textcolor rgb '#444444'");
    }
}

char *plot_script(const PlotColumn *columns, guint n)
{
    GString *script = g_string_new("");
    Scales scales = make_scales(columns, n);

    g_string_append_printf(script, "set terminal svg size %d,%d noenhanced "
        "font 'Helvetica,Arial,sans-serif,11' background '#ffffff'\n"
        "set datafile missing 'NaN'\n", scales.width_px, scales.height_px);
    for (guint i = 0; i < n; i++) {
        put_looks(script, &columns[i], i);
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
    return g_string_free(script, FALSE);
}

static gboolean parse_row(GArray *values, char *line, guint width)
{
    g_auto(GStrv) cells = g_strsplit(line, ",", -1);

    if (g_strv_length(cells) != width) {
        return FALSE;
    }
    for (guint i = 0; i < width; i++) {
        char *end;
        double value = g_ascii_strtod(cells[i], &end);

        if (end == cells[i] || *end || !isfinite(value)) {
            return FALSE;
        }
        g_array_append_val(values, value);
    }
    return TRUE;
}

GuestWorkTable *guest_work_table_parse(const char *text, GError **errp)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autoptr(GuestWorkTable) table = g_new0(GuestWorkTable, 1);
    g_auto(GStrv) names = g_strsplit(lines[0] ? g_strchomp(lines[0]) : "",
                                     ",", -1);

    table->values = g_array_new(FALSE, FALSE, sizeof(double));
    if (g_strv_length(names) < 2 || !g_str_equal(names[0], "time-ms")) {
        g_set_error_literal(errp, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                            "no guest work: the first line is not "
                            "'time-ms,NAME,...'");
        return NULL;
    }
    table->names = g_strdupv(names + 1);
    for (int i = 1; lines[i]; i++) {
        if (*g_strchomp(lines[i]) &&
            !parse_row(table->values, lines[i], g_strv_length(names))) {
            g_set_error(errp, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                        "line %d is not %u numbers", i + 1,
                        g_strv_length(names));
            return NULL;
        }
    }
    return g_steal_pointer(&table);
}

void guest_work_table_free(GuestWorkTable *table)
{
    if (table) {
        g_strfreev(table->names);
        g_clear_pointer(&table->values, g_array_unref);
        g_free(table);
    }
}
