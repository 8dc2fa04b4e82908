/*
 * Faults: vCPUs come and go while the guest is slowed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * The guest's kernel takes part: it answers an unplug by letting the vCPU
 * go.  While a migration runs, QEMU refuses both.
 */

#include "fault.h"

#include <stdio.h>
#include <string.h>

#define UNPLUG_TIMEOUT_MS 60000
#define END_TIMEOUT_S 90
#define THROTTLE_PCT 60
#define LIMIT_MB 5
/* In one life of a guest, by plugged_again_and_again() */
#define PLUGS 20
#define PLUG_TRIES 3
/*
 * Half of its speed is what a sender shall keep.  A host that is busy with
 * something else makes spans worse and never better: the best ones count.
 */
#define SENDER_LIMIT_MB 1
#define SENDER_SPAN_MS 1000
/*
 * Both vCPUs awake at each moment, a shoot-down takes 60 us on a host with
 * nothing else to do, five times as long as soon as one of them idles.  That
 * they are served at all is what holds there too: without, it is 341 a second.
 */
#define SENDER_KEEPS_PCT 35
#define SENDER_SERVED_PER_S 700
#define SENDER_TRIES_MIN 3
#define SENDER_TRIES_MAX 6
#define PAGES_PER_MB 256.0
#define ADDS_SPAN_MS 6000
#define NEW_CPU "new-cpu"
#define CPU_TYPE "qemu64-x86_64-cpu"

/*
 * A new one for each round: in a QEMU 7.2 under TCG a vCPU that is unplugged
 * does not give its place back, and after maxcpus of them a plug aborts.
 */
static World *pluggable_world(FaultRun *run, GError **errp)
{
    WorldSpec spec = fault_usual_world(run);

    g_clear_pointer(&run->world, world_free);
    spec.smp = "2,sockets=4,maxcpus=4";
    return fault_world_with(run, &spec, errp);
}

static gboolean run_with(World *world, const char *name, const char *member,
                         gint64 value, GError **errp)
{
    JsonObject *arguments = json_object_new();

    json_object_set_int_member(arguments, member, value);
    return qmp_run(world_qmp(world), name, arguments, errp);
}

static gboolean limit(FaultRun *run, World *world, GError **errp)
{
    return !fault_has_meter(run->options) ||
           run_with(world, "set-vcpu-dirty-limit", "dirty-rate", LIMIT_MB,
                    errp);
}

/* A stock QEMU (--qemu) goes through the same without */
static gboolean slow_down(FaultRun *run, World *world, GError **errp)
{
    return !run->options->knows_policies ||
           (run_with(world, "set-cpu-throttle", "percentage", THROTTLE_PCT,
                     errp) && limit(run, world, errp));
}

static gboolean lift(FaultRun *run, World *world, GError **errp)
{
    return !run->options->knows_policies ||
           (run_with(world, "set-cpu-throttle", "percentage", 0, errp) &&
            qmp_run(world_qmp(world), "cancel-vcpu-dirty-limit", NULL,
                    errp));
}

static gboolean plug(QmpClient *qmp, GError **errp)
{
    JsonObject *arguments = json_object_new();

    json_object_set_string_member(arguments, "driver", CPU_TYPE);
    json_object_set_string_member(arguments, "id", NEW_CPU);
    json_object_set_int_member(arguments, "socket-id", 2);
    json_object_set_int_member(arguments, "core-id", 0);
    json_object_set_int_member(arguments, "thread-id", 0);
    return qmp_run(qmp, "device_add", arguments, errp);
}

static gboolean ask_to_unplug(QmpClient *qmp, GError **errp)
{
    JsonObject *arguments = json_object_new();

    json_object_set_string_member(arguments, "id", NEW_CPU);
    return qmp_run(qmp, "device_del", arguments, errp);
}

/* How many vCPUs QEMU has now; 0 with an error */
static guint count_vcpus(QmpClient *qmp, GError **errp)
{
    JsonNode *reply = qmp_execute(qmp, "query-cpus-fast", NULL, errp);
    guint count = 0;

    if (reply) {
        count = json_array_get_length(json_node_get_array(reply));
        json_node_unref(reply);
    }
    return count;
}

/*
 * FALSE with an error; else *@gone tells.  The kernel must have seen the vCPU
 * before it can let go of it.
 */
static gboolean try_unplug(QmpClient *qmp, gboolean *gone, GError **errp)
{
    gint64 deadline_us = g_get_monotonic_time() + UNPLUG_TIMEOUT_MS * 1000LL;

    *gone = FALSE;
    while (!*gone && g_get_monotonic_time() < deadline_us) {
        g_autoptr(GError) pending = NULL;

        /* "already in the process of unplug" is how it says wait */
        ask_to_unplug(qmp, &pending);
        for (int i = 0; i < 10 && !*gone; i++) {
            guint count;

            g_usleep(50 * 1000);
            count = count_vcpus(qmp, errp);
            if (!count) {
                return FALSE;
            }
            *gone = count == 2;
        }
    }
    return TRUE;
}

/*
 * A vCPU that is slowed leaves little time to the guest's kernel, too: on a slow
 * host that may be too little, which is told.  What must not be is that the
 * guest never does it.
 */
static gboolean unplug(FaultRun *run, World *world, GError **errp)
{
    QmpClient *qmp = world_qmp(world);
    gboolean gone;

    if (!try_unplug(qmp, &gone, errp)) {
        return FALSE;
    }
    if (gone) {
        return TRUE;
    }
    printf("# round %u: slowed, the guest did not let go of its vCPU within "
           "%d s; it is no longer slowed\n", run->round,
           UNPLUG_TIMEOUT_MS / 1000);
    if (!lift(run, world, errp) || !try_unplug(qmp, &gone, errp)) {
        return FALSE;
    }
    if (!gone) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                    "the guest does not let go of its vCPU within %d s",
                    UNPLUG_TIMEOUT_MS / 1000);
    }
    return gone;
}

static gboolean check_count(QmpClient *qmp, guint wanted, GError **errp)
{
    guint count = count_vcpus(qmp, errp);

    if (count && count != wanted) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "there are %u vCPUs and not %u", count, wanted);
    }
    return count == wanted;
}

/* In and out again, all of it while slowed; the new vCPU is slowed as well */
static gboolean plugged_while_slowed(FaultRun *run, GError **errp)
{
    World *world = pluggable_world(run, errp);

    return world && slow_down(run, world, errp) &&
           plug(world_qmp(world), errp) &&
           check_count(world_qmp(world), 3, errp) &&
           unplug(run, world, errp) && lift(run, world, errp) &&
           world_check_guest(world, errp);
}

/* The slow-down ends and begins while the guest is at it */
static gboolean slowed_while_plugged(FaultRun *run, GError **errp)
{
    World *world = pluggable_world(run, errp);

    if (!world || !plug(world_qmp(world), errp)) {
        return FALSE;
    }
    for (int i = 0; i < 20; i++) {
        if (!slow_down(run, world, errp) || !lift(run, world, errp)) {
            return FALSE;
        }
        if (i == 10) {
            ask_to_unplug(world_qmp(world), NULL);
        }
        g_usleep(g_rand_int_range(run->random, 0, 30) * 1000);
    }
    return unplug(run, world, errp) &&
           world_check_guest(world, errp);
}

/*
 * Each request to let go of a vCPU that came while the guest was at it is done
 * after all, at once with the next one in that place.
 */
static gboolean plug_next(FaultRun *run, QmpClient *qmp, GError **errp)
{
    guint count = 0;

    for (int i = 0; i < PLUG_TRIES && count != 3; i++) {
        if (!plug(qmp, errp)) {
            return FALSE;
        }
        count = count_vcpus(qmp, errp);
        if (!count) {
            return FALSE;
        }
        if (count == 2) {
            printf("# round %u: the guest let go of it by an older request\n",
                   run->round);
        }
    }
    return count == 3 || check_count(qmp, 3, errp);
}

/*
 * KVM keeps what a vCPU has in the kernel and gives it to the next one in its
 * place.  Then the guest moves: what the vCPUs that are gone wrote has to
 * arrive.
 */
static gboolean plugged_again_and_again(FaultRun *run, GError **errp)
{
    World *world;

    if (!run->options->accel ||
        !g_str_has_prefix(run->options->accel, "kvm")) {
        g_set_error(errp, FAULT_SKIP, 0, "under TCG a vCPU that is unplugged "
                    "does not give its place back; --accel kvm");
        return FALSE;
    }
    world = pluggable_world(run, errp);
    if (!world) {
        return FALSE;
    }
    for (int i = 0; i < PLUGS; i++) {
        if (!slow_down(run, world, errp) ||
            !plug_next(run, world_qmp(world), errp) ||
            !unplug(run, world, errp)) {
            return FALSE;
        }
        if (i % 2 && !lift(run, world, errp)) {
            return FALSE;
        }
    }
    return lift(run, world, errp) && world_check_guest(world, errp) &&
           fault_migrate(run, errp) &&
           world_settle(world, WORLD_DESTINATION, END_TIMEOUT_S, errp);
}

static gboolean is_refused(gboolean done, const GError *error, GError **errp)
{
    if (!done && strstr(error->message, "not allowed while migrating")) {
        return TRUE;
    }
    g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                "a change of vCPUs while migrating: %s",
                done ? "accepted" : error->message);
    return FALSE;
}

/* One vCPU is there when the migration begins, and moves with the guest */
static gboolean plugged_while_migrating(FaultRun *run, GError **errp)
{
    World *world = pluggable_world(run, errp);
    MigrateSpec migration = fault_paused_migration(run);
    g_autoptr(GError) in = NULL;
    g_autoptr(GError) out = NULL;
    gboolean done;

    if (!world || !plug(world_qmp(world), errp) ||
        !world_add_destination(world, NULL, errp) ||
        !plug(vm_qmp(world_other(world)), errp) ||
        !fault_migrate_as(run, &migration, errp) ||
        !fault_wait_phase(run, PHASE_SLOWED, errp)) {
        return FALSE;
    }
    done = plug(world_qmp(world), &in);
    if (!is_refused(done, in, errp)) {
        return FALSE;
    }
    done = ask_to_unplug(world_qmp(world), &out);
    return is_refused(done, out, errp) && fault_let_go(world, errp) &&
           world_settle(world, WORLD_DESTINATION, END_TIMEOUT_S, errp) &&
           check_count(world_qmp(world), 3, errp) &&
           unplug(run, world, errp) && world_check_guest(world, errp);
}

/* The vCPU that is gone is among those that no sync may wait for */
static gboolean migrated_after_unplug(FaultRun *run, GError **errp)
{
    World *world = pluggable_world(run, errp);

    return world && plug(world_qmp(world), errp) &&
           check_count(world_qmp(world), 3, errp) &&
           unplug(run, world, errp) && fault_migrate(run, errp) &&
           world_settle(world, WORLD_DESTINATION, END_TIMEOUT_S, errp);
}

typedef struct SenderSpeed {
    double free_per_s, limited_per_s;   /* the best of all spans */
} SenderSpeed;

/* Of one process: the first vCPU is held, the second waits for its answers */
static gboolean try_sender(FaultRun *run, World *world, SenderSpeed *best,
                           GError **errp)
{
    const double most_per_s = SENDER_LIMIT_MB * PAGES_PER_MB * 1.25;
    double free_per_s, limited_per_s, writer_per_s;

    g_usleep(SENDER_SPAN_MS * 1000);
    free_per_s = guest_watch_rate(world->watch, 1, SENDER_SPAN_MS);
    if (!run_with(world, "set-vcpu-dirty-limit", "dirty-rate",
                  SENDER_LIMIT_MB, errp)) {
        return FALSE;
    }
    g_usleep(2 * SENDER_SPAN_MS * 1000);
    writer_per_s = guest_watch_rate(world->watch, 0, SENDER_SPAN_MS);
    limited_per_s = guest_watch_rate(world->watch, 1, SENDER_SPAN_MS);
    g_printerr("# the sender's speed: %.0f a second, beside a limit %.0f; "
               "that one writes %.0f pages a second of %.0f\n", free_per_s,
               limited_per_s, writer_per_s, SENDER_LIMIT_MB * PAGES_PER_MB);
    best->free_per_s = MAX(best->free_per_s, free_per_s);
    best->limited_per_s = MAX(best->limited_per_s, limited_per_s);
    if (writer_per_s > most_per_s) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "interrupted, a vCPU writes %.0f pages a second and not "
                    "%.0f at most", writer_per_s, most_per_s);
        return FALSE;
    }
    return lift(run, world, errp);
}

static gboolean keeps_speed(const SenderSpeed *best)
{
    return best->limited_per_s >= MIN(best->free_per_s * SENDER_KEEPS_PCT / 100,
                                      SENDER_SERVED_PER_S);
}

/*
 * A limited vCPU answers its neighbour's TLB shoot-downs.  With KVM's own
 * interrupt controller nobody is told of them; tests/kvm/jobs/interrupts has
 * what can be had there.
 */
static gboolean interrupted_while_limited(FaultRun *run, GError **errp)
{
    WorldSpec spec = fault_usual_world(run);
    SenderSpeed best = { 0 };
    World *world;

    if ((run->options->accel &&
         g_str_has_prefix(run->options->accel, "kvm")) ||
        !run->options->knows_policies) {
        g_set_error(errp, FAULT_SKIP, 0, "for our QEMU under TCG");
        return FALSE;
    }
    spec.load = "verify:32:0,unmap";
    world = fault_world_with(run, &spec, errp);
    if (!world) {
        return FALSE;
    }
    for (int i = 0; i < SENDER_TRIES_MAX; i++) {
        if (!try_sender(run, world, &best, errp)) {
            return FALSE;
        }
        if (i + 1 >= SENDER_TRIES_MIN && keeps_speed(&best)) {
            break;
        }
    }
    if (!keeps_speed(&best)) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "a vCPU that interrupts a limited one keeps %.0f of %.0f "
                    "a second, less than %d %% and %d", best.limited_per_s,
                    best.free_per_s, SENDER_KEEPS_PCT, SENDER_SERVED_PER_S);
        return FALSE;
    }
    return world_check_guest(world, errp);
}

/* What a limited vCPU was about to write is written once, and not again. */
static gboolean adds_while_limited(FaultRun *run, GError **errp)
{
    WorldSpec spec = fault_usual_world(run);
    World *world;

    if (!run->options->knows_policies || !fault_has_meter(run->options)) {
        g_set_error(errp, FAULT_SKIP, 0, "for our QEMU, with a meter");
        return FALSE;
    }
    spec.load = "straddle:4:0,unmap";
    spec.walk_pages = 4 * 256;
    world = fault_world_with(run, &spec, errp);
    if (!world || !run_with(world, "set-vcpu-dirty-limit", "dirty-rate",
                            SENDER_LIMIT_MB, errp)) {
        return FALSE;
    }
    g_usleep(ADDS_SPAN_MS * 1000);
    return lift(run, world, errp) && world_check_guest(world, errp);
}

const Fault vcpu_faults[] = {
    { "a limited vCPU is interrupted", 1, 10, interrupted_while_limited },
    { "a limited vCPU is interrupted as it adds across pages", 0, 10,
      adds_while_limited },
    { "vCPU plugged and unplugged while slowed", 1, 30,
      plugged_while_slowed },
    { "slowed while a vCPU is plugged and unplugged", 0, 30,
      slowed_while_plugged },
    { "vCPU plugged and unplugged 20 times in one place", 0, 10,
      plugged_again_and_again },
    { "vCPU plugged while migrating", 0, 12, plugged_while_migrating },
    { "vCPU unplugged, and then migrated", 1, 12, migrated_after_unplug },
    { NULL }
};
