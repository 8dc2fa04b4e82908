/*
 * Dirty limit tests: a guest that does nothing but write, and its limits
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_CONVERGENCE_DIRTYLIMIT_H
#define TESTS_QTEST_CONVERGENCE_DIRTYLIMIT_H

#include "convergence-vm.h"

/*
 * More in a round than any limit tested here allows in a second: so each page
 * that the guest comes to is clean again, and what it wrote it dirtied.
 */
#define LIMIT_LOAD      LOAD_FLAT_OUT(192)
#define LIMIT_RAM_MB    256

/* TCG; two vCPUs, of which the first writes, and room for two more. */
QTestState *vm_start_writer(void);
double vm_mb_per_s(QTestState *vm, double seconds);

void vm_set_limit(QTestState *vm, uint64_t limit_mb);
void vm_cancel_limits(QTestState *vm);
/* What query-vcpu-dirty-limit shows for a vCPU, 0 = no limit. */
int64_t vm_limit_shown(QTestState *vm, int vcpu, const char *what);
/**
 * vm_mb_per_s_limited: set a limit, and assert that it is not exceeded
 *
 * Returns: how far it is made use of.
 */
double vm_mb_per_s_limited(QTestState *vm, uint64_t limit_mb);
/*
 * Returns: what a vCPU without a limit writes at least, in MB/s: @usual, or with
 * KVM's ring CONVERGE_RING_MB, which the emulated host of tests/kvm sets.
 */
double vm_unlimited_mb(double usual);
/* Of several vCPUs: one thread runs them in turns, and sleeps for all. */
bool vm_has_one_thread(QTestState *vm);
/*
 * Returns: the part of its limit that a guest which writes flat out dirties at
 * least.  Where one thread runs all vCPUs, it waits for its turn besides.
 */
double vm_limit_used(QTestState *vm);

/* Measure with calc-dirty-rate, dirty-ring mode. */
void vm_dirty_rate_start(QTestState *vm, int seconds);
/* Returns: vCPU 0's rate in MB/s. */
int64_t vm_dirty_rate_wait(QTestState *vm);

/* The tests, file by file. */
void dirtylimit_add_meter_tests(void);
void dirtylimit_add_migration_tests(void);
void dirtylimit_add_ring_tests(void);

#endif /* TESTS_QTEST_CONVERGENCE_DIRTYLIMIT_H */
