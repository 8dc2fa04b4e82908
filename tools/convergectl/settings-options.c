/*
 * Settings of a migration: what the command line asks for
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "settings-internal.h"

#include "format.h"
#include "policies.h"

/* The first one's help is made of the registry of policies. */
static SettingsOption options[] = {
    { "policy", NULL, "POLICY" },
    { "timeout", "convergence-timeout", "S",
      "take --timeout-action after so many seconds" },
    { "timeout-action", "convergence-timeout-action", "ACTION",
      "downtime, stop, postcopy, abort" },
    { "downtime", "downtime-limit", "MS", "longest downtime aimed at" },
    { "max-downtime", "convergence-max-downtime", "MS",
      "how far a timeout may raise the downtime limit" },
    { "max-iterations", "convergence-max-iterations", "PASSES",
      "take --timeout-action after so many passes over RAM" },
    { "max-transfer", "convergence-max-transfer", "PCT",
      "take it after so many percent of guest RAM were sent" },
    { "bandwidth", "max-bandwidth", "RATE",
      "what the migration may take of the link: MB/s, or 10Gbit" },
    { "max-throttle", "max-cpu-throttle", "PCT", "slow vCPUs by this at most" },
    { "vcpu-limit", "convergence-vcpu-limit", "MB/s",
      "what each vCPU may dirty" },
    { "sync-period", "dirty-sync-period", "MS",
      "time between two syncs of the dirty bitmap" },
    { "set", NULL, "NAME=VALUE", "any other migration parameter" },
    { "capability", NULL, "NAME=on|off", "any migration capability" },
    { NULL }
};

const SettingsOption *settings_options(void)
{
    if (!options[0].help) {
        g_autofree char *names = policy_names(" (default)");

        options[0].help = g_strconcat(names, ", off, keep", NULL);
    }
    return options;
}

Settings *settings_new(void)
{
    Settings *settings = g_new0(Settings, 1);

    settings->parameters = json_object_new();
    settings->capabilities = json_object_new();
    settings->implied = json_object_new();
    settings->options = g_ptr_array_new();
    return settings;
}

void settings_free(Settings *settings)
{
    if (settings) {
        g_free(settings->policy);
        json_object_unref(settings->parameters);
        json_object_unref(settings->capabilities);
        json_object_unref(settings->implied);
        g_clear_pointer(&settings->known_parameters, json_object_unref);
        g_clear_pointer(&settings->known_capabilities, json_object_unref);
        g_ptr_array_unref(settings->options);
        g_free(settings);
    }
}

/* What reads as a number or a boolean is one */
static void set_value(JsonObject *object, const char *name, const char *value)
{
    gint64 number;

    if (g_ascii_string_to_signed(value, 10, G_MININT64, G_MAXINT64, &number,
                                 NULL)) {
        json_object_set_int_member(object, name, number);
    } else if (g_str_equal(value, "true") || g_str_equal(value, "on")) {
        json_object_set_boolean_member(object, name, TRUE);
    } else if (g_str_equal(value, "false") || g_str_equal(value, "off")) {
        json_object_set_boolean_member(object, name, FALSE);
    } else {
        json_object_set_string_member(object, name, value);
    }
}

static gboolean add_pair(JsonObject *object, const char *option,
                         const char *pair, GError **errp)
{
    g_auto(GStrv) parts = g_strsplit(pair, "=", 2);

    if (g_strv_length(parts) != 2 || !*parts[0] || !*parts[1]) {
        g_set_error(errp, SETTINGS_ERROR, "--%s %s: is not NAME=VALUE",
                    option, pair);
        return FALSE;
    }
    set_value(object, parts[0], parts[1]);
    return TRUE;
}

static gboolean add_policy(Settings *settings, const char *policy,
                           GError **errp)
{
    if (!policy_is_known(policy) && !g_str_equal(policy, "off") &&
        !g_str_equal(policy, "keep")) {
        g_autofree char *names = policy_names("");

        g_set_error(errp, SETTINGS_ERROR, "--policy %s: there are %s, off and "
                    "keep", policy, names);
        return FALSE;
    }
    g_free(settings->policy);
    settings->policy = g_strdup(policy);
    return TRUE;
}

static gboolean add_bandwidth(Settings *settings, const char *value,
                              GError **errp)
{
    guint64 bytes_per_s;

    if (!parse_rate(value, &bytes_per_s)) {
        g_set_error(errp, SETTINGS_ERROR, "--bandwidth %s: is no rate; write "
                    "64 (MB/s), 500M (bytes/s) or 10Gbit", value);
        return FALSE;
    }
    json_object_set_int_member(settings->parameters, "max-bandwidth",
                               bytes_per_s);
    return TRUE;
}

static gboolean add_parameter(Settings *settings, const SettingsOption *o,
                              const char *value, GError **errp)
{
    gint64 number;

    if (g_str_equal(o->option, "timeout-action")) {
        json_object_set_string_member(settings->parameters, o->parameter,
                                      value);
        if (g_str_equal(value, "postcopy")) {
            json_object_set_boolean_member(settings->capabilities,
                                           "postcopy-ram", TRUE);
        }
        return TRUE;
    }
    if (!g_ascii_string_to_signed(value, 10, 0, G_MAXINT64, &number, NULL)) {
        g_set_error(errp, SETTINGS_ERROR, "--%s %s: is not a whole number of "
                    "%s, 0 or more", o->option, value, o->unit);
        return FALSE;
    }
    json_object_set_int_member(settings->parameters, o->parameter, number);
    return TRUE;
}

gboolean settings_add(Settings *settings, const char *option,
                      const char *value, GError **errp)
{
    const SettingsOption *o = options;

    while (o->option && !g_str_equal(o->option, option)) {
        o++;
    }
    g_return_val_if_fail(o->option, FALSE);
    if (g_str_equal(option, "policy")) {
        return add_policy(settings, value, errp);
    } else if (g_str_equal(option, "set")) {
        return add_pair(settings->parameters, option, value, errp);
    } else if (g_str_equal(option, "capability")) {
        return add_pair(settings->capabilities, option, value, errp);
    }
    g_ptr_array_add(settings->options, (void *)o);
    return g_str_equal(option, "bandwidth")
           ? add_bandwidth(settings, value, errp)
           : add_parameter(settings, o, value, errp);
}

gboolean settings_any(const Settings *settings)
{
    return settings->policy || json_object_get_size(settings->parameters) ||
           json_object_get_size(settings->capabilities);
}
