/*
 * A vCPU that the emulated virtualization has lost
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "lost-vcpu.h"

#include <string.h>

/* As in "kvm_amd 155648 0 - Live 0xffffffffc05b7000" */
#define MODULE_FORM "^kvm_amd ([0-9]+) .* 0x([0-9a-f]+)"
#define RIP_FORM "\\bRIP=([0-9a-f]+)"

/* A guest whose own modules lie there does not stand still for so long. */
#define LOOK_AGAIN_US (100 * 1000)

static guint64 group_number(const GMatchInfo *match, int group, guint base)
{
    g_autofree char *digits = g_match_info_fetch(match, group);

    return g_ascii_strtoull(digits, NULL, base);
}

/* Who is not root sees addresses of zero. */
static gboolean find_module(const char *modules, guint64 *begin, guint64 *size)
{
    g_autoptr(GRegex) form = g_regex_new(MODULE_FORM, G_REGEX_MULTILINE, 0,
                                         NULL);
    g_autoptr(GMatchInfo) match = NULL;

    if (!g_regex_match(form, modules, 0, &match)) {
        return FALSE;
    }
    *size = group_number(match, 1, 10);
    *begin = group_number(match, 2, 16);
    return *begin != 0;
}

gboolean lost_vcpu_is_told(const char *before, const char *after,
                           const char *modules)
{
    g_autoptr(GRegex) form = g_regex_new(RIP_FORM, 0, 0, NULL);
    g_autoptr(GMatchInfo) first = NULL;
    g_autoptr(GMatchInfo) second = NULL;
    guint64 begin, size;

    if (!find_module(modules, &begin, &size)) {
        return FALSE;
    }
    g_regex_match(form, before, 0, &first);
    g_regex_match(form, after, 0, &second);
    while (g_match_info_matches(first) && g_match_info_matches(second)) {
        guint64 rip = group_number(first, 1, 16);

        if (rip - begin < size && rip == group_number(second, 1, 16)) {
            return TRUE;
        }
        g_match_info_next(first, NULL);
        g_match_info_next(second, NULL);
    }
    return FALSE;
}

static char *read_registers(Vm *vm)
{
    return qmp_hmp(vm_qmp(vm), "info registers -a", NULL) ?: g_strdup("");
}

const char *lost_vcpu_in(Vm *vm)
{
    g_autofree char *modules = NULL;
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    if (!vm_is_alive(vm) ||
        !g_file_get_contents("/proc/modules", &modules, NULL, NULL)) {
        return NULL;
    }
    before = read_registers(vm);
    if (!lost_vcpu_is_told(before, before, modules)) {
        return NULL;
    }
    g_usleep(LOOK_AGAIN_US);
    after = read_registers(vm);
    return lost_vcpu_is_told(before, after, modules) ?
           "the host has put its own registers into a vCPU" : NULL;
}
