/*
 * What a migration is set to before it starts
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "settings-internal.h"

#include "before.h"
#include "connection.h"

typedef enum Known { KNOWN_PARAMETER, KNOWN_CAPABILITY } Known;

/* The reply of query-migrate-parameters, or of -capabilities in that form */
static JsonObject *query_known(QmpClient *qmp, Known known, GError **errp)
{
    JsonObject *names;
    JsonNode *reply;

    if (known == KNOWN_PARAMETER) {
        return qmp_query(qmp, "query-migrate-parameters", errp);
    }
    reply = qmp_execute(qmp, "query-migrate-capabilities", NULL, errp);
    if (!reply) {
        return NULL;
    }
    names = json_object_new();
    if (JSON_NODE_HOLDS_ARRAY(reply)) {
        JsonArray *list = json_node_get_array(reply);

        for (guint i = 0; i < json_array_get_length(list); i++) {
            JsonNode *item = json_array_get_element(list, i);

            if (JSON_NODE_HOLDS_OBJECT(item)) {
                json_object_set_boolean_member(names,
                    json_object_get_string_member_with_default(
                        json_node_get_object(item), "capability", ""),
                    json_object_get_boolean_member_with_default(
                        json_node_get_object(item), "state", FALSE));
            }
        }
    }
    json_node_unref(reply);
    return names;
}

/* An action needs something that it follows upon, from here or from before. */
static gboolean check_action(const Settings *settings, GError **errp)
{
    static const char *const conditions[] = {
        "convergence-timeout", "convergence-max-iterations",
        "convergence-max-transfer",
    };

    if (!json_object_has_member(settings->parameters,
                                "convergence-timeout-action")) {
        return TRUE;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(conditions); i++) {
        JsonObject *from = json_object_has_member(settings->parameters,
                                                  conditions[i])
                           ? settings->parameters
                           : settings->known_parameters;

        if (json_object_get_int_member_with_default(from, conditions[i], 0)) {
            return TRUE;
        }
    }
    g_set_error_literal(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                        "--timeout-action would never be taken: say when it "
                        "is, with --timeout SECONDS, --max-iterations or "
                        "--max-transfer; nothing has been started");
    return FALSE;
}

static gboolean check_known(Settings *settings, QmpClient *qmp,
                            JsonObject *known, GError **errp)
{
    g_autoptr(GString) missing = g_string_new("");
    g_autofree char *qemu = NULL;

    for (guint i = 0; i < settings->options->len; i++) {
        const SettingsOption *o = settings->options->pdata[i];

        if (!json_object_has_member(known, o->parameter)) {
            g_string_append_printf(missing, "%s'%s' (--%s)",
                                   missing->len ? ", " : "", o->parameter,
                                   o->option);
        }
    }
    if (!missing->len) {
        return TRUE;
    }
    qemu = connection_qemu_name(qmp);
    g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                "%s does not know the migration parameter %s: leave it out, "
                "or use a QEMU with Converge; nothing has been started", qemu,
                missing->str);
    return FALSE;
}

/* Without convergence-policy: what comes closest, or an error */
static gboolean choose_old_policy(Settings *settings, QmpClient *qmp,
                                  JsonObject *capabilities, char **note,
                                  GError **errp)
{
    const char *policy = settings->policy ?: "auto";
    g_autofree char *qemu = connection_qemu_name(qmp);

    if (g_str_equal(policy, "dirty-limit") &&
        json_object_has_member(capabilities, "dirty-limit")) {
        json_object_set_boolean_member(settings->implied, "dirty-limit",
                                       TRUE);
        return TRUE;
    }
    if (g_str_equal(policy, "predictive") ||
        g_str_equal(policy, "dirty-limit")) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                    "%s does not know the migration parameter "
                    "'convergence-policy' (--policy %s): use --policy step "
                    "there; nothing has been started", qemu, policy);
        return FALSE;
    }
    json_object_set_boolean_member(settings->implied, "auto-converge",
                                   TRUE);
    *note = g_strdup_printf("%s has no convergence-policy: using its own "
                            "auto-converge, which throttles all vCPUs step "
                            "by step", qemu);
    return TRUE;
}

static gboolean choose_policy(Settings *settings, QmpClient *qmp, char **note,
                              GError **errp)
{
    const char *policy = settings->policy ?: "auto";

    if (g_str_equal(policy, "keep")) {
        return TRUE;
    }
    if (g_str_equal(policy, "off")) {
        json_object_set_boolean_member(settings->implied,
                                       "auto-converge", FALSE);
        return TRUE;
    }
    if (json_object_has_member(settings->known_parameters,
                               "convergence-policy")) {
        json_object_set_string_member(settings->parameters,
                                      "convergence-policy", policy);
        json_object_set_boolean_member(settings->implied,
                                       "auto-converge", TRUE);
        return TRUE;
    }
    return choose_old_policy(settings, qmp, settings->known_capabilities,
                             note, errp);
}

static void append_capabilities(JsonArray *list, JsonObject *capabilities)
{
    g_autoptr(GList) names = json_object_get_members(capabilities);

    for (GList *name = names; name; name = name->next) {
        JsonObject *item = json_object_new();

        json_object_set_string_member(item, "capability", name->data);
        json_object_set_member(item, "state", json_node_copy(
            json_object_get_member(capabilities, name->data)));
        json_array_add_object_element(list, item);
    }
}

/* What was asked for comes last, and wins */
static gboolean send_capabilities(QmpClient *qmp, JsonObject *implied,
                                  JsonObject *wanted, GError **errp)
{
    JsonObject *arguments = json_object_new();
    JsonArray *list = json_array_new();

    if (implied) {
        append_capabilities(list, implied);
    }
    append_capabilities(list, wanted);
    json_object_set_array_member(arguments, "capabilities", list);
    return qmp_run(qmp, "migrate-set-capabilities", arguments, errp);
}

/* Those of @now that @wanted has, too, are copied to @before */
static void keep(JsonObject *before, JsonObject *now, JsonObject *wanted)
{
    g_autoptr(GList) names = json_object_get_members(wanted);

    for (GList *name = names; name; name = name->next) {
        if (json_object_has_member(now, name->data)) {
            json_object_set_member(before, name->data, json_node_copy(
                json_object_get_member(now, name->data)));
        }
    }
}

JsonObject *settings_before(const Settings *settings)
{
    JsonObject *before = json_object_new();
    JsonObject *parameters = json_object_new();
    JsonObject *capabilities = json_object_new();

    keep(parameters, settings->known_parameters, settings->parameters);
    keep(capabilities, settings->known_capabilities, settings->implied);
    keep(capabilities, settings->known_capabilities, settings->capabilities);
    json_object_set_object_member(before, BEFORE_PARAMETERS, parameters);
    json_object_set_object_member(before, BEFORE_CAPABILITIES, capabilities);
    return before;
}

gboolean settings_apply_destination(Settings *settings, QmpClient *qmp,
                                    JsonObject **before, GError **errp)
{
    JsonObject *now, *capabilities;

    *before = NULL;
    if (json_object_get_size(settings->capabilities) == 0) {
        return TRUE;
    }
    now = query_known(qmp, KNOWN_CAPABILITY, errp);
    if (!now) {
        return FALSE;
    }
    capabilities = json_object_new();
    keep(capabilities, now, settings->capabilities);
    json_object_unref(now);
    *before = json_object_new();
    json_object_set_object_member(*before, BEFORE_CAPABILITIES, capabilities);
    return send_capabilities(qmp, NULL, settings->capabilities, errp);
}

/*
 * What one side sends and the other does not expect ends the migration in the
 * midst of it, with an error that names something else.
 */
static const char *const shared[] = {
    "multifd", "postcopy-ram", "postcopy-preempt", "compress", "x-colo",
    "rdma-pin-all", "validate-uuid", "switchover-ack", "mapped-ram", NULL
};

char *settings_shared_capabilities(QmpClient *qmp)
{
    JsonObject *on = query_known(qmp, KNOWN_CAPABILITY, NULL);
    GString *text = g_string_new("");

    for (int i = 0; on && shared[i]; i++) {
        if (json_object_get_boolean_member_with_default(on, shared[i],
                                                        FALSE)) {
            g_string_append_printf(text, "%s%s", text->len ? ", " : "",
                                   shared[i]);
        }
    }
    g_clear_pointer(&on, json_object_unref);
    return g_string_free(text, text->len == 0);
}

gboolean settings_check_sides(QmpClient *source, QmpClient *destination,
                              GError **errp)
{
    JsonObject *here = query_known(source, KNOWN_CAPABILITY, errp);
    JsonObject *there = here ? query_known(destination, KNOWN_CAPABILITY,
                                           errp) : NULL;
    gboolean ok = there != NULL;

    for (int i = 0; ok && shared[i]; i++) {
        gboolean a = json_object_get_boolean_member_with_default(
            here, shared[i], FALSE);
        gboolean b = json_object_get_boolean_member_with_default(
            there, shared[i], FALSE);

        if (a != b) {
            g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                        "the capability %s is %s here and %s at the "
                        "destination: --capability %s=on, or =off, sets it "
                        "at both; nothing has been started", shared[i],
                        a ? "on" : "off", b ? "on" : "off", shared[i]);
            ok = FALSE;
        }
    }
    g_clear_pointer(&here, json_object_unref);
    g_clear_pointer(&there, json_object_unref);
    return ok;
}

gboolean settings_prepare(Settings *settings, QmpClient *qmp, char **note,
                          GError **errp)
{
    *note = NULL;
    settings->known_parameters = query_known(qmp, KNOWN_PARAMETER, errp);
    settings->known_capabilities = settings->known_parameters ?
        query_known(qmp, KNOWN_CAPABILITY, errp) : NULL;
    if (!settings->known_capabilities ||
        !check_known(settings, qmp, settings->known_parameters, errp) ||
        !check_action(settings, errp) ||
        !choose_policy(settings, qmp, note, errp)) {
        g_clear_pointer(note, g_free);
        return FALSE;
    }
    /* So that the end is heard of even if QEMU leaves right after it */
    json_object_set_boolean_member(settings->implied, "events", TRUE);
    return TRUE;
}

gboolean settings_fit_running(const Settings *settings, GError **errp)
{
    const char *policy = settings->policy;

    if (json_object_get_size(settings->capabilities)) {
        g_set_error_literal(errp, SETTINGS_ERROR, "--capability, and "
                            "--timeout-action postcopy: a migration that "
                            "runs takes no capabilities");
        return FALSE;
    }
    if (policy && (g_str_equal(policy, "off") ||
                   g_str_equal(policy, "keep"))) {
        g_set_error(errp, SETTINGS_ERROR, "--policy %s: auto-converge cannot "
                    "be switched while a migration runs", policy);
        return FALSE;
    }
    return TRUE;
}

gboolean settings_prepare_running(Settings *settings, QmpClient *qmp,
                                  GError **errp)
{
    if (settings->policy) {
        json_object_set_string_member(settings->parameters,
                                      "convergence-policy", settings->policy);
    }
    settings->known_parameters = query_known(qmp, KNOWN_PARAMETER, errp);
    settings->known_capabilities = json_object_new();
    return settings->known_parameters &&
           check_known(settings, qmp, settings->known_parameters, errp) &&
           check_action(settings, errp);
}

gboolean settings_apply(Settings *settings, QmpClient *qmp, GError **errp)
{
    gboolean any = json_object_get_size(settings->implied) ||
                   json_object_get_size(settings->capabilities);

    return (!any || send_capabilities(qmp, settings->implied,
                                      settings->capabilities, errp)) &&
           (!json_object_get_size(settings->parameters) ||
            qmp_run(qmp, "migrate-set-parameters",
                    json_object_ref(settings->parameters), errp));
}
