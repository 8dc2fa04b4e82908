/*
 * Count what single vCPUs dirty, and what of it adds to a migration's work
 *
 * A page that waits to be sent already is free: a write to it adds nothing.
 * Below the meters (sysemu/dirty-meter.h), which tell what was written.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSEMU_DIRTY_COUNT_H
#define SYSEMU_DIRTY_COUNT_H

#include "exec/cpu-common.h"

/**
 * dirty_count_page: a vCPU is the first to write to a page since the dirty
 * log was last cleared of it
 * @addr: in the page
 *
 * For meters that know the page.  The vCPU's thread, or any with the BQL where
 * the meter is polled.
 *
 * Returns: whether that adds to the work of a migration; true if there is none.
 */
bool dirty_count_page(CPUState *cpu, ram_addr_t addr);

/**
 * dirty_count_pages: the same for meters that only know how many
 */
void dirty_count_pages(CPUState *cpu, uint64_t pages);

/**
 * dirty_count_set_migrating: a migration's bitmap can be asked, or no longer
 *
 * To be unset before the bitmap is freed; nobody looks at it any more once
 * this returns.  Migration thread, BQL not held.
 */
void dirty_count_set_migrating(bool migrating);

#endif /* SYSEMU_DIRTY_COUNT_H */
