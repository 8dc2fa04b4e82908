/*
 * "By midnight": a time of day, or so long from now
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_EVACUATE_TIME_H
#define CONVERGECTL_EVACUATE_TIME_H

#include <glib.h>

/*
 * "23:59" and "23:59:30" are the next such time after @now_us (of real time,
 * local), 24:00 is the next midnight; "+90m", "+2h", "+45s" are from then on.
 */
gboolean evacuate_parse_time(const char *text, gint64 now_us, gint64 *by_us);

#endif
