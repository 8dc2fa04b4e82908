/*
 * Convergence engine: what this host's operator has chosen for all guests
 *
 * CONFDIR/converge.conf (/etc/qemu/converge.conf in the packages), where there
 * is one, has defaults for clients that know nothing of us:
 *
 *     [migration]
 *     convergence-policy=auto
 *
 * They are taken when QEMU starts, before -global: that, and what a client sets
 * later, wins.  A fault in that file must not keep any guest from starting: what
 * cannot be taken is told as a warning and left out, key by key.
 *
 * Only parameters of ours that hold for any guest are taken.  The policy
 * dirty-limit and the action postcopy are refused: a guest without a meter that
 * counts, or without postcopy-ram, would not start with them.  auto takes
 * dirty-limit where it can.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qom/object.h"
#include "migration/convergence.h"
#include "convergence-base.h"
#include "convergence-host.h"

#define HOST_FILE CONFIG_QEMU_CONFDIR "/converge.conf"
#define HOST_GROUP "migration"

static const char *const host_keys[] = {
    "convergence-policy", "dirty-sync-period", "convergence-timeout",
    "convergence-max-downtime", "convergence-max-iterations",
    "convergence-max-transfer", "convergence-timeout-action",
    "convergence-vcpu-limit", NULL
};

static bool check_fits_any_guest(const MigrationParameters *params,
                                 ConvergenceParamsCheck *check, Error **errp)
{
    if (params->convergence_policy == CONVERGENCE_POLICY_NAME_DIRTY_LIMIT) {
        error_setg(errp, "it takes 'step', 'predictive' or 'auto': "
                   "'dirty-limit' is not for any guest");
        return false;
    }
    if (params->convergence_timeout_action ==
        CONVERGENCE_TIMEOUT_ACTION_POSTCOPY) {
        error_setg(errp, "it takes 'downtime', 'stop' or 'abort': "
                   "'postcopy' is not for any guest");
        return false;
    }
    return check(params, errp);
}

static bool take_key(MigrationState *s, const char *key, const char *value,
                     ConvergenceParamsCheck *check, Error **errp)
{
    MigrationParameters before = s->parameters;

    if (!g_strv_contains(host_keys, key)) {
        g_autofree char *known = g_strjoinv(", ", (char **)host_keys);

        error_setg(errp, "no parameter that a host can set: there are %s",
                   known);
        return false;
    }
    if (!object_property_parse(OBJECT(s), key, value, errp) ||
        !check_fits_any_guest(&s->parameters, check, errp)) {
        s->parameters = before;
        return false;
    }
    return true;
}

static void take_group(MigrationState *s, GKeyFile *file, const char *path,
                       ConvergenceParamsCheck *check)
{
    g_auto(GStrv) keys = g_key_file_get_keys(file, HOST_GROUP, NULL, NULL);

    for (char **key = keys; key && *key; key++) {
        g_autofree char *value = g_key_file_get_string(file, HOST_GROUP, *key,
                                                       NULL);
        Error *err = NULL;

        if (!take_key(s, *key, value ?: "", check, &err)) {
            warn_reportf_err(err, "%s: %s=%s is left out: ", path, *key,
                             value ?: "");
        }
    }
}

static void warn_of_groups(GKeyFile *file, const char *path)
{
    g_auto(GStrv) groups = g_key_file_get_groups(file, NULL);

    for (char **group = groups; *group; group++) {
        if (strcmp(*group, HOST_GROUP)) {
            warn_report("%s: group [%s] is left out: there is [%s]", path,
                        *group, HOST_GROUP);
        }
    }
}

void convergence_host_defaults(MigrationState *s,
                               ConvergenceParamsCheck *check)
{
    g_autofree char *path = get_relocated_path(HOST_FILE);
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) err = NULL;

    if (g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &err)) {
        warn_of_groups(file, path);
        take_group(s, file, path, check);
    } else if (!g_error_matches(err, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
        warn_report("%s is left out: %s", path, err->message);
    }
}
