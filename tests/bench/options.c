/*
 * Command line options that the benchmarks have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "options.h"

#include <errno.h>
#include <stdio.h>

#define MAX_RUNS 1000

/* One entry of the table for a program that wants it */
static void add_named(GArray *entries, Options *o, const char *name)
{
    const GOptionEntry all[] = {
        { "qemu", 0, 0, G_OPTION_ARG_FILENAME, &o->qemu,
          "qemu-system-x86_64 to measure", "PATH" },
        { "peer", 0, 0, G_OPTION_ARG_FILENAME, &o->peer,
          "what to compare with (default: Debian's)", "PATH" },
        { "label", 0, 0, G_OPTION_ARG_STRING, &o->label,
          "what to call it in the results", "NAME" },
        { "policy", 0, 0, G_OPTION_ARG_STRING, &o->policy,
          "convergence-policy to set (default: none, as for stock)", "P" },
        { "load", 0, 0, G_OPTION_ARG_STRING, &o->load,
          "what the guest does", "SPEC" },
        { "mem", 0, 0, G_OPTION_ARG_INT, &o->mem_mib, "guest RAM", "MIB" },
        { "smp", 0, 0, G_OPTION_ARG_INT, &o->smp, "vCPUs", "N" },
        { "accel", 0, 0, G_OPTION_ARG_STRING, &o->accel,
          "value of -accel (default tcg)", "A" },
        { "bandwidth", 0, 0, G_OPTION_ARG_DOUBLE, &o->bandwidth_mb,
          "cap of the link, 10^6 bytes a second", "MBPS" },
        { "downtime", 0, 0, G_OPTION_ARG_INT, &o->downtime_ms,
          "downtime limit", "MS" },
        { "cap", 0, 0, G_OPTION_ARG_INT, &o->cap_s,
          "give up a migration after this", "S" },
        { "runs", 0, 0, G_OPTION_ARG_INT, &o->runs, "how often", "N" },
        { "baseline", 0, 0, G_OPTION_ARG_INT, &o->baseline_ms,
          "undisturbed run before each migration", "MS" },
        { "pin", 0, 0, G_OPTION_ARG_NONE, &o->pin,
          "give vCPUs that only compute a host CPU of their own", NULL },
        { "clocks", 0, 0, G_OPTION_ARG_NONE, &o->clocks,
          "take the latency of the guest's timers", NULL },
        { "programs", 0, 0, G_OPTION_ARG_NONE, &o->programs,
          "a guest that has real programs: scripts/guest-programs", NULL },
        { "set", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o->settings,
          "further migration parameter (repeatable)", "NAME=VALUE" },
        { "capability", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o->capabilities,
          "further capability to enable (repeatable)", "NAME" },
        { "qemu-arg", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o->qemu_args,
          "further argument of both QEMUs' command lines (repeatable)",
          "ARG" },
        { "no-auto-converge", 0, 0, G_OPTION_ARG_NONE, &o->no_auto_converge,
          "leave auto-converge off", NULL },
        { "out", 0, 0, G_OPTION_ARG_FILENAME, &o->out,
          "directory for the results", "DIR" },
        { "json", 0, 0, G_OPTION_ARG_FILENAME, &o->out,
          "append a JSON line a run to this file (default: stdout)", "FILE" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        if (g_str_equal(all[i].long_name, name)) {
            g_array_append_val(entries, all[i]);
            return;
        }
    }
    g_error("no common option --%s", name);
}

static gboolean check_range(const char *name, double value, double min,
                            double max, GError **errp)
{
    if (value >= min && value <= max) {
        return TRUE;
    }
    g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "--%s is %g, and must be %g to %g", name, value, min, max);
    return FALSE;
}

static gboolean check(const Options *o, GError **errp)
{
    return check_range("mem", o->mem_mib, 64, 1 << 20, errp) &&
           check_range("smp", o->smp, 1, GUEST_WORK_MAX_VCPUS, errp) &&
           check_range("cap", o->cap_s, 1, 86400, errp) &&
           check_range("runs", o->runs, 1, MAX_RUNS, errp) &&
           check_range("baseline", o->baseline_ms, 0, 3600000, errp) &&
           check_range("downtime", o->downtime_ms, 0, 2000000, errp) &&
           check_range("bandwidth", o->bandwidth_mb, 0.1, 1e6, errp);
}

static void set_defaults(Options *o)
{
    o->qemu = o->qemu ?: g_strdup("build/qemu/qemu-system-x86_64");
    o->peer = o->peer ?: g_strdup("/usr/bin/qemu-system-x86_64");
    o->load = o->load ?: g_strdup("write:256:100,compute");
}

gboolean options_parse(Options *options, const char *const *names,
                       const GOptionEntry *own, const char *summary,
                       int argc, char **argv, GError **errp)
{
    g_autoptr(GArray) entries = g_array_new(TRUE, TRUE,
                                            sizeof(GOptionEntry));
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);

    for (; *names; names++) {
        add_named(entries, options, *names);
    }
    for (; own && own->long_name; own++) {
        g_array_append_val(entries, *own);
    }
    g_option_context_set_summary(context, summary);
    g_option_context_add_main_entries(
        context, (const GOptionEntry *)entries->data, NULL);
    if (!g_option_context_parse(context, &argc, &argv, errp)) {
        return FALSE;
    }
    if (argc > 1) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "no argument expected: %s", argv[1]);
        return FALSE;
    }
    set_defaults(options);
    return check(options, errp);
}

void options_clear(Options *o)
{
    g_free(o->qemu);
    g_free(o->peer);
    g_free(o->label);
    g_free(o->policy);
    g_free(o->load);
    g_free(o->accel);
    g_free(o->out);
    g_strfreev(o->settings);
    g_strfreev(o->capabilities);
    g_strfreev(o->qemu_args);
}

MigrateSpec options_to_spec(const Options *o)
{
    return (MigrateSpec) {
        .qemu = o->qemu,
        .label = o->label ?: "qemu",
        .policy = o->policy,
        .accel = o->accel,
        .load = o->load,
        .mem_mib = o->mem_mib,
        .smp = o->smp,
        .bandwidth_bytes_per_s = o->bandwidth_mb * 1e6,
        .downtime_limit_ms = o->downtime_ms,
        .cap_s = o->cap_s,
        .baseline_ms = o->baseline_ms,
        .no_auto_converge = o->no_auto_converge,
        .pin = o->pin,
        .programs = o->programs,
        .clocks = o->clocks,
        .settings = (const char *const *)o->settings,
        .capabilities = (const char *const *)o->capabilities,
        .qemu_args = (const char *const *)o->qemu_args,
    };
}

void options_set_file_error(GError **errp, const char *path)
{
    g_set_error(errp, G_FILE_ERROR, g_file_error_from_errno(errno),
                "cannot write %s: %s", path, g_strerror(errno));
}

gboolean options_append_line(const char *path, const char *line,
                             GError **errp)
{
    FILE *out = path ? fopen(path, "a") : stdout;
    gboolean ok = out && fprintf(out, "%s\n", line) > 0 &&
                  fflush(out) == 0;

    if (!ok) {
        options_set_file_error(errp, path ?: "to stdout");
    }
    if (path && out && fclose(out) != 0 && ok) {
        options_set_file_error(errp, path);
        ok = FALSE;
    }
    return ok;
}
