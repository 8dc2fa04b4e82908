/*
 * Faults: parameters change at random, and two monitors at once do it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Some of the values are refused, and some make the migration give up: what
 * counts is that QEMU answers each, and that the guest is well.
 */

#include "fault.h"

#include "children.h"

#include <glib/gstdio.h>

#define CHANGES 60
#define CHANGE_MS 50
#define END_TIMEOUT_S 120

static const struct Setting {
    const char *name;
    gint64 values[6];
} numbers[] = {
    { "dirty-sync-period", { 100, 200, 1000, 60000, 0, -1 } },
    { "convergence-timeout", { 0, 1, 2, 1000000, 1000001, -1 } },
    { "convergence-max-downtime", { 100, 500, 5000, 2000000, 0, -1 } },
    { "convergence-max-iterations", { 0, 0, 1, 5, 1000, -1 } },
    { "convergence-max-transfer", { 0, 0, 100, 400, 100000, -1 } },
    { "convergence-vcpu-limit", { 0, 1, 10, 100, 100000000, -1 } },
    { "avail-switchover-bandwidth", { 0, 0, 1000000, 1000000000, 0,
                                      9223372036853727232 } },
    { "cpu-throttle-initial", { 1, 20, 50, 99, 0, 100 } },
    { "cpu-throttle-increment", { 1, 10, 30, 99, 0, 100 } },
    { "max-cpu-throttle", { 1, 30, 80, 99, 0, 100 } },
    { "throttle-trigger-threshold", { 1, 50, 90, 100, 0, 101 } },
    { "downtime-limit", { 0, 1, 100, 1000, 2000000, 2000001 } },
    { "max-bandwidth", { 1000000, 8000000, 48000000, 480000000, 0,
                         9223372036853727232 } },
};

static const struct Choice {
    const char *name;
    const char *values[5];
} choices[] = {
    { "convergence-policy", { "step", "predictive", "dirty-limit", "auto",
                              "nonsense" } },
    { "convergence-timeout-action", { "downtime", "downtime", "stop", "abort",
                                      "nonsense" } },
};

static JsonObject *random_setting(GRand *random)
{
    JsonObject *arguments = json_object_new();
    gint32 n = g_rand_int_range(random, 0, G_N_ELEMENTS(numbers) +
                                           G_N_ELEMENTS(choices));

    if (n < (gint32)G_N_ELEMENTS(numbers)) {
        const struct Setting *s = &numbers[n];
        gint32 v = g_rand_int_range(random, 0, G_N_ELEMENTS(s->values));

        json_object_set_int_member(arguments, s->name, s->values[v]);
    } else {
        const struct Choice *c = &choices[n - G_N_ELEMENTS(numbers)];
        gint32 v = g_rand_int_range(random, 0, G_N_ELEMENTS(c->values));

        json_object_set_string_member(arguments, c->name, c->values[v]);
    }
    return arguments;
}

/* FALSE only if QEMU did not answer: a refusal is an answer */
static gboolean answered(const GError *error)
{
    return !error || (error->domain == QMP_ERROR &&
                      error->code <= QMP_ERROR_KVM_MISSING_CAP);
}

static gboolean change_at_random(QmpClient *qmp, GRand *random, GError **errp)
{
    for (int i = 0; i < CHANGES; i++) {
        g_autoptr(GError) error = NULL;

        qmp_run(qmp, "migrate-set-parameters", random_setting(random),
                &error);
        if (!answered(error)) {
            g_propagate_error(errp, g_steal_pointer(&error));
            return FALSE;
        }
        g_usleep(g_rand_int_range(random, 0, 2 * CHANGE_MS) * 1000);
    }
    return TRUE;
}

static gboolean set(QmpClient *qmp, JsonObject *settings, GError **errp)
{
    return qmp_run(qmp, "migrate-set-parameters", settings, errp);
}

/* Whatever is left of the migration ends: its own way, or by a cancel */
static gboolean end_it(FaultRun *run, GError **errp)
{
    if (run->round & 1) {
        JsonObject *settings = json_object_new();

        json_object_set_int_member(settings, "max-bandwidth", 480000000);
        json_object_set_int_member(settings, "convergence-max-downtime",
                                   2000000);
        json_object_set_int_member(settings, "downtime-limit", 2000);
        if (!set(world_qmp(run->world), settings, errp)) {
            return FALSE;
        }
    } else if (!fault_cancel(run->world, errp)) {
        return FALSE;
    }
    return world_settle(run->world, WORLD_EITHER, END_TIMEOUT_S, errp);
}

/*
 * What query-migrate-parameters says is taken back as it stands, whatever
 * the values were that came between.
 */
static gboolean changed_at_random(FaultRun *run, GError **errp)
{
    World *world = fault_world_by_word(run, errp);
    JsonObject *before;

    if (!world) {
        return FALSE;
    }
    before = qmp_query(world_qmp(world), "query-migrate-parameters", errp);
    if (!before) {
        return FALSE;
    }
    if (!fault_migrate(run, errp) ||
        !change_at_random(world_qmp(world), run->random, errp) ||
        !end_it(run, errp)) {
        json_object_unref(before);
        return FALSE;
    }
    return set(world_qmp(world), before, errp);
}

typedef struct Second {
    const char *path;
    guint32 seed;
    GError *error;
} Second;

/* The other monitor: asks, throttles by hand, limits, changes, lifts */
static void *second_monitor(void *opaque)
{
    static const char *const lines[] = {
        "info migrate", "info migrate_parameters", "set_cpu_throttle 30",
        "set_vcpu_dirty_limit 10", "info vcpu_dirty_limit",
        "cancel_vcpu_dirty_limit", "set_cpu_throttle 0", "info cpu_throttle",
        "migrate_set_convergence_timeout 5",
        "migrate_set_convergence_timeout 0",
    };
    Second *second = opaque;
    g_autoptr(QmpClient) qmp = qmp_connect(second->path, 10000,
                                           &second->error);
    GRand *random = g_rand_new_with_seed(second->seed);
    gboolean ok = qmp != NULL;

    for (int i = 0; ok && i < CHANGES; i++) {
        gint32 n = g_rand_int_range(random, 0, G_N_ELEMENTS(lines));
        char *said = qmp_hmp(qmp, lines[n], &second->error);

        ok = said != NULL;
        g_free(said);
        g_usleep(g_rand_int_range(random, 0, 2 * CHANGE_MS) * 1000);
    }
    for (int i = 5; ok && i <= 6; i++) {
        char *said = qmp_hmp(qmp, lines[i], &second->error);

        ok = said != NULL;
        g_free(said);
    }
    g_rand_free(random);
    return NULL;
}

static gboolean both_monitors(FaultRun *run, const char *path, GError **errp)
{
    Second second = { .path = path, .seed = g_rand_int(run->random) };
    GThread *thread;
    gboolean ok;

    if (!fault_migrate(run, errp)) {
        return FALSE;
    }
    thread = g_thread_new("monitor", second_monitor, &second);
    ok = change_at_random(world_qmp(run->world), run->random, errp);
    g_thread_join(thread);
    if (second.error) {
        g_clear_error(errp);
        g_propagate_prefixed_error(errp, second.error, "second monitor: ");
        return FALSE;
    }
    return ok && end_it(run, errp);
}

/* A world of its own each time: only the first source has the second one */
static gboolean two_monitors(FaultRun *run, GError **errp)
{
    g_autofree char *dir = g_dir_make_tmp("converge-mon-XXXXXX", errp);
    g_autofree char *path = NULL, *chardev = NULL;
    const char *args[] = { "-qmp", NULL, NULL };
    WorldSpec spec = fault_usual_world(run);
    gboolean ok;

    if (!dir) {
        return FALSE;
    }
    children_add_dir(dir);
    path = g_build_filename(dir, "second.sock", NULL);
    chardev = g_strdup_printf("unix:%s,server=on,wait=off", path);
    args[1] = chardev;
    spec.first_args = args;
    spec.by_word = TRUE;
    ok = fault_world_with(run, &spec, errp) &&
         both_monitors(run, path, errp);
    if (ok) {
        g_clear_pointer(&run->world, world_free);
    }
    children_remove_dir(dir);
    return ok;
}

const Fault settings_faults[] = {
    { "parameters changed at random", 1, 60, changed_at_random },
    { "two monitors at once", 1, 30, two_monitors },
    { NULL }
};
