/*
 * convergectl evacuate: move all guests of a host to others
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "commands.h"
#include "evacuate-time.h"
#include "format.h"

#ifdef HAVE_LIBVIRT

#include "evacuate.h"
#include "policies.h"

#include <string.h>

#define MAX_PARALLEL 64

/* NULL: to be left as it is */
static gboolean check_policy(EvacuateOptions *options)
{
    if (!options->policy) {
        options->policy = g_strdup("auto");
    }
    if (g_str_equal(options->policy, "keep")) {
        g_clear_pointer(&options->policy, g_free);
        return TRUE;
    }
    return policy_is_known(options->policy);
}

static gboolean parse_parallel(const char *text, unsigned *parallel)
{
    guint64 n = 0;

    *parallel = 0;
    if (!text || g_str_equal(text, "auto")) {
        return TRUE;
    }
    if (!g_ascii_string_to_unsigned(text, 10, 1, MAX_PARALLEL, &n, NULL)) {
        return FALSE;
    }
    *parallel = n;
    return TRUE;
}

static ExitStatus check_and_run(int argc, char **argv,
                                EvacuateOptions *options, const char *by,
                                const char *link, const char *parallel)
{
    if (argc < 2) {
        return commands_usage("evacuate", "no DESTURI: where are they to go?");
    }
    if (!check_policy(options)) {
        g_autofree char *names = policy_names("");

        return commands_usage("evacuate", "--policy %s: there are %s and keep",
                              options->policy, names);
    }
    if (!parse_parallel(parallel, &options->parallel)) {
        return commands_usage("evacuate", "--parallel %s: auto, or 1 to %d",
                              parallel, MAX_PARALLEL);
    }
    if (by && !evacuate_parse_time(by, g_get_real_time(), &options->by_us)) {
        return commands_usage("evacuate", "--by %s: HH:MM, or +MINUTESm, "
                              "+HOURSh or +SECONDSs from now", by);
    }
    if (link && !parse_rate(link, &options->link_bytes_per_s)) {
        return commands_usage("evacuate", "--link %s: a rate as 10Gbit or "
                              "800MB/s", link);
    }
    if (options->downtime_ms < 0) {
        return commands_usage("evacuate", "--downtime %d: at least 1 ms",
                              options->downtime_ms);
    }
    options->destinations = argv + 1;
    return evacuate(options);
}

ExitStatus cmd_evacuate(int argc, char **argv)
{
    EvacuateOptions options = { 0 };
    g_autofree char *by = NULL, *link = NULL, *parallel = NULL;
    gboolean json = FALSE, plain = FALSE;
    g_autofree char *names = policy_names(" (default)");
    g_autofree char *policy_help = g_strconcat(names, "; keep: no change",
                                               NULL);
    const GOptionEntry entries[] = {
        { "connect", 'c', 0, G_OPTION_ARG_STRING, &options.connect,
          "libvirt of the host to be emptied (libvirt's default)", "URI" },
        { "by", 0, 0, G_OPTION_ARG_STRING, &by,
          "when the host has to be empty: HH:MM, +90m, +2h", "TIME" },
        { "parallel", 0, 0, G_OPTION_ARG_STRING, &parallel,
          "so many at once (auto: as many as fill the link)", "N|auto" },
        { "dry-run", 0, 0, G_OPTION_ARG_NONE, &options.dry_run,
          "measure and plan, and move nothing", NULL },
        { "only", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.only,
          "guests of that name only; may be given again", "PATTERN" },
        { "except", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.except,
          "but not these", "PATTERN" },
        { "link", 0, 0, G_OPTION_ARG_STRING, &link,
          "what the link carries (default: it is measured)", "RATE" },
        { "policy", 0, 0, G_OPTION_ARG_STRING, &options.policy,
          policy_help, "NAME" },
        { "downtime", 0, 0, G_OPTION_ARG_INT, &options.downtime_ms,
          "downtime limit (default: no change)", "MS" },
        { "migrate-uri", 0, 0, G_OPTION_ARG_STRING, &options.migrate_uri,
          "where QEMU connects to (default: as the destination says)",
          "URI" },
        { "unsafe", 0, 0, G_OPTION_ARG_NONE, &options.unsafe,
          "move guests, too, whose disk caches libvirt considers unsafe",
          NULL },
        { "record", 0, 0, G_OPTION_ARG_FILENAME, &options.record,
          "write what happens to FILE, JSON lines, for plot", "FILE" },
        { "json", 0, 0, G_OPTION_ARG_NONE, &json, "JSON lines for programs",
          NULL },
        { "plain", 0, 0, G_OPTION_ARG_NONE, &plain,
          "lines also on a terminal", NULL },
        { NULL }
    };
    ExitStatus status;

    if (commands_parse(&argc, &argv, "DESTURI...",
            "Move all running guests of a host to others.  Their order, and how "
            "many go at once,\nare chosen so that it ends soonest.  Ctrl-C "
            "asks what to do with those under way;\nstart it again to go on.\n"
            "Exit status: 0 all are gone, "
            "8 some are left, 1 none is gone, 2 usage, 4 lost libvirt.",
            entries, NULL, &status)) {
        options.output = json ? FOLLOW_JSON :
                         plain ? FOLLOW_PLAIN : FOLLOW_AUTO;
        status = check_and_run(argc, argv, &options, by, link, parallel);
    }
    g_free(options.connect);
    g_free(options.policy);
    g_free(options.migrate_uri);
    g_free(options.record);
    g_strfreev(options.only);
    g_strfreev(options.except);
    return status;
}

#else

ExitStatus cmd_evacuate(int argc, char **argv)
{
    return commands_usage("evacuate", "this convergectl was built without "
                          "libvirt (Debian: libvirt-dev)");
}

#endif
