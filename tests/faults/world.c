/*
 * A guest, the QEMU that holds it, and the one that it may go to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "world.h"

#include "full-speed.h"

#include <string.h>

#define READY_TIMEOUT_MS 90000

/* The loads' first strides fault memory in; what follows is their speed */
#define SETTLE_MS 500
#define MEASURE_MS 1000

/*
 * Of the undisturbed speed.  Whether a slow-down is left QEMU is asked; this
 * is for what QEMU does not know of, and lets pass that the host is shared.
 */
#define FULL_SPEED_SHARE 0.1
#define FULL_SPEED_TIMEOUT_MS 60000

/* A migration says that it has failed a moment before it lifts its throttle */
#define LIFT_TIMEOUT_MS 1000

#define POLL_US (10 * 1000)

static void on_line(void *opaque, const char *vm_name, const char *line,
                    gint64 at_us)
{
    struct WorldSide *side = opaque;

    guest_watch_line(side->watch, side->number, line, at_us);
}

static void add_args(GPtrArray *args, const char *const *more)
{
    for (; more && *more; more++) {
        g_ptr_array_add(args, (void *)*more);
    }
}

static Vm *start_side(World *world, unsigned number, const char *qemu,
                      gboolean incoming, GError **errp)
{
    g_autoptr(GPtrArray) args = g_ptr_array_new();
    VmConfig config = {
        .qemu = qemu, .name = incoming ? "destination" : "source",
        .load = world->spec.load, .mem_mib = world->spec.mem_mib,
        .accel = world->spec.accel, .smp = 1, .incoming = incoming,
        .on_line = on_line, .opaque = &world->sides[number],
    };

    g_ptr_array_add(args, (void *)"-smp");
    g_ptr_array_add(args, (void *)world->spec.smp);
    add_args(args, world->spec.qemu_args);
    add_args(args, world->spec.extra_args);
    add_args(args, incoming ? NULL : world->spec.first_args);
    if (incoming && world->spec.by_word) {
        g_ptr_array_add(args, (void *)"-S");
    }
    g_ptr_array_add(args, NULL);
    config.extra_args = (const char *const *)args->pdata;
    return vm_start(&config, errp);
}

World *world_new(const WorldSpec *spec, GError **errp)
{
    World *world = g_new0(World, 1);

    g_assert(spec->nr_busy <= G_N_ELEMENTS(world->full_rate));
    world->spec = *spec;
    world->watch = guest_watch_new();
    for (unsigned i = 0; i < GUEST_WATCH_SIDES; i++) {
        world->sides[i] = (struct WorldSide) { world->watch, i };
    }
    world->vms[0] = start_side(world, 0, spec->qemu, FALSE, errp);
    if (!world->vms[0] ||
        !guest_watch_wait_ready(world->watch, READY_TIMEOUT_MS, errp)) {
        world_free(world);
        return NULL;
    }
    g_usleep((SETTLE_MS + MEASURE_MS) * 1000);
    for (unsigned i = 0; i < spec->nr_busy; i++) {
        world->full_rate[i] = guest_watch_rate(world->watch, i, MEASURE_MS);
    }
    return world;
}

void world_free(World *world)
{
    if (world) {
        world_drop_destination(world);
        g_clear_pointer(&world->vms[world->holder], vm_free);
        guest_watch_free(world->watch);
        g_free(world);
    }
}

Vm *world_holder(World *world)
{
    return world->vms[world->holder];
}

Vm *world_other(World *world)
{
    return world->vms[!world->holder];
}

QmpClient *world_qmp(World *world)
{
    return vm_qmp(world_holder(world));
}

gboolean world_add_destination(World *world, const char *qemu, GError **errp)
{
    unsigned side = !world->holder;

    g_assert(!world->vms[side]);
    world->vms[side] = start_side(world, side, qemu ?: world->spec.qemu,
                                  TRUE, errp);
    return world->vms[side] != NULL;
}

/* The holder may have been through a migration with others */
static gboolean clear_capabilities(QmpClient *qmp, GError **errp)
{
    static const char *const names[] = {
        "auto-converge", "pause-before-switchover", "postcopy-ram",
        "xbzrle", "compress", "multifd", "return-path", "dirty-bitmaps",
    };
    JsonObject *arguments = json_object_new();
    JsonArray *list = json_array_new();

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        JsonObject *capability = json_object_new();

        json_object_set_string_member(capability, "capability", names[i]);
        json_object_set_boolean_member(capability, "state", FALSE);
        json_array_add_object_element(list, capability);
    }
    json_object_set_array_member(arguments, "capabilities", list);
    return qmp_run(qmp, "migrate-set-capabilities", arguments, errp);
}

gboolean world_migrate(World *world, const MigrateSpec *spec,
                       const MigrateSpec *source_spec, GError **errp)
{
    QmpClient *source = world_qmp(world);
    QmpClient *destination = vm_qmp(world_other(world));
    g_autofree char *uri = vm_migrate_uri(world_other(world));

    if (!clear_capabilities(source, errp) ||
        !migrate_side_configure(destination, spec, errp) ||
        !migrate_side_configure(source, spec, errp) ||
        (source_spec && !migrate_side_configure(source, source_spec, errp)) ||
        !migrate_run_with_uri(destination, "migrate-incoming", uri, errp)) {
        return FALSE;
    }
    g_assert(!world->wire);
    world->wire = wire_new(uri, errp);
    return world->wire &&
           migrate_run_with_uri(source, "migrate", wire_uri(world->wire),
                                errp);
}

static gboolean has_ended(const char *status)
{
    static const char *const ends[] = {
        "none", "completed", "failed", "cancelled",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(ends); i++) {
        if (g_str_equal(status, ends[i])) {
            return TRUE;
        }
    }
    return FALSE;
}

JsonObject *world_wait_end(World *world, int timeout_s, GError **errp)
{
    gint64 deadline_us = g_get_monotonic_time() + timeout_s * G_USEC_PER_SEC;
    g_autofree char *status = NULL;

    do {
        JsonObject *info = qmp_query(world_qmp(world), "query-migrate", errp);

        if (!info || has_ended(migrate_info_status(info))) {
            return info;
        }
        g_free(status);
        status = g_strdup(migrate_info_status(info));
        json_object_unref(info);
        g_usleep(POLL_US);
    } while (g_get_monotonic_time() < deadline_us);
    g_set_error(errp, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                "after %d s the migration is still '%s'", timeout_s, status);
    return NULL;
}

/* FALSE also for a QEMU that is gone, as a destination may be */
static gboolean is_running(Vm *vm)
{
    JsonObject *status;
    gboolean running;

    if (!vm || !vm_is_alive(vm)) {
        return FALSE;
    }
    status = qmp_query(vm_qmp(vm), "query-status", NULL);
    if (!status) {
        return FALSE;
    }
    running = json_object_get_boolean_member_with_default(status, "running",
                                                          FALSE);
    json_object_unref(status);
    return running;
}

/*
 * Whoever gives the word has the source go on if the destination dies before
 * the guest runs there: the source may have called the migration completed
 * with its last bytes in nothing but a socket's buffer.
 */
static void take_back_from_dead(World *world)
{
    if (!vm_is_alive(world_other(world))) {
        qmp_run(world_qmp(world), "cont", NULL, NULL);
    }
}

/* A side may take a moment to start the guest, or again */
static gboolean find_guest(World *world, gboolean word_given,
                           WorldPlace *place, int timeout_s, GError **errp)
{
    gint64 deadline_us = g_get_monotonic_time() + timeout_s * G_USEC_PER_SEC;

    do {
        gboolean here = is_running(world_holder(world));
        gboolean there = is_running(world_other(world));

        if (here && there) {
            g_set_error_literal(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                                "both QEMUs run the guest");
            return FALSE;
        } else if (here || there) {
            *place = here ? WORLD_SOURCE : WORLD_DESTINATION;
            return TRUE;
        }
        if (word_given) {
            take_back_from_dead(world);
        }
        g_usleep(POLL_US);
    } while (g_get_monotonic_time() < deadline_us);
    g_set_error_literal(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                        "no QEMU runs the guest: it is lost");
    return FALSE;
}

gboolean world_check_guest(World *world, GError **errp)
{
    double least_rate[G_N_ELEMENTS(world->full_rate)];
    GuestGoal goal = {
        .walk_pages = world->spec.walk_pages,
        .nr_busy = world->spec.nr_busy,
        .least_rate = least_rate,
    };
    FullSpeed before;

    for (unsigned i = 0; i < goal.nr_busy; i++) {
        least_rate[i] = world->full_rate[i] * FULL_SPEED_SHARE;
    }
    return full_speed_wait(&before, world_qmp(world), LIFT_TIMEOUT_MS,
                           errp) &&
           guest_watch_wait_goal(world->watch, world->holder, &goal,
                                 FULL_SPEED_TIMEOUT_MS, errp) &&
           full_speed_check(&before, world_qmp(world), errp);
}

gboolean world_settle(World *world, WorldPlace expected, int timeout_s,
                      GError **errp)
{
    JsonObject *info = world_wait_end(world, timeout_s, errp);
    g_autofree char *status = NULL;
    gboolean give_word;
    WorldPlace place;

    if (!info) {
        return FALSE;
    }
    give_word = world->spec.by_word &&
                g_str_equal(migrate_info_status(info), "completed");
    if (give_word) {
        /* A destination that is dead does not hear it */
        qmp_run(vm_qmp(world_other(world)), "cont", NULL, NULL);
    }
    status = g_strdup_printf(
        "%s (%s)", migrate_info_status(info),
        json_object_get_string_member_with_default(info, "error-desc", ""));
    json_object_unref(info);
    if (!find_guest(world, give_word, &place, timeout_s, errp)) {
        g_prefix_error(errp, "migration %s: ", status);
        return FALSE;
    }
    if (expected != WORLD_EITHER && place != expected) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "the guest runs on at the %s; migration %s",
                    place == WORLD_SOURCE ? "source" : "destination", status);
        return FALSE;
    }
    if (place == WORLD_DESTINATION) {
        world->holder = !world->holder;
    }
    if (!world_check_guest(world, errp)) {
        g_prefix_error(errp, "at the %s, migration %s: ",
                       place == WORLD_SOURCE ? "source" : "destination",
                       status);
        return FALSE;
    }
    world_drop_destination(world);
    return TRUE;
}

void world_drop_destination(World *world)
{
    g_clear_pointer(&world->wire, wire_free);
    g_clear_pointer(&world->vms[!world->holder], vm_free);
}

/* How far each vCPU has come, by a monitor that may not answer any more */
static void add_vcpus(GString *all, Vm *vm)
{
    static const char *const commands[] = {
        "info cpu_throttle", "info registers -a",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_autofree char *said = qmp_hmp(vm_qmp(vm), commands[i], NULL);
        g_auto(GStrv) lines = g_strsplit(said ?: "", "\n", -1);

        for (char **line = lines; *line; line++) {
            if (strstr(*line, "throttle") || strstr(*line, "RIP=")) {
                g_string_append_printf(all, "  %s\n", g_strchomp(*line));
            }
        }
    }
}

char *world_complaints(World *world)
{
    GString *all = g_string_new("");

    for (unsigned i = 0; i < GUEST_WATCH_SIDES; i++) {
        Vm *vm = world->vms[i];
        g_autofree char *said = vm ? vm_stderr(vm) : NULL;

        if (vm) {
            g_string_append_printf(all, "side %u (%s%s): %s\n", i,
                                   i == world->holder ? "holder, " : "",
                                   vm_is_alive(vm) ? "alive" : "gone", said);
            if (vm_is_alive(vm)) {
                add_vcpus(all, vm);
            }
        }
    }
    return g_string_free(all, FALSE);
}
