/*
 * Limit how fast single vCPUs dirty pages
 *
 * A vCPU that stays below its limit is not slowed at all.  Two limits can be
 * set for a vCPU, the user's and a migration's; the smaller one holds.  Works
 * where there is a meter of what single vCPUs dirty (sysemu/dirty-meter.h).
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSEMU_DIRTYLIMIT_H
#define SYSEMU_DIRTYLIMIT_H

/* Who hooks into QEMU's files includes this one, which they do anyway. */
#include "sysemu/dirty-meter.h"
#include "sysemu/dirty-ring.h"

/* More than this cannot be asked for. */
#define DIRTYLIMIT_MAX_BYTES_PER_S      INT64_MAX

/* Limits: all of these with the BQL held. */

/**
 * dirtylimit_available: can dirtying be told by vCPU here?
 * @errp: says what to add to the command line where not
 */
bool dirtylimit_available(Error **errp);

/**
 * dirtylimit_set_user_limit: set or cancel the user's limit
 * @cpu: the vCPU, NULL = all, those plugged later included
 * @bytes_per_s: 0 = no limit
 *
 * A limit for all replaces those of single vCPUs.
 */
void dirtylimit_set_user_limit(CPUState *cpu, uint64_t bytes_per_s);

/**
 * dirtylimit_set_migration_limit: the same for a migration, one vCPU
 *
 * Cheap when nothing changes.  Leaves the user's limits alone.
 */
void dirtylimit_set_migration_limit(CPUState *cpu, uint64_t bytes_per_s);

/**
 * dirtylimit_clear_migration_limits: lift all limits that a migration set
 */
void dirtylimit_clear_migration_limits(void);

/**
 * dirtylimit_of: the limit in force, in bytes/s; 0 = none
 */
uint64_t dirtylimit_of(CPUState *cpu);

/**
 * dirtylimit_by_ring: has each vCPU a dirty ring of KVM's?
 */
bool dirtylimit_by_ring(void);

/* Where dirtying is seen. */

/**
 * dirtylimit_page_dirtied: TCG is about to write to a page that is clean
 * @addr: in the page
 * @bytes: how many at once; 1 may be a part of a larger write
 * @host_pc: where the write stands in translated code, 0 = not in it
 *
 * In the vCPU's thread, amid guest code: charges, never sleeps.  May leave guest
 * code by a long jump, as a fault does, before the write is done; only where the
 * instruction has had no effect so far.
 */
void dirtylimit_page_dirtied(CPUState *cpu, ram_addr_t addr, unsigned bytes,
                             uintptr_t host_pc);

/**
 * dirtylimit_charge_late: charge a vCPU for pages that its meter took for free
 * @cpu: the vCPU, nothing happens if it has no limit
 * @bytes: of them
 *
 * BQL held.
 */
void dirtylimit_charge_late(CPUState *cpu, uint64_t bytes);

/**
 * dirtylimit_ring_full: KVM stopped a vCPU as its ring is full
 *
 * In the vCPU's thread with the BQL held, after the ring was harvested.
 */
void dirtylimit_ring_full(CPUState *cpu);

/**
 * dirtylimit_ring_full_time: in how many microseconds the average vCPU fills
 * KVM's dirty ring, 0 if nothing is dirtied or there is no ring
 *
 * dirtylimit_throttle_time_per_round: how many of those, each time that its
 * ring fills up, the vCPU that is slowed most spends asleep
 *
 * By the last period.  What migrations with capability dirty-limit show, where
 * QEMU has that.  BQL held.
 */
uint64_t dirtylimit_ring_full_time(void);
uint64_t dirtylimit_throttle_time_per_round(void);

/**
 * dirtylimit_in_service: is there any vCPU with a limit?  Any thread.
 */
bool dirtylimit_in_service(void);

#endif /* SYSEMU_DIRTYLIMIT_H */
