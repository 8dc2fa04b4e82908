/*
 * The one place where vCPUs sleep for cpu-throttle and dirtylimit
 *
 *      slice timer, dirtylimit            vCPU thread
 *      -----------------------            -----------
 *      vcpu_slowdown_request() --kick-->  leaves guest code  <------------+
 *                                         vcpu_slowdown_pay():            |
 *                                           end the run slice, charge it  |
 *                                           while something is owed:      |
 *                                             sleep on halt_cond          |
 *                                             serve work that came in     |
 *      slice timer           <--due_ns--    begin the next run slice      |
 *                                         enters guest code   own alarm --+
 *
 * A sleep is a timed wait on cpu->halt_cond, as that of a halted vCPU.  All
 * that wants a vCPU kicks it, a kick broadcasts halt_cond, and a sleeper that
 * wakes looks at the world anew: whoever pauses, resets or unplugs a vCPU or
 * ends a limit needs no call into here.  Wake-ups for nothing are harmless.
 *
 * The wait takes whole milliseconds and may end late.  So debts are settled by
 * the time that was measured, never by the time that was asked for; what is
 * left over, below a millisecond either way, stays in the accounts.
 *
 * Work that other threads queue on a sleeper (run_on_cpu() among it, whose
 * caller waits) is served within the sleep.  Two other ways were considered.
 * To requeue the sleep behind that work delays the caller all the same, as
 * process_queued_cpu_work() wakes callers when the queue is empty and not
 * before.  To end the sleep lets a guest that floods its vCPUs with TLB
 * shoot-downs go unthrottled.
 *
 * A slice is ended by the vCPU's own alarm (vcpu-alarm.c).  The timer beside it
 * serves halted vCPUs, and all of them where there are no such alarms.
 *
 * That timer is one for all vCPUs and goes by QEMU_CLOCK_REALTIME.  One, as
 * nothing is then left behind when a vCPU is unplugged, and vCPUs plugged later
 * are found by the same walk.  REALTIME, as QEMU_CLOCK_VIRTUAL_RT stands while
 * the guest is paused (a timer just ahead of it would have the main loop spin)
 * and is an input that record/replay logs: nothing here reads or delays what
 * the guest can see of time under replay, only when the host runs it.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "hw/core/cpu.h"
#include "sysemu/cpus.h"
#include "sysemu/cpu-throttle.h"
#include "sysemu/dirtylimit.h"
#include "sysemu/runstate.h"
#include "sysemu/vcpu-alarm.h"
#include "sysemu/vcpu-slowdown.h"

/*
 * A vCPU runs at least once in so long.  Below 100 ms by what a wait overruns,
 * above the 80 ms that cpu-throttle needs at 99 %.
 */
#define SLEEP_MAX_NS            (95 * SCALE_MS)

/* How long a vCPU runs that the limit above let go with dirtylimit's debt. */
#define REPRIEVE_NS             (1 * SCALE_MS)

/*
 * A vCPU in guest code is called out of it by its own alarm, in time.  The main
 * loop comes for those that are halted, which is not urgent, and need not wake
 * up a thousand times a second for 64 vCPUs.
 */
#define ALARM_GRACE_NS          (5 * SCALE_MS)

/* While throttled, vCPUs that were plugged are found within so long. */
#define HOUSEKEEPING_NS         (100 * SCALE_MS)

static QEMUTimer *slowdown_timer;

/* Threads with vCPUs, as the last walk met them (BQL). */
static int nr_threads;

static int64_t clock_ns(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
}

CPUState *vcpu_slowdown_payer(CPUState *cpu)
{
    /* Round-robin TCG is told by its shared thread: no accelerator to ask. */
    return cpu->thread == first_cpu->thread ? first_cpu : cpu;
}

/*
 * A thread has one vCPU, or, with round-robin TCG, all of them.  So this is no
 * walk over all vCPUs, which each of many would do in each of its sleeps.
 */
static CPUState *next_of_thread(CPUState *cpu)
{
    CPUState *next = CPU_NEXT(cpu);

    return next && next->thread == cpu->thread ? next : NULL;
}

#define FOREACH_OF_THREAD(cpu, payer) \
    for (cpu = payer; cpu; cpu = next_of_thread(cpu))

/* The vCPU has something better to do than to sleep, and at once. */
static bool must_leave(CPUState *payer)
{
    CPUState *cpu;

    FOREACH_OF_THREAD(cpu, payer) {
        if (cpu->stop || cpu->unplug) {
            return true;
        }
    }
    return cpu_is_stopped(payer);
}

static void serve_queued_work(CPUState *payer)
{
    CPUState *cpu;

    FOREACH_OF_THREAD(cpu, payer) {
        if (!cpu_work_list_empty(cpu)) {
            process_queued_cpu_work(cpu);
        }
    }
}

static int64_t dirty_debt_ns(CPUState *payer, int64_t now_ns)
{
    CPUState *cpu;
    int64_t debt_ns = 0;

    FOREACH_OF_THREAD(cpu, payer) {
        debt_ns = MAX(debt_ns, dirtylimit_debt_ns(cpu, now_ns));
    }
    return debt_ns;
}

static void slept(CPUState *payer, int64_t slept_ns, bool for_dirtying)
{
    CPUState *cpu;

    cpu_throttle_slept(payer, slept_ns);
    if (!for_dirtying) {
        return;
    }
    FOREACH_OF_THREAD(cpu, payer) {
        dirtylimit_slept(cpu, slept_ns);
    }
}

/* Sleep until little is owed, or for SLEEP_MAX_NS. */
static void sleep_off_debts(CPUState *cpu)
{
    int64_t end_ns = clock_ns() + SLEEP_MAX_NS;

    /* What is queued behind this item already has kicked, and will not again */
    serve_queued_work(cpu);
    while (!must_leave(cpu)) {
        int64_t now_ns = clock_ns();
        int64_t throttle_ns = cpu_throttle_debt_ns(cpu);
        int64_t dirty_ns = dirty_debt_ns(cpu, now_ns);
        int64_t wait_ns = MIN(MAX(throttle_ns, dirty_ns), end_ns - now_ns);

        if (wait_ns < SCALE_MS) {
            break;
        }
        qemu_cond_timedwait_iothread(cpu->halt_cond, wait_ns / SCALE_MS);
        serve_queued_work(cpu);
        slept(cpu, clock_ns() - now_ns, dirty_ns > 0);
    }
}

/* When the main loop has to see to a vCPU whose slice ends at due_ns. */
static int64_t request_ns(const VcpuSlowdown *slowdown)
{
    return slowdown->due_ns + (slowdown->alarmed ? ALARM_GRACE_NS : 0);
}

/*
 * An alarm calls the vCPU out that runs when it goes off, and where one thread
 * runs several, that merely begins the next one's turn.
 */
static bool set_alarm(CPUState *payer, int64_t slice_ns)
{
    return !next_of_thread(payer) && vcpu_alarm_set(slice_ns);
}

/*
 * The work item.  Between the last look at the debts and the reset of `queued`
 * the BQL is not let go of, so a request made with it held is never lost.
 */
static void vcpu_slowdown_pay(CPUState *cpu, run_on_cpu_data unused)
{
    VcpuSlowdown *slowdown = &cpu->slowdown;
    int64_t now_ns, slice_ns;

    slowdown->due_ns = 0;
    cpu_throttle_end_slice(cpu, clock_ns());
    sleep_off_debts(cpu);
    now_ns = clock_ns();
    slice_ns = cpu_throttle_begin_slice(cpu, now_ns);
    if (dirty_debt_ns(cpu, now_ns) >= SCALE_MS) {
        slice_ns = slice_ns ? MIN(slice_ns, REPRIEVE_NS) : REPRIEVE_NS;
    }
    if (slice_ns) {
        slowdown->due_ns = now_ns + slice_ns;
        slowdown->alarmed = set_alarm(cpu, slice_ns);
        timer_mod_anticipate_ns(slowdown_timer, request_ns(slowdown));
    }
    qatomic_mb_set(&slowdown->queued, false);
}

void vcpu_slowdown_left_guest(CPUState *cpu)
{
    VcpuSlowdown *slowdown = &cpu->slowdown;

    if (cpu->unplug) {
        /* The thread's last look before it takes its vCPU down. */
        vcpu_alarm_set(0);
        return;
    }
    if (slowdown->due_ns && slowdown->due_ns <= clock_ns() &&
        !qatomic_xchg(&slowdown->queued, true)) {
        vcpu_slowdown_pay(cpu, RUN_ON_CPU_NULL);
    }
}

void vcpu_slowdown_request(CPUState *cpu)
{
    cpu = vcpu_slowdown_payer(cpu);
    if (!qatomic_xchg(&cpu->slowdown.queued, true)) {
        async_run_on_cpu(cpu, vcpu_slowdown_pay, RUN_ON_CPU_NULL);
    }
}

void vcpu_slowdown_wake(CPUState *cpu)
{
    if (cpu->created) {
        qemu_cond_broadcast(cpu->halt_cond);
    }
}

int vcpu_slowdown_threads(void)
{
    return nr_threads;
}

/* Request what is due of one vCPU.  Returns: when to come back, 0 = never. */
static int64_t attend_to(CPUState *cpu, int64_t now_ns, bool running)
{
    if (cpu_throttle_is_news(cpu)) {
        vcpu_slowdown_request(cpu);
        qemu_cond_broadcast(cpu->halt_cond);
        return 0;
    }
    if (!running || !cpu->slowdown.due_ns) {
        return 0;
    }
    if (request_ns(&cpu->slowdown) <= now_ns) {
        vcpu_slowdown_request(cpu);
        return 0;
    }
    return request_ns(&cpu->slowdown);
}

/*
 * The walk over all vCPUs, on the timer and on each change.  While the guest
 * is paused it does not come back by itself; resuming starts it again.
 */
static void attend_to_all(void *unused)
{
    CPUState *cpu;
    bool running = runstate_is_running();
    int64_t now_ns = clock_ns();
    int64_t next_ns = INT64_MAX;

    if (running && cpu_throttle_active()) {
        next_ns = now_ns + HOUSEKEEPING_NS;
    }
    nr_threads = 0;
    CPU_FOREACH(cpu) {
        int64_t due_ns;

        if (!cpu->created || vcpu_slowdown_payer(cpu) != cpu) {
            continue;
        }
        nr_threads++;
        due_ns = attend_to(cpu, now_ns, running);
        if (due_ns) {
            next_ns = MIN(next_ns, due_ns);
        }
    }
    if (next_ns < INT64_MAX) {
        timer_mod_ns(slowdown_timer, next_ns);
    }
}

void vcpu_slowdown_throttle_changed(void)
{
    if (qemu_mutex_iothread_locked()) {
        attend_to_all(NULL);
    } else {
        /* Not the timer: the walk could overwrite its new time with a later. */
        aio_bh_schedule_oneshot(qemu_get_aio_context(), attend_to_all, NULL);
    }
}

static void run_state_changed(void *unused, bool running, RunState state)
{
    if (running) {
        attend_to_all(NULL);
    }
}

void vcpu_slowdown_init(void)
{
    slowdown_timer = timer_new_ns(QEMU_CLOCK_REALTIME, attend_to_all, NULL);
    qemu_add_vm_change_state_handler(run_state_changed, NULL);
}
