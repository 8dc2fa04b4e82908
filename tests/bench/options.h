/*
 * Command line options that the benchmarks have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * One table; each program names the options that it takes and adds its own.
 */

#ifndef CONVERGE_BENCH_OPTIONS_H
#define CONVERGE_BENCH_OPTIONS_H

#include "migrate.h"

/* Owned strings.  Members set before options_parse() are the defaults. */
typedef struct Options {
    char *qemu, *peer, *label, *policy, *load, *accel, *out;
    char **settings, **capabilities, **qemu_args;
    int mem_mib, smp, downtime_ms, cap_s, runs, baseline_ms;
    double bandwidth_mb;
    gboolean no_auto_converge, pin, clocks, programs;
} Options;

/* What most of the programs measure: the first reference workload */
#define OPTIONS_DEFAULT {                                               \
    .mem_mib = 512, .smp = 2, .downtime_ms = 300, .cap_s = 70,          \
    .runs = 1, .bandwidth_mb = 64,                                      \
}

/*
 * Takes the options in @names (NULL at the end) and those of @own (an empty
 * entry at the end, or NULL), and no other argument.  @options holds numbers
 * in their range afterwards, and qemu, peer and load are set.
 */
gboolean options_parse(Options *options, const char *const *names,
                       const GOptionEntry *own, const char *summary,
                       int argc, char **argv, GError **errp);
void options_clear(Options *options);

/* Points to strings in @options */
MigrateSpec options_to_spec(const Options *options);

/* An error that names the file, from errno */
void options_set_file_error(GError **errp, const char *path);

/* Adds a line to @path, or to stdout without one */
gboolean options_append_line(const char *path, const char *line,
                             GError **errp);

#endif
