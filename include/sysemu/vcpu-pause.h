/*
 * The longest time for which a vCPU was held at next to nothing
 *
 *      slept  ran                       ran        slept
 *   ___|=====|.|=====|.|=====|..|=====|.......|=====|...
 *      ^                              ^ it ran for too long to be held
 *      |------- one pause -----------|         the next one
 *
 * A vCPU at 99 % runs for 0.8 ms in each 80 ms.  Programs in the guest see one
 * long silence of that, and none of its single sleeps tells how long it was.
 * So sleeps belong together as long as the vCPU runs for at most 5 % of the
 * time: each sleep earns it some of its own length, up to what half a second
 * earns, and what it runs is taken off that.  Once it ran for more, it lived on.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSEMU_VCPU_PAUSE_H
#define SYSEMU_VCPU_PAUSE_H

/*
 * A throttle of 95 % is delivered within half a point, and counts: so what is
 * compared with is 5.5 %.  One of 94 % does not count.
 */
#define VCPU_PAUSE_RAN_PER_MILLE 55
/* In how long a vCPU has to have run for less. */
#define VCPU_PAUSE_WINDOW_NS 500000000LL

/* Of one vCPU; zero-initialised. */
typedef struct VcpuPause {
    int64_t begin_ns;           /* of its first sleep */
    int64_t end_ns;             /* of its last sleep so far */
    int64_t may_run_ns;         /* before it ends */
} VcpuPause;

/**
 * vcpu_pause_slept: take a sleep into account
 * @begin_ns: when it began, not before the last one ended
 * @end_ns: when it ended
 *
 * Returns: how long the pause has lasted that this sleep is a part of.
 */
static inline int64_t vcpu_pause_slept(VcpuPause *pause, int64_t begin_ns,
                                       int64_t end_ns)
{
    pause->may_run_ns -= begin_ns - pause->end_ns;
    if (pause->may_run_ns < 0 || !pause->end_ns) {
        pause->begin_ns = begin_ns;
        pause->may_run_ns = 0;
    }
    pause->may_run_ns += (end_ns - begin_ns) * VCPU_PAUSE_RAN_PER_MILLE /
                         (1000 - VCPU_PAUSE_RAN_PER_MILLE);
    pause->may_run_ns = MIN(pause->may_run_ns, VCPU_PAUSE_WINDOW_NS *
                                               VCPU_PAUSE_RAN_PER_MILLE /
                                               1000);
    pause->end_ns = end_ns;
    return end_ns - pause->begin_ns;
}

#endif /* SYSEMU_VCPU_PAUSE_H */
