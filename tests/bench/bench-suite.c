/*
 * Stock QEMU and ours over a table of workloads, in turns
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * The variants (peers, and ours with each policy it has) alternate run by
 * run, the first of them another one each time: a host that is slower for
 * some minutes is so for all of them.  A migration is called off after a
 * multiple of F, and its time is a lower bound from then on; with --to-end
 * peers get longer on some workloads, of each group one at least.
 *
 * Two of the peers are ours with auto-converge off: "stopped", whose guest
 * stands still from the end of the bulk pass on, and "nothing", which is left
 * alone.  What slowing a guest down is worth lies between them.
 *
 * Adds to OUT/runs.jsonl as the runs end: a line that describes the host, and
 * one for each run.  tests/bench/report makes tables and pages of it, also of
 * several such files: a long benchmark can be made in parts.
 */

#include "host.h"
#include "options.h"
#include "pin.h"
#include "report.h"
#include "shaped.h"
#include "workloads.h"

#include <glib/gstdio.h>

#define MAX_VARIANTS 12
#define DEFAULT_CUT_F 6.0

/* Undisturbed run before each migration */
#define BASELINE_MS 1500

/* No migration is called off earlier, be F ever so small */
#define LEAST_CAP_S 10

typedef struct Variant {
    char *label;
    char *qemu;
    const char *policy;
    /* -global of a forced meter, and its value; NULL: the best there is */
    char *args[3];
    gboolean is_peer, no_auto_converge;
    const char *const *settings;
} Variant;

typedef struct Peer {
    const char *name;
    /* scripts/peers makes it; else it is --peer, or ours */
    gboolean made;
    gboolean ours;
    const char *const *settings;
} Peer;

static const char *const stop_after_bulk_pass[] = {
    "convergence-max-iterations=1", "convergence-timeout-action=stop", NULL
};

static const Peer peers[] = {
    { "stock" },
    { "7.2-fixed", .made = TRUE },
    { "10.0", .made = TRUE },
    { "11.1", .made = TRUE },
    { "stopped", .ours = TRUE, .settings = stop_after_bulk_pass },
    { "nothing", .ours = TRUE },
};

typedef struct Suite {
    Options o;
    char *only, *policies, *peers, *peers_dir, *path;
    double cut_f;
    int retries, to_end_s;
    gboolean quick, list, no_clocks, no_pin, ours_only;
    Variant variants[MAX_VARIANTS];
    unsigned nr_variants;
    char **wanted;              /* policies, split */
} Suite;

/* @name: POLICY or POLICY@METER, cut in two in place */
static Variant our_variant(const Suite *suite, char *name)
{
    Variant variant = { .qemu = g_strdup(suite->o.qemu), .policy = name };
    char *meter = strchr(name, '@');

    if (meter) {
        *meter++ = '\0';
        variant.args[0] = g_strdup("-global");
        variant.args[1] = g_strconcat("migration.x-convergence-meter=", meter,
                                      NULL);
    }
    variant.label = meter ? g_strconcat("ours@", meter, NULL) :
                            g_strdup("ours");
    return variant;
}

/* Stock's own line is "stock"; the others get "stock-" before their release */
static char *label_of(const Peer *peer)
{
    return peer->made ? g_strconcat("stock-", peer->name, NULL) :
                        g_strdup(peer->name);
}

static const Peer *peer_by_name(const char *name, GError **errp)
{
    g_autoptr(GString) all = g_string_new(NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(peers); i++) {
        if (g_str_equal(peers[i].name, name)) {
            return &peers[i];
        }
        g_string_append_printf(all, "%s%s", i ? ", " : "", peers[i].name);
    }
    g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "no peer is called '%s'; there are %s", name, all->str);
    return NULL;
}

static gboolean has_room(const Suite *suite, GError **errp)
{
    if (suite->nr_variants == MAX_VARIANTS) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "peers and policies are more than %d together",
                    MAX_VARIANTS);
        return FALSE;
    }
    return TRUE;
}

static gboolean add_peer(Suite *suite, const char *name, GError **errp)
{
    const Peer *peer = peer_by_name(name, errp);
    Variant variant = { .is_peer = TRUE };

    if (!peer || !has_room(suite, errp)) {
        return FALSE;
    }
    variant.qemu = peer->made ?
        g_build_filename(suite->peers_dir, peer->name, "qemu", NULL) :
        g_strdup(peer->ours ? suite->o.qemu : suite->o.peer);
    if (peer->made && !g_file_test(variant.qemu, G_FILE_TEST_IS_EXECUTABLE)) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "no peer at %s: scripts/peers %s makes it", variant.qemu,
                    name);
        g_free(variant.qemu);
        return FALSE;
    }
    variant.label = label_of(peer);
    variant.no_auto_converge = peer->ours;
    variant.settings = peer->settings;
    suite->variants[suite->nr_variants++] = variant;
    return TRUE;
}

static gboolean add_policy(Suite *suite, char *policy, GError **errp)
{
    if (!has_room(suite, errp)) {
        return FALSE;
    }
    suite->variants[suite->nr_variants++] = our_variant(suite, policy);
    if (!migrate_has_policy(suite->o.qemu, policy)) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "%s does not start, or knows no policy '%s'",
                    suite->o.qemu, policy);
        return FALSE;
    }
    return TRUE;
}

static gboolean find_variants(Suite *suite, GError **errp)
{
    g_auto(GStrv) names = g_strsplit(suite->peers ?: "stock", ",", -1);

    suite->wanted = g_strsplit(suite->policies ?:
                               "step,predictive,dirty-limit", ",", -1);
    for (char **name = names; *name && !suite->ours_only; name++) {
        if (!add_peer(suite, *name, errp)) {
            return FALSE;
        }
    }
    for (char **policy = suite->wanted; *policy; policy++) {
        if (!add_policy(suite, *policy, errp)) {
            return FALSE;
        }
    }
    return TRUE;
}

static MigrateSpec spec_of(const Suite *suite, const Workload *workload)
{
    MigrateSpec spec = options_to_spec(&suite->o);

    spec.label = "floor";
    spec.baseline_ms = BASELINE_MS;
    spec.qemu = suite->o.peer;
    spec.load = workload->load;
    spec.mem_mib = workload->mem_mib;
    spec.smp = workload->smp;
    spec.bandwidth_bytes_per_s = workload->bandwidth_mb_per_s * 1000000ULL;
    spec.programs = workload->flags & WORKLOAD_PROGRAMS;
    spec.clocks = !suite->no_clocks;
    spec.pin = !suite->no_pin && pin_is_useful(workload->load);
    return spec;
}

/* Of the link's rate, for one migration; FALSE: there is none to be had */
static gboolean lay_wire(const Workload *workload, MigrateSpec *spec,
                         Shaped **shaped, GError **errp)
{
    if (workload->flags & WORKLOAD_WIRE) {
        *shaped = shaped_new(spec->bandwidth_bytes_per_s,
                             workload->flags & WORKLOAD_WAVERS, errp);
        if (!*shaped) {
            return FALSE;
        }
        spec->wire = shaped_wire(*shaped);
        spec->uncapped = TRUE;
    }
    return TRUE;
}

/*
 * A run beside which the host did other things is made again, whichever
 * variant it is of.  All are on record; the report takes the least disturbed.
 */
static gboolean run_once(const Suite *suite, const Workload *workload,
                         MigrateSpec spec, unsigned run,
                         const MigrateFloor *floor, GError **errp)
{
    gboolean disturbed = TRUE;

    for (int tries = 0; disturbed && tries <= suite->retries; tries++) {
        g_autoptr(Shaped) shaped = NULL;
        g_autoptr(MigrateResult) result = NULL;
        g_autofree char *json = NULL;

        if (!lay_wire(workload, &spec, &shaped, errp)) {
            return FALSE;
        }
        result = migrate_run(&spec, errp);
        if (!result) {
            return FALSE;
        }
        report_table_row(stdout, &spec, floor, result);
        json = report_json(&spec, workload->name, run, floor, result);
        if (!options_append_line(suite->path, json, errp)) {
            return FALSE;
        }
        disturbed = result->host_others_pct >= MIGRATE_HOST_OTHERS_WARN_PCT;
    }
    return TRUE;
}

static gboolean run_variant(const Suite *suite, const Workload *workload,
                            const Variant *variant, MigrateSpec spec,
                            unsigned run, const MigrateFloor *floor,
                            GError **errp)
{
    if (variant->policy && g_str_equal(variant->policy, "step") &&
        !(workload->flags & WORKLOAD_STEP)) {
        return TRUE;
    }
    spec.label = variant->label;
    spec.qemu = variant->qemu;
    spec.policy = variant->policy;
    spec.no_auto_converge |= variant->no_auto_converge;
    spec.settings = variant->settings;
    if (variant->is_peer && workload->flags & WORKLOAD_TO_END) {
        spec.cap_s = MAX(spec.cap_s, suite->to_end_s);
    }
    if (variant->args[0]) {
        spec.qemu_args = (const char *const *)variant->args;
    }
    return run_once(suite, workload, spec, run, floor, errp);
}

/* For whoever reads the results: what the name stands for */
static gboolean describe(const Suite *suite, const Workload *workload,
                         GError **errp)
{
    g_autofree char *line =
        g_strdup_printf("{\"describes\":\"%s\",\"group\":\"%s\","
                        "\"what\":\"%s\"}", workload->name, workload->group,
                        workload->what);

    return options_append_line(suite->path, line, errp);
}

static gboolean run_workload(const Suite *suite, const Workload *workload,
                             GError **errp)
{
    MigrateSpec spec = spec_of(suite, workload);
    MigrateFloor floor;

    printf("\n%s: %s; load=%s, %u MiB, link %u MB/s%s\n", workload->name,
           workload->what, workload->load, workload->mem_mib,
           workload->bandwidth_mb_per_s, spec.pin ? ", pinned" : "");
    if (!describe(suite, workload, errp) ||
        !migrate_measure_floor(&spec, &floor, errp)) {
        return FALSE;
    }
    spec.cap_s = MAX(LEAST_CAP_S, suite->cut_f * floor.f_s + 0.999);
    printf("F = %.1f s, C = %.1f s, called off after %u s\n", floor.f_s,
           floor.c_s, spec.cap_s);
    report_table_head(stdout);
    for (int run = 1; run <= suite->o.runs; run++) {
        for (unsigned i = 0; i < suite->nr_variants; i++) {
            const Variant *variant =
                &suite->variants[(run - 1 + i) % suite->nr_variants];

            if (!run_variant(suite, workload, variant, spec, run, &floor,
                             errp)) {
                return FALSE;
            }
        }
    }
    return TRUE;
}

static gboolean open_results(Suite *suite, GError **errp)
{
    g_autofree char *host = host_json(suite->o.qemu, suite->o.peer,
                                      suite->o.accel ?: "tcg");
    g_autofree char *line = g_strdup_printf("{\"host\":%s}", host);

    suite->path = g_build_filename(suite->o.out, "runs.jsonl", NULL);
    if (g_mkdir_with_parents(suite->o.out, 0777) != 0) {
        options_set_file_error(errp, suite->o.out);
        return FALSE;
    }
    return options_append_line(suite->path, line, errp);
}

static gboolean is_chosen(const Suite *suite, const Workload *workload)
{
    return bench_workload_chosen(workload, suite->only) &&
           (!suite->quick || workload->flags & WORKLOAD_QUICK);
}

static gboolean run_suite(Suite *suite, GError **errp)
{
    if (!bench_check_names(suite->only, errp) ||
        !find_variants(suite, errp) || !open_results(suite, errp)) {
        return FALSE;
    }
    for (unsigned i = 0; i < bench_nr_workloads; i++) {
        if (is_chosen(suite, &bench_workloads[i]) &&
            !run_workload(suite, &bench_workloads[i], errp)) {
            g_prefix_error(errp, "%s: ", bench_workloads[i].name);
            return FALSE;
        }
    }
    printf("\nruns added to %s\n", suite->path);
    return TRUE;
}

static void list_workloads(const Suite *suite)
{
    for (unsigned i = 0; i < bench_nr_workloads; i++) {
        const Workload *w = &bench_workloads[i];

        if (is_chosen(suite, w)) {
            printf("%-16s %-10s %-45s %s\n", w->name, w->group, w->load,
                   w->what);
        }
    }
}

static int finish(Suite *suite, int status, const GError *error)
{
    if (error) {
        fprintf(stderr, "bench-suite: error: %s\n", error->message);
    }
    g_strfreev(suite->wanted);
    g_free(suite->only);
    g_free(suite->policies);
    g_free(suite->peers);
    g_free(suite->peers_dir);
    for (unsigned i = 0; i < suite->nr_variants; i++) {
        g_free(suite->variants[i].label);
        g_free(suite->variants[i].qemu);
        g_free(suite->variants[i].args[0]);
        g_free(suite->variants[i].args[1]);
    }
    g_free(suite->path);
    options_clear(&suite->o);
    return status;
}

int main(int argc, char **argv)
{
    static const char *const takes[] = {
        "qemu", "peer", "accel", "downtime", "runs", "out", NULL
    };
    Suite suite = { .o = OPTIONS_DEFAULT, .cut_f = DEFAULT_CUT_F,
                    .retries = 1 };
    const GOptionEntry own[] = {
        { "only", 0, 0, G_OPTION_ARG_STRING, &suite.only,
          "workloads or groups of them (default: all)", "NAME,NAME" },
        { "policies", 0, 0, G_OPTION_ARG_STRING, &suite.policies,
          "ours (default: step,predictive,dirty-limit); predictive@estimate "
          "forces that meter", "P,P" },
        { "peers", 0, 0, G_OPTION_ARG_STRING, &suite.peers,
          "stock, 7.2-fixed, 10.0, 11.1, stopped, nothing (default: stock)",
          "NAME,NAME" },
        { "peers-dir", 0, 0, G_OPTION_ARG_FILENAME, &suite.peers_dir,
          "where scripts/peers put them (default: build/peers)", "DIR" },
        { "to-end", 0, 0, G_OPTION_ARG_INT, &suite.to_end_s,
          "let peers run so long on one workload of each group or more", "S" },
        { "cut-f", 0, 0, G_OPTION_ARG_DOUBLE, &suite.cut_f,
          "call a migration off after so many F (default: 6)", "X" },
        { "retries", 0, 0, G_OPTION_ARG_INT, &suite.retries,
          "of a run beside which the host was busy (default: 1)", "N" },
        { "quick", 0, 0, G_OPTION_ARG_NONE, &suite.quick,
          "only the two reference workloads", NULL },
        { "ours-only", 0, 0, G_OPTION_ARG_NONE, &suite.ours_only,
          "do without the peer's runs", NULL },
        { "no-pin", 0, 0, G_OPTION_ARG_NONE, &suite.no_pin,
          "no CPU of their own for vCPUs that only compute", NULL },
        { "no-clocks", 0, 0, G_OPTION_ARG_NONE, &suite.no_clocks,
          "do not take the latency of the guest's timers", NULL },
        { "list", 0, 0, G_OPTION_ARG_NONE, &suite.list,
          "show the workloads and do nothing", NULL },
        { NULL },
    };
    g_autoptr(GError) error = NULL;
    int status;

    suite.o.runs = 5;
    suite.o.out = g_strdup("build/bench");
    suite.peers_dir = g_strdup("build/peers");
    if (!options_parse(&suite.o, takes, own, NULL, argc, argv, &error)) {
        return finish(&suite, 2, error);
    }
    if (suite.to_end_s < 0 || suite.to_end_s > 86400) {
        g_set_error(&error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--to-end is %d, and must be 0 to 86400", suite.to_end_s);
        return finish(&suite, 2, error);
    }
    if (suite.cut_f < 1) {
        g_set_error(&error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--cut-f is %g, and must be 1 or more", suite.cut_f);
        return finish(&suite, 2, error);
    }
    if (suite.list) {
        list_workloads(&suite);
        return finish(&suite, 0, NULL);
    }
    status = run_suite(&suite, &error) ? 0 : 1;
    return finish(&suite, status, error);
}
