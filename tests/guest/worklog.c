/*
 * What the test guest says on its serial line, as structs
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "worklog.h"

#include <gio/gio.h>
#include <string.h>

/* Twice the guest's longest; beyond it a line has lost its end. */
#define MAX_LINE_BYTES 8192

struct Worklog {
    GString *line[WORKLOG_MAX_PORTS];   /* begun, not yet ended */
    GArray *reports;                    /* of WorklogReport */
    char *loads;
    char *error;
    unsigned garbage_lines;
    unsigned corrupt_lines;
};

Worklog *worklog_new(void)
{
    Worklog *log = g_new0(Worklog, 1);

    for (int i = 0; i < WORKLOG_MAX_PORTS; i++) {
        log->line[i] = g_string_new(NULL);
    }
    log->reports = g_array_new(FALSE, FALSE, sizeof(WorklogReport));
    return log;
}

void worklog_free(Worklog *log)
{
    for (int i = 0; i < WORKLOG_MAX_PORTS; i++) {
        g_string_free(log->line[i], TRUE);
    }
    g_array_unref(log->reports);
    g_free(log->loads);
    g_free(log->error);
    g_free(log);
}

/* The guest's (console.c); both ends must agree. */
static unsigned line_sum(const char *text, gsize bytes)
{
    unsigned a = 1, b = 0;

    for (gsize i = 0; i < bytes; i++) {
        a = (a + (guchar)text[i]) % 255;
        b = (b + a) % 255;
    }
    return b << 8 | a;
}

/* Cuts the checksum off a line that has the right one. */
static gboolean take_sum(char *line)
{
    char *at = g_strrstr(line, " sum=");
    g_autofree char *want = NULL;

    if (!at) {
        return FALSE;
    }
    want = g_strdup_printf(" sum=%04x", line_sum(line, at - line));
    if (strcmp(at, want)) {
        return FALSE;
    }
    *at = '\0';
    return TRUE;
}

/* "NAME=NUMBER" at *@at, which moves behind it and a blank. */
static gboolean take_number(const char **at, const char *name, guint64 *value)
{
    gsize len = strlen(name);
    char *end;

    if (strncmp(*at, name, len) || (*at)[len] != '=' ||
        !g_ascii_isdigit((*at)[len + 1])) {
        return FALSE;
    }
    *value = g_ascii_strtoull(*at + len + 1, &end, 10);
    if (*end && *end != ' ') {
        return FALSE;
    }
    *at = *end ? end + 1 : end;
    return TRUE;
}

/* "NAME=NUMBER/NUMBER/..."; returns how many, 0 if it is none. */
static unsigned take_list(const char **at, const char *name, guint64 *values)
{
    gsize len = strlen(name);
    const char *next = *at + len;

    if (strncmp(*at, name, len) || *next != '=') {
        return 0;
    }
    for (unsigned count = 0; count < WORKLOG_MAX_VCPUS; ) {
        char *end;

        if (!g_ascii_isdigit(*++next)) {
            return 0;
        }
        values[count++] = g_ascii_strtoull(next, &end, 10);
        next = end;
        if (*next == ' ' || !*next) {
            *at = *next ? next + 1 : next;
            return count;
        }
        if (*next != '/') {
            return 0;
        }
    }
    return 0;
}

/* "BUCKET:COUNT+BUCKET:COUNT", "-" for none */
static gboolean take_histogram(const char *text, guint32 *counts)
{
    g_auto(GStrv) pairs = g_strsplit(text, "+", -1);

    if (g_str_equal(text, "-")) {
        return TRUE;
    }
    for (char **pair = pairs; *pair; pair++) {
        char *colon;
        guint64 bucket = g_ascii_strtoull(*pair, &colon, 10);

        if (colon == *pair || *colon != ':' || bucket >= LATENCY_BUCKETS) {
            return FALSE;
        }
        counts[bucket] = g_ascii_strtoull(colon + 1, NULL, 10);
    }
    return pairs[0] != NULL;
}

/* What may stand at the end: nothing, or " late=HISTOGRAM/HISTOGRAM/..." */
static gboolean take_late(const char *at, WorklogReport *report)
{
    g_auto(GStrv) all = NULL;

    if (!*at) {
        return TRUE;
    }
    if (!g_str_has_prefix(at, "late=")) {
        return FALSE;
    }
    all = g_strsplit(at + strlen("late="), "/", -1);
    if (g_strv_length(all) != WORKLOG_HISTOGRAMS) {
        return FALSE;
    }
    for (unsigned i = 0; i < WORKLOG_HISTOGRAMS; i++) {
        if (!take_histogram(all[i], report->late[i])) {
            return FALSE;
        }
    }
    report->has_late = TRUE;
    return TRUE;
}

static gboolean parse_report(const char *at, WorklogReport *report)
{
    unsigned nr_gaps;

    if (!take_number(&at, "t_ms", &report->t_ms) ||
        !take_number(&at, "n", &report->number)) {
        return FALSE;
    }
    report->nr_vcpus = take_list(&at, "u", report->units);
    nr_gaps = take_list(&at, "gap_us", report->gap_us);
    return report->nr_vcpus && report->nr_vcpus == nr_gaps &&
           take_number(&at, "bad", &report->bad_pages) &&
           take_late(at, report);
}

/* Returns whether the line is one of the guest's. */
static gboolean take_line(Worklog *log, const char *line, gint64 host_ns)
{
    WorklogReport report = { .host_ns = host_ns };
    const WorklogReport *last = worklog_last(log);

    if (g_str_has_prefix(line, "work ")) {
        if (!parse_report(line + strlen("work "), &report)) {
            return FALSE;
        }
        if (!last || report.number > last->number) {
            g_array_append_val(log->reports, report);
        }
    } else if (g_str_has_prefix(line, "ready loads=")) {
        g_free(log->loads);
        log->loads = g_strdup(line + strlen("ready loads="));
    } else if (g_str_has_prefix(line, "error ")) {
        g_free(log->error);
        log->error = g_strdup(line + strlen("error "));
    } else if (g_str_has_prefix(line, "corrupt ")) {
        log->corrupt_lines++;
    } else {
        return FALSE;
    }
    return TRUE;
}

/* Something else may stand before a good line: one that was cut off, say. */
static char *last_start(char *line)
{
    static const char *const starts[] = {
        "work ", "ready loads=", "error ", "corrupt ",
    };
    char *found = NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(starts); i++) {
        char *at = g_strrstr(line, starts[i]);

        if (at > found) {
            found = at;
        }
    }
    return found;
}

static void end_line(Worklog *log, GString *line, gint64 host_ns)
{
    g_autofree char *text = g_strdup(g_strchomp(line->str));
    char *start;

    g_string_truncate(line, 0);
    if (!*text) {
        return;
    }
    if (take_sum(text)) {
        if (!take_line(log, text, host_ns)) {
            log->garbage_lines++;
        }
        return;
    }
    log->garbage_lines++;
    start = last_start(text);
    if (start && start > text && take_sum(start)) {
        take_line(log, start, host_ns);
    }
}

unsigned worklog_feed(Worklog *log, unsigned port, const char *data,
                      gsize bytes, gint64 host_ns)
{
    unsigned before = log->reports->len;
    GString *line;

    g_return_val_if_fail(port < WORKLOG_MAX_PORTS, 0);
    line = log->line[port];
    for (gsize i = 0; i < bytes; i++) {
        if (data[i] == '\n') {
            end_line(log, line, host_ns);
        } else if (data[i] && line->len < MAX_LINE_BYTES) {
            /* A NUL would hide what follows it. */
            g_string_append_c(line, data[i]);
        }
    }
    return log->reports->len - before;
}

const char *worklog_loads(const Worklog *log)
{
    return log->loads;
}

const char *worklog_error(const Worklog *log)
{
    return log->error;
}

gboolean worklog_wait_ready(const Worklog *log, GMutex *lock, GCond *changed,
                            int timeout_ms, GError **errp)
{
    gint64 deadline_us = g_get_monotonic_time() + timeout_ms * 1000LL;
    gboolean in_time = TRUE, ready;

    g_mutex_lock(lock);
    while (!log->loads && !log->error && in_time) {
        in_time = g_cond_wait_until(changed, lock, deadline_us);
    }
    ready = log->loads && !log->error;
    if (log->error) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED, "the guest says: %s",
                    log->error);
    } else if (!ready) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                    "the guest did not come up within %d s",
                    timeout_ms / 1000);
    }
    g_mutex_unlock(lock);
    return ready;
}

unsigned worklog_count(const Worklog *log)
{
    return log->reports->len;
}

const WorklogReport *worklog_at(const Worklog *log, unsigned index)
{
    g_return_val_if_fail(index < log->reports->len, NULL);
    return &g_array_index(log->reports, WorklogReport, index);
}

const WorklogReport *worklog_last(const Worklog *log)
{
    return log->reports->len ? worklog_at(log, log->reports->len - 1) : NULL;
}

guint64 worklog_missed(const Worklog *log)
{
    const WorklogReport *last = worklog_last(log);

    return last ? last->number - worklog_at(log, 0)->number + 1 -
                  log->reports->len : 0;
}

unsigned worklog_garbage_lines(const Worklog *log)
{
    return log->garbage_lines;
}

unsigned worklog_corrupt_lines(const Worklog *log)
{
    return log->corrupt_lines;
}

/*
 * The reports that came from @from_ns to @to_ns are *@first to the returned
 * index - 1.  Ports may be read late, so host times need not be in order.
 */
static unsigned find_span(const Worklog *log, gint64 from_ns, gint64 to_ns,
                          unsigned *first)
{
    unsigned end = log->reports->len;

    *first = 0;
    while (*first < end && worklog_at(log, *first)->host_ns < from_ns) {
        ++*first;
    }
    while (end > *first && worklog_at(log, end - 1)->host_ns > to_ns) {
        end--;
    }
    return end;
}

double worklog_units_per_s(const Worklog *log, unsigned vcpu,
                           gint64 from_ns, gint64 to_ns)
{
    unsigned first, end = find_span(log, from_ns, to_ns, &first);
    const WorklogReport *a, *b;

    if (end < first + 2) {
        return 0;
    }
    a = worklog_at(log, first);
    b = worklog_at(log, end - 1);
    if (vcpu >= a->nr_vcpus || b->host_ns <= a->host_ns) {
        return 0;
    }
    return (b->units[vcpu] - a->units[vcpu]) * 1e9 / (b->host_ns - a->host_ns);
}

guint64 worklog_max_gap_us(const Worklog *log, unsigned vcpu,
                           gint64 from_ns, gint64 to_ns)
{
    unsigned first, end = find_span(log, from_ns, to_ns, &first);
    guint64 most = 0;

    g_return_val_if_fail(vcpu < WORKLOG_MAX_VCPUS, 0);
    for (unsigned i = first; i < end; i++) {
        most = MAX(most, worklog_at(log, i)->gap_us[vcpu]);
    }
    return most;
}

gint64 worklog_max_silence_ns(const Worklog *log,
                              gint64 from_ns, gint64 to_ns)
{
    unsigned first, end = find_span(log, from_ns, to_ns, &first);
    gint64 most = 0;

    for (unsigned i = first + 1; i < end; i++) {
        most = MAX(most, worklog_at(log, i)->host_ns -
                         worklog_at(log, i - 1)->host_ns);
    }
    return most;
}
