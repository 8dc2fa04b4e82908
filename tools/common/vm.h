/*
 * QEMU processes for tests, benchmarks and the demo
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * A Vm is one qemu-system-x86_64 (ours or any other) that runs the Linux
 * guest of tests/guest, with QMP and the guest's console on sockets in a
 * private directory.  It never outlives the program: see children.h.
 */

#ifndef CONVERGE_VM_H
#define CONVERGE_VM_H

#include "qmp.h"

/* tests/guest/README.md says why each */
#define GUEST_KERNEL_ARGUMENTS                                          \
    "console=ttyS0 quiet panic=-1 tsc=reliable mitigations=off "        \
    "rcupdate.rcu_cpu_stall_suppress=1"

/*
 * A line the guest printed, and when it arrived here.  Called from a thread
 * of the Vm's own, for two Vms from two threads: lock what they share.
 */
typedef void (*VmLineFunc)(void *opaque, const char *vm_name,
                           const char *line, gint64 at_us);

typedef struct VmConfig {
    const char *qemu;           /* path of the executable */
    const char *name;           /* "source", "destination": for messages */
    const char *accel;          /* value of -accel; NULL for tcg */
    const char *kernel;         /* NULL: vmlinuz and ... */
    const char *initrd;         /* ... initramfs.gz of scripts/guest */
    /* What the guest does, see tests/guest; read-disk brings a disk. */
    const char *load;
    gboolean programs;          /* with the initramfs that has programs */
    gboolean clocks;            /* the guest takes its timers' latency */
    unsigned mem_mib;
    unsigned smp;
    gboolean incoming;          /* wait for a migration, do not boot */
    const char *const *extra_args;
    VmLineFunc on_line;
    void *opaque;
} VmConfig;

typedef struct Vm Vm;

/*
 * Starts QEMU and connects to its QMP.  The error of a QEMU that would not
 * start holds what it wrote to stderr.
 */
Vm *vm_start(const VmConfig *config, GError **errp);

/* Kills QEMU, waits for it, removes its directory */
void vm_free(Vm *vm);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Vm, vm_free)

QmpClient *vm_qmp(Vm *vm);
pid_t vm_pid(Vm *vm);

/* FALSE once QEMU has exited, for whatever reason */
gboolean vm_is_alive(Vm *vm);
/*
 * Of a QEMU that is gone, or going: whether its guest shut itself down or was
 * reset, which ends QEMU without an error here
 */
gboolean vm_guest_ended(Vm *vm);

/* What QEMU wrote to stderr, "" if nothing */
char *vm_stderr(Vm *vm);

/*
 * How long QEMU's threads were runnable and did not get a CPU, all together,
 * since they were started.  0 where the kernel does not tell.
 */
guint64 vm_cpu_wait_ns(Vm *vm);

/*
 * How long one of QEMU's threads ran, and waited for a CPU, since it was
 * started.  Returns FALSE where the kernel does not tell.
 */
gboolean vm_thread_ns(Vm *vm, int thread_id, guint64 *running_ns,
                      guint64 *waiting_ns);

/*
 * The sum of both: how long it wanted to run.  0 where the kernel does not
 * tell.
 */
guint64 vm_thread_wanted_ns(Vm *vm, int thread_id);

/* Thread of a vCPU, by its index in query-cpus-fast; -1 and an error if none */
int vm_vcpu_thread(Vm *vm, unsigned index, GError **errp);

/* CPU time of QEMU's main thread, which answers QMP; 0 if not told */
guint64 vm_main_thread_ns(Vm *vm);

/* CPU time of all of QEMU's threads, also of those that have ended */
guint64 vm_cpu_ns(Vm *vm);

/* Where an incoming Vm can be told to listen, as a migration URI */
char *vm_migrate_uri(Vm *vm);

/* The argument vector that vm_start() would use, for logs and tests */
GStrv vm_build_argv(const VmConfig *config, const char *dir);

#endif
