/*
 * How long a throttled vCPU is silent, as a guest without a kernel sees it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * A boot sector looks at the TSC in a loop and keeps the longest time between
 * two looks.  Nothing else runs in this guest, so that is how long the vCPU
 * did not run.  A program under Linux sees more at high percentages: what
 * little time there is goes to its kernel's own ticks first (bench-throttle
 * shows that, in its last column).
 *
 * Each percentage has a QEMU of its own, since the longest time is never
 * forgotten.
 */

#include "children.h"
#include "qmp.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <stdlib.h>

#define SECTOR_BYTES 512
#define COUNT_AT 0x6000         /* 64 bits: looks; then TSC / 256, longest */
#define START_MS 20000
#define SETTLE_US (1000 * 1000)
#define DEFAULT_WINDOW_MS 10000

/* At 0x7c00; what is at which address stands beside it. */
static const guint8 looker[SECTOR_BYTES] = {
    0xfa,                                       /* cli */
    0x31, 0xc0, 0x8e, 0xd8,                     /* %ds = 0 */
    0x0f, 0x01, 0x16, 0x80, 0x7c,               /* lgdt 0x7c80 */
    0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0, /* protected mode */
    0xea, 0x17, 0x7c, 0x08, 0x00,               /* ljmp $8,$0x7c17 */
    /* 0x7c17, 32 bit */
    0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8,         /* %ds = 16 */
    0x31, 0xdb,                                 /* longest = %ebx = 0 */
    0x89, 0x1d, 0x00, 0x60, 0x00, 0x00,         /* mov %ebx,0x6000 */
    0x89, 0x1d, 0x04, 0x60, 0x00, 0x00,         /* mov %ebx,0x6004 */
    0x89, 0x1d, 0x0c, 0x60, 0x00, 0x00,         /* mov %ebx,0x600c */
    0x0f, 0x31, 0x0f, 0xac, 0xd0, 0x08,         /* %eax = TSC / 256 */
    0x89, 0xc6,                                 /* last = %esi = %eax */
    /* 0x7c39: look */
    0x0f, 0x31, 0x0f, 0xac, 0xd0, 0x08,         /* %eax = TSC / 256 */
    0x89, 0xc1, 0x29, 0xf0, 0x89, 0xce,         /* %eax -= last; last = it */
    0x89, 0x0d, 0x08, 0x60, 0x00, 0x00,         /* mov %ecx,0x6008 */
    0x39, 0xd8, 0x76, 0x08,                     /* longer than the longest? */
    0x89, 0xc3, 0x89, 0x1d, 0x0c, 0x60, 0x00, 0x00,
    0x83, 0x05, 0x00, 0x60, 0x00, 0x00, 0x01,   /* count, 64 bits */
    0x83, 0x15, 0x04, 0x60, 0x00, 0x00, 0x00,
    0xeb, 0xd2,                                 /* jmp look */
    /* 0x7c68: null, code, data; 0x7c80: gdtr */
    [0x70] = 0xff, 0xff, 0, 0, 0, 0x9a, 0xcf, 0,
    0xff, 0xff, 0, 0, 0, 0x92, 0xcf, 0,
    0x17, 0x00, 0x68, 0x7c, 0x00, 0x00,
    [510] = 0x55, 0xaa,
};

typedef struct Looks {
    guint64 count;
    guint32 tsc_256;
    guint32 longest_256;
    gint64 at_us;
} Looks;

static gboolean read_looks(QmpClient *qmp, Looks *looks, GError **errp)
{
    g_autofree char *text = qmp_hmp(qmp, "xp /4xw " G_STRINGIFY(COUNT_AT),
                                    errp);
    unsigned w[4];

    if (!text) {
        return FALSE;
    }
    if (sscanf(text, "%*x: %x %x %x %x", &w[0], &w[1], &w[2], &w[3]) != 4) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                    "xp answers something else: %s", text);
        return FALSE;
    }
    *looks = (Looks) { (guint64)w[1] << 32 | w[0], w[2], w[3],
                       g_get_monotonic_time() };
    return TRUE;
}

static gboolean wait_until_it_looks(QmpClient *qmp, GError **errp)
{
    Looks looks = { 0 };

    for (int ms = 0; ms < START_MS && looks.count < 1000; ms += 100) {
        g_usleep(100 * 1000);
        if (!read_looks(qmp, &looks, errp)) {
            return FALSE;
        }
    }
    if (looks.count < 1000) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                    "the guest did not begin within %d s", START_MS / 1000);
    }
    return looks.count >= 1000;
}

static gboolean measure(QmpClient *qmp, int asked_pct, int window_ms,
                        GError **errp)
{
    JsonObject *arguments = json_object_new();
    Looks before, after;
    double tsc_per_ms;

    json_object_set_int_member(arguments, "percentage", asked_pct);
    if (!wait_until_it_looks(qmp, errp) ||
        !qmp_run(qmp, "set-cpu-throttle", arguments, errp)) {
        return FALSE;
    }
    g_usleep(SETTLE_US);
    if (!read_looks(qmp, &before, errp)) {
        return FALSE;
    }
    g_usleep(window_ms * 1000);
    if (!read_looks(qmp, &after, errp)) {
        return FALSE;
    }
    if (after.count == before.count) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                    "the guest stands still");
        return FALSE;
    }
    tsc_per_ms = (guint32)(after.tsc_256 - before.tsc_256) * 1000.0 /
                 (after.at_us - before.at_us);
    printf("%8d %20.1f\n", asked_pct, after.longest_256 / tsc_per_ms);
    return TRUE;
}

static gboolean run(const char *qemu, const char *dir, int asked_pct,
                    int window_ms, GError **errp)
{
    g_autofree char *image = g_build_filename(dir, "looker.img", NULL);
    g_autofree char *socket = g_build_filename(dir, "qmp.sock", NULL);
    g_autofree char *drive = g_strdup_printf("if=ide,format=raw,file=%s",
                                             image);
    g_autofree char *monitor = g_strdup_printf("unix:%s,server=on,wait=off",
                                               socket);
    g_autoptr(GSubprocess) process = NULL;
    g_autoptr(QmpClient) qmp = NULL;
    gboolean ok;

    if (!g_file_set_contents(image, (const char *)looker, SECTOR_BYTES,
                             errp)) {
        return FALSE;
    }
    process = g_subprocess_new(G_SUBPROCESS_FLAGS_NONE, errp, qemu, "-accel",
                               "tcg", "-smp", "1", "-m", "32", "-nodefaults",
                               "-nic", "none", "-display", "none", "-drive",
                               drive, "-qmp", monitor, NULL);
    if (!process) {
        return FALSE;
    }
    children_add(atoi(g_subprocess_get_identifier(process)));
    qmp = qmp_connect(socket, START_MS, errp);
    ok = qmp && measure(qmp, asked_pct, window_ms, errp);
    children_remove(atoi(g_subprocess_get_identifier(process)));
    g_subprocess_force_exit(process);
    g_subprocess_wait(process, NULL, NULL);
    g_unlink(socket);
    g_unlink(image);
    return ok;
}

int main(int argc, char **argv)
{
    static const int asked_pct[] = { 0, 50, 90, 99 };
    const char *qemu = argc > 1 ? argv[1] : "build/qemu/qemu-system-x86_64";
    int window_ms = argc > 2 ? atoi(argv[2]) : DEFAULT_WINDOW_MS;
    g_autofree char *dir = NULL;
    g_autoptr(GError) error = NULL;
    gboolean ok;

    if (argc > 3 || window_ms < 500) {
        fprintf(stderr, "usage: bench-silence [QEMU [WINDOW-MS (500 or "
                "more)]]\n");
        return 2;
    }
    children_guard();
    dir = g_dir_make_tmp("converge-silence-XXXXXX", &error);
    ok = dir && children_add_dir(dir);
    printf("%8s %20s\n", "asked %", "longest silence ms");
    for (size_t i = 0; ok && i < G_N_ELEMENTS(asked_pct); i++) {
        ok = run(qemu, dir, asked_pct[i], window_ms, &error);
    }
    if (dir) {
        children_remove_dir(dir);
        g_rmdir(dir);
    }
    if (!ok) {
        fprintf(stderr, "bench-silence: error: %s\n",
                error ? error->message : "no room to note a directory");
        return 1;
    }
    return 0;
}
