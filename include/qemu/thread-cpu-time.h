/*
 * How long a thread has run
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_THREAD_CPU_TIME_H
#define QEMU_THREAD_CPU_TIME_H

#ifdef CLOCK_THREAD_CPUTIME_ID
static inline int64_t thread_cpu_time_read_ns(clockid_t clock)
{
    struct timespec ts;

    return clock_gettime(clock, &ts) ? -1 :
           ts.tv_sec * 1000000000LL + ts.tv_nsec;
}
#endif

/**
 * thread_cpu_time_ns: CPU time of the calling thread
 *
 * Returns: ns since it was started, -1 where the host cannot tell.
 */
static inline int64_t thread_cpu_time_ns(void)
{
#ifdef CLOCK_THREAD_CPUTIME_ID
    return thread_cpu_time_read_ns(CLOCK_THREAD_CPUTIME_ID);
#else
    return -1;
#endif
}

#ifdef CONFIG_LINUX
/**
 * thread_cpu_time_of_ns: CPU time of another thread
 *
 * Returns: ns since it was started, -1 where the host cannot tell.
 */
static inline int64_t thread_cpu_time_of_ns(pthread_t thread)
{
    clockid_t clock;

    return pthread_getcpuclockid(thread, &clock) ? -1 :
           thread_cpu_time_read_ns(clock);
}
#endif

#endif /* QEMU_THREAD_CPU_TIME_H */
