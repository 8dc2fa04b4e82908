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

#include <errno.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

#define MAX_COLUMNS 4

/* The picture of a run of hours takes seconds, not minutes */
#define GNUPLOT_LIMIT_S "60"

typedef struct Output {
    const char *path;           /* "-" for stdout */
    PlotForm form;
} Output;

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

/* What there is to say if it cannot draw the form at all */
static void explain_failure(const char *said, PlotForm form, GError **errp)
{
    if (form == PLOT_PNG && strstr(said, "terminal")) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "this gnuplot draws no PNG (it has no pngcairo); a name "
                    "that ends in .svg makes an SVG");
    } else {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED, "gnuplot: %s",
                    *said ? said : "drew nothing");
    }
}

/* A PNG ends with a chunk of that name and its checksum */
static gboolean is_whole(GBytes *picture, PlotForm form)
{
    gsize length;
    const char *bytes = g_bytes_get_data(picture, &length);

    return form == PLOT_PNG ? length >= 8 &&
                              !memcmp(bytes + length - 8, "IEND", 4)
                            : length && g_strstr_len(bytes, length, "</svg>");
}

static GBytes *run_gnuplot(const char *script, PlotForm form, GError **errp)
{
    g_autoptr(GSubprocess) gnuplot = NULL;
    g_autoptr(GBytes) input = g_bytes_new(script, strlen(script));
    g_autoptr(GBytes) picture = NULL, stderr_bytes = NULL;
    g_autofree char *path = g_find_program_in_path("gnuplot");
    g_autofree char *said = NULL;

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
        !g_subprocess_communicate(gnuplot, input, NULL, &picture,
                                  &stderr_bytes, errp)) {
        g_prefix_error(errp, "gnuplot: ");
        return NULL;
    }
    if (!g_subprocess_get_if_exited(gnuplot) ||
        g_subprocess_get_exit_status(gnuplot) != 0 ||
        !is_whole(picture, form)) {
        said = g_strndup(g_bytes_get_data(stderr_bytes, NULL),
                         g_bytes_get_size(stderr_bytes));
        explain_failure(g_strstrip(said), form, errp);
        return NULL;
    }
    return g_steal_pointer(&picture);
}

/*
 * The title that screen readers and browsers show is not "Gnuplot".  And
 * this gnuplot passes "Bold" on as a part of the font's name, which no host
 * has: titles would have serifs.
 */
static GBytes *finish_svg(GBytes *svg, const char *of)
{
    g_autofree char *title = g_markup_printf_escaped("<title>%s</title>", of);
    GString *finished = g_string_new_len(g_bytes_get_data(svg, NULL),
                                         g_bytes_get_size(svg));

    g_string_replace(finished, "<title>Gnuplot</title>", title, 1);
    g_string_replace(finished, "font-family=\"Helvetica:Bold\"",
                     "font-family=\"Helvetica,Arial,sans-serif\" "
                     "font-weight=\"bold\"", 0);
    g_bytes_unref(svg);
    return g_string_free_to_bytes(finished);
}

static gboolean write_picture(const char *script, const char *title,
                              const Output *output, GError **errp)
{
    g_autoptr(GBytes) picture = script ? run_gnuplot(script, output->form,
                                                     errp) : NULL;

    if (!picture) {
        return FALSE;
    }
    if (output->form == PLOT_SVG) {
        picture = finish_svg(g_steal_pointer(&picture), title);
    }
    if (!g_str_equal(output->path, "-")) {
        return g_file_set_contents(output->path,
                                   g_bytes_get_data(picture, NULL),
                                   g_bytes_get_size(picture), errp);
    }
    fwrite(g_bytes_get_data(picture, NULL), 1, g_bytes_get_size(picture),
           stdout);
    if (fflush(stdout) != 0) {
        g_set_error(errp, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "cannot write: %s", g_strerror(errno));
        return FALSE;
    }
    return TRUE;
}

static gboolean write_columns(GArray *columns, const Output *output,
                              GError **errp)
{
    const PlotColumn *list = (const PlotColumn *)columns->data;
    g_autofree char *script = plot_script(list, columns->len,
                                           output->form);
    g_autofree char *title = g_strdup_printf("Live migration: %s",
                                             list->title);

    return write_picture(script, title, output, errp);
}

/* FALSE with no error: it is no record of an evacuation */
static gboolean write_evacuation(const char *path, const char *title,
                                 const Output *output, GError **errp)
{
    g_autofree char *text = NULL, *name = NULL, *script = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL) ||
        !plot_is_evacuation(text)) {
        return FALSE;
    }
    name = title ? g_strdup(title) : default_title(path);
    script = plot_evacuation_script(text, name, output->form, errp);
    return write_picture(script, name, output, errp);
}

static const char *nth(char **list, int n)
{
    return list && n < (int)g_strv_length(list) ? list[n] : NULL;
}

/* By its name: of one that means something else nothing is to be replaced */
static gboolean find_form(Output *output)
{
    g_autofree char *base = g_path_get_basename(output->path);
    g_autofree char *lower = g_ascii_strdown(base, -1);

    output->form = g_str_has_suffix(lower, ".png") ? PLOT_PNG : PLOT_SVG;
    return output->form == PLOT_PNG || g_str_has_suffix(lower, ".svg") ||
           !strchr(base, '.');
}

/* The one of @inputs that is the same file as @output, by whatever name */
static const char *find_clash(const char *output, char **inputs)
{
    GStatBuf out, in;

    if (g_str_equal(output, "-") || g_stat(output, &out) != 0) {
        return NULL;
    }
    for (char **input = inputs; input && *input; input++) {
        if (g_stat(*input, &in) == 0 && in.st_dev == out.st_dev &&
            in.st_ino == out.st_ino) {
            return *input;
        }
    }
    return NULL;
}

static ExitStatus run(int n, char **paths, char **titles, char **works,
                      const Output *output)
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
          "an SVG, or a PNG if called .png; default: stdout, an SVG",
          "FILE" },
        { "title", 0, 0, G_OPTION_ARG_STRING_ARRAY, &titles,
          "of a recording, in their order (its file's name)", "TEXT" },
        { "guest-work", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &works,
          "CSV of what the guest did meanwhile: time-ms,NAME,... with "
          "percentages of its normal work", "FILE" },
        { NULL }
    };
    Output out = { 0 };
    const char *clash;
    ExitStatus status;

    if (!commands_parse(&argc, &argv, "RECORDING...",
            "Draw recorded migrations as an SVG or a PNG; several are drawn "
            "side by side on the same scales.", entries, NULL, &status)) {
        return status;
    }
    if (argc < 2 || argc - 1 > MAX_COLUMNS) {
        return commands_usage("plot", "one to %d recordings, not %d",
                              MAX_COLUMNS, argc - 1);
    }
    out.path = output ?: "-";
    if (!find_form(&out)) {
        return commands_usage("plot", "--output %s: a picture is called .svg "
                              "or .png", output);
    }
    clash = find_clash(out.path, argv + 1) ?: find_clash(out.path, works);
    if (clash) {
        return commands_usage("plot", "--output %s: would replace %s, which "
                              "is to be read", output, clash);
    }
    return run(argc - 1, argv + 1, titles, works, &out);
}
