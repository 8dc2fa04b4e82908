/*
 * Convergence, end to end: real QEMU processes, driven over QMP and HMP
 *
 * Each test starts its own guests and asserts that they go on working.  Times
 * are bounds of behaviour, wide enough for a busy host.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-vm.h"

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    vm_setup();
    convergence_add_params_tests();
    convergence_add_throttle_tests();
    convergence_add_step_tests();
    convergence_add_still_tests();
    convergence_add_stop_tests();
    convergence_add_limit_tests();
    convergence_add_ram_tests();
    convergence_add_estimate_tests();
    convergence_add_devices_tests();
    convergence_add_peer_tests();
    convergence_add_clients_tests();
    convergence_add_memory_tests();
    ret = g_test_run();
    vm_teardown();
    return ret;
}
