/*
 * Meter of what single vCPUs dirty: TCG's slow path
 *
 * A write to a page whose dirty bit is clear takes the slow path, which calls
 * dirtylimit_page_dirtied(): the one place that knows both the page and the
 * vCPU.  The bit is cleared, and the TLB told, by each harvest of the bitmap.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "sysemu/dirty-meter.h"
#include "sysemu/tcg.h"

static bool is_available(void)
{
    return tcg_enabled();
}

const DirtyMeter dirty_meter_tcg = {
    .name = "tcg",
    .is_available = is_available,
};
