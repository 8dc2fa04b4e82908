/*
 * How much throttle a vCPU gets of what was asked for
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * One vCPU computes.  What is delivered is what the host's scheduler says of
 * the vCPU's thread over the window:
 *
 *   delivered = 100 - 100 x (time on a CPU + time waiting for one) / window
 *
 * so that it does not rest on what is measured, and a busy host does not pass
 * for throttle.  Beside it:
 *
 *   own account  what QEMU itself says, 100 x slept / (slept + ran)
 *   work lost    100 - 100 x (work at the percentage / work at 0 % just
 *                before).  More than what was delivered where the host's
 *                speed changed in between, and at high percentages, where
 *                the guest's kernel spends much of the little time left on
 *                its own ticks
 *   silence      the longest time between two looks at the clock of the
 *                program in the guest; its kernel's ticks count as silence
 *   left         the throttle that it still gets from LIFTED_MS after it was
 *                lifted on
 *
 * With --limit the vCPU writes, and a dirty limit is set, and cancelled, in
 * place of the throttle: only what is left of it can be told.
 */

#include "options.h"
#include "report.h"
#include "vm.h"

#define MIN_WINDOW_MS 500
#define MAX_REPEATS 99
#define MAX_ASKED 99
#define READY_TIMEOUT_MS 60000

/* A change of throttle is in force, or its last report here, after this */
#define SETTLE_MS 300

/* What was lifted is gone after this, and is looked for so long */
#define LIFTED_MS 100
#define LEFT_WINDOW_MS 400

typedef struct Measurement {
    double delivered_pct;
    double work_lost_pct;
    double accounted_pct;
    double silence_ms;
    double left_pct;
} Measurement;

static gboolean set_throttle(Vm *vm, int percentage, GError **errp)
{
    JsonObject *arguments = json_object_new();

    json_object_set_int_member(arguments, "percentage", percentage);
    if (qmp_run(vm_qmp(vm), "set-cpu-throttle", arguments, errp)) {
        return TRUE;
    }
    if (errp && g_error_matches(*errp, QMP_ERROR,
                                QMP_ERROR_COMMAND_NOT_FOUND)) {
        g_prefix_error(errp, "this QEMU cannot be throttled by hand: ");
    }
    return FALSE;
}

/* Time that the vCPU wanted to run, since its thread was started */
static gboolean wanted_ns(Vm *vm, int thread, guint64 *ns, GError **errp)
{
    *ns = vm_thread_wanted_ns(vm, thread);
    if (!*ns) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                    "this kernel keeps no schedstat of thread %d", thread);
    }
    return *ns > 0;
}

/* How much of the time from now on a thread is kept from running */
static gboolean held_pct(Vm *vm, int thread, int window_ms, double *pct,
                         GError **errp)
{
    guint64 start_ns, end_ns;
    gint64 start_us = g_get_monotonic_time();

    if (!wanted_ns(vm, thread, &start_ns, errp)) {
        return FALSE;
    }
    g_usleep(window_ms * 1000);
    if (!wanted_ns(vm, thread, &end_ns, errp)) {
        return FALSE;
    }
    *pct = 100 - (end_ns - start_ns) / 10.0 /
           (g_get_monotonic_time() - start_us);
    return TRUE;
}

static gboolean left_pct(Vm *vm, int thread, double *pct, GError **errp)
{
    g_usleep(LIFTED_MS * 1000);
    return held_pct(vm, thread, LEFT_WINDOW_MS, pct, errp);
}

/* What QEMU's account of the first vCPU says since the throttle was set */
static gboolean query_account(Vm *vm, double *accounted_pct, GError **errp)
{
    g_autoptr(JsonNode) reply = qmp_execute(vm_qmp(vm), "query-cpu-throttle",
                                            NULL, errp);
    JsonObject *vcpu;
    double ran_ns, slept_ns;

    if (!reply) {
        return FALSE;
    }
    vcpu = json_array_get_object_element(json_node_get_array(reply), 0);
    ran_ns = json_object_get_int_member(vcpu, "ran-ns");
    slept_ns = json_object_get_int_member(vcpu, "slept-ns");
    *accounted_pct = 100 * slept_ns / MAX(slept_ns + ran_ns, 1);
    return TRUE;
}

static gboolean measure(Vm *vm, int thread, GuestWork *work, int asked_pct,
                        int window_ms, Measurement *m, GError **errp)
{
    GuestWorkVcpu vcpus[GUEST_WORK_MAX_VCPUS];
    gint64 base_us, start_us, end_us;

    g_usleep(SETTLE_MS * 1000);
    base_us = g_get_monotonic_time();
    g_usleep(window_ms * 1000);
    start_us = g_get_monotonic_time();
    if (!set_throttle(vm, asked_pct, errp)) {
        return FALSE;
    }
    g_usleep(SETTLE_MS * 1000);
    if (!held_pct(vm, thread, window_ms, &m->delivered_pct, errp)) {
        return FALSE;
    }
    end_us = g_get_monotonic_time();
    if (!query_account(vm, &m->accounted_pct, errp) ||
        !set_throttle(vm, 0, errp) ||
        !left_pct(vm, thread, &m->left_pct, errp)) {
        return FALSE;
    }
    if (!guest_work_account(work, base_us, start_us, end_us, end_us, vcpus) ||
        vcpus[0].rate_before_per_s <= 0) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                    "the guest does not report any work");
        return FALSE;
    }
    m->work_lost_pct = 100 - vcpus[0].work_share_pct;
    m->silence_ms = vcpus[0].silence_ms;
    return TRUE;
}

/* The percentages to ask for, and what came of each, run by run */
typedef struct Series {
    int asked_pct[MAX_ASKED];
    unsigned nr_asked;
    double delivered_pct[MAX_ASKED][MAX_REPEATS];
    double work_lost_pct[MAX_ASKED][MAX_REPEATS];
    double accounted_pct[MAX_ASKED][MAX_REPEATS];
    double silence_ms[MAX_ASKED];
    double left_pct[MAX_ASKED][MAX_REPEATS];
} Series;

static gboolean parse_asked(Series *s, const char *list, GError **errp)
{
    g_auto(GStrv) words = g_strsplit(list, ",", -1);

    for (char **word = words; *word; word++) {
        guint64 pct;

        if (s->nr_asked == MAX_ASKED ||
            !g_ascii_string_to_unsigned(*word, 10, 1, 99, &pct, NULL)) {
            g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "--percent takes numbers from 1 to 99 with commas "
                        "between, and not '%s'", list);
            return FALSE;
        }
        s->asked_pct[s->nr_asked++] = pct;
    }
    return TRUE;
}

static gboolean measure_series(Vm *vm, GuestWork *work, int window_ms,
                               int repeats, Series *s, GError **errp)
{
    int thread = vm_vcpu_thread(vm, 0, errp);

    if (thread < 0) {
        return FALSE;
    }
    for (int r = 0; r < repeats; r++) {
        for (unsigned i = 0; i < s->nr_asked; i++) {
            Measurement m;

            if (!measure(vm, thread, work, s->asked_pct[i], window_ms, &m,
                         errp)) {
                return FALSE;
            }
            s->delivered_pct[i][r] = m.delivered_pct;
            s->work_lost_pct[i][r] = m.work_lost_pct;
            s->accounted_pct[i][r] = m.accounted_pct;
            s->left_pct[i][r] = m.left_pct;
            s->silence_ms[i] = MAX(s->silence_ms[i], m.silence_ms);
        }
    }
    return TRUE;
}

static void tell(Series *s, int repeats)
{
    printf("%8s %12s %12s %12s %12s %12s %8s\n", "asked %", "delivered %",
           "difference", "own account", "work lost %", "silence ms", "left %");
    for (unsigned i = 0; i < s->nr_asked; i++) {
        double median_pct = report_median(s->delivered_pct[i], repeats);

        printf("%8d %12.1f %+12.1f %12.1f %12.1f %12.1f %8.1f\n",
               s->asked_pct[i],
               median_pct, median_pct - s->asked_pct[i],
               report_median(s->accounted_pct[i], repeats),
               report_median(s->work_lost_pct[i], repeats),
               s->silence_ms[i], report_median(s->left_pct[i], repeats));
    }
    printf("medians of %d; silence: the longest of all\n", repeats);
}

static gboolean set_limit(Vm *vm, int limit_mb, GError **errp)
{
    JsonObject *arguments = json_object_new();

    json_object_set_int_member(arguments, "dirty-rate", limit_mb);
    return qmp_run(vm_qmp(vm), "set-vcpu-dirty-limit", arguments, errp);
}

/* A limit by hand: how much it holds the writer, and what is left of that */
static gboolean measure_limit(Vm *vm, int limit_mb, int window_ms, int repeats,
                              GError **errp)
{
    double held[MAX_REPEATS], left[MAX_REPEATS];
    int thread = vm_vcpu_thread(vm, 0, errp);

    if (thread < 0) {
        return FALSE;
    }
    for (int r = 0; r < repeats; r++) {
        if (!set_limit(vm, limit_mb, errp)) {
            return FALSE;
        }
        g_usleep(SETTLE_MS * 1000);
        if (!held_pct(vm, thread, window_ms, &held[r], errp) ||
            !qmp_run(vm_qmp(vm), "cancel-vcpu-dirty-limit", NULL, errp) ||
            !left_pct(vm, thread, &left[r], errp)) {
            return FALSE;
        }
    }
    printf("%10s %8s %8s\n", "limit MB/s", "held %", "left %");
    printf("%10d %8.1f %8.1f\nmedians of %d\n", limit_mb,
           report_median(held, repeats), report_median(left, repeats),
           repeats);
    return TRUE;
}

static gboolean run(const Options *o, int window_ms, int limit_mb, Series *s,
                    GError **errp)
{
    g_autoptr(GuestWork) work = guest_work_new();
    VmConfig config = {
        .qemu = o->qemu, .name = "source", .accel = o->accel,
        .load = limit_mb ? "write:64:0" : "compute",
        .mem_mib = o->mem_mib, .smp = 1,
        .on_line = guest_work_line, .opaque = work,
    };
    Vm *vm = vm_start(&config, errp);
    gint64 start_us = g_get_monotonic_time();
    guint64 start_wait_ns;
    double wait_pct = 0;
    gboolean ok = vm && guest_work_wait_ready(work, READY_TIMEOUT_MS, errp);

    if (ok) {
        start_us = g_get_monotonic_time();
        start_wait_ns = vm_cpu_wait_ns(vm);
        ok = limit_mb ?
             measure_limit(vm, limit_mb, window_ms, o->runs, errp) :
             measure_series(vm, work, window_ms, o->runs, s, errp);
        wait_pct = (vm_cpu_wait_ns(vm) - start_wait_ns) / 10.0 /
                   (g_get_monotonic_time() - start_us);
    }
    /* The Vm first: its console thread writes to the work account */
    vm_free(vm);
    if (!ok) {
        return FALSE;
    }
    if (!limit_mb) {
        tell(s, o->runs);
    }
    if (wait_pct >= MIGRATE_HOST_WAIT_WARN_PCT) {
        printf("the host was busy: the vCPU waited %.0f %% of the time for a "
               "CPU; work and silence are unreliable\n", wait_pct);
    }
    return TRUE;
}

int main(int argc, char **argv)
{
    static const char *const takes[] = {
        "qemu", "accel", "mem", "runs", NULL
    };
    int window_ms = 2000, limit_mb = 0;
    g_autofree char *percent = NULL;
    const GOptionEntry own[] = {
        { "percent", 0, 0, G_OPTION_ARG_STRING, &percent,
          "what to ask for (default 1,10,20,50,80,90,95,99)", "N,N..." },
        { "window", 0, 0, G_OPTION_ARG_INT, &window_ms,
          "how long to look at each (default 2000)", "MS" },
        { "limit", 0, 0, G_OPTION_ARG_INT, &limit_mb,
          "a dirty limit in place of the throttle", "MB/s" },
        { NULL },
    };
    g_autofree Series *series = g_new0(Series, 1);
    g_autoptr(GError) error = NULL;
    Options o = { .mem_mib = 256, .smp = 1, .cap_s = 1, .runs = 5,
                  .bandwidth_mb = 1 };
    int status = 0;

    if (!options_parse(&o, takes, own,
            "Measures how much throttle a vCPU gets of what was asked for.",
            argc, argv, &error) ||
        !parse_asked(series, percent ?: "1,10,20,50,80,90,95,99", &error)) {
        status = 2;
    } else if (o.runs > MAX_REPEATS || window_ms < MIN_WINDOW_MS ||
               limit_mb < 0) {
        error = g_error_new(G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                            "--runs is at most %d, --window at least %d, "
                            "--limit not negative", MAX_REPEATS, MIN_WINDOW_MS);
        status = 2;
    } else if (!run(&o, window_ms, limit_mb, series, &error)) {
        status = 1;
    }
    if (error) {
        fprintf(stderr, "bench-throttle: error: %s\n", error->message);
    }
    options_clear(&o);
    return status;
}
