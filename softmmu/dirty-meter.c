/*
 * Meters of what single vCPUs dirty: which one there is
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "cpu.h"
#include "sysemu/dirty-meter.h"

/* The best one first. */
static const DirtyMeter *const meters[] = {
    &dirty_meter_tcg,
    &dirty_meter_ring,
    &dirty_meter_faults,
    &dirty_meter_estimate,
};

#define FORCED_NONE     "none"

/* The only one allowed, NULL: all are.  Guarded by the BQL. */
static char *forced;

static bool is_allowed(const DirtyMeter *one)
{
    return !forced || g_str_equal(forced, one->name);
}

static const DirtyMeter *find_meter(bool only_shares)
{
    for (size_t i = 0; i < ARRAY_SIZE(meters); i++) {
        if (meters[i]->only_shares == only_shares && is_allowed(meters[i]) &&
            meters[i]->is_available()) {
            return meters[i];
        }
    }
    return NULL;
}

const DirtyMeter *dirty_meter_in_use(void)
{
    return find_meter(false);
}

const DirtyMeter *dirty_meter_of_shares(void)
{
    return find_meter(true);
}

static char *meter_names(void)
{
    GString *names = g_string_new(NULL);

    for (size_t i = 0; i < ARRAY_SIZE(meters); i++) {
        g_string_append_printf(names, "%s, ", meters[i]->name);
    }
    return g_string_free(names, false);
}

bool dirty_meter_force(const char *name, Error **errp)
{
    bool known = !*name || g_str_equal(name, FORCED_NONE);

    for (size_t i = 0; i < ARRAY_SIZE(meters); i++) {
        known |= g_str_equal(name, meters[i]->name);
    }
    if (!known) {
        g_autofree char *names = meter_names();

        error_setg(errp, "there is no meter '%s': it must be one of %s"
                   FORCED_NONE, name, names);
        return false;
    }
    g_free(forced);
    forced = *name ? g_strdup(name) : NULL;
    return true;
}

const char *dirty_meter_forced(void)
{
    return forced ?: "";
}

bool dirty_meter_is_polled(void)
{
    const DirtyMeter *one = dirty_meter_in_use();

    return one && one->look;
}

uint64_t dirty_meter_vcpu_pages(CPUState *cpu)
{
    const DirtyMeter *one = dirty_meter_in_use();

    if (one && one->look) {
        one->look(cpu);
    }
    return qatomic_read_u64(&cpu->slowdown.dirty.new_pages);
}

void dirty_meter_look_at_all(void)
{
    const DirtyMeter *one = dirty_meter_in_use();
    CPUState *cpu;

    if (one && one->look) {
        CPU_FOREACH(cpu) {
            one->look(cpu);
        }
    }
}

void dirty_meter_vcpu_comes(CPUState *cpu)
{
    for (size_t i = 0; i < ARRAY_SIZE(meters); i++) {
        if (meters[i]->vcpu_comes) {
            meters[i]->vcpu_comes(cpu);
        }
    }
}

void dirty_meter_vcpu_leaves(CPUState *cpu)
{
    for (size_t i = 0; i < ARRAY_SIZE(meters); i++) {
        if (meters[i]->vcpu_leaves) {
            meters[i]->vcpu_leaves(cpu);
        }
    }
}
