/*
 * The test guest's init: starts the loads and reports on them
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "console.h"
#include "latency.h"
#include "load-run.h"
#include "load-spec.h"

#define REPORT_MS 100

#define VIRTIO_TRIES 200
#define VIRTIO_TRY_US 10000

/*
 * A report is due on the clock, and the first reporter to run writes it: one
 * waits on each of the first vCPUs, so that a host that slows one down (or
 * some) does not silence the reports.  More than a few would be a load.
 */
#define MAX_REPORTERS 4

typedef struct Settings {
    char out[64];
    char load[2048];
    bool populate;
    bool clocks;
} Settings;

static unsigned nr_vcpus;

static struct {
    pthread_mutex_t lock;
    uint64_t due_ms;
    uint64_t number;
} report = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void power_off(void)
{
    console_drain();
    sync();
    reboot(RB_POWER_OFF);
    for (;;) {
        pause();
    }
}

static void mount_all(void)
{
    mkdir("/dev", 0755);
    mkdir("/proc", 0555);
    mkdir("/sys", 0555);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sys", "/sys", "sysfs", 0, NULL);
}

/*
 * Debian's kernel has virtio as modules; in the order of need.  A failure shows
 * when the device is opened.
 */
static void load_virtio(const char *driver)
{
    const char *const modules[] = {
        "virtio_ring", "virtio", "virtio_pci_legacy_dev",
        "virtio_pci_modern_dev", "virtio_pci", driver,
    };

    for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
        char path[64];
        int fd;

        snprintf(path, sizeof(path), "/modules/%s.ko", modules[i]);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            syscall(SYS_finit_module, fd, "", 0);
            close(fd);
        }
    }
}

static void read_settings(Settings *settings)
{
    char line[4096] = "";
    char *rest = line, *word;
    int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

    *settings = (Settings) { .out = "/dev/ttyS0", .load = "idle" };
    if (fd < 0 || read(fd, line, sizeof(line) - 1) < 0) {
        return;
    }
    close(fd);
    while ((word = strsep(&rest, " \n"))) {
        if (!strncmp(word, "load=", 5)) {
            snprintf(settings->load, sizeof(settings->load), "%s", word + 5);
        } else if (!strncmp(word, "out=", 4)) {
            snprintf(settings->out, sizeof(settings->out), "%s", word + 4);
        } else if (!strcmp(word, "populate=1")) {
            settings->populate = true;
        } else if (!strcmp(word, "clocks=1")) {
            settings->clocks = true;
        }
    }
}

static void open_console(const char *path)
{
    bool is_virtio = !strncmp(path, "/dev/hvc", 8);
    bool open = console_open(path);

    if (is_virtio && !open) {
        load_virtio("virtio_console");
    }
    /* The host names virtio's ports to the driver some time after it starts. */
    for (int i = 0; is_virtio && !open && i < VIRTIO_TRIES; i++) {
        usleep(VIRTIO_TRY_US);
        open = console_open(path);
    }
    if (!open && console_open("/dev/ttyS0")) {
        console_say(true, "error out=%s: no such terminal in this guest", path);
        power_off();
    }
}

static void send_report(uint64_t now_ms)
{
    char units[GUEST_MAX_VCPUS * 21], gaps[GUEST_MAX_VCPUS * 21];
    char late[1024];
    size_t units_len = 0, gaps_len = 0;

    for (unsigned i = 0; i < nr_vcpus; i++) {
        LoadStats stats = load_run_stats(i);
        const char *slash = i ? "/" : "";

        units_len += sprintf(units + units_len, "%s%llu", slash,
                             (unsigned long long)stats.units);
        gaps_len += sprintf(gaps + gaps_len, "%s%llu", slash,
                            (unsigned long long)stats.gap_us);
    }
    latency_print(late, sizeof(late));
    console_say(false, "work t_ms=%llu n=%llu u=%s gap_us=%s bad=%llu%s%s",
                (unsigned long long)now_ms,
                (unsigned long long)report.number++, units, gaps,
                (unsigned long long)load_run_bad_pages(),
                *late ? " late=" : "", late);
}

static void report_if_due(uint64_t now_ms)
{
    /* Not a wait: who holds it is writing the very report. */
    if (pthread_mutex_trylock(&report.lock)) {
        return;
    }
    if (now_ms >= report.due_ms) {
        report.due_ms = now_ms - now_ms % REPORT_MS + REPORT_MS;
        send_report(now_ms);
    }
    pthread_mutex_unlock(&report.lock);
}

static void *reporter_main(void *opaque)
{
    (void)opaque;
    for (;;) {
        struct timespec ts;
        uint64_t now_ms;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        now_ms = ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
        report_if_due(now_ms);
        now_ms += REPORT_MS - now_ms % REPORT_MS;
        ts.tv_sec = now_ms / 1000;
        ts.tv_nsec = now_ms % 1000 * 1000000;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
    }
    return NULL;
}

static void start_reporters(void)
{
    unsigned count = nr_vcpus < MAX_REPORTERS ? nr_vcpus : MAX_REPORTERS;

    for (unsigned i = 0; i < count; i++) {
        /* Above the loads: a busy vCPU would report after its turn. */
        if (!load_start_thread(reporter_main, NULL, i, 1)) {
            console_say(true, "error no reporter on vCPU %u", i);
            power_off();
        }
    }
}

int main(void)
{
    static Load loads[GUEST_MAX_VCPUS];
    static Settings settings;
    char error[512];
    int count;

    mount_all();
    read_settings(&settings);
    open_console(settings.out);

    nr_vcpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (nr_vcpus > GUEST_MAX_VCPUS) {
        nr_vcpus = GUEST_MAX_VCPUS;
    }
    count = load_spec_parse(settings.load, loads, nr_vcpus,
                            error, sizeof(error));
    for (int i = 0; i < count; i++) {
        if (loads[i].work == LOAD_READ_DISK) {
            load_virtio("virtio_blk");
            break;
        }
    }
    if (count < 0 || !load_run_prepare(loads, count, settings.populate,
                                       error, sizeof(error))) {
        console_say(true, "error load=%s: %s", settings.load, error);
        power_off();
    }
    console_say(true, "ready loads=%s", settings.load);
    load_run_go();
    start_reporters();
    if (settings.clocks && !latency_start_clocks(nr_vcpus)) {
        console_say(true, "error no clocks on the vCPUs");
        power_off();
    }
    for (;;) {
        pause();
    }
}
