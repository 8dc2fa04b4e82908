/*
 * The picture of an evacuation, as a script for gnuplot
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "plot-evacuation.h"

#include "format.h"
#include "plot-panel.h"

#include <gio/gio.h>
#include <json-glib/json-glib.h>
#include <string.h>

#define WIDTH_PX 800
#define GUEST_PX 22
#define RATE_PX 150
#define AROUND_PX 150
#define NAME_PX 130

/* A bar of one state, from one look to the next */
typedef struct Bar {
    double from_s, to_s;
    const char *color;
} Bar;

typedef struct Row {
    char *name;
    char *state;                    /* at the last look */
    GArray *bars;                   /* Bar */
} Row;

typedef struct Picture {
    GPtrArray *rows;                /* Row *, as they were first seen */
    GString *rates;                 /* seconds, MB/s */
    double at_s, planned_s;
} Picture;

static const struct { const char *state, *color; } colors[] = {
    { "set-up", "#bbbbbb" }, { "first pass", "#4477aa" },
    { "tail", "#ee7733" }, { "finish", "#228833" },
};

static const char *color_of(const char *state)
{
    /* In old records the first pass goes by this name */
    if (g_str_equal(state, "bulk pass")) {
        state = "first pass";
    }
    for (size_t i = 0; i < G_N_ELEMENTS(colors); i++) {
        if (g_str_equal(colors[i].state, state)) {
            return colors[i].color;
        }
    }
    return NULL;
}

static void row_free(void *opaque)
{
    Row *row = opaque;

    g_free(row->name);
    g_free(row->state);
    g_array_unref(row->bars);
    g_free(row);
}

static Row *row_of(Picture *picture, const char *name)
{
    Row *row;

    for (guint i = 0; i < picture->rows->len; i++) {
        row = picture->rows->pdata[i];
        if (g_str_equal(row->name, name)) {
            return row;
        }
    }
    row = g_new0(Row, 1);
    row->name = g_strdup(name);
    row->state = g_strdup("");
    row->bars = g_array_new(FALSE, FALSE, sizeof(Bar));
    g_ptr_array_add(picture->rows, row);
    return row;
}

/* What it was in at the last look it was in until now. */
static void take_guest(Picture *picture, JsonObject *guest, double at_s)
{
    Row *row = row_of(picture, json_object_get_string_member_with_default(
                          guest, "name", ""));
    const char *state = json_object_get_string_member_with_default(
        guest, "state", "");
    const char *color = color_of(row->state);
    Bar bar = { picture->at_s, at_s, color };
    Bar *last = row->bars->len
        ? &g_array_index(row->bars, Bar, row->bars->len - 1) : NULL;

    if (color && last && last->color == color && last->to_s == bar.from_s) {
        last->to_s = at_s;
    } else if (color) {
        g_array_append_val(row->bars, bar);
    }
    g_free(row->state);
    row->state = g_strdup(state);
}

static void take_look(Picture *picture, JsonObject *object)
{
    double at_s = json_object_get_int_member_with_default(object, "at-ms",
                                                          0) / 1e3;
    JsonNode *node = json_object_get_member(object, "guests");
    JsonArray *guests = node && JSON_NODE_HOLDS_ARRAY(node)
                        ? json_node_get_array(node) : NULL;
    double rate = 0;

    for (guint i = 0; guests && i < json_array_get_length(guests); i++) {
        JsonNode *element = json_array_get_element(guests, i);

        if (JSON_NODE_HOLDS_OBJECT(element)) {
            JsonObject *guest = json_node_get_object(element);

            take_guest(picture, guest, at_s);
            if (color_of(json_object_get_string_member_with_default(
                             guest, "state", ""))) {
                rate += json_object_get_int_member_with_default(guest,
                                                                "rate", 0);
            }
        }
    }
    g_string_append_printf(picture->rates, "%.3f %.4f\n", at_s,
                           rate / BYTES_PER_MB);
    picture->at_s = at_s;
}

static void take_line(Picture *picture, const char *line)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    JsonObject *object;
    const char *type;

    /* The last line of a record that was cut off may be half a one. */
    if (!*line || !json_parser_load_from_data(parser, line, -1, NULL) ||
        !json_parser_get_root(parser) ||
        !JSON_NODE_HOLDS_OBJECT(json_parser_get_root(parser))) {
        return;
    }
    object = json_node_get_object(json_parser_get_root(parser));
    type = json_object_get_string_member_with_default(object, "type", "");
    if (g_str_equal(type, "look") || g_str_equal(type, "verdict")) {
        take_look(picture, object);
    } else if (g_str_equal(type, "plan") && !(picture->planned_s > 0)) {
        picture->planned_s = json_object_get_int_member_with_default(
            object, "end-ms", 0) / 1e3;
    }
}

gboolean plot_is_evacuation(const char *text)
{
    return g_str_has_prefix(text, "{\"type\":\"plan\"") ||
           g_str_has_prefix(text, "{\"type\":\"event\"");
}

static void put_bars(GString *script, const Picture *picture)
{
    unsigned n = 0;

    for (guint r = 0; r < picture->rows->len; r++) {
        const Row *row = picture->rows->pdata[r];

        for (guint b = 0; b < row->bars->len; b++) {
            const Bar *bar = &g_array_index(row->bars, Bar, b);

            g_string_append_printf(script, "set object %u rectangle from "
                "%.3f,%.2f to %.3f,%.2f fillcolor rgb '%s' fillstyle solid "
                "noborder\n", ++n, bar->from_s, r + 0.1, bar->to_s, r + 0.9,
                bar->color);
        }
    }
}

static void put_names(GString *script, const Picture *picture)
{
    g_string_append(script, "set ytics (");
    for (guint r = 0; r < picture->rows->len; r++) {
        const Row *row = picture->rows->pdata[r];
        g_autofree char *text = g_strdup_printf("%s%s", row->name,
            g_str_equal(row->state, "left") ? " (left)" : "");
        g_autofree char *quoted = plot_quote(text);

        g_string_append_printf(script, "%s%s %.1f", r ? ", " : "", quoted,
                               r + 0.5);
    }
    g_string_append(script, ")\n");
}

static void put_legend(GString *script)
{
    for (size_t i = 0; i < G_N_ELEMENTS(colors); i++) {
        g_string_append_printf(script, "%s NaN with boxes fillcolor rgb '%s' "
            "fillstyle solid title '%s'", i ? "," : "plot", colors[i].color,
            colors[i].state);
    }
    g_string_append(script, "\n");
}

static char *make_script(const Picture *picture, const char *title,
                         PlotForm form)
{
    guint n = picture->rows->len;
    int height_px = n * GUEST_PX + RATE_PX + AROUND_PX;
    double middle = (RATE_PX + 60.0) / height_px;
    g_autofree char *quoted = plot_quote(title);
    GString *script = g_string_new("");

    plot_terminal(script, form, WIDTH_PX, height_px);
    g_string_append_printf(script,
        "$rates << EOD\n%sEOD\n"
        "set multiplot\nset border 3\nset tics nomirror\n"
        "set lmargin at screen %.5f; set rmargin at screen 0.97\n"
        "set xrange [0:%.3f]\n",
        picture->rates->str,
        (double)NAME_PX / WIDTH_PX, MAX(picture->at_s, picture->planned_s));
    g_string_append_printf(script, "set label 1 %s at screen %.5f, screen %.5f "
        "left font ',16'\n", quoted, (double)NAME_PX / WIDTH_PX,
        1 - 22.0 / height_px);
    g_string_append_printf(script, "set tmargin at screen %.5f; set bmargin at "
        "screen %.5f\nset yrange [%u:0]\nset format x ''\n"
        "set key at screen 0.97, screen %.5f right horizontal\n",
        1 - 60.0 / height_px, middle, n, 1 - 42.0 / height_px);
    put_names(script, picture);
    put_bars(script, picture);
    if (picture->planned_s > 0) {
        g_string_append_printf(script, "set arrow 1 from %.3f, graph 0 to "
            "%.3f, graph 1 nohead dashtype 2\n", picture->planned_s,
            picture->planned_s);
    }
    put_legend(script);
    g_string_append_printf(script, "unset object; unset label; unset key\n"
        "set tmargin at screen %.5f; set bmargin at screen %.5f\n"
        "set yrange [0:*]; set ytics auto; set format x '%%g'\n"
        "set xlabel 'seconds; dashed: the end as planned'\n"
        "set ylabel 'MB/s'\n"
        "plot $rates using 1:2 with lines linewidth 2 linecolor rgb "
        "'#4477aa'\nunset multiplot\n",
        middle - 30.0 / height_px, 45.0 / height_px);
    return g_string_free(script, FALSE);
}

char *plot_evacuation_script(const char *text, const char *title,
                             PlotForm form, GError **errp)
{
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func(row_free);
    g_autoptr(GString) rates = g_string_new("");
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    Picture picture = { .rows = rows, .rates = rates };

    for (int i = 0; lines[i]; i++) {
        take_line(&picture, lines[i]);
    }
    if (!rows->len || !(picture.at_s > 0)) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "the record has no look at a guest");
        return NULL;
    }
    return make_script(&picture, title, form);
}
