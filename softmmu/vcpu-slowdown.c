/*
 * The one place where vCPUs sleep, for whoever registered as a debtor
 *
 *      debtors, timer                     vCPU thread
 *      --------------                     -----------
 *      vcpu_slowdown_request() --mark-->  leaves guest code  <------------+
 *                                         serves its queue of work:       |
 *                                           a mark says that it is due    |
 *                                         if it is due, it pays:          |
 *                                           debtors charge it             |
 *                                           while something is owed:      |
 *                                             sleep on halt_cond          |
 *                                             serve work that came in     |
 *                                             go out for an interrupt  ---+
 *      timer           <--due_ns--        debtors say when it is due next |
 *                                         enters guest code   own alarm --+
 *
 * The mark is a work item of async_run_on_cpu(), and the sleep is not part of
 * it: work that was queued before it, and run_on_cpu() whose caller waits until
 * the queue is empty, does not wait for the sleep.
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
 * Work that comes while the vCPU sleeps is served within the sleep.  For an
 * interrupt the vCPU goes out, is charged for what it does, and sleeps on
 * (vcpu-reprieve.c).
 *
 * What the vCPU is due for next is told by its own alarm (vcpu-alarm.c).  The
 * timer beside it serves halted vCPUs, and all of them where there are no such
 * alarms.  A vCPU that is being unplugged sets none: its signal would find a
 * vCPU that is taken down.
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
#include "sysemu/runstate.h"
#include "sysemu/vcpu-alarm.h"
#include "sysemu/vcpu-interrupts.h"
#include "sysemu/vcpu-reprieve.h"
#include "sysemu/vcpu-slowdown.h"

/*
 * A vCPU runs at least once in so long.  Below 100 ms by what a wait overruns,
 * above the 80 ms that cpu-throttle needs at 99 %.
 */
#define SLEEP_MAX_NS            (95 * SCALE_MS)

/* How long a vCPU runs that the limit above let go with a debt. */
#define REPRIEVE_NS             (1 * SCALE_MS)

#define DEBTORS_MAX             4

/*
 * A vCPU in guest code is called out of it by its own alarm, in time.  The main
 * loop comes for those that are halted, which is not urgent, and need not wake
 * up a thousand times a second for 64 vCPUs.
 */
#define ALARM_GRACE_NS          (5 * SCALE_MS)

/* While vCPUs are slowed, those plugged are found within so long. */
#define HOUSEKEEPING_NS         (100 * SCALE_MS)

static const VcpuDebtor *debtors[DEBTORS_MAX];

static QEMUTimer *slowdown_timer;

/* Threads with vCPUs, as the last walk met them (BQL). */
static int nr_threads;

/* The longest pause of any vCPU, since when (BQL). */
static int64_t longest_pause_ns;
static int64_t pauses_since_ns;

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

/* Walk the accounts of a thread: those of each vCPU, and those of its own. */
#define FOREACH_ACCOUNT(debtor, cpu, payer) \
    for (const VcpuDebtor **d = debtors; (debtor = *d); d++) \
        FOREACH_OF_THREAD(cpu, payer) \
            if (!(debtor->by_thread && cpu != payer))

static void charge(CPUState *payer, int64_t now_ns)
{
    const VcpuDebtor *debtor;
    CPUState *cpu;

    FOREACH_ACCOUNT(debtor, cpu, payer) {
        if (debtor->charge) {
            debtor->charge(cpu, now_ns);
        }
    }
}

static int64_t owed_ns(CPUState *payer, int64_t now_ns)
{
    const VcpuDebtor *debtor;
    CPUState *cpu;
    int64_t most_ns = 0;

    FOREACH_ACCOUNT(debtor, cpu, payer) {
        most_ns = MAX(most_ns, debtor->owed_ns(cpu, now_ns));
    }
    return most_ns;
}

/* What of a pause was before they were forgotten does not count. */
static void note_pause(CPUState *payer, int64_t begin_ns, int64_t end_ns)
{
    int64_t pause_ns = vcpu_pause_slept(&payer->slowdown.pause, begin_ns,
                                        end_ns);

    pause_ns = MIN(pause_ns, end_ns - pauses_since_ns);
    longest_pause_ns = MAX(longest_pause_ns, pause_ns);
}

static void slept(CPUState *payer, int64_t begin_ns)
{
    int64_t end_ns = clock_ns();
    const VcpuDebtor *debtor;
    CPUState *cpu;

    FOREACH_ACCOUNT(debtor, cpu, payer) {
        debtor->slept(cpu, end_ns - begin_ns);
    }
    note_pause(payer, begin_ns, end_ns);
}

/* Returns: how long the vCPU may stay in guest code, 0 for as it likes. */
static int64_t go_on(CPUState *payer, int64_t now_ns)
{
    const VcpuDebtor *debtor;
    CPUState *cpu;
    int64_t least_ns = owed_ns(payer, now_ns) < SCALE_MS ? INT64_MAX :
                       REPRIEVE_NS;

    FOREACH_ACCOUNT(debtor, cpu, payer) {
        int64_t run_ns = debtor->go_on ? debtor->go_on(cpu, now_ns) : 0;

        least_ns = run_ns ? MIN(least_ns, run_ns) : least_ns;
    }
    return least_ns < INT64_MAX ? least_ns : 0;
}

static void wait_for(CPUState *payer, int64_t wait_ns)
{
    if (wait_ns < SCALE_MS) {
        vcpu_nap(wait_ns);
    } else {
        qemu_cond_timedwait_bql(payer->halt_cond, wait_ns / SCALE_MS);
    }
}

/*
 * An interrupt is for one vCPU, and to let one out that shares its thread would
 * let all of them out.
 */
static bool may_go_out(CPUState *payer)
{
    return !next_of_thread(payer);
}

/*
 * Sleep until little is owed, or for SLEEP_MAX_NS.  Returns: whether it is not
 * done with, but out to serve an interrupt.
 */
static bool sleep_off_debts(CPUState *payer)
{
    int64_t end_ns = clock_ns() + SLEEP_MAX_NS;

    while (!must_leave(payer)) {
        int64_t now_ns, due_ns, wait_ns;

        /* What came without the BQL since the queue was served kicked then. */
        serve_queued_work(payer);
        now_ns = clock_ns();
        due_ns = owed_ns(payer, now_ns);
        wait_ns = MIN(due_ns, end_ns - now_ns);
        if (wait_ns < SCALE_MS) {
            break;
        }
        if (may_go_out(payer)) {
            if (vcpu_reprieve_is_due(payer, due_ns, now_ns)) {
                return true;
            }
            wait_ns = MIN(wait_ns,
                          vcpu_reprieve_look_ns(payer, due_ns, now_ns));
        }
        wait_for(payer, wait_ns);
        slept(payer, now_ns);
        /*
         * Before a look at whether to leave: whoever queued it may wait for it,
         * and a vCPU that is being unplugged comes by no queue any more.
         */
        serve_queued_work(payer);
    }
    return false;
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

static void set_due(CPUState *payer, int64_t now_ns, int64_t run_ns)
{
    VcpuSlowdown *slowdown = &payer->slowdown;

    slowdown->due_ns = now_ns + run_ns;
    slowdown->alarmed = set_alarm(payer, run_ns);
    timer_mod_anticipate_ns(slowdown_timer, request_ns(slowdown));
}

/*
 * Between the last look at the debts and the reset of `due` the BQL is not let
 * go of, so a request made with it held is never lost.
 */
static void pay(CPUState *payer)
{
    VcpuSlowdown *slowdown = &payer->slowdown;
    int64_t now_ns = clock_ns();
    int64_t run_ns;
    bool is_out;

    slowdown->due_ns = 0;
    charge(payer, now_ns);
    vcpu_reprieve_hold(payer, owed_ns(payer, now_ns), now_ns);
    is_out = sleep_off_debts(payer);
    slowdown->due = false;
    if (payer->unplug) {
        vcpu_alarm_set(0);
        return;
    }
    now_ns = clock_ns();
    run_ns = go_on(payer, now_ns);
    if (is_out) {
        int64_t out_ns = vcpu_reprieve_begin(payer, owed_ns(payer, now_ns),
                                             now_ns);

        run_ns = run_ns ? MIN(run_ns, out_ns) : out_ns;
    }
    if (run_ns) {
        set_due(payer, now_ns, run_ns);
    }
}

void vcpu_slowdown_left_guest(CPUState *cpu)
{
    VcpuSlowdown *slowdown = &cpu->slowdown;

    if (cpu->unplug) {
        /* The thread's last look before it takes its vCPU down. */
        vcpu_alarm_set(0);
        return;
    }
    if (slowdown->due ||
        (slowdown->due_ns && slowdown->due_ns <= clock_ns())) {
        pay(cpu);
    }
}

/* The work item. */
static void come_due(CPUState *cpu, run_on_cpu_data unused)
{
    /* A debt made before this is seen when it pays; one made later asks anew */
    qatomic_set_mb(&cpu->slowdown.requested, false);
    cpu->slowdown.due = true;
}

void vcpu_slowdown_request(CPUState *cpu)
{
    cpu = vcpu_slowdown_payer(cpu);
    if (!qatomic_xchg(&cpu->slowdown.requested, true)) {
        async_run_on_cpu(cpu, come_due, RUN_ON_CPU_NULL);
    }
}

void vcpu_slowdown_wake(CPUState *cpu)
{
    if (cpu->created) {
        qemu_cond_broadcast(cpu->halt_cond);
    }
}

void vcpu_slowdown_forget_pauses(void)
{
    longest_pause_ns = 0;
    pauses_since_ns = clock_ns();
}

int64_t vcpu_slowdown_longest_pause_ns(void)
{
    return longest_pause_ns;
}

int vcpu_slowdown_threads(void)
{
    return nr_threads;
}

static bool is_news(CPUState *payer)
{
    const VcpuDebtor *debtor;
    CPUState *cpu;

    FOREACH_ACCOUNT(debtor, cpu, payer) {
        if (debtor->is_news && debtor->is_news(cpu)) {
            return true;
        }
    }
    return false;
}

static bool any_active(void)
{
    for (const VcpuDebtor **d = debtors; *d; d++) {
        if ((*d)->is_active && (*d)->is_active()) {
            return true;
        }
    }
    return false;
}

/* Request what is due of one vCPU.  Returns: when to come back, 0 = never. */
static int64_t attend_to(CPUState *cpu, int64_t now_ns, bool running)
{
    if (is_news(cpu)) {
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

    if (running && any_active()) {
        next_ns = now_ns + HOUSEKEEPING_NS;
    }
    nr_threads = 0;
    CPU_FOREACH(cpu) {
        int64_t due_ns;

        if (!cpu->created || cpu->unplug || vcpu_slowdown_payer(cpu) != cpu) {
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

void vcpu_slowdown_changed(void)
{
    if (bql_locked()) {
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

void vcpu_slowdown_register(const VcpuDebtor *debtor)
{
    const VcpuDebtor **d = debtors;

    g_assert(debtor->owed_ns && debtor->slept);
    while (*d && *d != debtor) {
        d++;
    }
    /* The last entry stays NULL. */
    g_assert(d < debtors + DEBTORS_MAX - 1);
    *d = debtor;
}

void vcpu_slowdown_init(void)
{
    slowdown_timer = timer_new_ns(QEMU_CLOCK_REALTIME, attend_to_all, NULL);
    qemu_add_vm_change_state_handler(run_state_changed, NULL);
}
