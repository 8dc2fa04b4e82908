/*
 * Throttle vCPUs to a share of their run time
 *
 * The law: a vCPU that ran for t owes a sleep of t * p / (100 - p).
 *
 *      ran   owed                     late timer        paid in full
 *      |--|  |------------------|     |-----|  |------------------------ ...
 *   ___|##|__.__.__.__.__.__.__.|##|..|#####|__.__.__.__.__.__.__.__.__.__
 *      ^slice begins            ^ slice begins
 *          ^slice timer, kick
 *
 * Each vCPU thread keeps an account of its own.  When its slice ends it is
 * charged for what it ran, and sleeps until the debt is below a millisecond
 * (softmmu/vcpu-slowdown.c).  Overruns of timers and of sleeps are debt or
 * credit in the account; they make the next sleep longer or the next slice
 * shorter, and do not change the share.
 *
 * What counts as run time is min(wall clock, 4 x CPU time of the thread) over
 * the slice.  Simpler forms fail:
 *  - one tick for all vCPUs, as a fixed period that holds a fixed sleep: a
 *    sleep that overruns costs the vCPU a whole period's throttle, and where
 *    one thread runs all vCPUs the sleeps add up;
 *  - wall clock alone: a vCPU that was halted or paused pays for having been;
 *  - CPU time alone: a vCPU that gets half of a host CPU would sleep half as
 *    long as asked, just on the busy hosts that are being evacuated.
 * The factor 4 means: one that got a quarter of the CPU or more is taken for
 * busy all the time, one that got less is taken for partly idle.
 *
 * What counts as sleep is the wall clock less the CPU time that the thread used
 * while it paid: to fall asleep, to wake, to look for interrupts.  That takes
 * some 10 us a turn on hardware.  Where KVM itself is emulated it takes 300 us,
 * and a throttle of 20 % was one of 17.6 %.  It does not count as run time, too:
 * a guest at 99 % would pay a hundredfold for what is nothing to it.
 *
 * Limits: the longest sleep (95 ms) at the shortest run that the main loop's
 * timers allow.  The share holds as long as slice and lateness come to no more
 * than 95 ms * (100 - p) / p on average: 23 ms at 80 %, 5 ms at 95 %, 0.95 ms
 * at 99 %.  Past that the vCPU gets more than it should; the debt is capped, so
 * that it does not pay for the host's hiccup later.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/thread-cpu-time.h"
#include "qemu/timer.h"
#include "hw/core/cpu.h"
#include "sysemu/cpu-throttle.h"
#include "sysemu/vcpu-slowdown.h"

/*
 * Sleeps grow from 1.5 ms at 1 % (a slice of 150 ms) to 7 ms at 90 %: long
 * enough for waits of whole milliseconds, short enough for a guest not to
 * notice.  From there on the slice stays at SLICE_MIN_NS and sleeps grow to
 * 79 ms at 99 %: a shorter slice would drown in the lateness of timers.
 */
#define SLEEP_BASE_NS           (1500 * SCALE_US)
#define SLEEP_PER_PCT_NS        (60 * SCALE_US)
#define SLICE_MIN_NS            (800 * SCALE_US)

/*
 * A guest that wants more than so many times the CPUs that the host has gets
 * longer slices and sleeps, up to four times as long: fewer turns, each of
 * which takes the BQL twice, on a host where who holds it may be waiting for a
 * CPU.
 */
#define CROWD                   2
#define CROWD_STRETCH_MAX       4

/* Slices that settle a debt or a credit: 1/4 of their length to 4 times it. */
#define SLICE_STRETCH           4

/*
 * A vCPU that used less than 1/16 of its slice is idle.  Its slices double up
 * to IDLE_SLICE_MAX_NS, so that it is woken 50 times a second and not 1000;
 * when it gets busy, it runs for that long before it is called to account.
 */
#define IDLE_FRACTION           16
#define IDLE_SLICE_MAX_NS       (20 * SCALE_MS)
#define IDLE_SLICES_MAX         5

/* How much of the thread's time counts as run time; see above. */
#define CPU_TIME_FACTOR         4

/* What a host's hiccup, or a sleep for dirtylimit, can leave in the account. */
#define DEBT_MAX_NS             (1000 * SCALE_MS)
#define CREDIT_MAX_NS           (100 * SCALE_MS)

static int host_cpus;

/* Asked for by cpu_throttle_set(), and by the user (atomic). */
static int migration_pct;
static int user_pct;

/*
 * Percentages of single vCPUs hold until the next one for all, which is known
 * by its number (atomic): so that it can be set without a walk over vCPUs.
 */
static unsigned all_nr = 1;
static bool any_single;

static int64_t sleep_for_run_ns(int64_t run_ns, int pct)
{
    return run_ns * pct / (100 - pct);
}

static int64_t run_for_sleep_ns(int64_t sleep_ns, int pct)
{
    return sleep_ns * (100 - pct) / pct;
}

static VcpuThrottleAccount *account_of(CPUState *cpu)
{
    return &cpu->slowdown.throttle;
}

/* The percentage that a vCPU's thread is to go by. */
static int percentage_of(CPUState *payer)
{
    const VcpuThrottleAccount *account = account_of(payer);
    int pct = qatomic_read(&account->single_nr) == qatomic_read(&all_nr) ?
              qatomic_read(&account->single_pct) :
              qatomic_read(&migration_pct);

    return MAX(pct, qatomic_read(&user_pct));
}

static bool is_news(CPUState *cpu)
{
    return account_of(cpu)->pct != percentage_of(cpu);
}

/*
 * Take the percentage in force over.  A lower one takes its share of the debt
 * back, so that a vCPU that sleeps at 99 % wakes when asked to go by 20 %; a
 * higher one is for what runs from now on.
 */
static void take_percentage_over(CPUState *cpu)
{
    VcpuThrottleAccount *account = account_of(cpu);
    int pct = percentage_of(cpu);

    if (!account->pct || !pct) {
        account->debt_ns = 0;
        account->idle_slices = 0;
    } else if (pct < account->pct && account->debt_ns > 0) {
        int64_t run_ns = run_for_sleep_ns(account->debt_ns, account->pct);

        account->debt_ns = sleep_for_run_ns(run_ns, pct);
    }
    if (!account->pct && pct) {
        account->ran_ns = 0;
        account->slept_ns = 0;
    }
    account->pct = pct;
}

static void end_slice(CPUState *cpu, int64_t now_ns)
{
    VcpuThrottleAccount *account = account_of(cpu);
    int64_t run_ns = now_ns - account->slice_start_ns;
    int64_t cpu_ns = thread_cpu_time_ns();

    if (account->pct) {
        if (cpu_ns >= 0) {
            int64_t used_ns = cpu_ns - account->slice_start_cpu_ns;

            if (used_ns < run_ns / IDLE_FRACTION) {
                account->idle_slices++;
            } else {
                account->idle_slices = 0;
            }
            run_ns = MIN(run_ns, used_ns * CPU_TIME_FACTOR);
        }
        account->ran_ns += run_ns;
        account->debt_ns += sleep_for_run_ns(run_ns, account->pct);
        account->debt_ns = MIN(account->debt_ns, DEBT_MAX_NS);
    }
    account->slice_end_cpu_ns = cpu_ns;
    account->paid_ns = 0;
    take_percentage_over(cpu);
}

/* Of what it just paid, the thread was on the CPU for a part: no sleep. */
static void take_waking_time_back(VcpuThrottleAccount *account, int64_t cpu_ns)
{
    int64_t awake_ns = MIN(cpu_ns - account->slice_end_cpu_ns,
                           account->paid_ns);

    if (account->pct && cpu_ns >= 0 && awake_ns > 0) {
        account->slept_ns -= awake_ns;
        account->debt_ns += awake_ns;
    }
}

static int64_t debt_ns(CPUState *cpu, int64_t now_ns)
{
    VcpuThrottleAccount *account = account_of(cpu);

    if (is_news(cpu)) {
        take_percentage_over(cpu);
    }
    return account->debt_ns;
}

static void slept(CPUState *cpu, int64_t slept_ns)
{
    VcpuThrottleAccount *account = account_of(cpu);

    if (account->pct) {
        account->slept_ns += slept_ns;
        account->paid_ns += slept_ns;
        account->debt_ns = MAX(account->debt_ns - slept_ns, -CREDIT_MAX_NS);
    }
}

static int count_host_cpus(void)
{
#ifdef _SC_NPROCESSORS_ONLN
    return MAX(sysconf(_SC_NPROCESSORS_ONLN), 1);
#else
    return g_get_num_processors();
#endif
}

/*
 * All of the host's CPUs count, though the guest may be bound to a few of them:
 * what this thread is bound to tells nothing of the other vCPUs.
 */
static int64_t stretch_in_crowd_ns(int64_t sleep_ns, int pct)
{
    int64_t crowd_pct = CROWD * host_cpus * 100LL;
    int64_t wanted_pct = vcpu_slowdown_threads() * (100LL - pct);

    wanted_pct = MAX(wanted_pct, crowd_pct);
    return sleep_ns * MIN(wanted_pct, CROWD_STRETCH_MAX * crowd_pct) /
           crowd_pct;
}

/* The slice that makes the next sleep as long as it is meant to be. */
static int64_t slice_length_ns(const VcpuThrottleAccount *account)
{
    int pct = account->pct;
    int64_t sleep_ns = MAX(SLEEP_BASE_NS + pct * SLEEP_PER_PCT_NS,
                           sleep_for_run_ns(SLICE_MIN_NS, pct));
    int64_t usual_ns, slice_ns;

    sleep_ns = stretch_in_crowd_ns(sleep_ns, pct);
    usual_ns = run_for_sleep_ns(sleep_ns, pct);
    slice_ns = run_for_sleep_ns(sleep_ns - account->debt_ns, pct);
    slice_ns = MAX(slice_ns, usual_ns / SLICE_STRETCH);
    slice_ns = MIN(slice_ns, usual_ns * SLICE_STRETCH);
    if (account->idle_slices && slice_ns < IDLE_SLICE_MAX_NS) {
        slice_ns <<= MIN(account->idle_slices, IDLE_SLICES_MAX);
        slice_ns = MIN(slice_ns, IDLE_SLICE_MAX_NS);
    }
    return slice_ns;
}

static int64_t begin_slice(CPUState *cpu, int64_t now_ns)
{
    VcpuThrottleAccount *account = account_of(cpu);

    if (is_news(cpu)) {
        take_percentage_over(cpu);
    }
    account->slice_start_ns = now_ns;
    account->slice_start_cpu_ns = thread_cpu_time_ns();
    take_waking_time_back(account, account->slice_start_cpu_ns);
    return account->pct ? slice_length_ns(account) : 0;
}

int cpu_throttle_get_percentage(void)
{
    CPUState *cpu;
    int pct = 0;

    if (!qatomic_read(&any_single)) {
        return MAX(qatomic_read(&migration_pct), qatomic_read(&user_pct));
    }
    CPU_FOREACH(cpu) {
        pct = MAX(pct, cpu_throttle_get_vcpu_percentage(cpu));
    }
    return pct;
}

int cpu_throttle_get_vcpu_percentage(CPUState *cpu)
{
    return percentage_of(vcpu_slowdown_payer(cpu));
}

bool cpu_throttle_active(void)
{
    return cpu_throttle_get_percentage() > 0;
}

void cpu_throttle_set(int pct)
{
    bool was_single = qatomic_xchg(&any_single, false);

    pct = MIN(MAX(pct, 0), CPU_THROTTLE_PCT_MAX);
    if (was_single) {
        qatomic_inc(&all_nr);
    }
    if (qatomic_xchg(&migration_pct, pct) != pct || was_single) {
        vcpu_slowdown_changed();
    }
}

void cpu_throttle_set_vcpu(CPUState *cpu, int pct)
{
    CPUState *payer = vcpu_slowdown_payer(cpu);
    VcpuThrottleAccount *account = account_of(payer);
    bool first = !qatomic_xchg(&any_single, true);

    pct = MIN(MAX(pct, 0), CPU_THROTTLE_PCT_MAX);
    if (payer != cpu && account->single_nr == all_nr) {
        /* One thread runs several: the highest of theirs is in force. */
        pct = MAX(pct, account->single_pct);
    }
    qatomic_set(&account->single_pct, pct);
    qatomic_set(&account->single_nr, all_nr);
    if (first) {
        vcpu_slowdown_changed();
    } else if (is_news(payer) && payer->created && !payer->unplug) {
        vcpu_slowdown_request(payer);
        vcpu_slowdown_wake(payer);
    }
}

void cpu_throttle_stop(void)
{
    cpu_throttle_set(0);
}

void cpu_throttle_set_by_user(int pct)
{
    if (qatomic_xchg(&user_pct, pct) != pct) {
        vcpu_slowdown_changed();
    }
}

static const VcpuDebtor throttle_debtor = {
    .by_thread = true,
    .owed_ns = debt_ns,
    .slept = slept,
    .charge = end_slice,
    .go_on = begin_slice,
    .is_news = is_news,
    .is_active = cpu_throttle_active,
};

void cpu_throttle_init(void)
{
    host_cpus = count_host_cpus();
    vcpu_slowdown_init();
    vcpu_slowdown_register(&throttle_debtor);
}
