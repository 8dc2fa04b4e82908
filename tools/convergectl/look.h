/*
 * One look at a migration: a reply of query-migrate as a struct
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Any QEMU's reply makes a look.  What it does not tell is LOOK_UNKNOWN, and
 * a member of an unexpected type counts as not told.
 */

#ifndef CONVERGECTL_LOOK_H
#define CONVERGECTL_LOOK_H

#include <json-glib/json-glib.h>

#define LOOK_UNKNOWN (-1)

typedef struct LookVcpu {
    int id;
    int throttle_pct;
    double dirty_bytes_per_s;
    double limit_bytes_per_s;       /* 0: none */
} LookVcpu;

typedef struct Look {
    char *status;                   /* "active"; "none" before any migration */
    char *state;                    /* of the convergence engine; "" */
    char *policy;                   /* ""; never "auto" */
    char *reason;                   /* "" */
    char *error;                    /* error-desc; "" */
    gint64 at_ms;                   /* since the migration began */
    gint64 clock_ms;                /* when the look was taken, since 1970 */
    char *guest;                    /* only where it is to be recorded */
    char *settings;                 /* as well */
    double dirty_bytes_per_s;
    double drain_bytes_per_s;
    double remaining_bytes;
    double total_bytes;
    double sent_bytes;
    double drained_bytes;           /* pages got rid of since the start */
    gint64 passes;                  /* completed ones */
    int throttle_pct;
    int progress_pct;
    gint64 predicted_total_ms;
    int predicted_error_pct;        /* of what is left by it */
    gint64 predicted_downtime_ms;
    gint64 downtime_limit_ms;
    gint64 downtime_ms;             /* once completed */
    gint64 longest_pause_ms;        /* of a vCPU that was slowed */
    gboolean has_convergence;       /* and a policy acts */
    gboolean incoming;              /* told by the destination, which knows
                                       neither time nor figures */
    GArray *vcpus;                  /* LookVcpu; empty where not metered */
} Look;

/* @info may be any object; takes nothing over */
Look *look_from_info(JsonObject *info);
void look_free(Look *look);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Look, look_free)

/* A look in which nothing is known */
Look *look_new(void);

/* The migration runs, in whatever phase */
gboolean look_is_running(const Look *look);

/* It is over: completed, failed or cancelled */
gboolean look_has_ended(const Look *look);

/* Pages of the guest are on both sides: nobody can go back */
gboolean look_is_postcopy(const Look *look);

/*
 * What to call the moment: the engine's state where there is one and it
 * says more than QEMU's status does.
 */
const char *look_phase(const Look *look);
/* Adds a vCPU as somebody told it; rates out of range are brought into it */
void look_add_vcpu(Look *look, LookVcpu vcpu);

#endif
