/*
 * A guest, the QEMU that holds it, and the one that it may go to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * A world lives through one fault after another: each ends in
 * world_settle(), which proves that the guest runs at full speed on just one
 * side, its memory intact, and clears away the other side.
 */

#ifndef CONVERGE_FAULTS_WORLD_H
#define CONVERGE_FAULTS_WORLD_H

#include "guest-watch.h"
#include "migrate-pair.h"
#include "wire.h"

typedef struct WorldSpec {
    const char *qemu;           /* of the first holder */
    const char *load;           /* vCPU 0: verify:MIB:MBPS */
    unsigned mem_mib;
    const char *smp;            /* value of -smp */
    const char *accel;          /* value of -accel; NULL: tcg */
    const char *const *qemu_args;   /* as extra_args, of the command line */
    unsigned nr_busy;           /* vCPUs that have a load */
    guint64 walk_pages;         /* that vCPU 0 checks in one round */
    const char *const *extra_args;  /* of all that hold it in turn */
    const char *const *first_args;  /* of the first alone */
    /*
     * The destination starts the guest when it is told to, and that is when
     * the source calls the migration completed: as libvirt does it.  If it
     * starts by itself, a cancel that comes after the last byte and before
     * that word makes any QEMU 7.2 run the guest on both sides; and if it
     * dies then, nobody may take the guest back, as it might have run there.
     */
    gboolean by_word;
} WorldSpec;

typedef struct World {
    WorldSpec spec;
    GuestWatch *watch;
    Vm *vms[GUEST_WATCH_SIDES];
    struct WorldSide {
        GuestWatch *watch;
        unsigned number;
    } sides[GUEST_WATCH_SIDES];
    unsigned holder;            /* the side that the guest is on */
    Wire *wire;                 /* of the migration; NULL between */
    double full_rate[8];        /* of the busy vCPUs, undisturbed */
} World;

/* The guest is up and its undisturbed speed known; NULL on failure */
World *world_new(const WorldSpec *spec, GError **errp);
void world_free(World *world);

Vm *world_holder(World *world);
Vm *world_other(World *world);
QmpClient *world_qmp(World *world);

/* A destination; @qemu NULL: the same binary as the holder's first */
gboolean world_add_destination(World *world, const char *qemu,
                               GError **errp);

/*
 * Starts a migration over a wire.  Parameters and capabilities of @spec go
 * to both sides, those of @source_spec (NULL: none) to the source alone.
 */
gboolean world_migrate(World *world, const MigrateSpec *spec,
                       const MigrateSpec *source_spec, GError **errp);

/* Ends when the source's migration has ended; returns its last word */
JsonObject *world_wait_end(World *world, int timeout_s, GError **errp);

typedef enum WorldPlace {
    WORLD_SOURCE,
    WORLD_DESTINATION,
    WORLD_EITHER,
} WorldPlace;

/*
 * The migration ends, within @timeout_s, the guest is found where it is
 * expected and nowhere else, intact and at full speed.  Then its place is
 * the holder's.
 */
gboolean world_settle(World *world, WorldPlace expected, int timeout_s,
                      GError **errp);

/* Only the last part of it, for faults without a migration */
gboolean world_check_guest(World *world, GError **errp);

/* Drops the destination, the wire, and what the last migration had set */
void world_drop_destination(World *world);

/* What all QEMUs said, for the report of a failure */
char *world_complaints(World *world);

#endif
