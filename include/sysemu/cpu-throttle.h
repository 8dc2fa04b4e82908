/*
 * Throttle vCPUs to a share of their run time
 *
 * How it works is told in softmmu/cpu-throttle.c.  Two parties throttle: a
 * migration, with cpu_throttle_set() and cpu_throttle_stop(), and the user,
 * with the QMP command set-cpu-throttle.  The higher percentage is in force.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSEMU_CPU_THROTTLE_H
#define SYSEMU_CPU_THROTTLE_H

#include "qemu/timer.h"

#define CPU_THROTTLE_PCT_MAX 99

/**
 * cpu_throttle_init: make ready, once, after the main loop was
 */
void cpu_throttle_init(void);

/**
 * cpu_throttle_set: have all vCPUs sleep for a share of their time
 * @pct: the share; below 1 stops the throttle, above 99 is taken for 99
 *
 * In force for all vCPUs, those plugged later too, until cpu_throttle_stop().
 * Any thread, with the BQL (effective at once) or without (within the time
 * that the main loop takes to get it).
 */
void cpu_throttle_set(int pct);

/**
 * cpu_throttle_stop: take back what cpu_throttle_set() asked for
 *
 * vCPUs that sleep wake up, unless the user's own throttle keeps them asleep.
 * Any thread, with or without the BQL.
 */
void cpu_throttle_stop(void);

/**
 * cpu_throttle_active: whether vCPUs are throttled, by whomever
 */
bool cpu_throttle_active(void);

/**
 * cpu_throttle_get_percentage: the percentage in force
 *
 * Returns: 0 where there is none, else 1 to 99.  Any thread.
 */
int cpu_throttle_get_percentage(void);

/*
 * What follows is for the place where vCPUs sleep, softmmu/vcpu-slowdown.c.
 * All of it runs with the BQL held.
 */

/* Whether @cpu's account goes by another percentage than that in force. */
bool cpu_throttle_is_news(CPUState *cpu);

/* End the run slice at @now_ns: charge it.  In the vCPU's thread. */
void cpu_throttle_end_slice(CPUState *cpu, int64_t now_ns);

/* What @cpu owes, at the percentage in force.  In the vCPU's thread. */
int64_t cpu_throttle_debt_ns(CPUState *cpu);

/* @cpu paid.  In the vCPU's thread. */
void cpu_throttle_slept(CPUState *cpu, int64_t slept_ns);

/*
 * Begin a run slice at @now_ns.  In the vCPU's thread.
 * Returns: how long it shall be, 0 for without end
 */
int64_t cpu_throttle_begin_slice(CPUState *cpu, int64_t now_ns);

#endif /* SYSEMU_CPU_THROTTLE_H */
