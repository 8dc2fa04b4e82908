/*
 * Measure one kind of migration, some times over
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "report.h"

#include <string.h>

typedef struct Options {
    char *qemu, *label, *policy, *load, *accel, *json;
    char **settings, **capabilities;
    int mem_mib, smp, downtime_ms, cap_s, runs, baseline_ms;
    double bandwidth_mb;
    gboolean no_auto_converge, no_floor;
} Options;

static gboolean parse(Options *o, int argc, char **argv, GError **errp)
{
    const GOptionEntry entries[] = {
        { "qemu", 0, 0, G_OPTION_ARG_FILENAME, &o->qemu,
          "qemu-system-x86_64 to measure", "PATH" },
        { "label", 0, 0, G_OPTION_ARG_STRING, &o->label,
          "what to call it in the results", "NAME" },
        { "policy", 0, 0, G_OPTION_ARG_STRING, &o->policy,
          "convergence-policy to set (default: none, as for stock)", "P" },
        { "load", 0, 0, G_OPTION_ARG_STRING, &o->load,
          "what the guest does (default write:256:100,compute)", "SPEC" },
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
        { "set", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o->settings,
          "further migration parameter (repeatable)", "NAME=VALUE" },
        { "capability", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o->capabilities,
          "further capability to enable (repeatable)", "NAME" },
        { "no-auto-converge", 0, 0, G_OPTION_ARG_NONE, &o->no_auto_converge,
          "leave auto-converge off", NULL },
        { "no-floor", 0, 0, G_OPTION_ARG_NONE, &o->no_floor,
          "do without the reference run that measures F and C", NULL },
        { "json", 0, 0, G_OPTION_ARG_FILENAME, &o->json,
          "append a JSON line a run to this file (default: stdout)", "FILE" },
        { NULL },
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);

    g_option_context_set_summary(context,
        "Migrates a guest between two processes of one QEMU and measures\n"
        "time, downtime, and what it cost each vCPU. Run it from the top of\n"
        "the tree; scripts/guest makes the guest.");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, errp)) {
        return FALSE;
    }
    if (argc > 1 || o->mem_mib < 64 || o->smp < 1 || o->cap_s < 1 ||
        o->runs < 1 || o->bandwidth_mb < 0.1 || o->downtime_ms < 0 ||
        o->smp > GUEST_WORK_MAX_VCPUS) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    argc > 1 ? "no argument expected: %s"
                             : "a number is out of range%s",
                    argc > 1 ? argv[1] : "");
        return FALSE;
    }
    return TRUE;
}

static void clear(Options *o)
{
    g_free(o->qemu);
    g_free(o->label);
    g_free(o->policy);
    g_free(o->load);
    g_free(o->accel);
    g_free(o->json);
    g_strfreev(o->settings);
    g_strfreev(o->capabilities);
}

static gboolean write_json(const char *path, const char *json, GError **errp)
{
    FILE *out = path ? fopen(path, "a") : stdout;
    gboolean ok = out && fprintf(out, "%s\n", json) > 0;

    if (path && out) {
        ok = fclose(out) == 0 && ok;
    }
    if (!ok) {
        g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                    "cannot write %s", path ?: "to stdout");
    }
    return ok;
}

static gboolean run_all(const Options *o, const MigrateSpec *spec,
                        GError **errp)
{
    MigrateFloor floor;
    const MigrateFloor *known = NULL;

    if (!o->no_floor) {
        if (!migrate_measure_floor(spec, &floor, errp)) {
            return FALSE;
        }
        known = &floor;
        printf("stopping it after the bulk pass: F = %.1f + %.0f MB / %.0f "
               "MB/s = %.1f s; at the start: C = %.1f s\n",
               floor.bulk_pass_s, floor.dirty_bytes / 1e6, o->bandwidth_mb,
               floor.f_s, floor.c_s);
    }
    report_table_head(stdout);
    for (int run = 1; run <= o->runs; run++) {
        g_autoptr(MigrateResult) result = migrate_run(spec, errp);
        g_autofree char *json = NULL;

        if (!result) {
            return FALSE;
        }
        report_table_row(stdout, spec, known, result);
        json = report_json(spec, NULL, run, known, result);
        if (!write_json(o->json, json, errp)) {
            return FALSE;
        }
    }
    return TRUE;
}

int main(int argc, char **argv)
{
    Options o = { .mem_mib = 512, .smp = 2, .downtime_ms = 300, .cap_s = 70,
                  .runs = 1, .bandwidth_mb = 64 };
    g_autoptr(GError) error = NULL;
    MigrateSpec spec;
    int status = 0;

    if (!parse(&o, argc, argv, &error)) {
        fprintf(stderr, "bench-migrate: error: %s\n", error->message);
        clear(&o);
        return 2;
    }
    spec = (MigrateSpec) {
        .qemu = o.qemu ?: "build/qemu/qemu-system-x86_64",
        .label = o.label ?: "qemu",
        .policy = o.policy,
        .accel = o.accel,
        .load = o.load ?: "write:256:100,compute",
        .mem_mib = o.mem_mib,
        .smp = o.smp,
        .bandwidth_bytes_per_s = o.bandwidth_mb * 1e6,
        .downtime_limit_ms = o.downtime_ms,
        .cap_s = o.cap_s,
        .baseline_ms = o.baseline_ms,
        .no_auto_converge = o.no_auto_converge,
        .settings = (const char *const *)o.settings,
        .capabilities = (const char *const *)o.capabilities,
    };
    if (!run_all(&o, &spec, &error)) {
        fprintf(stderr, "bench-migrate: error: %s\n", error->message);
        status = 1;
    }
    clear(&o);
    return status;
}
