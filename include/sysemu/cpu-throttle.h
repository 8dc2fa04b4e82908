/*
 * Throttle vCPUs to a share of their run time
 *
 * How it works is told in softmmu/cpu-throttle.c.  Two parties throttle: a
 * migration, and the user, with the QMP command set-cpu-throttle
 * (cpu-throttle-commands.c).  The higher percentage is in force.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSEMU_CPU_THROTTLE_H
#define SYSEMU_CPU_THROTTLE_H

#include "qemu/timer.h"
#include "hw/core/cpu.h"

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
 * cpu_throttle_set_vcpu: have one vCPU sleep for a share of its time
 * @cpu: the vCPU
 * @pct: the share, as above; 0 leaves it alone
 *
 * Until the next cpu_throttle_set() or cpu_throttle_stop().  Of vCPUs that one
 * thread runs the highest percentage is in force, for all of them; set them in
 * the order of the list.  BQL held.
 */
void cpu_throttle_set_vcpu(CPUState *cpu, int pct);

/**
 * cpu_throttle_stop: take back what both of these asked for
 *
 * vCPUs that sleep wake up, unless the user's own throttle keeps them asleep.
 * Any thread, with or without the BQL.
 */
void cpu_throttle_stop(void);

/**
 * cpu_throttle_set_by_user: beside what migrations ask for
 * @pct: 1 to 99; 0 ends it
 *
 * In force for all vCPUs until it is set anew.  Threads as cpu_throttle_set().
 */
void cpu_throttle_set_by_user(int pct);

/**
 * cpu_throttle_active: whether vCPUs are throttled, by whomever
 */
bool cpu_throttle_active(void);

/**
 * cpu_throttle_get_percentage: the percentage in force, the highest of all
 *
 * cpu_throttle_get_vcpu_percentage: that of one vCPU
 *
 * Return: 0 where there is none, else 1 to 99.  BQL held.
 */
int cpu_throttle_get_percentage(void);
int cpu_throttle_get_vcpu_percentage(CPUState *cpu);

#endif /* SYSEMU_CPU_THROTTLE_H */
