/*
 * A world of vCPU threads and a main loop on a clock that the test moves
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "vcpu-world.h"
#include "sysemu/vcpu-alarm.h"
#include "sysemu/vcpu-interrupts.h"
#include <ucontext.h>

#define STACK_BYTES (128 * 1024)

struct QemuThread {
    QemuThread *next;
    ucontext_t context;
    void *stack;
    QemuCond cond;
    enum { IN_GUEST, WAITING, NAPPING, BUSY } state;
    /* When the wait ends, or when a kick reaches guest code. */
    int64_t until_ns;
    int64_t alarm_ns;
    int busy_pct;
    int64_t in_guest_ns, cpu_time_ns, work_ns, left_at_ns, silence_ns;
    int exits;
    /* Interrupts: one waits, one is being handled for so long still. */
    bool waits, masks;
    int64_t handler_left_ns, sent_ns, next_ns, think_ns, answer_ns;
    int answers;
};

struct QEMUTimer {
    QEMUCallback *cb;
    int64_t expire_ns, fires_ns;
};

typedef struct WorkItem {
    run_on_cpu_func func;
    run_on_cpu_data data;
} WorkItem;

World world;
CPUState *first_cpu;

static QemuThread *threads, *current;
static ucontext_t scheduler;
static bool round_robin_threads, running;
static int64_t now_ns, interrupt_ns;
static QEMUTimer the_timer;
static VMChangeStateHandler *change_handler;
static QEMUCallback *bh;
static GRand *rng;

static int64_t random_up_to_ns(int64_t max_ns)
{
    return max_ns > 0 ? g_rand_double(rng) * max_ns : 0;
}

/* Threads */

static void leave_thread(int state)
{
    QemuThread *self = current;

    self->state = state;
    swapcontext(&self->context, &scheduler);
}

static void thread_main(void)
{
    CPUState *cpu;

    for (;;) {
        if (now_ns > current->left_at_ns) {
            current->silence_ns = MAX(current->silence_ns,
                                      now_ns - current->left_at_ns);
        }
        current->until_ns = INT64_MAX;
        CPU_FOREACH(cpu) {
            if (cpu->thread == current &&
                (cpu->stop || !g_queue_is_empty(&cpu->work))) {
                current->until_ns = now_ns;
            }
        }
        leave_thread(IN_GUEST);
        current->left_at_ns = now_ns;
        current->exits++;
        CPU_FOREACH(cpu) {
            if (cpu->thread == current) {
                if (cpu->stop) {
                    cpu->stop = false;
                    cpu->stopped = true;
                }
                process_queued_cpu_work(cpu);
                vcpu_slowdown_left_guest(cpu);
            }
        }
    }
}

static void enter_thread(QemuThread *thread)
{
    current = thread;
    thread->state = BUSY;
    swapcontext(&scheduler, &thread->context);
    current = NULL;
}

static QemuThread *new_thread(void)
{
    QemuThread *thread = g_new0(QemuThread, 1);

    thread->busy_pct = 100;
    thread->alarm_ns = thread->next_ns = INT64_MAX;
    thread->stack = g_malloc(STACK_BYTES);
    thread->cond.sleeper = thread;
    thread->left_at_ns = now_ns;
    getcontext(&thread->context);
    thread->context.uc_stack.ss_sp = thread->stack;
    thread->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&thread->context, thread_main, 0);
    thread->next = threads;
    threads = thread;
    enter_thread(thread);
    return thread;
}

static CPUState *first_of(QemuThread *thread)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        if (cpu->thread == thread) {
            return cpu;
        }
    }
    return NULL;
}

static bool runs_guest(QemuThread *thread)
{
    CPUState *cpu = first_of(thread);

    return thread->state == IN_GUEST && running && cpu && !cpu->stopped;
}

void world_kick(CPUState *cpu)
{
    QemuThread *thread = cpu->thread;

    if (thread->state == WAITING) {
        qemu_cond_broadcast(cpu->halt_cond);
    } else if (thread->state == IN_GUEST) {
        thread->until_ns = MIN(thread->until_ns,
                               now_ns + random_up_to_ns(world.kick_late_ns));
    }
}

void async_run_on_cpu(CPUState *cpu, run_on_cpu_func func, run_on_cpu_data data)
{
    WorkItem *item = g_new0(WorkItem, 1);

    item->func = func;
    item->data = data;
    g_queue_push_tail(&cpu->work, item);
    world_kick(cpu);
}

void process_queued_cpu_work(CPUState *cpu)
{
    WorkItem *item;

    while ((item = g_queue_pop_head(&cpu->work))) {
        item->func(cpu, item->data);
        g_free(item);
    }
    cpu->work_served_ns = now_ns;
}

bool cpu_work_list_empty(CPUState *cpu)
{
    return g_queue_is_empty(&cpu->work);
}

bool cpu_is_stopped(CPUState *cpu)
{
    return cpu->stopped || !running;
}

void qemu_cond_broadcast(QemuCond *cond)
{
    if (cond->sleeper->state == WAITING) {
        cond->sleeper->until_ns = now_ns;
    }
}

void qemu_cond_timedwait_bql(QemuCond *cond, int ms)
{
    g_assert(cond->sleeper == current);
    g_assert_cmpint(ms, >, 0);
    current->until_ns = now_ns + ms * (int64_t)SCALE_MS +
                        random_up_to_ns(world.wait_late_ns);
    leave_thread(WAITING);
    current->cpu_time_ns += world.wait_cpu_ns;
}

/* Interrupts */

static bool handles(const QemuThread *thread)
{
    return thread->handler_left_ns > 0;
}

static void send_interrupt(QemuThread *thread)
{
    thread->next_ns = INT64_MAX;
    if (!thread->waits && !handles(thread)) {
        thread->waits = true;
        thread->sent_ns = now_ns;
    }
    if (world.interrupts_told) {
        qemu_cond_broadcast(&thread->cond);
    }
}

/* It is in guest code: from now on it handles what waits, if it may. */
static void let_in(QemuThread *thread)
{
    if (thread->waits && !thread->masks) {
        thread->waits = false;
        thread->handler_left_ns = world.handler_ns;
    }
}

static void handle_for(QemuThread *thread, int64_t ran_ns)
{
    if (!handles(thread)) {
        return;
    }
    thread->handler_left_ns -= ran_ns;
    if (!handles(thread)) {
        thread->answers++;
        thread->answer_ns = MAX(thread->answer_ns,
                                now_ns + ran_ns - thread->sent_ns);
        if (thread->think_ns) {
            thread->next_ns = now_ns + ran_ns + thread->think_ns;
        }
    }
}

bool vcpu_interrupt_waits(CPUState *cpu)
{
    world.interrupt_looks++;
    return cpu->thread->waits;
}

bool vcpu_interrupts_are_told(void)
{
    return world.interrupts_told;
}

bool vcpu_masks_interrupts(CPUState *cpu)
{
    return cpu->thread->masks || handles(cpu->thread);
}

void vcpu_nap(int64_t nap_ns)
{
    g_assert_cmpint(nap_ns, >, 0);
    g_assert_cmpint(nap_ns, <, SCALE_MS);
    current->until_ns = now_ns + nap_ns + random_up_to_ns(world.wait_late_ns);
    leave_thread(NAPPING);
    current->cpu_time_ns += world.wait_cpu_ns;
}

bool vcpu_alarm_set(int64_t delay_ns)
{
    g_assert_nonnull(current);
    current->alarm_ns = world.alarms && delay_ns ? now_ns + delay_ns
                                                 : INT64_MAX;
    return world.alarms;
}

int fake_clock_gettime(clockid_t clock, struct timespec *ts)
{
    g_assert(clock == CLOCK_THREAD_CPUTIME_ID && current);
    ts->tv_sec = current->cpu_time_ns / NANOSECONDS_PER_SECOND;
    ts->tv_nsec = current->cpu_time_ns % NANOSECONDS_PER_SECOND;
    return 0;
}

long fake_sysconf(int name)
{
    g_assert_cmpint(name, ==, _SC_NPROCESSORS_ONLN);
    return world.host_cpus;
}

/* Main loop */

int64_t qemu_clock_get_ns(QEMUClockType type)
{
    return now_ns;
}

QEMUTimer *timer_new_ns(QEMUClockType type, QEMUCallback *cb, void *opaque)
{
    the_timer = (QEMUTimer) { cb, INT64_MAX, INT64_MAX };
    return &the_timer;
}

void timer_mod_ns(QEMUTimer *timer, int64_t expire_ns)
{
    timer->expire_ns = expire_ns;
    timer->fires_ns = MAX(expire_ns, now_ns) +
                      random_up_to_ns(world.timer_late_ns);
}

void timer_mod_anticipate_ns(QEMUTimer *timer, int64_t expire_ns)
{
    if (expire_ns < timer->expire_ns) {
        timer_mod_ns(timer, expire_ns);
    }
}

AioContext *qemu_get_aio_context(void)
{
    return NULL;
}

void aio_bh_schedule_oneshot(AioContext *ctx, QEMUCallback *cb, void *opaque)
{
    bh = cb;
}

bool bql_locked(void)
{
    return world.bql;
}

bool runstate_is_running(void)
{
    return running;
}

void qemu_add_vm_change_state_handler(VMChangeStateHandler *cb, void *opaque)
{
    change_handler = cb;
}

void world_pause(void)
{
    CPUState *cpu;

    running = false;
    CPU_FOREACH(cpu) {
        cpu->stop = true;
        world_kick(cpu);
    }
}

void world_resume(void)
{
    CPUState *cpu;

    running = true;
    change_handler(NULL, true, 0);
    CPU_FOREACH(cpu) {
        cpu->stop = cpu->stopped = false;
        world_kick(cpu);
    }
}

/* The clock */

static void let_time_pass(int64_t until_ns)
{
    QemuThread *thread;

    for (thread = threads; thread; thread = thread->next) {
        if (runs_guest(thread)) {
            int64_t ran_ns = until_ns - now_ns;

            let_in(thread);
            handle_for(thread, ran_ns);
            thread->in_guest_ns += ran_ns;
            thread->work_ns += ran_ns * thread->busy_pct / 100;
            thread->cpu_time_ns += ran_ns * thread->busy_pct / 100;
        }
    }
    now_ns = until_ns;
}

static int64_t next_event_ns(void)
{
    int64_t next_ns = MIN(the_timer.fires_ns, bh ? now_ns : INT64_MAX);
    QemuThread *thread;

    for (thread = threads; thread; thread = thread->next) {
        next_ns = MIN(next_ns, MIN(thread->until_ns, thread->alarm_ns));
        next_ns = MIN(next_ns, thread->next_ns);
        if (runs_guest(thread)) {
            let_in(thread);
            if (handles(thread)) {
                next_ns = MIN(next_ns, now_ns + thread->handler_left_ns);
            }
        }
        if (thread->state == WAITING && world.interrupts_per_s) {
            next_ns = MIN(next_ns, MAX(interrupt_ns, now_ns));
        }
    }
    return MAX(next_ns, now_ns);
}

static void interrupt_sleepers(void)
{
    QemuThread *thread;

    if (world.interrupts_per_s && now_ns >= interrupt_ns) {
        interrupt_ns = now_ns + NANOSECONDS_PER_SECOND / world.interrupts_per_s;
        for (thread = threads; thread; thread = thread->next) {
            qemu_cond_broadcast(&thread->cond);
        }
    }
}

/* It gets a vCPU out of guest code, and out of nothing else. */
static void ring_alarm(QemuThread *thread)
{
    thread->alarm_ns = INT64_MAX;
    if (runs_guest(thread)) {
        thread->until_ns = now_ns;
    }
}

static void run_what_is_due(void)
{
    QEMUCallback *cb = bh;
    QemuThread *thread;
    bool bql = world.bql;

    world.bql = true;
    if (cb) {
        bh = NULL;
        cb(NULL);
    }
    if (the_timer.fires_ns <= now_ns) {
        the_timer.expire_ns = the_timer.fires_ns = INT64_MAX;
        world.timer_fired++;
        the_timer.cb(NULL);
    }
    interrupt_sleepers();
    for (thread = threads; thread; thread = thread->next) {
        if (thread->next_ns <= now_ns) {
            send_interrupt(thread);
        }
        if (thread->alarm_ns <= now_ns) {
            ring_alarm(thread);
        }
        if (thread->until_ns <= now_ns) {
            enter_thread(thread);
        }
    }
    world.bql = bql;
}

void world_run_for(int64_t ns)
{
    int64_t end_ns = now_ns + ns;
    int64_t next_ns;

    while ((next_ns = next_event_ns()) <= end_ns) {
        let_time_pass(next_ns);
        run_what_is_due();
    }
    let_time_pass(end_ns);
}

int64_t world_now_ns(void)
{
    return now_ns;
}

/* Set-up and measurement */

void world_unplug_vcpu(CPUState *cpu)
{
    cpu->stop = cpu->unplug = true;
    world_kick(cpu);
}

CPUState *world_plug_vcpu(void)
{
    CPUState *cpu = g_new0(CPUState, 1);
    CPUState **tail = &first_cpu;

    while (*tail) {
        cpu->cpu_index++;
        tail = &(*tail)->next;
    }
    g_queue_init(&cpu->work);
    cpu->thread = round_robin_threads && first_cpu ? first_cpu->thread
                                                   : new_thread();
    cpu->halt_cond = &cpu->thread->cond;
    cpu->created = true;
    *tail = cpu;
    return cpu;
}

void world_new(int vcpus, bool round_robin, int64_t first_ns)
{
    world = (World) { .bql = true, .host_cpus = 64,
                      .interrupts_told = true,
                      .handler_ns = 10 * SCALE_US,
                      .timer_late_ns = 60 * SCALE_US,
                      .wait_late_ns = 100 * SCALE_US,
                      .kick_late_ns = 20 * SCALE_US };
    now_ns = interrupt_ns = first_ns;
    round_robin_threads = round_robin;
    running = true;
    bh = NULL;
    rng = g_rand_new_with_seed(1);
    while (vcpus--) {
        world_plug_vcpu();
    }
}

void world_free(void)
{
    while (first_cpu) {
        CPUState *cpu = first_cpu;

        first_cpu = cpu->next;
        g_queue_clear_full(&cpu->work, g_free);
        g_free(cpu);
    }
    while (threads) {
        QemuThread *thread = threads;

        threads = thread->next;
        g_free(thread->stack);
        g_free(thread);
    }
    g_rand_free(rng);
}

void world_set_busy_pct(CPUState *cpu, int busy_pct)
{
    cpu->thread->busy_pct = busy_pct;
}

int64_t world_in_guest_ns(CPUState *cpu)
{
    return cpu->thread->in_guest_ns;
}

int64_t world_work_ns(CPUState *cpu)
{
    return cpu->thread->work_ns;
}

int64_t world_cpu_time_ns(CPUState *cpu)
{
    return cpu->thread->cpu_time_ns;
}

int64_t world_silence_ns(CPUState *cpu)
{
    return cpu->thread->silence_ns;
}

int world_exits(CPUState *cpu)
{
    return cpu->thread->exits;
}

bool world_sleeps(CPUState *cpu)
{
    return cpu->thread->state == WAITING || cpu->thread->state == NAPPING;
}

void world_interrupt(CPUState *cpu)
{
    send_interrupt(cpu->thread);
}

void world_storm(CPUState *cpu, int64_t think_ns)
{
    cpu->thread->think_ns = think_ns;
    if (think_ns) {
        send_interrupt(cpu->thread);
    }
}

void world_mask_interrupts(CPUState *cpu, bool masks)
{
    cpu->thread->masks = masks;
}

bool world_interrupt_waits(CPUState *cpu)
{
    return cpu->thread->waits || handles(cpu->thread);
}

int world_answers(CPUState *cpu)
{
    return cpu->thread->answers;
}

int64_t world_answer_ns(CPUState *cpu)
{
    return cpu->thread->answer_ns;
}

bool world_alarm_is_set(CPUState *cpu)
{
    return cpu->thread->alarm_ns < INT64_MAX;
}

void world_forget(void)
{
    QemuThread *thread;

    world.timer_fired = 0;
    world.interrupt_looks = 0;
    for (thread = threads; thread; thread = thread->next) {
        thread->in_guest_ns = thread->work_ns = thread->silence_ns = 0;
        thread->exits = thread->answers = 0;
        thread->answer_ns = 0;
    }
}
