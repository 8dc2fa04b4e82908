/*
 * Convergence tests: guests that write, and migrations between real QEMUs
 *
 * The guest is a boot sector.  Each of its vCPUs, or of the first of them,
 * increments a word in each of its pages, round and round, and counts the pages
 * it has been to.  So its memory tells at any time whether it is whole: the
 * counts say what each word has to be.  What vCPUs there are beside these only
 * count in a word of their own: they read, as it is called here.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_CONVERGENCE_VM_H
#define TESTS_QTEST_CONVERGENCE_VM_H

#include "libqtest.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"

#define VM_PAGE_BYTES           4096
#define VM_RAM_BYTES            (64 * 1024 * 1024)
#define VM_PAGES_OF(mb)         ((mb) * 256)

/* Nothing here takes nearly as long, on however busy a host. */
#define VM_PATIENCE_S           60

/* What libvirt sends for it; a 32 bit host takes no more than a size_t. */
#define VM_UNLIMITED_BYTES_PER_S \
    (sizeof(size_t) > 4 ? UINT64_C(9223372036853727232) : UINT32_MAX)

typedef struct GuestLoad {
    uint32_t pages;             /* that a vCPU writes, from 1 MB upwards */
    uint32_t spin;              /* turns of an empty loop before each page */
    uint32_t vcpus;             /* that write, pages of their own; 0 is 1 */
} GuestLoad;

/* Some hundreds of MB/s and more, whatever the host. */
#define LOAD_FLAT_OUT(mb)       ((GuestLoad) { VM_PAGES_OF(mb), 0, 1 })
/* Next to nothing: a few MB/s at most. */
#define LOAD_LIGHT(mb)          ((GuestLoad) { VM_PAGES_OF(mb), 2000000, 1 })

/* Where the tests keep disks and sockets; for main(). */
void vm_setup(void);
void vm_teardown(void);
const char *vm_dir(void);
/* Tests that `make check` has no time for: CONVERGE_TEST_LONG is set. */
bool vm_test_long(void);

/*
 * Tests that are about no accelerator run on that of the environment variable
 * CONVERGE_ACCEL, for example "kvm,dirty-ring-size=4096"; without it on TCG.
 * CONVERGE_QEMU_ARGS is added to each QEMU's command line.
 */
const char *vm_accel(void);
/* What single vCPUs dirty can be told on it, and so limited. */
bool vm_has_meter(void);
/*
 * So that none of their writes is missed, and what is dirtied besides is known
 * for devices'.  A meter that may miss some gives way to `estimate` there.
 */
bool vm_has_exact_meter(void);
/* KVM's dirty ring is that meter. */
bool vm_has_ring(void);
/* Returns: true if it cannot; the test says so and ends. */
bool vm_skip_without_meter(void);

/**
 * vm_start: a QEMU under test, the guest not necessarily up yet
 * @load: what the guest does; must be the same on both sides of a migration
 * @args: more of the command line
 */
QTestState *vm_start(GuestLoad load, const char *args);
/* The same with an accelerator of the test's own, or more RAM. */
QTestState *vm_start_on(const char *accel, unsigned ram_mb, GuestLoad load,
                        const char *args);

/* Guest */
uint64_t vm_ram_base(void);
bool vm_can_have_many_vcpus(void);
void vm_wait_guest_up(QTestState *vm);
/* The same for hosts that may not be able to run it: false if it is not up. */
bool vm_guest_comes_up(QTestState *vm);
bool vm_readers_work(QTestState *vm);
/* By vCPU 0, and by any. */
uint64_t vm_pages_written(QTestState *vm);
uint64_t vm_pages_written_by(QTestState *vm, unsigned vcpu);
void vm_assert_guest_works(QTestState *vm);
double vm_bytes_per_s(QTestState *vm);
double vm_bytes_per_s_over(QTestState *vm, double seconds);
/* It comes to write faster than that, as soon as the host lets it. */
void vm_assert_speed_back(QTestState *vm, double bytes_per_s);
/* Have a guest that is up write at about that rate. */
void vm_pace(QTestState *vm, double bytes_per_s);
void vm_set_spin(QTestState *vm, uint32_t spin);
/* Stops the guest, and starts it again if it was running. */
void vm_assert_memory_whole(QTestState *vm, GuestLoad load);

/* QMP and HMP */
QDict *vm_query(QTestState *vm, const char *command);
/* For what QEMUs differ in: 7 for QEMU 7.2. */
int64_t vm_qemu_major(QTestState *vm);
bool vm_is_running(QTestState *vm);
void vm_assert_error(QDict *rsp, const char *first, ...)
    G_GNUC_NULL_TERMINATED;
void vm_set(QTestState *vm, const char *arguments, ...) G_GNUC_PRINTF(2, 3);
QDict *vm_try_set(QTestState *vm, const char *arguments, ...)
    G_GNUC_PRINTF(2, 3);
void vm_capability(QTestState *vm, const char *name, bool on);
void vm_assert_hmp_has(QTestState *vm, const char *command, const char *text);
/* The percentage that query-cpu-throttle shows for vCPU 0. */
int64_t vm_throttle_pct(QTestState *vm);
/* What all vCPUs together slept, of their time over some seconds. */
double vm_slept_pct(QTestState *vm, unsigned vcpus, double seconds);

/* What query-migrate says; view_free() it. */
typedef struct MigrationView {
    QDict *all;
    const char *status;         /* "none" before the first migration */
    int64_t throttle_pct;       /* 0 if there is none */
    QDict *convergence;         /* NULL if there is none */
    const char *state;          /* "" without convergence */
    int64_t limit_ms;           /* downtime limit in force, -1: not shown */
    int64_t passes;
    QDict *ram;                 /* NULL if there is none */
} MigrationView;

MigrationView *view_take(QTestState *vm);
void view_free(MigrationView *view);
bool view_is(const MigrationView *view, const char *status);
/* The migration is over, for better or worse. */
bool view_is_over(const MigrationView *view);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MigrationView, view_free)

/* What the migration under way says of each vCPU, -1 where it says nothing. */
void vm_say_of_each(QTestState *vm, const char *what, int64_t *values,
                    int vcpus);
int64_t vm_said_of(QTestState *vm, int vcpu, const char *what);
/* To a destination that takes all and answers nothing. */
void vm_migrate_to_nowhere(QTestState *vm);
/* @fd is closed on our side. */
void vm_migrate_to_fd(QTestState *vm, int fd);
/* Returns: the end that is to be read. */
int vm_migrate_to_pipe(QTestState *vm);

/* Source and destination of one migration. */
typedef struct Pair {
    QTestState *from;
    QTestState *to;
    GuestLoad load;
    unsigned ram_mb;            /* 0: as much as there is usually */
    char *uri;
    bool listens;               /* the destination does, at uri */
} Pair;

/**
 * pair_start: two QEMUs, the guest of the first one up
 */
Pair *pair_start(GuestLoad load, const char *from_args, const char *to_args);
/* The same with more RAM. */
Pair *pair_start_with(unsigned ram_mb, GuestLoad load, const char *from_args,
                      const char *to_args);
void pair_free(Pair *pair);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Pair, pair_free)

void pair_start_destination(Pair *pair, const char *args);
void pair_start_destination_at(Pair *pair, const char *uri, const char *args);
/* The destination process ends. */
void pair_lose_destination(Pair *pair);
/* Having failed to load, it ends by itself. */
void pair_bury_destination(Pair *pair);
/*
 * It waits for a migration, with all capabilities set that it is to have, or
 * refuses to: the answer, to be unreferenced.
 */
QDict *pair_try_listen(Pair *pair);
/* The same where it must not be refused; nothing if it listens already. */
void pair_listen(Pair *pair);
/* Listens, if it does not yet. */
void pair_migrate(Pair *pair);
void pair_cancel(Pair *pair);
void vm_wait_status(QTestState *vm, const char *status);
/* Some vCPU is throttled by the migration, which is not over. */
void vm_wait_throttled(QTestState *vm);
/*
 * Failed by our doing, on that condition, and the guest is none the worse for
 * it: its memory whole, and writing about as fast as @bytes_per_s again.
 */
void pair_assert_given_up(Pair *pair, double bytes_per_s,
                          const char *condition);
/* Completed, the guest at work on the other side, and its memory whole. */
void pair_assert_arrived(Pair *pair);

/* The tests, file by file. */
void convergence_add_params_tests(void);
void convergence_add_throttle_tests(void);
void convergence_add_step_tests(void);
void convergence_add_still_tests(void);
void convergence_add_stop_tests(void);
void convergence_add_limit_tests(void);
void convergence_add_ram_tests(void);
void convergence_add_estimate_tests(void);
void convergence_add_devices_tests(void);
void convergence_add_peer_tests(void);
void convergence_add_clients_tests(void);
void convergence_add_memory_tests(void);

#endif /* TESTS_QTEST_CONVERGENCE_VM_H */
