/*
 * Dirty limit tests: what the meters tell, against what the guest counts
 *
 * A limit that binds nobody keeps the meters running, and the trace event
 * dirtylimit_rate tells each vCPU's rate once a second.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-dirtylimit.h"

#define WRITER_PAGES_PER_S      1024
#define LOOSE_LIMIT_MB          1000
#define PERIODS                 6

/* What a vCPU that only counts in one word may be told to dirty. */
#define READER_PAGES_PER_S      150
#define WITHIN                  0.10

typedef struct Told {
    unsigned periods;           /* whose end was told */
    double pages[2];            /* of each vCPU, in all of them but the first */
    double last_s;
} Told;

static void take_line(Told *told, const char *line)
{
    double at_s, rate;
    int vcpu;
    const char *event = strstr(line, "dirtylimit_rate vcpu=");

    if (!event || sscanf(line, "%*[^@]@%lf", &at_s) != 1 ||
        sscanf(event, "dirtylimit_rate vcpu=%d rate_bytes_per_s=%lf", &vcpu,
               &rate) != 2 || vcpu > 1) {
        return;
    }
    if (vcpu == 0) {
        told->periods++;
    }
    if (told->periods > 1) {
        double period_s = vcpu == 0 ? at_s - told->last_s : 1;

        told->pages[vcpu] += rate * period_s / VM_PAGE_BYTES;
    }
    if (vcpu == 0) {
        told->last_s = at_s;
    }
}

static Told read_trace(const char *path)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    Told told = { 0 };

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line && line[1]; line++) {
        take_line(&told, *line);
    }
    return told;
}

/* Returns: what was told by then, just when the end of that period was. */
static Told wait_periods(const char *path, unsigned periods)
{
    for (int i = 0; i < VM_PATIENCE_S * 100; i++) {
        Told told = read_trace(path);

        if (told.periods >= periods) {
            g_assert_cmpuint(told.periods, ==, periods);
            return told;
        }
        g_usleep(10 * 1000);
    }
    g_error("the meters did not tell of %u periods", periods);
}

static void test_meter_tells_the_truth(void)
{
    g_autofree char *path = g_build_filename(vm_dir(), "meter-trace", NULL);
    g_autofree char *args = g_strdup_printf("-smp 2 -msg timestamp=on -D %s "
                                            "-trace dirtylimit_rate", path);
    QTestState *vm = NULL;
    uint64_t first;
    double pages;
    Told told;

    if (vm_skip_without_meter()) {
        return;
    }
    vm = vm_start_on(vm_accel(), LIMIT_RAM_MB, LIMIT_LOAD, args);
    vm_wait_guest_up(vm);
    vm_pace(vm, WRITER_PAGES_PER_S * VM_PAGE_BYTES);
    vm_set_limit(vm, LOOSE_LIMIT_MB);

    wait_periods(path, 1);
    first = vm_pages_written(vm);
    told = wait_periods(path, 1 + PERIODS);
    pages = vm_pages_written(vm) - first;
    g_test_message("%.0f pages written, %.0f told; of the vCPU that only "
                   "counts %.0f", pages, told.pages[0], told.pages[1]);
    g_assert_cmpfloat(told.pages[0], >=, pages * (1 - WITHIN));
    g_assert_cmpfloat(told.pages[0], <=, pages * (1 + WITHIN));
    g_assert_cmpfloat(told.pages[1], <, READER_PAGES_PER_S * PERIODS);
    qtest_quit(vm);
}

void dirtylimit_add_meter_tests(void)
{
    qtest_add_func("/convergence/dirtylimit/meter",
                   test_meter_tells_the_truth);
}
