/*
 * The names of policies, as the engine's registry has them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "policies.h"

#include "qemu/osdep.h"
#include "migration/convergence-engine.h"

gboolean policy_is_known(const char *name)
{
    return g_str_equal(name, "auto") || convergence_policy_find(name);
}

char *policy_names(const char *after_auto)
{
    GString *names = g_string_new("auto");
    const ConvergencePolicyOps *policy;

    g_string_append(names, after_auto);
    for (unsigned i = 0; (policy = convergence_policy_nth(i)); i++) {
        g_string_append_printf(names, ", %s", policy->name);
    }
    return g_string_free(names, FALSE);
}
