/*
 * Does a guest live through it?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * Runs groups of faults and prints TAP: one line for each fault, which says
 * how often it was tried and how often survived.  The seed is printed, and
 * with --seed the same choices are made again; the QEMUs' own timing is
 * theirs.
 */

#include "children.h"
#include "fault.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct Group {
    const char *name;
    const Fault *faults;
    gboolean one_world;         /* one guest goes through all of them */
} Group;

static const Group groups[] = {
    { "checks", checks_faults },
    { "killed", killed_faults, TRUE },
    { "cancel", cancel_faults, TRUE },
    { "link", link_faults, TRUE },
    { "downtime", downtime_faults },
    { "file", file_faults, TRUE },
    { "guest", guest_faults },
    { "vcpu", vcpu_faults },
    { "snapshot", snapshot_faults },
    { "settings", settings_faults },
    { "peer", peer_faults },
    { "feature", feature_faults },
};

static const Group *find_group(const char *name)
{
    for (size_t g = 0; g < G_N_ELEMENTS(groups); g++) {
        if (g_str_equal(groups[g].name, name)) {
            return &groups[g];
        }
    }
    return NULL;
}

typedef struct Tally {
    unsigned tried;
    unsigned survived;
    char *skipped;              /* why; NULL if it was tried */
} Tally;

/* What neither run has is there to be asked for by its name */
static unsigned rounds_of(const Fault *fault, const FaultOptions *options,
                          const char *only)
{
    unsigned rounds = options->long_run ? fault->long_rounds
                                        : fault->short_rounds;
    gboolean by_name = only && g_str_equal(only, fault->name);

    return (rounds || by_name) && options->rounds ? options->rounds : rounds;
}

static void tell_failure(FaultRun *run, const GError *error)
{
    g_autofree char *said = run->world ? world_complaints(run->world)
                                       : g_strdup("");
    g_auto(GStrv) lines = g_strsplit(said, "\n", -1);

    printf("# round %u: %s\n", run->round, error->message);
    for (char **line = lines; *line; line++) {
        if (**line) {
            printf("#   %s\n", *line);
        }
    }
}

/* FALSE: the rounds to come need not be tried. */
static gboolean run_round(FaultRun *run, Tally *tally)
{
    g_autoptr(GError) error = NULL;

    run->random = g_rand_new_with_seed(run->options->seed + run->round);
    tally->tried++;
    if (run->fault->run(run, &error)) {
        tally->survived++;
    } else if (error->domain == FAULT_SKIP) {
        tally->tried--;
        tally->skipped = g_strdup(error->message);
    } else {
        tell_failure(run, error);
    }
    if (error) {
        g_clear_pointer(&run->world, world_free);
    }
    g_rand_free(run->random);
    return !tally->skipped;
}

/* *@world: that of the fault before, and for the next */
static gboolean run_fault(const Fault *fault, const FaultOptions *options,
                          unsigned rounds, unsigned number, World **world)
{
    FaultRun run = { .options = options, .fault = fault, .world = *world };
    gint64 start_us = g_get_monotonic_time();
    g_autofree char *skipped = NULL;
    Tally tally = { 0 };
    gboolean ok;

    while (run.round < rounds && run_round(&run, &tally)) {
        run.round++;
    }
    *world = run.world;
    ok = tally.survived == tally.tried;
    skipped = tally.skipped && ok ?
              g_strconcat(" # SKIP ", tally.skipped, NULL) : g_strdup("");
    printf("%s %u - %s: tried %u, survived %u%s\n", ok ? "ok" : "not ok",
           number, fault->name, tally.tried, tally.survived, skipped);
    printf("# %.0f s\n", (g_get_monotonic_time() - start_us) / 1e6);
    g_free(tally.skipped);
    return ok;
}

typedef struct Count {
    unsigned run;
    unsigned failed;
} Count;

static void run_group(const Group *group, const FaultOptions *options,
                      const char *only, Count *count)
{
    World *world = NULL;

    for (const Fault *f = group->faults; f->name; f++) {
        unsigned rounds = rounds_of(f, options, only);

        if (!rounds || (only && !g_pattern_match_simple(only, f->name))) {
            continue;
        }
        count->failed += !run_fault(f, options, rounds, ++count->run, &world);
        if (!group->one_world) {
            g_clear_pointer(&world, world_free);
        }
    }
    world_free(world);
}

static int run_all(const FaultOptions *options, const char *const *wanted,
                   const char *only)
{
    Count count = { 0 };

    for (size_t g = 0; g < G_N_ELEMENTS(groups); g++) {
        if (!wanted || g_strv_contains(wanted, groups[g].name)) {
            run_group(&groups[g], options, only, &count);
        }
    }
    printf("1..%u%s\n", count.run, count.run ? "" : " # SKIP no such fault");
    return count.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void list_all(void)
{
    for (size_t g = 0; g < G_N_ELEMENTS(groups); g++) {
        for (const Fault *f = groups[g].faults; f->name; f++) {
            printf("%-10s %3u %4u  %s\n", groups[g].name, f->short_rounds,
                   f->long_rounds, f->name);
        }
    }
}

static char *in_build(const char *name)
{
    const char *build = g_getenv("CONVERGE_BUILD");

    return g_build_filename(build && *build ? build : "build", name,
                            "qemu-system-x86_64", NULL);
}

/* What of the command line is no FaultOptions */
typedef struct Arguments {
    char **groups;
    char *only;
    gboolean list;
    gint seed;
    gint rounds;
} Arguments;

static gboolean parse(int *argc, char ***argv, FaultOptions *options,
                      Arguments *arguments, GError **errp)
{
    GOptionEntry entries[] = {
        { "qemu", 0, 0, G_OPTION_ARG_FILENAME, &options->qemu,
          "QEMU to try (default: build/qemu's)", "PATH" },
        { "accel", 0, 0, G_OPTION_ARG_STRING, &options->accel,
          "value of -accel (default: tcg)", "A" },
        { "qemu-arg", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->qemu_args,
          "further argument of all QEMUs (repeatable)", "ARG" },
        { "full-qemu", 0, 0, G_OPTION_ARG_FILENAME, &options->full_qemu,
          "the same built with TLS (default: build/full's)", "PATH" },
        { "peer", 0, 0, G_OPTION_ARG_FILENAME, &options->peer,
          "stock QEMU 7.2 (default: $PEER, or Debian's)", "PATH" },
        { "long", 0, 0, G_OPTION_ARG_NONE, &options->long_run,
          "the rounds of make check-long", NULL },
        { "rounds", 0, 0, G_OPTION_ARG_INT, &arguments->rounds,
          "so many of each fault", "N" },
        { "seed", 0, 0, G_OPTION_ARG_INT, &arguments->seed,
          "choices to repeat", "N" },
        { "only", 0, 0, G_OPTION_ARG_STRING, &arguments->only,
          "faults whose name matches", "PATTERN" },
        { "list", 0, 0, G_OPTION_ARG_NONE, &arguments->list,
          "what there is: group, rounds, long rounds, name", NULL },
        { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY,
          &arguments->groups, NULL, "[GROUP...]" },
        { NULL }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, argc, argv, errp)) {
        return FALSE;
    }
    for (char **name = arguments->groups; name && *name; name++) {
        if (!find_group(*name)) {
            g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "no group '%s'; --list names them", *name);
            return FALSE;
        }
    }
    options->seed = arguments->seed;
    options->rounds = MAX(arguments->rounds, 0);
    return TRUE;
}

int main(int argc, char **argv)
{
    g_autofree char *qemu = in_build("qemu");
    g_autofree char *full_qemu = in_build("full");
    FaultOptions options = {
        .qemu = qemu, .full_qemu = full_qemu,
        .peer = g_getenv("PEER") ?: "/usr/bin/qemu-system-x86_64",
    };
    Arguments arguments = { .seed = g_random_int_range(1, 1000000) };
    g_autoptr(GError) error = NULL;

    if (!parse(&argc, &argv, &options, &arguments, &error)) {
        fprintf(stderr, "faults: %s\n", error->message);
        return EXIT_FAILURE;
    }
    if (arguments.list) {
        list_all();
        return EXIT_SUCCESS;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    children_guard();
    options.knows_policies = migrate_has_policy(options.qemu, "step");
    printf("# --seed %u\n", options.seed);
    return run_all(&options, (const char *const *)arguments.groups,
                   arguments.only);
}
