/*
 * A world of vCPU threads and a main loop on a clock that the test moves
 *
 * Each vCPU thread is a coroutine that is in guest code, or waits, or serves
 * its work queue.  Timers, waits and kicks can be late, at random but with a
 * fixed seed: a test has the same outcome on each host, however loaded.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef VCPU_WORLD_H
#define VCPU_WORLD_H

#include "fake-qemu.h"

typedef struct World {
    /* How late things are at most; set by the test at any time. */
    int64_t timer_late_ns;
    int64_t wait_late_ns;
    int64_t kick_late_ns;
    /* What of its wait a thread spends on the CPU: to begin and to end it. */
    int64_t wait_cpu_ns;
    /* The calling thread holds the BQL.  True but where a test says not. */
    bool bql;
    /* Interrupts a second that wake each sleeper for nothing. */
    int64_t interrupts_per_s;
    /* What is said of the host; no thread here waits for a CPU. */
    int host_cpus;
    /* vCPU threads have alarms, which are punctual. */
    bool alarms;
    /* Interrupts wake a sleeper; else it has to look for them. */
    bool interrupts_told;
    /* What a vCPU needs to handle one, in guest code. */
    int64_t handler_ns;
    /* How often the timer fired. */
    int timer_fired;
    /* How often it was asked whether an interrupt waits. */
    int interrupt_looks;
} World;

extern World world;

/* @first_ns: what the clock shows at the start, as clocks do not begin at 0. */
void world_new(int vcpus, bool round_robin, int64_t first_ns);
void world_free(void);
CPUState *world_plug_vcpu(void);
/* As cpu_remove_sync() begins: it is told, and shall end its thread. */
void world_unplug_vcpu(CPUState *cpu);
void world_run_for(int64_t ns);
int64_t world_now_ns(void);

void world_pause(void);
void world_resume(void);

/* How much of its time in guest code the thread of @cpu uses the CPU. */
void world_set_busy_pct(CPUState *cpu, int busy_pct);
void world_kick(CPUState *cpu);

/* Time in guest code, the guest's work, and the longest time outside. */
int64_t world_in_guest_ns(CPUState *cpu);
int64_t world_work_ns(CPUState *cpu);
/* What the scheduler says of its thread, since it was started. */
int64_t world_cpu_time_ns(CPUState *cpu);
int64_t world_silence_ns(CPUState *cpu);
/* How often the thread left guest code. */
int world_exits(CPUState *cpu);
bool world_sleeps(CPUState *cpu);

/* Another vCPU interrupts this one. */
void world_interrupt(CPUState *cpu);
/* From now on one does so again, so long after each answer; 0 = no more. */
void world_storm(CPUState *cpu, int64_t think_ns);
/* It lets none in, from now on or no longer. */
void world_mask_interrupts(CPUState *cpu, bool masks);
bool world_interrupt_waits(CPUState *cpu);
/* How many were handled, and the longest time that took. */
int world_answers(CPUState *cpu);
int64_t world_answer_ns(CPUState *cpu);
bool world_alarm_is_set(CPUState *cpu);
/* Set the above back to nothing, for all threads. */
void world_forget(void);

#endif /* VCPU_WORLD_H */
