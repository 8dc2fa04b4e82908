/*
 * Convergence tests: devices that dirty more than the link carries
 *
 * The test is the device: it writes guest memory by way of its own connection,
 * which no vCPU is charged for.  One that follows writes a number of pages for
 * each that vCPU 0 has written, as a disk does for a vCPU that reads it; one
 * that is deaf writes so many a second, as a NIC does that receives.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-vm.h"

#define LINK_BYTES_PER_S    16000000
/* Four times that. */
#define DEVICE_BYTES_PER_S  64e6
/* The vCPU's own, which are few and fit any downtime limit. */
#define VCPU_PAGES          64
#define VCPU_BYTES_PER_S    2e6
#define DEVICE_BEGIN        (16 * 1024 * 1024)
#define DEVICE_BYTES        (24 * 1024 * 1024)
/* Of one request. */
#define CHUNK_BYTES         (128 * 1024)
#define TURN_US             2000
#define LOOK_US             (50 * 1000)

typedef struct Device {
    QTestState *vm;
    bool follows;
    double per_unit_bytes;      /* of a page of the vCPU's, or of a second */
    double done;                /* units so far */
    double due_bytes;
    uint64_t next_bytes;
    uint8_t pattern;
} Device;

static GuestLoad vcpu_load(void)
{
    return (GuestLoad) { VCPU_PAGES, 0, 1 };
}

static double units_so_far(const Device *device)
{
    return device->follows ? vm_pages_written(device->vm) :
           g_get_monotonic_time() / 1e6;
}

static Device device_start(QTestState *vm, bool follows)
{
    Device device = {
        .vm = vm,
        .follows = follows,
        .per_unit_bytes = follows ? DEVICE_BYTES_PER_S / VCPU_BYTES_PER_S *
                                    VM_PAGE_BYTES : DEVICE_BYTES_PER_S,
    };

    /* So that no page is new to the host: the first write may take it a ms. */
    qtest_memset(vm, vm_ram_base() + DEVICE_BEGIN, 1, DEVICE_BYTES);
    device.done = units_so_far(&device);
    return device;
}

/* What it came to have to write since the last turn. */
static void device_run(Device *device)
{
    double units = units_so_far(device);

    device->due_bytes += (units - device->done) * device->per_unit_bytes;
    device->done = units;
    /* A test that was kept waiting does not catch up on all of it. */
    device->due_bytes = MIN(device->due_bytes, DEVICE_BYTES_PER_S / 10);
    while (device->due_bytes >= CHUNK_BYTES) {
        if (!device->next_bytes) {
            device->pattern = device->pattern % 250 + 1;
        }
        qtest_memset(device->vm,
                     vm_ram_base() + DEVICE_BEGIN + device->next_bytes,
                     device->pattern, CHUNK_BYTES);
        device->next_bytes = (device->next_bytes + CHUNK_BYTES) %
                             DEVICE_BYTES;
        device->due_bytes -= CHUNK_BYTES;
    }
}

/* Returns: the migration as it is then, the device at work meanwhile. */
static MigrationView *run_for(Device *device, int64_t us)
{
    int64_t end_us = g_get_monotonic_time() + us;

    while (g_get_monotonic_time() < end_us) {
        device_run(device);
        g_usleep(TURN_US);
    }
    return view_take(device->vm);
}

static const char *reason_of(const MigrationView *view)
{
    return view->convergence ? qdict_get_str(view->convergence, "reason") : "";
}

static bool is_estimated(const MigrationView *view)
{
    return view->convergence &&
           g_strcmp0(qdict_get_try_str(view->convergence, "meter"),
                     "estimate") == 0;
}

/* In that state, for a reason that has these words. */
static void wait_state(Device *device, const char *state, const char *words)
{
    for (int i = 0; i < VM_PATIENCE_S * 1000000 / LOOK_US; i++) {
        g_autoptr(MigrationView) view = run_for(device, LOOK_US);

        g_assert_false(view_is_over(view));
        if (g_str_equal(view->state, state) &&
            strstr(reason_of(view), words)) {
            g_test_message("%s", reason_of(view));
            return;
        }
    }
    g_error("not %s within %d s", state, VM_PATIENCE_S);
}

static void set_up(QTestState *vm, const char *policy)
{
    vm_pace(vm, VCPU_BYTES_PER_S);
    vm_capability(vm, "auto-converge", true);
    vm_set(vm, "'max-bandwidth': %d, 'downtime-limit': 300,"
           " 'convergence-policy': '%s'", LINK_BYTES_PER_S, policy);
}

static void assert_never_slowed(Device *device, int seconds)
{
    for (int i = 0; i < seconds * 1000000 / LOOK_US; i++) {
        g_autoptr(MigrationView) view = run_for(device, LOOK_US);

        g_assert_cmpint(view->throttle_pct, ==, 0);
        g_assert_cmpint(vm_throttle_pct(device->vm), ==, 0);
    }
}

/*
 * Limits cannot hold what a vCPU has devices write, and so say.  "auto", which
 * they point to, finds out that devices follow, and ends it.  `estimate` takes
 * what devices write for their vCPUs', which ends it too.
 */
static void test_devices_that_follow_are_slowed_by_their_vcpus(void)
{
    const char *args = vm_can_have_many_vcpus() ? "-smp 2" : "";
    g_autoptr(Pair) pair = pair_start(vcpu_load(), args, args);
    const char *follow = "devices write what vCPUs ask for";
    bool told = false;
    Device device;

    set_up(pair->from, vm_has_exact_meter() ? "dirty-limit" : "auto");
    device = device_start(pair->from, true);
    view_free(run_for(&device, 500 * 1000));
    pair_migrate(pair);
    if (vm_has_exact_meter()) {
        wait_state(&device, "stuck", "which limits on vCPUs do not lower: "
                   "convergence-policy auto");
        assert_never_slowed(&device, 1);
        vm_set(pair->from, "'convergence-policy': 'auto'");
    }
    for (int i = 0; i < VM_PATIENCE_S * 1000000 / LOOK_US; i++) {
        g_autoptr(MigrationView) view = run_for(&device, LOOK_US);

        told |= vm_has_exact_meter() ? strstr(reason_of(view), follow) != NULL :
                is_estimated(view);
        if (view_is_over(view)) {
            break;
        }
    }
    pair_assert_arrived(pair);
    g_assert_true(told ||
                  (!vm_has_exact_meter() && !vm_can_have_many_vcpus()));
}

/*
 * It is tried, said, and not tried all the time; the guest has its speed.  To
 * do as the reason says ends the migration.
 */
static void test_deaf_devices_are_told_and_vcpus_let_be(void)
{
    QTestState *vm = vm_start(vcpu_load(), "");
    double before;
    Device device;

    if (vm_skip_without_meter()) {
        qtest_quit(vm);
        return;
    }
    vm_wait_guest_up(vm);
    set_up(vm, "auto");
    before = vm_bytes_per_s(vm);
    device = device_start(vm, false);
    vm_migrate_to_nowhere(vm);
    if (vm_has_exact_meter()) {
        wait_state(&device, "throttling", "all vCPUs are held to see");
        wait_state(&device, "stuck", "while all vCPUs slept 99 % of their "
                   "time: less I/O");
    } else {
        /* Whose writes they are is not known: a throttle that is in vain. */
        wait_state(&device, "stuck", "slowing the guest down did not help");
    }
    /* Ten seconds go by before the next trial. */
    assert_never_slowed(&device, 2);
    vm_assert_speed_back(vm, before / 4);
    vm_wait_status(vm, "completed");
    qtest_quit(vm);
}

void convergence_add_devices_tests(void)
{
    qtest_add_func("/convergence/devices/follow",
                   test_devices_that_follow_are_slowed_by_their_vcpus);
    qtest_add_func("/convergence/devices/deaf",
                   test_deaf_devices_are_told_and_vcpus_let_be);
}
