/*
 * What a guest did during a migration, read from a file
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "plot-work.h"

#include <gio/gio.h>
#include <math.h>
#include <string.h>

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
