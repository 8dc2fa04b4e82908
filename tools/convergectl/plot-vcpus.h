/*
 * Which vCPUs are curves of their own
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_PLOT_VCPUS_H
#define CONVERGECTL_PLOT_VCPUS_H

#include <glib.h>

/* More lines than these could not be told apart */
#define PLOT_MAX_VCPUS 32

typedef struct PlotVcpus {
    GArray *ids;                /* int, ascending; empty: none was slowed */
    guint others;               /* those that share one curve, their mean */
} PlotVcpus;

/* Of those in @looks (Look *) the ones that were slowed most */
PlotVcpus plot_vcpus_choose(const GPtrArray *looks);
void plot_vcpus_clear(PlotVcpus *vcpus);

static inline guint plot_vcpus_curves(const PlotVcpus *vcpus)
{
    return vcpus->ids->len + (vcpus->others > 0);
}

/*
 * The throttle of each curve at a look, whose @now are LookVcpu; less than
 * 0 if that is not known.
 */
void plot_vcpus_values(const PlotVcpus *vcpus, const GArray *now,
                       double *values);

#endif
