/*
 * Host CPUs for the threads of a migration: the readers' on one of their own
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "pin.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

guint64 pin_readers(const char *load)
{
    static const char *const reading[] = { "compute", "syscall", "read:" };
    g_auto(GStrv) items = g_strsplit(load, ",", -1);
    guint64 readers = 0;

    for (unsigned i = 0; items[i] && i < 64; i++) {
        for (size_t k = 0; k < G_N_ELEMENTS(reading); k++) {
            if (g_str_has_prefix(items[i], reading[k])) {
                readers |= 1ULL << i;
            }
        }
    }
    return readers;
}

/* The CPUs that this process may use, last one apart */
static gboolean split_cpus(cpu_set_t *last, cpu_set_t *others)
{
    CPU_ZERO(last);
    if (sched_getaffinity(0, sizeof(*others), others) < 0 ||
        CPU_COUNT(others) < 2) {
        return FALSE;
    }
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--) {
        if (CPU_ISSET(cpu, others)) {
            CPU_CLR(cpu, others);
            CPU_SET(cpu, last);
            return TRUE;
        }
    }
    return FALSE;
}

gboolean pin_is_useful(const char *load)
{
    cpu_set_t last, others;

    return pin_readers(load) && split_cpus(&last, &others);
}

/*
 * A thread may end between being listed and being pinned: that is none of
 * our errors.
 */
static gboolean pin_thread(int thread, const cpu_set_t *cpus, GError **errp)
{
    if (sched_setaffinity(thread, sizeof(*cpus), cpus) == 0 ||
        errno == ESRCH) {
        return TRUE;
    }
    g_set_error(errp, G_FILE_ERROR, g_file_error_from_errno(errno),
                "cannot pin thread %d to a CPU: %s", thread,
                g_strerror(errno));
    return FALSE;
}

static gboolean pin_all(Vm *vm, const cpu_set_t *cpus, GError **errp)
{
    g_autofree char *tasks = g_strdup_printf("/proc/%d/task",
                                             (int)vm_pid(vm));
    g_autoptr(GDir) dir = g_dir_open(tasks, 0, errp);
    gboolean ok = dir != NULL;
    const char *task;

    while (ok && (task = g_dir_read_name(dir))) {
        ok = pin_thread(atoi(task), cpus, errp);
    }
    return ok;
}

gboolean pin_vm(Vm *vm, const char *load, GError **errp)
{
    guint64 readers = pin_readers(load);
    g_autoptr(JsonNode) reply = NULL;
    cpu_set_t last, others;
    JsonArray *vcpus;

    if (!readers || !split_cpus(&last, &others)) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "nothing to pin: it takes two CPUs and a vCPU that only "
                    "computes, and the load is %s", load);
        return FALSE;
    }
    reply = qmp_execute(vm_qmp(vm), "query-cpus-fast", NULL, errp);
    if (!reply || !pin_all(vm, &others, errp)) {
        return FALSE;
    }
    vcpus = json_node_get_array(reply);
    for (unsigned i = 0; i < json_array_get_length(vcpus) && i < 64; i++) {
        JsonObject *vcpu = json_array_get_object_element(vcpus, i);
        int thread = json_object_get_int_member(vcpu, "thread-id");

        if ((readers >> i & 1) && !pin_thread(thread, &last, errp)) {
            return FALSE;
        }
    }
    return TRUE;
}
