/*
 * As much of QEMU as softmmu/cpu-throttle.c and vcpu-slowdown.c take
 *
 * All of QEMU's headers that they include lead here.  What is declared is
 * implemented in vcpu-world.c, on a clock that the test moves.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FAKE_QEMU_H
#define FAKE_QEMU_H

#include "qemu/osdep.h"
#include "sysemu/vcpu-slowdown.h"

#define NANOSECONDS_PER_SECOND 1000000000LL
#define SCALE_MS 1000000
#define SCALE_US 1000

/* One host thread runs everything here: what is atomic needs no care. */
#define qatomic_read(p)        (*(p))
#define qatomic_set(p, v)      (*(p) = (v))
#define qatomic_set_mb(p, v)   (*(p) = (v))
#define qatomic_xchg(p, v) \
    ({ typeof(*(p)) old_ = *(p); *(p) = (v); old_; })

#define qatomic_inc(p)         ((void)++*(p))

/* vCPUs and their threads */

typedef struct QemuThread QemuThread;
typedef struct QemuCond {
    QemuThread *sleeper;
} QemuCond;

typedef union { void *host_ptr; } run_on_cpu_data;
#define RUN_ON_CPU_NULL ((run_on_cpu_data) { NULL })
typedef void (*run_on_cpu_func)(CPUState *cpu, run_on_cpu_data data);

struct CPUState {
    CPUState *next;
    int cpu_index;
    QemuThread *thread;
    QemuCond *halt_cond;
    bool created, stop, stopped, unplug;
    VcpuSlowdown slowdown;
    /* The test's: queued work, and what another debtor says is owed. */
    GQueue work;
    /* When whoever waited for the queue to be empty was woken. */
    int64_t work_served_ns;
    int64_t other_debt_ns;
};

extern CPUState *first_cpu;
#define CPU_NEXT(cpu) ((cpu)->next)
#define CPU_FOREACH(cpu) for (cpu = first_cpu; cpu; cpu = (cpu)->next)

void async_run_on_cpu(CPUState *cpu, run_on_cpu_func f, run_on_cpu_data data);
void process_queued_cpu_work(CPUState *cpu);
bool cpu_work_list_empty(CPUState *cpu);
bool cpu_is_stopped(CPUState *cpu);
void qemu_cond_broadcast(QemuCond *cond);
void qemu_cond_timedwait_bql(QemuCond *cond, int ms);
bool bql_locked(void);

/* Clocks, timers, main loop, run state */

#define clock_gettime fake_clock_gettime
int fake_clock_gettime(clockid_t clock, struct timespec *ts);
#define sysconf fake_sysconf
long fake_sysconf(int name);

typedef enum { QEMU_CLOCK_REALTIME } QEMUClockType;
typedef struct QEMUTimer QEMUTimer;
typedef struct AioContext AioContext;
typedef void QEMUCallback(void *opaque);

int64_t qemu_clock_get_ns(QEMUClockType type);
QEMUTimer *timer_new_ns(QEMUClockType type, QEMUCallback *cb, void *opaque);
void timer_mod_ns(QEMUTimer *timer, int64_t expire_ns);
void timer_mod_anticipate_ns(QEMUTimer *timer, int64_t expire_ns);
AioContext *qemu_get_aio_context(void);
void aio_bh_schedule_oneshot(AioContext *ctx, QEMUCallback *cb, void *opaque);

typedef int RunState;
typedef void VMChangeStateHandler(void *opaque, bool running, RunState state);
bool runstate_is_running(void);
void qemu_add_vm_change_state_handler(VMChangeStateHandler *cb, void *opaque);

/* Monitor and QAPI */

typedef struct Error Error;
void error_setg(Error **errp, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
const char *error_get_pretty(const Error *err);
void error_free(Error *err);

typedef struct Monitor { GString *out; } Monitor;
typedef struct QDict { int64_t percentage; } QDict;
int64_t qdict_get_int(const QDict *qdict, const char *key);
int monitor_printf(Monitor *mon, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
bool hmp_handle_error(Monitor *mon, Error *err);

typedef struct CpuThrottleInfo {
    int64_t cpu_index, percentage, ran_ns, slept_ns;
} CpuThrottleInfo;
typedef struct CpuThrottleInfoList {
    struct CpuThrottleInfoList *next;
    CpuThrottleInfo *value;
} CpuThrottleInfoList;
void qapi_free_CpuThrottleInfoList(CpuThrottleInfoList *list);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CpuThrottleInfoList,
                              qapi_free_CpuThrottleInfoList)
#define QAPI_LIST_APPEND(tail, element) do { \
    *(tail) = g_new0(typeof(**(tail)), 1); \
    (*(tail))->value = (element); \
    (tail) = &(*(tail))->next; \
} while (0)

void qmp_set_cpu_throttle(int64_t percentage, Error **errp);
CpuThrottleInfoList *qmp_query_cpu_throttle(Error **errp);
void hmp_set_cpu_throttle(Monitor *mon, const QDict *qdict);
void hmp_info_cpu_throttle(Monitor *mon, const QDict *qdict);

#endif /* FAKE_QEMU_H */
