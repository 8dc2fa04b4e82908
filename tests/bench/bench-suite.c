/*
 * Stock QEMU and ours over a table of workloads, in turns
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * The variants (stock, and ours with each policy it has) alternate run by
 * run: a host that is slower for some minutes is so for all of them.  A run
 * that was called off counts with the cap as its time, which flatters it.
 *
 * Writes OUT/runs.jsonl as the runs end, OUT/bench.json (all runs and the
 * summary) and OUT/summary.txt at the end.
 */

#include "options.h"
#include "pin.h"
#include "report.h"
#include "workloads.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#define MAX_VARIANTS 4
#define MAX_RUNS 50
#define SMP 2

typedef struct Variant {
    const char *label;
    const char *qemu;
    const char *policy;
} Variant;

/* All runs of one variant on one workload */
typedef struct Tally {
    unsigned runs, completed;
    double total_s[MAX_RUNS], downtime_ms[MAX_RUNS];
    double work_pct[SMP][MAX_RUNS], lost_s[SMP][MAX_RUNS];
    double max_silence_ms;
    int max_throttle_pct;
} Tally;

typedef struct Suite {
    Options o;
    gboolean quick;
    Variant variants[MAX_VARIANTS];
    unsigned nr_variants;
    FILE *lines, *text;
    JsonArray *all_runs, *summary;
} Suite;

static void find_variants(Suite *suite)
{
    static const char *const policies[] = {
        "step", "predictive", "dirty-limit"
    };

    suite->variants[suite->nr_variants++] =
        (Variant) { "stock", suite->o.peer, NULL };
    for (size_t i = 0; i < G_N_ELEMENTS(policies); i++) {
        if (migrate_has_policy(suite->o.qemu, policies[i])) {
            suite->variants[suite->nr_variants++] =
                (Variant) { "ours", suite->o.qemu, policies[i] };
        }
    }
    if (suite->nr_variants == 1) {
        suite->variants[suite->nr_variants++] =
            (Variant) { "ours", suite->o.qemu, NULL };
    }
}

static void add_to_tally(Tally *tally, const MigrateResult *result)
{
    unsigned n = tally->runs++;

    tally->total_s[n] = result->total_ms / 1e3;
    if (result->outcome == MIGRATE_COMPLETED) {
        tally->downtime_ms[tally->completed++] = result->downtime_ms;
    }
    for (unsigned i = 0; i < SMP; i++) {
        tally->work_pct[i][n] = result->vcpus[i].work_share_pct;
        tally->lost_s[i][n] = result->vcpus[i].lost_s;
    }
    tally->max_silence_ms = MAX(tally->max_silence_ms,
                                result->max_silence_ms);
    tally->max_throttle_pct = MAX(tally->max_throttle_pct,
                                  result->max_throttle_pct);
}

static gboolean run_once(Suite *suite, const Workload *workload,
                         const MigrateSpec *spec, unsigned run,
                         const MigrateFloor *floor, Tally *tally,
                         GError **errp)
{
    g_autoptr(MigrateResult) result = migrate_run(spec, errp);
    g_autofree char *json = NULL;

    if (!result) {
        return FALSE;
    }
    report_table_row(stdout, spec, floor, result);
    json = report_json(spec, workload->name, run, floor, result);
    json_array_add_element(suite->all_runs, json_from_string(json, NULL));
    add_to_tally(tally, result);
    if (fprintf(suite->lines, "%s\n", json) < 0 ||
        fflush(suite->lines) != 0) {
        g_set_error(errp, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "cannot write to %s: %s", suite->o.out,
                    g_strerror(errno));
        return FALSE;
    }
    return TRUE;
}

static void summarise(Suite *suite, const Workload *workload,
                      const Variant *variant, const MigrateFloor *floor,
                      Tally *t)
{
    JsonObject *o = json_object_new();
    double total_s = report_median(t->total_s, t->runs);
    double downtime_ms = report_median(t->downtime_ms, t->completed);
    double writer_pct = report_median(t->work_pct[0], t->runs);
    double reader_pct = report_median(t->work_pct[SMP - 1], t->runs);
    double reader_lost_s = report_median(t->lost_s[SMP - 1], t->runs);

    /* Sorted by now */
    fprintf(suite->text, "%-10s %-6s %-11s %2u/%-2u %7.1f %6.1f-%-6.1f %5.2f "
            "%7.0f %4d %7.0f %7.0f %8.1f %8.2f\n", workload->name,
            variant->label, variant->policy ?: "-", t->completed, t->runs,
            total_s, t->total_s[0], t->total_s[t->runs - 1],
            total_s / floor->f_s, t->completed ? downtime_ms : -1,
            t->max_throttle_pct, writer_pct, reader_pct, reader_lost_s,
            t->max_silence_ms / 1e3);
    json_object_set_string_member(o, "workload", workload->name);
    json_object_set_string_member(o, "label", variant->label);
    if (variant->policy) {
        json_object_set_string_member(o, "policy", variant->policy);
    } else {
        json_object_set_null_member(o, "policy");
    }
    json_object_set_int_member(o, "runs", t->runs);
    json_object_set_int_member(o, "completed", t->completed);
    json_object_set_double_member(o, "total_s_median", total_s);
    json_object_set_double_member(o, "total_s_min", t->total_s[0]);
    json_object_set_double_member(o, "total_s_max", t->total_s[t->runs - 1]);
    json_object_set_double_member(o, "f_s", floor->f_s);
    json_object_set_double_member(o, "c_s", floor->c_s);
    if (t->completed) {
        json_object_set_double_member(o, "downtime_ms_median", downtime_ms);
    } else {
        json_object_set_null_member(o, "downtime_ms_median");
    }
    json_object_set_int_member(o, "max_throttle_pct", t->max_throttle_pct);
    json_object_set_double_member(o, "writer_work_pct_median", writer_pct);
    json_object_set_double_member(o, "reader_work_pct_median", reader_pct);
    json_object_set_double_member(o, "reader_lost_s_median", reader_lost_s);
    json_object_set_double_member(o, "max_silence_ms", t->max_silence_ms);
    json_array_add_object_element(suite->summary, o);
}

static gboolean run_workload(Suite *suite, const Workload *workload,
                             GError **errp)
{
    g_autofree Tally *tallies = g_new0(Tally, MAX_VARIANTS);
    MigrateSpec spec = {
        .qemu = suite->o.peer, .label = "floor", .load = workload->load,
        .mem_mib = 512, .smp = SMP,
        .bandwidth_bytes_per_s = workload->bandwidth_mb_per_s * 1000000ULL,
        .downtime_limit_ms = 300, .cap_s = suite->o.cap_s,
        .accel = suite->o.accel, .pin = pin_is_useful(workload->load),
    };
    MigrateFloor floor;

    printf("\n%s: %s, link %u MB/s\n", workload->name, workload->what,
           workload->bandwidth_mb_per_s);
    if (!migrate_measure_floor(&spec, &floor, errp)) {
        return FALSE;
    }
    printf("F = %.1f s, C = %.1f s\n", floor.f_s, floor.c_s);
    report_table_head(stdout);
    for (int run = 1; run <= suite->o.runs; run++) {
        for (unsigned v = 0; v < suite->nr_variants; v++) {
            spec.label = suite->variants[v].label;
            spec.qemu = suite->variants[v].qemu;
            spec.policy = suite->variants[v].policy;
            if (!run_once(suite, workload, &spec, run, &floor, &tallies[v],
                          errp)) {
                return FALSE;
            }
        }
    }
    for (unsigned v = 0; v < suite->nr_variants; v++) {
        summarise(suite, workload, &suite->variants[v], &floor, &tallies[v]);
    }
    return TRUE;
}

static FILE *open_in(const Suite *suite, const char *name, GError **errp)
{
    g_autofree char *path = g_build_filename(suite->o.out, name, NULL);
    FILE *file = g_mkdir_with_parents(suite->o.out, 0777) == 0
                 ? g_fopen(path, "w") : NULL;

    if (!file) {
        g_set_error(errp, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "cannot write %s: %s", path, g_strerror(errno));
    }
    return file;
}

static gboolean write_json(Suite *suite, GError **errp)
{
    g_autofree char *path = g_build_filename(suite->o.out, "bench.json",
                                             NULL);
    g_autoptr(JsonGenerator) generator = json_generator_new();
    g_autoptr(JsonNode) root = json_node_new(JSON_NODE_OBJECT);
    JsonObject *o = json_object_new();

    json_object_set_int_member(o, "format", 1);
    json_object_set_string_member(o, "qemu", suite->o.qemu);
    json_object_set_string_member(o, "peer", suite->o.peer);
    json_object_set_int_member(o, "cap_s", suite->o.cap_s);
    json_object_set_array_member(o, "summary",
                                 json_array_ref(suite->summary));
    json_object_set_array_member(o, "runs", json_array_ref(suite->all_runs));
    json_node_take_object(root, o);
    json_generator_set_root(generator, root);
    return json_generator_to_file(generator, path, errp);
}

static gboolean show_summary(Suite *suite, GError **errp)
{
    g_autofree char *path = g_build_filename(suite->o.out, "summary.txt",
                                             NULL);
    g_autofree char *text = NULL;

    fprintf(suite->text, "\nMedians. done: completed/run; a run called off "
            "counts as %d s. silent: the longest of all.\n", suite->o.cap_s);
    if (fclose(g_steal_pointer(&suite->text)) != 0 ||
        !g_file_get_contents(path, &text, NULL, errp)) {
        if (errp && !*errp) {
            g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                        "cannot write %s", path);
        }
        return FALSE;
    }
    printf("\n%s\nin %s: summary.txt, bench.json, runs.jsonl\n", text,
           suite->o.out);
    return TRUE;
}

static gboolean run_suite(Suite *suite, GError **errp)
{
    find_variants(suite);
    suite->lines = open_in(suite, "runs.jsonl", errp);
    suite->text = suite->lines ? open_in(suite, "summary.txt", errp) : NULL;
    if (!suite->text) {
        return FALSE;
    }
    fprintf(suite->text, "%-10s %-6s %-11s %-5s %7s %13s %5s %7s %4s %7s %7s "
            "%8s %8s\n", "workload", "qemu", "policy", "done", "total s",
            "min-max", "x F", "down ms", "thr", "writer%", "reader%",
            "lost s", "silent s");
    for (size_t i = 0; i < G_N_ELEMENTS(bench_workloads); i++) {
        if ((!suite->quick || bench_workloads[i].reference) &&
            !run_workload(suite, &bench_workloads[i], errp)) {
            return FALSE;
        }
    }
    return write_json(suite, errp) && show_summary(suite, errp);
}

int main(int argc, char **argv)
{
    static const char *const takes[] = {
        "qemu", "peer", "accel", "cap", "runs", "out", NULL
    };
    Suite suite = { .o = OPTIONS_DEFAULT };
    const GOptionEntry own[] = {
        { "quick", 0, 0, G_OPTION_ARG_NONE, &suite.quick,
          "only the two reference workloads", NULL },
        { NULL },
    };
    g_autoptr(GError) error = NULL;
    int status = 0;

    suite.o.runs = 5;
    suite.o.out = g_strdup("build/bench");
    suite.all_runs = json_array_new();
    suite.summary = json_array_new();
    if (!options_parse(&suite.o, takes, own, NULL, argc, argv, &error) ||
        !run_suite(&suite, &error)) {
        fprintf(stderr, "bench-suite: error: %s\n", error->message);
        status = 1;
    }
    if (suite.lines) {
        fclose(suite.lines);
    }
    if (suite.text) {
        fclose(suite.text);
    }
    json_array_unref(suite.all_runs);
    json_array_unref(suite.summary);
    options_clear(&suite.o);
    return status;
}
