/*
 * convergectl plot: draw recorded migrations as an SVG
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "commands.h"
#include "message.h"
#include "plot-evacuation.h"
#include "plot-script.h"
#include "recording.h"

#include <gio/gio.h>
#include <string.h>

#define MAX_COLUMNS 4

/* The picture of a run of hours takes seconds, not minutes */
#define GNUPLOT_LIMIT_S "60"

static void clear_column(void *data)
{
    PlotColumn *column = data;

    g_free(column->title);
    g_clear_pointer(&column->looks, g_ptr_array_unref);
    guest_work_table_free(column->work);
}

static char *default_title(const char *path)
{
    g_autofree char *base = g_path_get_basename(path);
    char *dot = strrchr(base, '.');

    return g_strndup(base, dot && dot != base ? (gsize)(dot - base)
                                              : strlen(base));
}

static gboolean load_column(PlotColumn *column, const char *path,
                            const char *title, const char *work,
                            GError **errp)
{
    g_autofree char *text = NULL;

    column->title = title ? g_strdup(title) : default_title(path);
    column->looks = recording_load(path, errp);
    if (!column->looks) {
        return FALSE;
    }
    if (!work) {
        return TRUE;
    }
    if (!g_file_get_contents(work, &text, NULL, errp)) {
        return FALSE;
    }
    column->work = guest_work_table_parse(text, errp);
    if (!column->work) {
        g_prefix_error(errp, "%s: ", work);
    }
    return column->work != NULL;
}

static char *run_gnuplot(const char *script, GError **errp)
{
    g_autoptr(GSubprocess) gnuplot = NULL;
    g_autofree char *path = g_find_program_in_path("gnuplot");
    g_autofree char *said = NULL;
    char *svg = NULL;

    if (!path) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "there is no gnuplot to draw with (Debian: gnuplot-nox)");
        return NULL;
    }
    gnuplot = g_subprocess_new(G_SUBPROCESS_FLAGS_STDIN_PIPE |
                               G_SUBPROCESS_FLAGS_STDOUT_PIPE |
                               G_SUBPROCESS_FLAGS_STDERR_PIPE, errp,
                               "timeout", GNUPLOT_LIMIT_S, path, "-d", NULL);
    if (!gnuplot ||
        !g_subprocess_communicate_utf8(gnuplot, script, NULL, &svg, &said,
                                       errp)) {
        g_prefix_error(errp, "gnuplot: ");
        return NULL;
    }
    if (!g_subprocess_get_if_exited(gnuplot) ||
        g_subprocess_get_exit_status(gnuplot) != 0 || !strstr(svg, "</svg>")) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED, "gnuplot: %s",
                    *g_strstrip(said) ? said : "drew nothing");
        g_free(svg);
        return NULL;
    }
    return svg;
}

/*
 * The title that screen readers and browsers show is not "Gnuplot".  And
 * this gnuplot passes "Bold" on as a part of the font's name, which no host
 * has: titles would have serifs.
 */
static char *finish_picture(const char *svg, const char *of)
{
    g_autofree char *title = g_markup_printf_escaped("<title>%s</title>", of);
    GString *finished = g_string_new(svg);

    g_string_replace(finished, "<title>Gnuplot</title>", title, 1);
    g_string_replace(finished, "font-family=\"Helvetica:Bold\"",
                     "font-family=\"Helvetica,Arial,sans-serif\" "
                     "font-weight=\"bold\"", 0);
    return g_string_free(finished, FALSE);
}

static gboolean write_picture(const char *script, const char *title,
                              const char *output, GError **errp)
{
    g_autofree char *drawn = script ? run_gnuplot(script, errp) : NULL;
    g_autofree char *svg = NULL;

    if (!drawn) {
        return FALSE;
    }
    svg = finish_picture(drawn, title);
    if (!g_str_equal(output, "-")) {
        return g_file_set_contents(output, svg, -1, errp);
    }
    g_print("%s", svg);
    return TRUE;
}

static gboolean write_columns(GArray *columns, const char *output,
                              GError **errp)
{
    const PlotColumn *list = (const PlotColumn *)columns->data;
    g_autofree char *script = plot_script(list, columns->len);
    g_autofree char *title = g_strdup_printf("Live migration: %s",
                                             list->title);

    return write_picture(script, title, output, errp);
}

/* FALSE with no error: it is no record of an evacuation */
static gboolean write_evacuation(const char *path, const char *title,
                                 const char *output, GError **errp)
{
    g_autofree char *text = NULL, *name = NULL, *script = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL) ||
        !plot_is_evacuation(text)) {
        return FALSE;
    }
    name = title ? g_strdup(title) : default_title(path);
    script = plot_evacuation_script(text, name, errp);
    return write_picture(script, name, output, errp);
}

static const char *nth(char **list, int n)
{
    return list && n < (int)g_strv_length(list) ? list[n] : NULL;
}

static ExitStatus run(int n, char **paths, char **titles, char **works,
                      const char *output)
{
    g_autoptr(GArray) columns = g_array_new(FALSE, TRUE, sizeof(PlotColumn));
    g_autoptr(GError) error = NULL;
    gboolean ok = TRUE;

    if (n == 1 && write_evacuation(paths[0], nth(titles, 0), output, &error)) {
        return EXIT_COMPLETED;
    }
    if (error) {
        message_error("%s: %s", paths[0], error->message);
        return EXIT_FAILED;
    }
    g_array_set_clear_func(columns, clear_column);
    g_array_set_size(columns, n);
    for (int i = 0; i < n && ok; i++) {
        ok = load_column(&g_array_index(columns, PlotColumn, i), paths[i],
                         nth(titles, i), nth(works, i), &error);
    }
    if (!ok || !write_columns(columns, output, &error)) {
        message_error("%s", error->message);
        return EXIT_FAILED;
    }
    return EXIT_COMPLETED;
}

ExitStatus cmd_plot(int argc, char **argv)
{
    g_auto(GStrv) titles = NULL, works = NULL;
    g_autofree char *output = NULL;
    const GOptionEntry entries[] = {
        { "output", 'o', 0, G_OPTION_ARG_FILENAME, &output,
          "default: stdout", "FILE.svg" },
        { "title", 0, 0, G_OPTION_ARG_STRING_ARRAY, &titles,
          "of a recording, in their order (its file's name)", "TEXT" },
        { "guest-work", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &works,
          "CSV of what the guest did meanwhile: time-ms,NAME,... with "
          "percentages of its normal work", "FILE" },
        { NULL }
    };
    ExitStatus status;

    if (!commands_parse(&argc, &argv, "RECORDING...",
            "Draw recorded migrations as an SVG; several are drawn side by "
            "side on the same scales.", entries, NULL, &status)) {
        return status;
    }
    if (argc < 2 || argc - 1 > MAX_COLUMNS) {
        return commands_usage("plot", "one to %d recordings, not %d",
                              MAX_COLUMNS, argc - 1);
    }
    return run(argc - 1, argv + 1, titles, works, output ?: "-");
}
