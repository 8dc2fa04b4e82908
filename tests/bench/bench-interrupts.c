/*
 * What is left of a vCPU's speed that interrupts one which is held
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Two vCPUs run one process: the first writes flat out, the second sends it
 * interrupts and waits for the answers.  Spans of time in which the first has
 * a dirty limit alternate with spans in which it has none:
 *
 *      free | limited | free | limited | ... | free
 *
 * Each limited span is compared with the two beside it, so that a host whose
 * speed changes matters little:
 *
 *   sender       units of the second vCPU's load in a second
 *   kept         of the mean of its speed before and after, in %
 *   writer       what the first one writes under its limit, in MB/s (2^20
 *                bytes, as limits are), which is what it dirties
 *
 * With --load write:64:0,compute the second one sends nothing, which tells what
 * the first one gets without interrupts.
 */

#include "options.h"
#include "report.h"
#include "vm.h"

#define MIN_WINDOW_MS 500
#define MAX_RUNS 99
#define READY_TIMEOUT_MS 60000
#define SETTLE_MS 500

/* Pages of 4 KiB to MB of 2^20 bytes */
#define PAGES_PER_MB 256.0

typedef struct Span {
    double writer_per_s, sender_per_s;
} Span;

static gboolean set_limit(Vm *vm, int limit_mb, GError **errp)
{
    JsonObject *arguments;

    if (!limit_mb) {
        return qmp_run(vm_qmp(vm), "cancel-vcpu-dirty-limit", NULL, errp);
    }
    arguments = json_object_new();
    json_object_set_int_member(arguments, "cpu-index", 0);
    json_object_set_int_member(arguments, "dirty-rate", limit_mb);
    return qmp_run(vm_qmp(vm), "set-vcpu-dirty-limit", arguments, errp);
}

static gboolean measure(GuestWork *work, int window_ms, Span *span,
                        GError **errp)
{
    GuestWorkVcpu vcpus[GUEST_WORK_MAX_VCPUS];
    gint64 start_us, end_us;

    g_usleep(SETTLE_MS * 1000);
    start_us = g_get_monotonic_time();
    g_usleep(window_ms * 1000);
    end_us = g_get_monotonic_time();
    /* The rate of the span before its end, which is all that is asked for */
    g_usleep(SETTLE_MS * 1000);
    if (guest_work_account(work, start_us, end_us, g_get_monotonic_time(),
                           g_get_monotonic_time(), vcpus) < 2) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                    "the guest does not report any work of two vCPUs");
        return FALSE;
    }
    *span = (Span) { vcpus[0].rate_before_per_s, vcpus[1].rate_before_per_s };
    return TRUE;
}

static double kept_pct(const Span *limited)
{
    double free_per_s = (limited[-1].sender_per_s +
                         limited[1].sender_per_s) / 2;

    return free_per_s > 0 ? 100 * limited->sender_per_s / free_per_s : 0;
}

static void tell(const Span *spans, int runs, int limit_mb)
{
    g_autofree double *kept = g_new(double, runs);
    g_autofree double *writer = g_new(double, runs);

    printf("%14s %14s %8s %14s %14s\n", "sender free/s", "limited/s", "kept %",
           "writer free", "limited MB/s");
    for (int i = 0; i < runs; i++) {
        const Span *limited = &spans[2 * i + 1];

        kept[i] = kept_pct(limited);
        writer[i] = limited->writer_per_s / PAGES_PER_MB;
        printf("%14.0f %14.0f %8.0f %14.1f %14.2f\n", limited[-1].sender_per_s,
               limited->sender_per_s, kept[i],
               limited[-1].writer_per_s / PAGES_PER_MB, writer[i]);
    }
    printf("medians of %d: kept %.0f %%, writer %.2f MB/s of %d\n", runs,
           report_median(kept, runs), report_median(writer, runs), limit_mb);
}

static gboolean run(const Options *o, int window_ms, int limit_mb,
                    GError **errp)
{
    g_autoptr(GuestWork) work = guest_work_new();
    g_autofree Span *spans = g_new0(Span, 2 * o->runs + 1);
    VmConfig config = {
        .qemu = o->qemu, .name = "source", .accel = o->accel,
        .load = o->load, .mem_mib = o->mem_mib, .smp = 2,
        .extra_args = (const char *const *)o->qemu_args,
        .on_line = guest_work_line, .opaque = work,
    };
    Vm *vm = vm_start(&config, errp);
    gboolean ok = vm && guest_work_wait_ready(work, READY_TIMEOUT_MS, errp);

    for (int i = 0; ok && i < 2 * o->runs + 1; i++) {
        ok = set_limit(vm, i % 2 ? limit_mb : 0, errp) &&
             measure(work, window_ms, &spans[i], errp);
    }
    /* The Vm first: its console thread writes to the work account */
    vm_free(vm);
    if (ok) {
        tell(spans, o->runs, limit_mb);
    }
    return ok;
}

int main(int argc, char **argv)
{
    static const char *const takes[] = {
        "qemu", "accel", "load", "mem", "runs", "qemu-arg", NULL
    };
    int window_ms = 2000, limit_mb = 8;
    const GOptionEntry own[] = {
        { "limit", 0, 0, G_OPTION_ARG_INT, &limit_mb,
          "dirty limit of the first vCPU (default 8)", "MB/S" },
        { "window", 0, 0, G_OPTION_ARG_INT, &window_ms,
          "how long to look at each span (default 2000)", "MS" },
        { NULL },
    };
    g_autoptr(GError) error = NULL;
    Options o = { .mem_mib = 256, .smp = 2, .cap_s = 1, .runs = 5,
                  .bandwidth_mb = 1, .load = g_strdup("write:64:0,unmap") };
    int status = 0;

    if (!options_parse(&o, takes, own,
            "Measures what is left of the speed of a vCPU that interrupts one "
            "which a dirty limit holds.", argc, argv, &error)) {
        status = 2;
    } else if (o.runs > MAX_RUNS || window_ms < MIN_WINDOW_MS ||
               limit_mb < 1) {
        error = g_error_new(G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                            "--runs is at most %d, --window at least %d, "
                            "--limit at least 1", MAX_RUNS, MIN_WINDOW_MS);
        status = 2;
    } else if (!run(&o, window_ms, limit_mb, &error)) {
        status = 1;
    }
    if (error) {
        fprintf(stderr, "bench-interrupts: error: %s\n", error->message);
    }
    options_clear(&o);
    return status;
}
