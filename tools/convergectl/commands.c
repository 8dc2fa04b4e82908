/*
 * What the commands share: options and how their errors are told
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "commands.h"

#include "connection.h"
#include "message.h"
#include "settings.h"

#include <string.h>

#define DEFAULT_CONNECT_TIMEOUT_S 5
#define DEFAULT_INTERVAL_MS 200
#define MIN_INTERVAL_MS 20

ExitStatus commands_usage(const char *command, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    message_error("%s: %s; see convergectl %s --help", command, text,
                  command);
    return EXIT_USAGE;
}

ExitStatus commands_tell_error(const GError *error)
{
    message_error("%s", error->message);
    return connection_is_lost(error) ? EXIT_LOST : EXIT_FAILED;
}

static void add_common(GOptionGroup *group, CommonOptions *common)
{
    const GOptionEntry entries[] = {
        { "qmp", 0, 0, G_OPTION_ARG_FILENAME, &common->qmp,
          "QMP socket of the QEMU that the guest is to leave", "SOCKET" },
        { "domain", 0, 0, G_OPTION_ARG_STRING, &common->domain,
          "instead of that: a guest of libvirt's, through virsh (it gets "
          "marked as tainted)", "NAME" },
        { "connect-timeout", 0, 0, G_OPTION_ARG_INT,
          &common->connect_timeout_s,
          "how long QEMU may take to greet (5)", "SECONDS" },
        { "interval", 0, 0, G_OPTION_ARG_INT, &common->interval_ms,
          "between two looks (200)", "MS" },
        { "silence", 0, 0, G_OPTION_ARG_INT, &common->silence_s,
          "how long QEMU may be silent before it counts as lost (120, or 3 "
          "downtimes)", "SECONDS" },
        { "json", 0, 0, G_OPTION_ARG_NONE, &common->json,
          "JSON lines for programs", NULL },
        { "plain", 0, 0, G_OPTION_ARG_NONE, &common->plain,
          "lines also on a terminal", NULL },
        { NULL }
    };

    common->connect_timeout_s = DEFAULT_CONNECT_TIMEOUT_S;
    common->interval_ms = DEFAULT_INTERVAL_MS;
    g_option_group_add_entries(group, entries);
}

static gboolean check_common(const char *command, const CommonOptions *common)
{
    if (!common->qmp == !common->domain) {
        commands_usage(command, common->qmp ? "--qmp and --domain exclude "
                       "each other" : "--qmp SOCKET is missing");
        return FALSE;
    }
    if (common->connect_timeout_s < 1) {
        commands_usage(command, "--connect-timeout %d: at least 1 s",
                       common->connect_timeout_s);
        return FALSE;
    }
    if (common->silence_s < 0) {
        commands_usage(command, "--silence %d: at least 1 s, or 0 for the "
                       "usual", common->silence_s);
        return FALSE;
    }
    if (common->interval_ms < MIN_INTERVAL_MS) {
        commands_usage(command, "--interval %d: at least %d ms",
                       common->interval_ms, MIN_INTERVAL_MS);
        return FALSE;
    }
    return TRUE;
}

static void drop_separator(int *argc, char **argv)
{
    for (int i = 1; i < *argc; i++) {
        if (g_str_equal(argv[i], "--")) {
            memmove(&argv[i], &argv[i + 1], (*argc - i) * sizeof(*argv));
            (*argc)--;
            return;
        }
    }
}

static void add_settings(GOptionGroup *group, GOptionArgFunc func)
{
    for (const SettingsOption *o = settings_options(); o->option; o++) {
        const GOptionEntry entries[] = {
            { o->option, 0, 0, G_OPTION_ARG_CALLBACK, func, o->help,
              o->unit },
            { NULL }
        };

        g_option_group_add_entries(group, entries);
    }
}

QmpClient *commands_connect(const CommonOptions *common)
{
    g_autoptr(GError) error = NULL;
    QmpClient *qmp;

    if (common->domain) {
        message_note("asking through libvirt, which marks %s as tainted for "
                     "it", common->domain);
        qmp = qmp_open_domain(common->domain,
                              common->connect_timeout_s * 1000, &error);
    } else {
        qmp = connection_open(common->qmp, common->connect_timeout_s, &error);
    }
    if (!qmp) {
        message_error("%s", error->message);
    }
    return qmp;
}

const char *commands_guest(const CommonOptions *common)
{
    return common->domain ?: common->qmp;
}

void commands_free(CommonOptions *common)
{
    g_free(common->qmp);
    g_free(common->domain);
}

FollowOutput commands_output(const CommonOptions *common)
{
    return common->json ? FOLLOW_JSON :
           common->plain ? FOLLOW_PLAIN : FOLLOW_AUTO;
}

gboolean commands_parse(int *argc, char ***argv, const char *synopsis,
                        const char *summary, const GOptionEntry *entries,
                        CommonOptions *common, ExitStatus *status)
{
    return commands_parse_with_settings(argc, argv, synopsis, summary,
                                        entries, common, NULL, NULL, status);
}

gboolean commands_parse_with_settings(int *argc, char ***argv,
                                      const char *synopsis,
                                      const char *summary,
                                      const GOptionEntry *entries,
                                      CommonOptions *common,
                                      GOptionArgFunc func, void *opaque,
                                      ExitStatus *status)
{
    g_autoptr(GOptionContext) context = g_option_context_new(synopsis);
    GOptionGroup *group = g_option_group_new("main", "", "", opaque, NULL);
    g_autofree char *command = g_strdup((*argv)[0]);
    g_autofree char *program = g_strdup_printf("convergectl %s", command);
    g_autoptr(GError) error = NULL;

    *status = EXIT_USAGE;
    g_set_prgname(program);
    g_option_context_set_summary(context, summary);
    g_option_context_set_main_group(context, group);
    g_option_group_add_entries(group, entries);
    if (func) {
        add_settings(group, func);
    }
    if (common) {
        add_common(group, common);
    }
    if (!g_option_context_parse(context, argc, argv, &error)) {
        commands_usage(command, "%s", error->message);
        return FALSE;
    }
    drop_separator(argc, *argv);
    return !common || check_common(command, common);
}
