/*
 * The names of policies, as the engine's registry has them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_POLICIES_H
#define CONVERGECTL_POLICIES_H

#include <glib.h>

/* "auto", which is QEMU's choice among the others, is one of them */
gboolean policy_is_known(const char *name);

/* "auto, step, ...", with @after_auto behind the first; g_free() it */
char *policy_names(const char *after_auto);

#endif
