/*
 * Figures for people, and figures from people
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * MB are 1,000,000 bytes, as in the reasons that QEMU gives: a figure on the
 * screen must match the one in the sentence below it.
 */

#ifndef CONVERGECTL_FORMAT_H
#define CONVERGECTL_FORMAT_H

#include <glib.h>

#define BYTES_PER_MB 1e6

/* Large enough for what any function here writes */
#define FORMAT_MAX 32

/* "4.2 MB", "268 MB", "1.46 TB"; "?" for what is not known (negative) */
const char *format_bytes(char *text, double bytes);

/* As format_bytes(), a second */
const char *format_rate(char *text, double bytes_per_s);

/* "0.4 s", "12.3 s", "4:05 min", "2:03:04 h"; "?" if negative */
const char *format_duration(char *text, gint64 ms);

/* "64 ms", "1.3 s": for downtimes, where milliseconds matter */
const char *format_downtime(char *text, gint64 ms);

/*
 * A text from elsewhere (QEMU, the command line), safe on a terminal: one
 * line of valid UTF-8 without control characters.
 */
char *format_sanitize(const char *text);

/*
 * "64" and "64MB/s" (bytes: k, M, G, T), "10Gbit", "10Gbit/s"; a bare number
 * is MB/s.  FALSE if @text is not a rate above zero.
 */
gboolean parse_rate(const char *text, guint64 *bytes_per_s);

#endif
