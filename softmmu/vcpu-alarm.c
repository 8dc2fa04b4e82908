/*
 * An alarm clock of each vCPU thread, which gets it out of guest code
 *
 *      timers of the main loop            an alarm
 *      -----------------------            --------
 *      main loop wakes up                 a signal interrupts the vCPU's
 *      ... is given a host CPU            thread, on the CPU that it runs on
 *      ... is given the BQL
 *      kicks the vCPU
 *
 * The left way takes what the host and others with the BQL please: a dirty
 * bitmap's sync holds it for tens of milliseconds, and on a host whose CPUs
 * are all taken the vCPU itself keeps the main loop waiting.  A vCPU that
 * shall run for one millisecond in a hundred cannot depend on that.
 *
 * The alarm is a POSIX timer that signals the thread which set it.  With KVM,
 * the signal is the one that kicks vCPUs, and comes out of KVM_RUN by itself;
 * with TCG, one of our own whose handler asks the running vCPU to leave.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/notify.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "hw/core/cpu.h"
#include "sysemu/kvm.h"
#include "sysemu/tcg.h"
#include "sysemu/vcpu-alarm.h"
#include "sysemu/vcpu-base.h"

#if defined(CONFIG_LINUX) && defined(SIGEV_THREAD_ID)

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* Nobody else in system emulation has a use for real-time signals. */
#define TCG_ALARM_SIGNAL (SIGRTMIN + 3)

typedef struct VcpuAlarm {
    enum { UNTRIED, READY, NONE } state;
    timer_t timer;
    Notifier at_exit;
} VcpuAlarm;

static __thread VcpuAlarm alarm_of_thread;

/* In the vCPU thread itself, between any two of its instructions. */
static void leave_guest_code(int signal, siginfo_t *info, void *context)
{
    if (current_cpu) {
        vcpu_base_ask_out(current_cpu);
    }
}

static void thread_ends(Notifier *notifier, void *data)
{
    timer_delete(container_of(notifier, VcpuAlarm, at_exit)->timer);
}

/* Returns: false if it cannot be had. */
static bool listen_to_own_signal(void)
{
    struct sigaction action = {
        .sa_sigaction = leave_guest_code,
        .sa_flags = SA_SIGINFO | SA_RESTART,
    };
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, TCG_ALARM_SIGNAL);
    return !sigaction(TCG_ALARM_SIGNAL, &action, NULL) &&
           !pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static bool make_alarm(VcpuAlarm *alarm)
{
    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD_ID,
        .sigev_signo = kvm_enabled() ? SIG_IPI : TCG_ALARM_SIGNAL,
    };

    if (!kvm_enabled() && (!tcg_enabled() || !listen_to_own_signal())) {
        return false;
    }
    event.sigev_notify_thread_id = qemu_get_thread_id();
    if (timer_create(CLOCK_MONOTONIC, &event, &alarm->timer)) {
        return false;
    }
    alarm->at_exit.notify = thread_ends;
    qemu_thread_atexit_add(&alarm->at_exit);
    return true;
}

bool vcpu_alarm_set(int64_t delay_ns)
{
    VcpuAlarm *alarm = &alarm_of_thread;
    struct itimerspec when = {
        .it_value.tv_sec = delay_ns / NANOSECONDS_PER_SECOND,
        .it_value.tv_nsec = delay_ns % NANOSECONDS_PER_SECOND,
    };

    if (alarm->state == UNTRIED && delay_ns) {
        alarm->state = make_alarm(alarm) ? READY : NONE;
    }
    return alarm->state == READY &&
           !timer_settime(alarm->timer, 0, &when, NULL);
}

#else

bool vcpu_alarm_set(int64_t delay_ns)
{
    return false;
}

#endif
