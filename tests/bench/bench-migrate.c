/*
 * Measure one kind of migration, some times over
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "options.h"
#include "report.h"

static gboolean run_all(const Options *o, const MigrateSpec *spec,
                        gboolean no_floor, GError **errp)
{
    MigrateFloor floor;
    const MigrateFloor *known = NULL;

    if (!no_floor) {
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
        if (!options_append_line(o->out, json, errp)) {
            return FALSE;
        }
    }
    return TRUE;
}

int main(int argc, char **argv)
{
    static const char *const takes[] = {
        "qemu", "label", "policy", "load", "mem", "smp", "accel",
        "bandwidth", "downtime", "cap", "runs", "baseline", "set",
        "capability", "qemu-arg", "no-auto-converge", "pin",
        "clocks", "programs", "json", NULL
    };
    gboolean no_floor = FALSE;
    const GOptionEntry own[] = {
        { "no-floor", 0, 0, G_OPTION_ARG_NONE, &no_floor,
          "do without the reference run that measures F and C", NULL },
        { NULL },
    };
    Options o = OPTIONS_DEFAULT;
    g_autoptr(GError) error = NULL;
    MigrateSpec spec;
    int status = 0;

    if (!options_parse(&o, takes, own,
            "Migrates a guest between two processes of one QEMU and "
            "measures\ntime, downtime, and what it cost each vCPU. Run it "
            "from the top of\nthe tree; scripts/guest makes the guest.",
            argc, argv, &error)) {
        fprintf(stderr, "bench-migrate: error: %s\n", error->message);
        options_clear(&o);
        return 2;
    }
    spec = options_to_spec(&o);
    if (!run_all(&o, &spec, no_floor, &error)) {
        fprintf(stderr, "bench-migrate: error: %s\n", error->message);
        status = 1;
    }
    options_clear(&o);
    return status;
}
