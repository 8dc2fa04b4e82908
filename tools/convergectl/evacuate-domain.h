/*
 * What an evacuation asks of libvirt, one guest at a time
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Any libvirt from 9.0 on.  Errors are told as text, in libvirt's words.
 */

#ifndef CONVERGECTL_EVACUATE_DOMAIN_H
#define CONVERGECTL_EVACUATE_DOMAIN_H

#include <glib.h>
#include <libvirt/libvirt.h>

/* What libvirt said last, on one line */
char *domain_last_error(void);

gboolean domain_is_running(virDomainPtr domain);

/* Of the host's memory, by all that its QEMU uses; 0: not known */
double domain_memory_in_use_bytes(virDomainPtr domain);

/*
 * Different bytes written in so many seconds.  The measurement goes on by
 * itself; a negative value: not measured yet, or it failed.
 */
gboolean domain_measure(virDomainPtr domain, int seconds);
double domain_measured_bytes(virDomainPtr domain, int seconds);

typedef struct DomainLook {
    gboolean migrates;          /* a job of that kind is under way */
    double sent_bytes;          /* of memory, on the wire */
    double remaining_bytes;
    double total_bytes;
    double page_size_bytes;
    guint64 pass;               /* 1: the bulk pass */
} DomainLook;

/* FALSE: libvirt does not answer, or the domain is not there */
gboolean domain_look(virDomainPtr domain, DomainLook *look);

/* What the engine says, "" where there is none; *@stuck: it is at a loss */
char *domain_reason(virDomainPtr domain, gboolean *stuck);

/* FALSE if this QEMU knows no policies; nothing is changed then. */
gboolean domain_set_policy(virDomainPtr domain, const char *policy);

/* A migration in a thread and with a connection of its own */
typedef struct DomainMove DomainMove;

typedef struct DomainMoveOptions {
    const char *source_uri;         /* NULL: libvirt's default */
    const char *destination_uri;
    const char *migrate_uri;        /* NULL: the destination's choice */
    guint64 bytes_per_s;            /* at first */
    guint64 downtime_ms;            /* 0: as it is */
    gboolean unsafe;
} DomainMoveOptions;

DomainMove *domain_move(const char *uuid, const DomainMoveOptions *options);

/* TRUE if it is over; then *@error is NULL if the guest has arrived. */
gboolean domain_move_ended(DomainMove *move, char **error);
void domain_move_free(DomainMove *move);

/* Of one under way */
void domain_set_speed(virDomainPtr domain, double bytes_per_s);

#endif
