/*
 * What else the host did while a migration was measured
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "host-load.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What is not idle; a guest's time is part of "user" already */
static gboolean read_busy(gint64 *ticks)
{
    g_autofree char *text = NULL;
    long long user, nice, system, irq, softirq, steal;

    if (!g_file_get_contents("/proc/stat", &text, NULL, NULL) ||
        sscanf(text, "cpu %lld %lld %lld %*d %*d %lld %lld %lld", &user,
               &nice, &system, &irq, &softirq, &steal) != 6) {
        return FALSE;
    }
    *ticks = user + nice + system + irq + softirq + steal;
    return TRUE;
}

static gboolean add_process(int pid, gint64 *ticks)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid);
    g_autofree char *text = NULL;
    long long user, system;
    char *name_end;

    /* The name, in brackets, may hold anything: look behind it */
    if (!g_file_get_contents(path, &text, NULL, NULL) ||
        !(name_end = strrchr(text, ')')) ||
        sscanf(name_end, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
               "%lld %lld", &user, &system) != 2) {
        return FALSE;
    }
    *ticks += user + system;
    return TRUE;
}

HostLoad host_load_now(const MigratePair *pair)
{
    HostLoad load = { .at_us = g_get_monotonic_time() };

    load.known = read_busy(&load.busy_ticks) &&
                 add_process(getpid(), &load.our_ticks) &&
                 add_process(vm_pid(pair->source), &load.our_ticks) &&
                 add_process(vm_pid(pair->destination), &load.our_ticks);
    return load;
}

double host_load_others_pct(const HostLoad *before, const MigratePair *pair)
{
    HostLoad now = host_load_now(pair);
    double all_ticks = (now.at_us - before->at_us) / 1e6 *
                       sysconf(_SC_CLK_TCK) * sysconf(_SC_NPROCESSORS_ONLN);
    gint64 others = now.busy_ticks - before->busy_ticks -
                    (now.our_ticks - before->our_ticks);

    if (!before->known || !now.known || all_ticks <= 0) {
        return -1;
    }
    /* Ticks are coarse: a little less than nothing is nothing */
    return MAX(100 * others / all_ticks, 0);
}
