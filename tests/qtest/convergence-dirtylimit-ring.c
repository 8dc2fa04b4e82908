/*
 * Dirty limit tests: KVM's dirty ring as the meter
 *
 * On some hosts the ring all but stops a guest, with no limit of ours anywhere:
 * its vCPU runs and runs within KVM and gets no further, in this QEMU or in the
 * next, at random.  Or KVM resets less of a ring than QEMU harvested, and QEMU
 * ends by an assertion.  These are faults of the host, for which the test is
 * skipped.  What tells the first from a limit that lets nothing through is that
 * a vCPU that we hold back is asleep.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/wait.h>
#include "convergence-dirtylimit.h"

#if defined(__linux__) && defined(HOST_X86_64)
#include <sys/ioctl.h>
#include <linux/kvm.h>
#endif

/* The largest limit tried; a guest without one must be faster. */
#define LIMIT_MAX_MB    vm_unlimited_mb(100)

/* A vCPU at the lowest limit tried is awake for a few per cent of the time. */
#define AWAKE_PCT       50

/* Why there is no KVM with a dirty ring here; NULL if there is. */
static const char *no_kvm_ring(void)
{
#if defined(__linux__) && defined(HOST_X86_64)
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int bytes;

    if (fd < 0) {
        return "/dev/kvm cannot be opened";
    }
    bytes = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING);
    close(fd);
    return bytes > 0 ? NULL : "this host's KVM has no dirty ring";
#else
    return "this host has no KVM for x86_64 guests";
#endif
}

static char *pid_file(void)
{
    return g_build_filename(vm_dir(), "ring-pid", NULL);
}

static QTestState *start(void)
{
    g_autofree char *path = pid_file();
    g_autofree char *args = g_strdup_printf("-smp 2 -pidfile %s", path);

    return vm_start_on("kvm,dirty-ring-size=4096", LIMIT_RAM_MB, LIMIT_LOAD,
                       args);
}

typedef enum RingTrial {
    RING_WORKS,
    RING_NO_GUEST,
    RING_STALLS,
} RingTrial;

static RingTrial try_ring(void)
{
    QTestState *vm = start();
    RingTrial trial = RING_NO_GUEST;
    double written_mb;

    if (vm_guest_comes_up(vm)) {
        /* In its midst: before and after, the ring is not in use. */
        vm_dirty_rate_start(vm, 4);
        g_usleep(G_USEC_PER_SEC);
        written_mb = vm_mb_per_s(vm, 2);
        g_test_message("with the ring and no limit: %.0f MB/s", written_mb);
        trial = written_mb < LIMIT_MAX_MB ? RING_STALLS : RING_WORKS;
        vm_dirty_rate_wait(vm);
    }
    qtest_quit(vm);
    return trial;
}

/*
 * Whether a guest that has no limit works here.  In a process of its own, which
 * a QEMU that ends by an assertion takes along.
 *
 * Returns: NULL if it does.
 */
static const char *no_working_ring(void)
{
    pid_t child = fork();
    int status;

    g_assert_cmpint(child, >=, 0);
    if (!child) {
        _exit(try_ring());
    }
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    if (!WIFEXITED(status)) {
        return "QEMU ends over this host's KVM ring, with no limit set";
    }
    switch (WEXITSTATUS(status)) {
    case RING_WORKS:
        return NULL;
    case RING_NO_GUEST:
        return "the guest does not come up under this host's KVM";
    default:
        return "this host's KVM ring all but stops a guest that has no limit";
    }
}

/* The file in which the host tells how long vCPU 0's thread has run. */
static char *vcpu_schedstat(QTestState *vm)
{
    QDict *rsp = qtest_qmp(vm, "{'execute': 'query-cpus-fast'}");
    QDict *vcpu = qobject_to(QDict,
                             qlist_peek(qdict_get_qlist(rsp, "return")));
    int64_t thread_id = qdict_get_int(vcpu, "thread-id");
    g_autofree char *path = pid_file();
    g_autofree char *pid = NULL;

    g_assert_cmpint(qdict_get_int(vcpu, "cpu-index"), ==, 0);
    qobject_unref(rsp);
    g_assert_true(g_file_get_contents(path, &pid, NULL, NULL));
    return g_strdup_printf("/proc/%s/task/%" PRId64 "/schedstat",
                           g_strchomp(pid), thread_id);
}

/*
 * How long vCPU 0's thread has been awake: on a CPU, or waiting for one, as on
 * a busy host it may well have to.  0 where the host does not tell.
 */
static int64_t vcpu_awake_ns(QTestState *vm)
{
    g_autofree char *path = vcpu_schedstat(vm);
    g_autofree char *text = NULL;
    int64_t on_cpu_ns, waiting_ns;

    if (!g_file_get_contents(path, &text, NULL, NULL) ||
        sscanf(text, "%" SCNd64 " %" SCNd64, &on_cpu_ns, &waiting_ns) != 2) {
        return 0;
    }
    return on_cpu_ns + waiting_ns;
}

/* Whether the guest stands still although nothing of ours holds it back. */
static bool host_stalls(QTestState *vm)
{
    int64_t start_us = g_get_monotonic_time();
    uint64_t written = vm_pages_written(vm);
    int64_t awake_ns = vcpu_awake_ns(vm);
    double awake_pct;

    g_usleep(G_USEC_PER_SEC);
    awake_ns = vcpu_awake_ns(vm) - awake_ns;
    written = vm_pages_written(vm) - written;
    awake_pct = awake_ns / 10.0 / (g_get_monotonic_time() - start_us);
    g_test_message("%" PRIu64 " pages written, the vCPU awake for %.0f %% of "
                   "the time", written, awake_pct);
    return written == 0 && awake_pct > AWAKE_PCT;
}

/* Returns: false if the host stalls, so that nobody can tell. */
static bool limit_holds(QTestState *vm, uint64_t limit_mb)
{
    double got = vm_mb_per_s_limited(vm, limit_mb);

    if (got <= limit_mb * vm_limit_used(vm) && host_stalls(vm)) {
        return false;
    }
    g_assert_cmpfloat(got, >, limit_mb * vm_limit_used(vm));
    return true;
}

static bool speed_comes_back(QTestState *vm)
{
    double got;

    vm_cancel_limits(vm);
    g_usleep(100 * 1000);
    got = vm_mb_per_s(vm, 1);
    if (got <= LIMIT_MAX_MB && host_stalls(vm)) {
        return false;
    }
    g_assert_cmpfloat(got, >, LIMIT_MAX_MB);
    return true;
}

static void test_limits_hold_with_kvm_ring(void)
{
    const char *why_not = no_kvm_ring() ?: no_working_ring();
    QTestState *vm;

    if (why_not) {
        g_test_skip(why_not);
        return;
    }
    vm = start();
    vm_wait_guest_up(vm);
    if (!limit_holds(vm, LIMIT_MAX_MB) || !limit_holds(vm, 20) ||
        !limit_holds(vm, 5) || !speed_comes_back(vm)) {
        g_test_skip("this host's KVM ring stopped the guest: its vCPU wrote "
                    "nothing, yet was not asleep for a limit but ran");
    }
    qtest_quit(vm);
}

void dirtylimit_add_ring_tests(void)
{
    qtest_add_func("/convergence/dirtylimit/kvm-ring",
                   test_limits_hold_with_kvm_ring);
}
