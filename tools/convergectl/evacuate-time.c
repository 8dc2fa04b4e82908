/*
 * "By midnight": a time of day, or so long from now
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "evacuate-time.h"

#include <stdio.h>
#include <string.h>

#define MAX_FROM_NOW_S (30 * 86400)

static gboolean from_now(const char *text, gint64 now_us, gint64 *by_us)
{
    char *end;
    gint64 n = g_ascii_strtoll(text, &end, 10);
    gint64 unit_s = g_str_equal(end, "s") ? 1 : g_str_equal(end, "m") ? 60 :
                    g_str_equal(end, "h") ? 3600 : 0;

    if (end == text || !g_ascii_isdigit(*text) || n < 1 || !unit_s ||
        n > MAX_FROM_NOW_S / unit_s) {
        return FALSE;
    }
    *by_us = now_us + n * unit_s * G_USEC_PER_SEC;
    return TRUE;
}

gboolean evacuate_parse_time(const char *text, gint64 now_us, gint64 *by_us)
{
    g_autoptr(GDateTime) utc = g_date_time_new_from_unix_utc(
        now_us / G_USEC_PER_SEC);
    g_autoptr(GDateTime) now = g_date_time_to_local(utc);
    g_autoptr(GDateTime) day = NULL, then = NULL;
    unsigned hours = 0, minutes = 0, seconds = 0;
    int used = 0;

    if (*text == '+') {
        return from_now(text + 1, now_us, by_us);
    }
    if (!g_ascii_isdigit(*text) ||
        ((sscanf(text, "%2u:%2u%n", &hours, &minutes, &used) != 2 ||
          text[used]) &&
         (sscanf(text, "%2u:%2u:%2u%n", &hours, &minutes, &seconds, &used) !=
          3 || text[used])) ||
        minutes > 59 || seconds > 59 || hours > 24 ||
        (hours == 24 && (minutes || seconds))) {
        return FALSE;
    }
    day = g_date_time_new_local(g_date_time_get_year(now),
                                g_date_time_get_month(now),
                                g_date_time_get_day_of_month(now),
                                hours % 24, minutes, seconds);
    if (!day) {
        return FALSE;
    }
    then = g_date_time_compare(day, now) > 0 ? g_date_time_ref(day)
                                             : g_date_time_add_days(day, 1);
    *by_us = g_date_time_to_unix(then) * G_USEC_PER_SEC;
    return TRUE;
}
