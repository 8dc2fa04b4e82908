/*
 * Two QEMUs, one guest: brought up, configured and set off
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "migrate-pair.h"

#include "pin.h"

#include <string.h>

/* A guest under TCG is up in two seconds; a busy host may need many more */
#define READY_TIMEOUT_MS 60000

/* More than any wire here carries */
#define UNCAPPED_BYTES_PER_S 1000000000000LL

static Vm *start_side(MigratePair *pair, const MigrateSpec *spec,
                      gboolean incoming, GError **errp)
{
    VmConfig config = {
        .qemu = spec->qemu,
        .name = incoming ? "destination" : "source",
        .accel = spec->accel,
        .load = spec->load,
        .programs = spec->programs,
        .clocks = spec->clocks,
        .mem_mib = spec->mem_mib,
        .smp = spec->smp,
        .incoming = incoming,
        .extra_args = spec->qemu_args,
        .on_line = guest_work_line,
        .opaque = pair->work,
    };

    return vm_start(&config, errp);
}

gboolean migrate_pair_start(MigratePair *pair, const MigrateSpec *spec,
                            GError **errp)
{
    pair->work = guest_work_new();
    pair->source = start_side(pair, spec, FALSE, errp);
    if (pair->source) {
        pair->destination = start_side(pair, spec, TRUE, errp);
    }
    if (!pair->destination ||
        !guest_work_wait_ready(pair->work, READY_TIMEOUT_MS, errp)) {
        migrate_pair_clear(pair);
        return FALSE;
    }
    if (spec->pin && !(pin_vm(pair->source, spec->load, errp) &&
                       pin_vm(pair->destination, spec->load, errp))) {
        migrate_pair_clear(pair);
        return FALSE;
    }
    return TRUE;
}

void migrate_pair_clear(MigratePair *pair)
{
    /* The Vms first: their console threads write to the work account */
    g_clear_pointer(&pair->source, vm_free);
    g_clear_pointer(&pair->destination, vm_free);
    g_clear_pointer(&pair->work, guest_work_free);
}

static gboolean set_capability(QmpClient *qmp, const char *name,
                               GError **errp)
{
    JsonObject *arguments = json_object_new();
    JsonObject *capability = json_object_new();
    JsonArray *list = json_array_new();

    json_object_set_string_member(capability, "capability", name);
    json_object_set_boolean_member(capability, "state", TRUE);
    json_array_add_object_element(list, capability);
    json_object_set_array_member(arguments, "capabilities", list);
    return qmp_run(qmp, "migrate-set-capabilities", arguments, errp);
}

/* "name=value" as JSON: what reads as a number or a boolean is one */
static gboolean add_setting(JsonObject *arguments, const char *setting,
                            GError **errp)
{
    const char *equals = strchr(setting, '=');
    const char *value = equals ? equals + 1 : "";
    g_autofree char *name = NULL;
    gint64 number;

    if (!*value || equals == setting) {
        g_set_error(errp, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "'%s' is not NAME=VALUE", setting);
        return FALSE;
    }
    name = g_strndup(setting, equals - setting);
    if (g_ascii_string_to_signed(value, 10, G_MININT64, G_MAXINT64, &number,
                                 NULL)) {
        json_object_set_int_member(arguments, name, number);
    } else if (g_str_equal(value, "true") || g_str_equal(value, "false")) {
        json_object_set_boolean_member(arguments, name,
                                       g_str_equal(value, "true"));
    } else {
        json_object_set_string_member(arguments, name, value);
    }
    return TRUE;
}

static gboolean set_parameters(QmpClient *qmp, const MigrateSpec *spec,
                               GError **errp)
{
    JsonObject *arguments = json_object_new();

    json_object_set_int_member(arguments, "max-bandwidth",
                               spec->uncapped ? UNCAPPED_BYTES_PER_S :
                               spec->bandwidth_bytes_per_s);
    json_object_set_int_member(arguments, "downtime-limit",
                               spec->downtime_limit_ms);
    if (spec->policy) {
        json_object_set_string_member(arguments, "convergence-policy",
                                      spec->policy);
    }
    for (const char *const *s = spec->settings; s && *s; s++) {
        if (!add_setting(arguments, *s, errp)) {
            json_object_unref(arguments);
            return FALSE;
        }
    }
    return qmp_run(qmp, "migrate-set-parameters", arguments, errp);
}

gboolean migrate_side_configure(QmpClient *qmp, const MigrateSpec *spec,
                                GError **errp)
{
    if (!set_capability(qmp, "events", errp) ||
        !set_parameters(qmp, spec, errp)) {
        return FALSE;
    }
    for (const char *const *c = spec->capabilities; c && *c; c++) {
        if (!set_capability(qmp, *c, errp)) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean migrate_pair_configure(MigratePair *pair, const MigrateSpec *spec,
                                GError **errp)
{
    QmpClient *source = vm_qmp(pair->source);

    return migrate_side_configure(source, spec, errp) &&
           migrate_side_configure(vm_qmp(pair->destination), spec, errp) &&
           (spec->no_auto_converge ||
            set_capability(source, "auto-converge", errp));
}

gboolean migrate_run_with_uri(QmpClient *qmp, const char *command,
                              const char *uri, GError **errp)
{
    JsonObject *arguments = json_object_new();

    json_object_set_string_member(arguments, "uri", uri);
    return qmp_run(qmp, command, arguments, errp);
}

gboolean migrate_pair_go(MigratePair *pair, Wire *wire, GError **errp)
{
    g_autofree char *uri = vm_migrate_uri(pair->destination);

    if (wire) {
        wire_set_target(wire, uri);
    }
    return migrate_run_with_uri(vm_qmp(pair->destination), "migrate-incoming",
                                uri, errp) &&
           migrate_run_with_uri(vm_qmp(pair->source), "migrate",
                                wire ? wire_uri(wire) : uri, errp);
}

gint64 migrate_info_int(JsonObject *info, const char *group,
                        const char *name)
{
    JsonNode *node = NULL;

    if (group) {
        node = json_object_get_member(info, group);
        if (!node || !JSON_NODE_HOLDS_OBJECT(node)) {
            return 0;
        }
        info = json_node_get_object(node);
    }
    node = json_object_get_member(info, name);
    return node && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_int(node) : 0;
}

const char *migrate_info_status(JsonObject *info)
{
    return json_object_get_string_member_with_default(info, "status", "none");
}

gboolean migrate_has_ended(const char *status)
{
    return g_str_equal(status, "completed") ||
           g_str_equal(status, "failed") ||
           g_str_equal(status, "cancelled");
}
