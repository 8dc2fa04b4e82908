/*
 * What QEMU's threads cost of the host's CPUs, as the kernel tells it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "vm.h"

#include <time.h>

/* The two numbers of a thread's schedstat: running, and on a run queue */
static gboolean read_task(Vm *vm, const char *task, guint64 *running_ns,
                          guint64 *waiting_ns)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%s/schedstat",
                                            (int)vm_pid(vm), task);
    g_autofree char *text = NULL;
    char *wait;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return FALSE;
    }
    *running_ns = g_ascii_strtoull(text, &wait, 10);
    *waiting_ns = g_ascii_strtoull(wait, NULL, 10);
    return TRUE;
}

guint64 vm_cpu_wait_ns(Vm *vm)
{
    g_autofree char *tasks = g_strdup_printf("/proc/%d/task",
                                             (int)vm_pid(vm));
    GDir *dir = g_dir_open(tasks, 0, NULL);
    guint64 total_ns = 0, running_ns, waiting_ns;
    const char *task;

    while (dir && (task = g_dir_read_name(dir))) {
        if (read_task(vm, task, &running_ns, &waiting_ns)) {
            total_ns += waiting_ns;
        }
    }
    if (dir) {
        g_dir_close(dir);
    }
    return total_ns;
}

gboolean vm_thread_ns(Vm *vm, int thread_id, guint64 *running_ns,
                      guint64 *waiting_ns)
{
    g_autofree char *task = g_strdup_printf("%d", thread_id);

    return read_task(vm, task, running_ns, waiting_ns);
}

guint64 vm_thread_wanted_ns(Vm *vm, int thread_id)
{
    guint64 running_ns, waiting_ns;

    return vm_thread_ns(vm, thread_id, &running_ns, &waiting_ns) ?
           running_ns + waiting_ns : 0;
}

int vm_vcpu_thread(Vm *vm, unsigned index, GError **errp)
{
    g_autoptr(JsonNode) reply = qmp_execute(vm_qmp(vm), "query-cpus-fast",
                                            NULL, errp);
    JsonArray *vcpus = reply ? json_node_get_array(reply) : NULL;

    if (!vcpus) {
        return -1;
    }
    if (index >= json_array_get_length(vcpus)) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC, "there is no vCPU %u",
                    index);
        return -1;
    }
    return json_object_get_int_member(
        json_array_get_object_element(vcpus, index), "thread-id");
}

guint64 vm_main_thread_ns(Vm *vm)
{
    guint64 running_ns, waiting_ns;

    return vm_thread_ns(vm, vm_pid(vm), &running_ns, &waiting_ns) ? running_ns
                                                                  : 0;
}

guint64 vm_cpu_ns(Vm *vm)
{
    struct timespec spent;
    clockid_t clock;

    if (clock_getcpuclockid(vm_pid(vm), &clock) ||
        clock_gettime(clock, &spent)) {
        return 0;
    }
    return spent.tv_sec * G_GUINT64_CONSTANT(1000000000) + spent.tv_nsec;
}
