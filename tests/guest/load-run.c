/*
 * The loads at work
 *
 * This file starts them and has those that need no memory; load-worker.h says
 * what a worker is, load-write.c and load-program.c have the others.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "console.h"
#include "load-worker.h"

/* Work between two looks at the clock: 20 to 50 us under TCG, less on KVM. */
#define LOOK_COMPUTE_UNITS 10
#define LOOK_SYSCALL_UNITS 4

/* Room left for the kernel, in MiB, beside the loads' memory. */
#define SPARE_MIB 16

Worker load_workers[GUEST_MAX_VCPUS];
static sem_t filled;
static pthread_barrier_t go;
static bool populate_memory;

static void run_compute(Worker *w)
{
    for (;;) {
        for (int i = 0; i < LOOK_COMPUTE_UNITS * 1000; i++) {
            next_random(w);
            /* Or the compiler would skip ahead. */
            __asm__ volatile("" : "+m"(w->random));
        }
        did(w, LOOK_COMPUTE_UNITS);
        look(w);
    }
}

/* A unit is three entries into the kernel. */
static void run_syscall(Worker *w)
{
    char byte = 1;

    for (;;) {
        for (int i = 0; i < LOOK_SYSCALL_UNITS; i++) {
            getppid();
            if (write(w->pipe_fd[1], &byte, 1) != 1 ||
                read(w->pipe_fd[0], &byte, 1) != 1) {
                console_say(true, "error syscall load: its pipe broke");
                pause();
            }
        }
        did(w, LOOK_SYSCALL_UNITS);
        look(w);
    }
}

/*
 * A unit is a page mapped, touched and unmapped.  To unmap it waits until all
 * vCPUs that run this process have flushed it from their TLBs.
 */
static void run_unmap(Worker *w)
{
    for (;;) {
        volatile char *page = mmap(NULL, GUEST_PAGE_BYTES,
                                   PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (page == MAP_FAILED) {
            console_say(true, "error unmap load: no page");
            pause();
        }
        *page = 1;
        munmap((void *)page, GUEST_PAGE_BYTES);
        did(w, 1);
        look(w);
    }
}

/* A unit is one that all vCPUs which run this process have taken part in. */
static void run_membarrier(Worker *w)
{
    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    for (;;) {
        if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0)) {
            console_say(true, "error membarrier load: this kernel has none");
            pause();
        }
        did(w, 1);
        look(w);
    }
}

static void *worker_main(void *opaque)
{
    Worker *w = opaque;

    if (!load_prepare_program(w)) {
        load_fill_memory(w);
    }
    sem_post(&filled);
    pthread_barrier_wait(&go);
    w->last_look_ns = now_ns();

    switch (w->load.work) {
    case LOAD_IDLE:
        break;
    case LOAD_COMPUTE:
        run_compute(w);
        break;
    case LOAD_SYSCALL:
        run_syscall(w);
        break;
    case LOAD_UNMAP:
        run_unmap(w);
        break;
    case LOAD_MEMBARRIER:
        run_membarrier(w);
        break;
    case LOAD_READ:
        load_run_reader(w);
        break;
    default:
        if (w->load.work > LOAD_PROGRAM) {
            load_run_program(w);
        } else {
            load_run_writer(w);
        }
        break;
    }
    return NULL;
}

bool load_start_thread(void *(*run)(void *), void *opaque, unsigned vcpu,
                       int fifo_priority)
{
    struct sched_param param = { .sched_priority = fifo_priority };
    pthread_attr_t attr;
    pthread_t thread;
    cpu_set_t only;

    CPU_ZERO(&only);
    CPU_SET(vcpu, &only);
    pthread_attr_init(&attr);
    pthread_attr_setaffinity_np(&attr, sizeof(only), &only);
    if (fifo_priority) {
        pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
        pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
        pthread_attr_setschedparam(&attr, &param);
    }
    return !pthread_create(&thread, &attr, run, opaque);
}

static bool start_worker(Worker *w)
{
    void *memory;

    if (w->load.pages) {
        memory = mmap(NULL, w->load.pages * GUEST_PAGE_BYTES,
                      PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS |
                      (populate_memory ? MAP_POPULATE : 0), -1, 0);
        if (memory == MAP_FAILED) {
            return false;
        }
        w->memory = memory;
    }
    if (w->load.work == LOAD_SYSCALL && pipe(w->pipe_fd)) {
        return false;
    }
    return load_start_thread(worker_main, w, w->vcpu, 0);
}

static bool enough_memory(const Load *loads, unsigned count,
                          char *error, unsigned error_bytes)
{
    uint64_t want_mib = 0, free_mib;
    struct sysinfo info;

    for (unsigned i = 0; i < count; i++) {
        want_mib += loads[i].pages * GUEST_PAGE_BYTES >> 20;
    }
    sysinfo(&info);
    free_mib = (uint64_t)info.freeram * info.mem_unit >> 20;
    if (want_mib + SPARE_MIB <= free_mib) {
        return true;
    }
    snprintf(error, error_bytes, "the loads want %llu MiB and the guest has "
             "%llu MiB free, %u of them its own: give it more with -m",
             (unsigned long long)want_mib, (unsigned long long)free_mib,
             SPARE_MIB);
    return false;
}

bool load_run_prepare(const Load *loads, unsigned count, bool populate,
                      char *error, unsigned error_bytes)
{
    if (!enough_memory(loads, count, error, error_bytes)) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        if (loads[i].work == LOAD_READ_DISK && !load_open_disk()) {
            snprintf(error, error_bytes, "item %u: this guest has no virtio "
                     "disk, or its kernel no driver for one", i);
            return false;
        }
    }
    populate_memory = populate;
    sem_init(&filled, 0, 0);
    pthread_barrier_init(&go, NULL, count + 1);
    for (unsigned i = 0; i < count; i++) {
        Worker *w = &load_workers[i];

        w->load = loads[i];
        w->vcpu = i;
        w->random = 0x2545f4914f6cdd1d + i;
        if (!start_worker(w)) {
            snprintf(error, error_bytes, "item %u: cannot start its thread", i);
            return false;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        sem_wait(&filled);
    }
    return true;
}

void load_run_go(void)
{
    pthread_barrier_wait(&go);
}

LoadStats load_run_stats(unsigned vcpu)
{
    Worker *w = &load_workers[vcpu];

    return (LoadStats) {
        .units = atomic_load(&w->units),
        .gap_us = atomic_exchange(&w->gap_ns, 0) / 1000,
    };
}
