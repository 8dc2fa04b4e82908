/*
 * Emptying a host: guests, their plan, and how far they are
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#ifndef CONVERGECTL_EVACUATE_H
#define CONVERGECTL_EVACUATE_H

#include "evacuate-domain.h"
#include "evacuation.h"
#include "exit-status.h"
#include "follow.h"

typedef enum EvacuateFate {
    EVACUATE_WAITS,
    EVACUATE_RUNS,
    EVACUATE_MOVED,
    EVACUATE_ENDED,                 /* it was shut down: nothing to move */
    EVACUATE_LEFT,
} EvacuateFate;

typedef struct EvacuateGuest {
    char *name;
    char uuid[VIR_UUID_STRING_BUFLEN];
    virDomainPtr domain;
    EvacuateFate fate;
    /* What is known of it; its stage and how far it is, while it runs. */
    EvacuationGuest known;
    unsigned tries;
    gboolean cancelled;             /* by us, to be set aside */
    char *why;                      /* it was set aside, or is left; or "" */
    DomainMove *move;               /* NULL: somebody else's */
    DomainLook look;
    gint64 began_us, sends_us;      /* this try */
    gint64 ended_us;
    double rate_bytes_per_s;        /* of late */
    double allowed_bytes_per_s;
    double takes;                   /* of that, 0 to 1 */
    double foreseen_s;              /* from its start to its end, then */
} EvacuateGuest;

typedef struct EvacuateOptions {
    char *connect;                  /* NULL: libvirt's default */
    char **destinations;
    char **only, **except;          /* NULL: all, none */
    char *policy;                   /* NULL: as it is */
    char *migrate_uri;
    char *record;
    guint64 link_bytes_per_s;       /* 0: found out */
    int downtime_ms;                /* 0: 300, QEMU's default, as it is */
    unsigned parallel;              /* 0: by the plan */
    gint64 by_us;                   /* of real time; 0: none */
    gboolean dry_run, unsafe;
    FollowOutput output;
} EvacuateOptions;

typedef struct Evacuation {
    const EvacuateOptions *options;
    virConnectPtr source;
    GPtrArray *guests;              /* EvacuateGuest *, in the plan's order */
    EvacuationTerms terms;
    double *links_bytes_per_s;      /* the source's, then the destinations' */
    EvacuationPlan *plan;           /* from planned_us on */
    gint64 planned_us;
    gint64 began_us, looked_us;
    double first_end_s;             /* of the first plan, and its band */
    double first_error_s;
    gboolean link_known;            /* what it carries, about */
    gboolean link_found;            /* and that it carries no more */
    double least_link_s;            /* for so long it carries too little */
    double full_link_s;             /* for so long all that it is asked to */
    gboolean stopping;              /* no more are started */
} Evacuation;

/* Returns what is said in its last line as an exit status. */
ExitStatus evacuate(const EvacuateOptions *options);

/* evacuate-show.c */

typedef struct EvacuateShow EvacuateShow;

EvacuateShow *evacuate_show_new(const EvacuateOptions *options,
                                GError **errp);
void evacuate_show_free(EvacuateShow *show);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EvacuateShow, evacuate_show_free)

/* The plan, one line a guest */
void evacuate_show_plan(EvacuateShow *show, const Evacuation *e);
/* Where they are; on a terminal over the last one */
void evacuate_show_look(EvacuateShow *show, const Evacuation *e);
/* Something happened to @guest (NULL: to all) */
void evacuate_show_event(EvacuateShow *show, const Evacuation *e,
                         const EvacuateGuest *guest, const char *format, ...)
    G_GNUC_PRINTF(4, 5);
void evacuate_show_end(EvacuateShow *show, const Evacuation *e,
                       ExitStatus status);

typedef enum EvacuateAnswer {
    EVACUATE_NO_ANSWER, EVACUATE_GO_ON, EVACUATE_FINISH, EVACUATE_CANCEL,
} EvacuateAnswer;

/* Waits for so long, or until something was asked for. */
EvacuateAnswer evacuate_show_wait(EvacuateShow *show, const Evacuation *e,
                                  int ms);

#endif
