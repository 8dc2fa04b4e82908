/*
 * What our QEMU costs a guest while nothing of ours is switched on
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * The same guest runs in both QEMUs, in turns: while one works for a window
 * the other is stopped, and who goes first changes from pair to pair.  A host
 * that is slower for some seconds is so for both.  Both windows of a pair make
 * one ratio, ours / peer; shown are the median of the ratios and their spread.
 *
 * Work is counted by the guest's clock, which stands still with the guest, and
 * for the time that the vCPU had a CPU, not for that it waited for one.
 *
 * Then migrations with all the bandwidth there is and without auto-converge,
 * in turns as well: bytes on the wire per second.
 */

#include "report.h"
#include "vm.h"
#include "worklog.h"

#include <string.h>

#define MAX_PAIRS 99
#define DEFAULT_PAIRS 10
#define DEFAULT_MIGRATIONS 4
#define WINDOW_MS 1500
/* The caches are warm and the pacing of reports is over it */
#define SETTLE_MS 400
#define READY_TIMEOUT_MS 60000
#define MEM_MIB 512

/* "All there is": more than any link, and what libvirt means by it */
#define UNLIMITED_BYTES_PER_S (100ULL * 1000 * 1000 * 1000)

/* Full of data and idle, so that only the transfer counts */
#define MIGRATED_LOAD "write:256:1"

typedef struct Side {
    const char *label, *qemu;
    Vm *vm;
    int thread;
    GMutex lock;
    Worklog *log;               /* guarded by lock */
    double rates[MAX_PAIRS];
} Side;

enum { PEER, OURS, NR_SIDES };

static void take_line(void *opaque, const char *vm_name, const char *text,
                      gint64 at_us)
{
    Side *side = opaque;
    g_autofree char *line = g_strconcat(text, "\n", NULL);

    g_mutex_lock(&side->lock);
    worklog_feed(side->log, 0, line, strlen(line), at_us * 1000);
    g_mutex_unlock(&side->lock);
}

static gboolean wait_ready(Side *side, GError **errp)
{
    for (int i = 0; i < READY_TIMEOUT_MS / 100; i++) {
        gboolean ready;

        g_mutex_lock(&side->lock);
        ready = worklog_count(side->log) > 2;
        g_mutex_unlock(&side->lock);
        if (ready) {
            return TRUE;
        }
        g_usleep(100 * 1000);
    }
    g_set_error(errp, QMP_ERROR, QMP_ERROR_TIMEOUT,
                "the guest of %s did not come up within %d s", side->qemu,
                READY_TIMEOUT_MS / 1000);
    return FALSE;
}

static WorklogReport last_report(Side *side)
{
    WorklogReport report;

    g_mutex_lock(&side->lock);
    report = *worklog_last(side->log);
    g_mutex_unlock(&side->lock);
    return report;
}

/* The guest runs for a window; its rate in units a second */
static gboolean measure(Side *side, double *rate, GError **errp)
{
    guint64 run_ns[2], wait_ns[2];
    WorklogReport first, last;
    double had_cpu;

    if (!qmp_run(vm_qmp(side->vm), "cont", NULL, errp)) {
        return FALSE;
    }
    g_usleep(SETTLE_MS * 1000);
    first = last_report(side);
    if (!vm_thread_ns(side->vm, side->thread, &run_ns[0], &wait_ns[0])) {
        run_ns[0] = wait_ns[0] = 0;
    }
    g_usleep(WINDOW_MS * 1000);
    last = last_report(side);
    if (!vm_thread_ns(side->vm, side->thread, &run_ns[1], &wait_ns[1])) {
        run_ns[1] = 1;
        wait_ns[1] = 0;
    }
    if (last.t_ms <= first.t_ms) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_TIMEOUT,
                    "the guest of %s does not report", side->qemu);
        return FALSE;
    }
    had_cpu = (double)(run_ns[1] - run_ns[0]) /
              (run_ns[1] - run_ns[0] + wait_ns[1] - wait_ns[0]);
    *rate = (last.units[0] - first.units[0]) * 1000.0 /
            (last.t_ms - first.t_ms) / had_cpu;
    return qmp_run(vm_qmp(side->vm), "stop", NULL, errp);
}

static gboolean start(Side *side, const char *load, GError **errp)
{
    VmConfig config = {
        .qemu = side->qemu, .name = side->label, .load = load,
        .mem_mib = MEM_MIB, .smp = 1, .on_line = take_line, .opaque = side,
    };

    side->log = worklog_new();
    side->vm = vm_start(&config, errp);
    if (!side->vm || !wait_ready(side, errp)) {
        return FALSE;
    }
    side->thread = vm_vcpu_thread(side->vm, 0, errp);
    return side->thread > 0 && qmp_run(vm_qmp(side->vm), "stop", NULL, errp);
}

static void stop(Side *side)
{
    g_clear_pointer(&side->vm, vm_free);
    g_clear_pointer(&side->log, worklog_free);
}

static void print_ratios(const char *what, const char *unit, Side *sides,
                         unsigned n)
{
    double ratios[MAX_PAIRS];
    double median;

    for (unsigned i = 0; i < n; i++) {
        ratios[i] = sides[OURS].rates[i] / sides[PEER].rates[i];
    }
    median = report_median(ratios, n);
    printf("%-14s %12.0f %12.0f  %-9s %7.3f  (%.3f to %.3f, %u pairs)\n",
           what, report_median(sides[PEER].rates, n),
           report_median(sides[OURS].rates, n), unit, median, ratios[0],
           ratios[n - 1], n);
    fflush(stdout);
}

static gboolean compare_load(Side *sides, const char *load, unsigned pairs,
                             GError **errp)
{
    gboolean ok = start(&sides[PEER], load, errp) &&
                  start(&sides[OURS], load, errp);

    for (unsigned i = 0; ok && i < pairs; i++) {
        for (unsigned turn = 0; ok && turn < NR_SIDES; turn++) {
            Side *side = &sides[(i + turn) % NR_SIDES];

            ok = measure(side, &side->rates[i], errp);
        }
    }
    if (ok) {
        print_ratios(load, "units/s", sides, pairs);
    }
    stop(&sides[PEER]);
    stop(&sides[OURS]);
    return ok;
}

static gboolean compare_migrations(Side *sides, unsigned pairs, GError **errp)
{
    for (unsigned i = 0; i < pairs; i++) {
        for (unsigned turn = 0; turn < NR_SIDES; turn++) {
            Side *side = &sides[(i + turn) % NR_SIDES];
            MigrateSpec spec = {
                .qemu = side->qemu, .label = side->label,
                .load = MIGRATED_LOAD, .mem_mib = MEM_MIB, .smp = 1,
                .bandwidth_bytes_per_s = UNLIMITED_BYTES_PER_S,
                .downtime_limit_ms = 300, .cap_s = 60, .poll_ms = 20,
                .no_auto_converge = TRUE,
            };
            g_autoptr(MigrateResult) result = migrate_run(&spec, errp);

            if (!result) {
                return FALSE;
            }
            if (result->outcome != MIGRATE_COMPLETED) {
                g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                            "a migration with %s did not complete: %s",
                            side->qemu, result->why ?: "it took too long");
                return FALSE;
            }
            side->rates[i] = result->sent_bytes / 1e3 /
                             MAX(result->total_ms, 1);
        }
    }
    print_ratios("migration", "MB/s", sides, pairs);
    return TRUE;
}

int main(int argc, char **argv)
{
    static const char *const loads[] = {
        "write:128:0", "touch:128:0", "syscall", "compute"
    };
    g_autofree char *qemu = NULL, *peer = NULL;
    int pairs = DEFAULT_PAIRS, migrations = DEFAULT_MIGRATIONS;
    GOptionEntry entries[] = {
        { "qemu", 0, 0, G_OPTION_ARG_FILENAME, &qemu, "Ours", "PATH" },
        { "peer", 0, 0, G_OPTION_ARG_FILENAME, &peer,
          "The same source and options without our files", "PATH" },
        { "pairs", 0, 0, G_OPTION_ARG_INT, &pairs,
          "Windows of each load and QEMU (10)", "N" },
        { "migrations", 0, 0, G_OPTION_ARG_INT, &migrations,
          "Migrations of each QEMU (4)", "N" },
        { NULL }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;
    Side sides[NR_SIDES] = { { .label = "peer" }, { .label = "ours" } };
    gboolean ok;

    g_option_context_add_main_entries(context, entries, NULL);
    ok = g_option_context_parse(context, &argc, &argv, &error);
    if (ok && (!qemu || !peer || pairs < 1 || pairs > MAX_PAIRS ||
               migrations < 0 || migrations > MAX_PAIRS)) {
        fprintf(stderr, "usage: bench-off --qemu PATH --peer PATH "
                "[--pairs 1-%d] [--migrations 0-%d]\n", MAX_PAIRS, MAX_PAIRS);
        return 2;
    }
    sides[PEER].qemu = peer;
    sides[OURS].qemu = qemu;
    printf("%-14s %12s %12s  %-9s %7s\n", "load", "peer", "ours", "", "ratio");
    for (size_t i = 0; ok && i < G_N_ELEMENTS(loads); i++) {
        ok = compare_load(sides, loads[i], pairs, &error);
    }
    if (ok && migrations) {
        ok = compare_migrations(sides, migrations, &error);
    }
    if (!ok) {
        fprintf(stderr, "bench-off: error: %s\n", error->message);
        return 1;
    }
    return 0;
}
