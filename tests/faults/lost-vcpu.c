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

gboolean lost_vcpu_is_told(const char *registers, const char *modules)
{
    g_autoptr(GRegex) form = g_regex_new(RIP_FORM, 0, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;
    guint64 begin, size;

    if (!find_module(modules, &begin, &size)) {
        return FALSE;
    }
    g_regex_match(form, registers, 0, &match);
    while (g_match_info_matches(match)) {
        if (group_number(match, 1, 16) - begin < size) {
            return TRUE;
        }
        g_match_info_next(match, NULL);
    }
    return FALSE;
}

gboolean lost_vcpu_in(Vm *vm)
{
    g_autofree char *modules = NULL;
    g_autofree char *registers = NULL;

    if (!vm_is_alive(vm) ||
        !g_file_get_contents("/proc/modules", &modules, NULL, NULL)) {
        return FALSE;
    }
    registers = qmp_hmp(vm_qmp(vm), "info registers -a", NULL);
    return registers && lost_vcpu_is_told(registers, modules);
}
