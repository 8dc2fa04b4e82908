/*
 * convergectl: run, watch and plot live migrations of QEMU guests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "commands.h"
#include "message.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>

typedef struct Command {
    const char *name;
    ExitStatus (*run)(int argc, char **argv);
    const char *help;
} Command;

static const Command commands[] = {
    { "migrate", cmd_migrate, "start a migration and follow it" },
    { "watch", cmd_watch, "follow one that somebody else started" },
    { "record", cmd_record, "write one down, as CSV or JSON lines" },
    { "plot", cmd_plot, "draw what was written down, as SVG" },
    { "check", cmd_check, "say whether a guest would converge over a link" },
    { "evacuate", cmd_evacuate, "move all guests of a host to others" },
};

static void print_help(FILE *out)
{
    fprintf(out, "Usage: convergectl COMMAND [OPTION...]\n\n"
            "Run, watch and plot live migrations of QEMU guests.\n\n");
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
    }
    fprintf(out, "\nconvergectl COMMAND --help tells more; so does man "
            "convergectl.\n");
}

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    /* Figures are read by programs, too: always with a point */
    setlocale(LC_NUMERIC, "C");
    /* A reader of ours that went away shows as a failed write */
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (g_str_equal(argv[1], "--help") || g_str_equal(argv[1], "help")) {
        print_help(stdout);
        return EXIT_COMPLETED;
    }
    if (g_str_equal(argv[1], "--version")) {
        printf("convergectl %s\n", CONVERGE_VERSION);
        return EXIT_COMPLETED;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (g_str_equal(argv[1], commands[i].name)) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    message_error("there is no command '%s'; convergectl --help lists them",
                  argv[1]);
    return EXIT_USAGE;
}
