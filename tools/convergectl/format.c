/*
 * Figures for people, and figures from people
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "format.h"

#include <math.h>
#include <string.h>

/* Three digits tell enough, and do not dance from one look to the next */
static void three_digits(char *text, double value, const char *unit)
{
    int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;

    g_snprintf(text, FORMAT_MAX, "%.*f %s", decimals, value, unit);
}

const char *format_bytes(char *text, double bytes)
{
    static const char *const units[] = { "MB", "GB", "TB", "PB" };
    double value = bytes / BYTES_PER_MB;
    size_t unit = 0;

    if (!(bytes >= 0)) {
        return strcpy(text, "?");
    }
    while (value >= 9999.5 && unit + 1 < G_N_ELEMENTS(units)) {
        value /= 1000;
        unit++;
    }
    if (unit > 0) {
        three_digits(text, value, units[unit]);
    } else {
        g_snprintf(text, FORMAT_MAX, "%.*f MB", value < 99.95 ? 1 : 0, value);
    }
    return text;
}

const char *format_rate(char *text, double bytes_per_s)
{
    format_bytes(text, bytes_per_s);
    if (bytes_per_s >= 0) {
        g_strlcat(text, "/s", FORMAT_MAX);
    }
    return text;
}

const char *format_duration(char *text, gint64 ms)
{
    gint64 s = ms / 1000;

    if (ms < 0) {
        return strcpy(text, "?");
    }
    if (s < 120) {
        g_snprintf(text, FORMAT_MAX, "%.1f s", ms / 100 / 10.0);
    } else if (s < 3600) {
        g_snprintf(text, FORMAT_MAX, "%d:%02d min", (int)(s / 60),
                   (int)(s % 60));
    } else {
        g_snprintf(text, FORMAT_MAX, "%" G_GINT64_FORMAT ":%02d:%02d h",
                   s / 3600, (int)(s / 60 % 60), (int)(s % 60));
    }
    return text;
}

const char *format_downtime(char *text, gint64 ms)
{
    if (ms < 0 || ms >= 1000) {
        return format_duration(text, ms);
    }
    g_snprintf(text, FORMAT_MAX, "%d ms", (int)ms);
    return text;
}

char *format_sanitize(const char *text)
{
    char *valid = g_utf8_make_valid(text, -1);
    GString *clean = g_string_new("");

    for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        if (g_unichar_isprint(c)) {
            g_string_append_unichar(clean, c);
        } else if (clean->len && clean->str[clean->len - 1] != ' ') {
            g_string_append_c(clean, ' ');
        }
    }
    g_free(valid);
    return g_strchomp(g_string_free(clean, FALSE));
}

/* What one of the unit is in bytes per second; 0 if there is no such unit */
static double unit_bytes_per_s(const char *unit)
{
    static const char prefixes[] = "kMGT";
    double scale = 1;
    const char *prefix;

    if (!*unit) {
        return BYTES_PER_MB;
    }
    prefix = strchr(prefixes, *unit == 'K' ? 'k' : *unit);
    if (prefix) {
        scale = pow(1000, prefix - prefixes + 1);
        unit++;
    }
    if (g_str_equal(unit, "bit") || g_str_equal(unit, "bit/s")) {
        return scale / 8;
    }
    if (g_str_equal(unit, "B") || g_str_equal(unit, "B/s") ||
        (prefix && !*unit)) {
        return scale;
    }
    return 0;
}

gboolean parse_rate(const char *text, guint64 *bytes_per_s)
{
    char *unit;
    double value = g_ascii_strtod(text, &unit);

    if (unit == text) {
        return FALSE;
    }
    while (*unit == ' ') {
        unit++;
    }
    value *= unit_bytes_per_s(unit);
    /* QEMU takes sizes up to 2^63; NaN fails the comparison, too */
    if (!(value >= 1 && value < 9e18)) {
        return FALSE;
    }
    *bytes_per_s = value;
    return TRUE;
}
