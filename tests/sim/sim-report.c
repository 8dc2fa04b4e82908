/*
 * Simulator: runs for people: lines, tables, CSV, plots
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <errno.h>
#include <math.h>
#include "sim-report.h"

/* Nearer to the end than this, a percentage of the rest means nothing. */
#define PREDICTED_MIN_S 0.5
/* The throttle has been the same for that many looks. */
#define SETTLED_LOOKS 2

/* From the right edge of a policy's part of the table to its name. */
#define NAME_INDENT 3

/* What compare has in a policy's part of the table */
typedef struct Column {
    int width;                      /* of the part */
    bool downtime;                  /* in place of the throttle */
    bool reversals, errors;
} Column;

static const Column plain = {
    .width = 26,
};
static const Column shares = {
    .width = 36, .reversals = true, .errors = true,
};
static const Column limits = {
    .width = 30, .downtime = true, .errors = true,
};

static const Column *column_of(const ConvergencePolicyOps *policy)
{
    return policy->needs_vcpu_meters ? &limits :
           policy->throttles_vcpus ? &shares : &plain;
}

bool sim_report_knows_policy(const char *name)
{
    return !strcmp(name, SIM_POLICY_NONE) ||
           !strcmp(name, SIM_POLICY_STOCK) ||
           !strcmp(name, SIM_POLICY_AUTO) || convergence_policy_find(name);
}

char *sim_report_policy_names(void)
{
    const ConvergencePolicyOps *policy;
    GString *names = g_string_new(SIM_POLICY_NONE ", " SIM_POLICY_STOCK);

    for (unsigned i = 0; (policy = convergence_policy_nth(i)); i++) {
        g_string_append_printf(names, ", %s", policy->name);
    }
    g_string_append(names, " and " SIM_POLICY_AUTO);
    return g_string_free(names, false);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

void sim_report_prediction_errors(const SimMigration *m, GArray *errors)
{
    unsigned same = 0;

    for (unsigned i = 1; m->result.completed && i < m->record->len; i++) {
        const SimRecord *r = &g_array_index(m->record, SimRecord, i);
        double left_s = m->result.total_s - r->at_s;

        same = abs((int)r->throttle_pct - (int)(r - 1)->throttle_pct) <= 2 ?
               same + 1 : 0;
        if (r->predicted && !r->bulk_pass && same >= SETTLED_LOOKS &&
            r->phase == CONVERGENCE_PHASE_CONVERGING &&
            left_s >= PREDICTED_MIN_S) {
            double pct = fabs(r->predicted_total_s - m->result.total_s) /
                         left_s * 100;

            g_array_append_val(errors, pct);
        }
    }
}

double sim_report_prediction_error_pct(const SimMigration *m)
{
    g_autoptr(GArray) errors = g_array_new(false, false, sizeof(double));

    sim_report_prediction_errors(m, errors);
    if (!errors->len) {
        return -1;
    }
    g_array_sort(errors, compare_doubles);
    return g_array_index(errors, double, (errors->len - 1) * 9 / 10);
}

static bool write_csv(const SimMigration *m, const char *path)
{
    FILE *file = fopen(path, "w");

    if (!file) {
        fprintf(stderr, "converge-sim: %s: %s\n", path, strerror(errno));
        return false;
    }
    fputs("at_s,remaining_mb,dirty_mb_per_s,drain_mb_per_s,throttle_pct,"
          "phase,predicted_total_s,bulk_pass\n", file);
    for (unsigned i = 0; i < m->record->len; i++) {
        const SimRecord *r = &g_array_index(m->record, SimRecord, i);

        fprintf(file, "%.3f,%.3f,%.3f,%.3f,%u,%s,", r->at_s,
                r->remaining_bytes / 1e6, r->dirty_bytes_per_s / 1e6,
                r->drain_bytes_per_s / 1e6, r->throttle_pct,
                convergence_phase_name(r->phase));
        if (r->predicted) {
            fprintf(file, "%.3f", r->predicted_total_s);
        }
        fprintf(file, ",%d\n", r->bulk_pass);
    }
    return fclose(file) == 0;
}

int sim_report_run(const SimScenario *scenario, const char *policy,
                   const char *csv_dir)
{
    SimSpec spec = sim_scenario_spec(scenario);
    SimFloor floor = sim_floor(&spec);
    SimMigration m;
    SimResult r;
    int status = 0;

    spec.keep_record = true;
    r = sim_migration_run(&m, &spec, policy);
    printf("%s (%s): %s\n  %s in %.1f s (floor %.1f s, %.2f F), downtime "
           "%.0f ms, throttle up to %u %%, lost %.1f vCPU-s (a stop: %.1f)\n",
           scenario->name, policy, scenario->claim,
           r.completed ? "done" : "not done", r.total_s, floor.total_s,
           r.total_s / floor.total_s, r.downtime_ms, r.max_throttle_pct,
           r.lost_vcpu_s, floor.lost_vcpu_s);
    if (r.stuck) {
        printf("  stuck: %s\n", r.reason);
    }
    if (csv_dir) {
        g_autofree char *path = g_strdup_printf("%s/%s-%s.csv", csv_dir,
                                                scenario->name, policy);

        status = write_csv(&m, path) ? 0 : 1;
    }
    sim_migration_free(&m);
    return status;
}

int sim_report_trace(const SimScenario *scenario, const char *policy)
{
    SimSpec spec = sim_scenario_spec(scenario);
    SimMigration m;

    spec.trace = stdout;
    sim_migration_run(&m, &spec, policy);
    sim_migration_free(&m);
    return 0;
}

static void put_name(const Column *column, const char *name)
{
    printf(" |%*s%*s", column->width - NAME_INDENT, name, NAME_INDENT, "");
}

static void put_words(const Column *column, const char *total,
                      const char *floors, const char *third, const char *lost,
                      const char *reversals, const char *errors)
{
    printf(" |%8s %5s %4s %*s", total, floors, third,
           column->downtime ? 5 : 6, lost);
    if (column->reversals) {
        printf(" %4s", reversals);
    }
    if (column->errors) {
        printf(" %4s", errors);
    }
}

static void put_heading(const Column *column)
{
    put_words(column, "s", "F", column->downtime ? "ms" : "thr", "lost", "rev",
              "err%");
}

void sim_report_compare_header(void)
{
    const ConvergencePolicyOps *policy;

    printf("%-22s %7s", "", "floor");
    put_name(&plain, SIM_POLICY_STOCK);
    for (unsigned i = 0; (policy = convergence_policy_nth(i)); i++) {
        put_name(column_of(policy), policy->name);
    }
    printf("\n%-22s %7s", "scenario", "s");
    put_heading(&plain);
    for (unsigned i = 0; (policy = convergence_policy_nth(i)); i++) {
        put_heading(column_of(policy));
    }
    putchar('\n');
}

static double lost(const SimResult *r, const SimFloor *floor)
{
    /* Against next to nothing there is no comparison. */
    return floor->lost_vcpu_s > 0.05 ? r->lost_vcpu_s / floor->lost_vcpu_s : 0;
}

static void put_run(const Column *column, const SimSpec *spec,
                    const SimFloor *floor, const char *policy)
{
    SimMigration m;
    SimResult r = sim_migration_run(&m, spec, policy);

    printf(" |%7.1f%c %5.2f", r.total_s, r.completed ? ' ' : '+',
           r.total_s / floor->total_s);
    if (column->downtime) {
        printf(" %4.0f %5.2f", r.downtime_ms, lost(&r, floor));
    } else {
        printf(" %4u %6.2f", r.max_throttle_pct, lost(&r, floor));
    }
    if (column->reversals) {
        printf(" %4u", r.reversals);
    }
    if (column->errors) {
        printf(" %4.0f", sim_report_prediction_error_pct(&m));
    }
    sim_migration_free(&m);
}

void sim_report_compare(const SimScenario *scenario)
{
    SimSpec spec = sim_scenario_spec(scenario);
    SimFloor floor = sim_floor(&spec);
    const ConvergencePolicyOps *policy;

    printf("%-22s %7.1f", scenario->name, floor.total_s);
    spec.keep_record = true;
    put_run(&plain, &spec, &floor, SIM_POLICY_STOCK);
    for (unsigned i = 0; (policy = convergence_policy_nth(i)); i++) {
        if (spec.log.manual && policy->needs_vcpu_meters) {
            /* KVM's bitmap tells of no vCPU what it writes. */
            put_words(column_of(policy), "-", "-", "-", "-", "-", "-");
        } else {
            put_run(column_of(policy), &spec, &floor, policy->name);
        }
    }
    putchar('\n');
}

int sim_report_plot(const SimScenario *scenario, const char *svg_path)
{
    g_autofree char *dir = g_dir_make_tmp("converge-sim-XXXXXX", NULL);
    g_autofree char *command = NULL;
    g_autofree char *script = g_strdup(SIM_PLOT_SCRIPT);
    g_autoptr(GString) policies = g_string_new("");
    SimSpec spec = sim_scenario_spec(scenario);
    const ConvergencePolicyOps *policy;
    int status = dir ? 0 : 1;

    spec.keep_record = true;
    for (unsigned i = 0; dir && (policy = convergence_policy_nth(i)); i++) {
        g_autofree char *path = g_strdup_printf("%s/%s.csv", dir,
                                                policy->name);
        SimMigration m;

        sim_migration_run(&m, &spec, policy->name);
        status |= !write_csv(&m, path);
        g_string_append_printf(policies, "%s ", policy->name);
        sim_migration_free(&m);
    }
    if (!status) {
        g_autofree char *dir_arg = g_strdup_printf("dir='%s'", dir);
        g_autofree char *out_arg = g_strdup_printf("out='%s'", svg_path);
        g_autofree char *title_arg = g_strdup_printf("title='%s: %s'",
                                                     scenario->name,
                                                     scenario->claim);
        g_autofree char *policies_arg = g_strdup_printf("policies='%s'",
                                                        policies->str);
        const char *argv[] = { "gnuplot", "-e", dir_arg, "-e", policies_arg,
                               "-e", out_arg, "-e", title_arg, script, NULL };
        g_autoptr(GError) err = NULL;
        int wait_status;

        if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL,
                          NULL, NULL, NULL, &wait_status, &err) ||
            !g_spawn_check_wait_status(wait_status, &err)) {
            fprintf(stderr, "converge-sim: gnuplot: %s\n", err->message);
            status = 1;
        }
    }
    for (unsigned i = 0; dir && (policy = convergence_policy_nth(i)); i++) {
        g_autofree char *path = g_strdup_printf("%s/%s.csv", dir,
                                                policy->name);

        remove(path);
    }
    if (dir) {
        remove(dir);
    }
    return status;
}
