/*
 * How long a thread has run
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_THREAD_CPU_TIME_H
#define QEMU_THREAD_CPU_TIME_H

/**
 * thread_cpu_time_ns: CPU time of the calling thread
 *
 * Returns: ns since it was started, -1 where the host cannot tell.
 */
static inline int64_t thread_cpu_time_ns(void)
{
#ifdef CLOCK_THREAD_CPUTIME_ID
    struct timespec ts;

    if (!clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts)) {
        return ts.tv_sec * 1000000000LL + ts.tv_nsec;
    }
#endif
    return -1;
}

#ifdef CONFIG_LINUX
/**
 * thread_cpu_time_of_ns: CPU time of another thread
 *
 * Returns: ns since it was started, -1 where the host cannot tell.
 */
static inline int64_t thread_cpu_time_of_ns(pthread_t thread)
{
    struct timespec ts;
    clockid_t clock;

    if (!pthread_getcpuclockid(thread, &clock) && !clock_gettime(clock, &ts)) {
        return ts.tv_sec * 1000000000LL + ts.tv_nsec;
    }
    return -1;
}
#endif

#endif /* QEMU_THREAD_CPU_TIME_H */
