/*
 * Processes and files that must not outlive this one
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * The tables are plain arrays, changed with signals blocked: a handler may
 * neither take a lock nor call malloc.  Slot by slot removal keeps the
 * handler right whenever it comes.
 */

#include "children.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_CHILDREN 64
#define MAX_DIRS 64
#define MAX_PATH_BYTES 108      /* as sun_path: longer ones cannot be used */

/* What a directory of ours may hold; a handler cannot list it safely */
static const char *const file_names[] = {
    "qmp.sock", "serial.sock", "migrate.sock", "stderr.log",
    "wire.sock", "second.sock", "disk", "keys.psk",
};

static const int fatal_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };

static volatile pid_t children[MAX_CHILDREN];
static char dirs[MAX_DIRS][MAX_PATH_BYTES];
static pid_t owner;

static void block_signals(sigset_t *old)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, old);
}

static void unblock_signals(const sigset_t *old)
{
    pthread_sigmask(SIG_SETMASK, old, NULL);
}

/* From here to on_fatal_signal(): only what may run in a signal handler */

static void remove_dir(const char *dir)
{
    char path[MAX_PATH_BYTES + 32];
    size_t length = strlen(dir);

    memcpy(path, dir, length);
    path[length] = '/';
    for (size_t i = 0; i < G_N_ELEMENTS(file_names); i++) {
        memcpy(path + length + 1, file_names[i], strlen(file_names[i]) + 1);
        unlink(path);
    }
    rmdir(dir);
}

static void kill_all(void)
{
    for (int i = 0; i < MAX_CHILDREN; i++) {
        if (children[i] > 0) {
            kill(children[i], SIGKILL);
            waitpid(children[i], NULL, 0);
            children[i] = 0;
        }
    }
    for (int i = 0; i < MAX_DIRS; i++) {
        if (dirs[i][0]) {
            remove_dir(dirs[i]);
            dirs[i][0] = 0;
        }
    }
}

static void on_fatal_signal(int number)
{
    /* A forked child that has not yet called exec has our handlers */
    if (getpid() == owner) {
        kill_all();
    }
    /* SA_RESETHAND: die of it, so that a shell sees why */
    raise(number);
}

static void on_exit_cleanup(void)
{
    if (getpid() == owner) {
        kill_all();
    }
}

void children_guard(void)
{
    struct sigaction action = { .sa_handler = on_fatal_signal,
                                .sa_flags = SA_RESETHAND };

    if (owner) {
        return;
    }
    owner = getpid();
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < G_N_ELEMENTS(fatal_signals); i++) {
        sigaddset(&action.sa_mask, fatal_signals[i]);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(fatal_signals); i++) {
        struct sigaction old;

        /* Who started us under nohup wants no SIGHUP from us */
        sigaction(fatal_signals[i], NULL, &old);
        if (old.sa_handler != SIG_IGN) {
            sigaction(fatal_signals[i], &action, NULL);
        }
    }
    atexit(on_exit_cleanup);
}

void children_add(pid_t pid)
{
    sigset_t old;
    int i;

    block_signals(&old);
    for (i = 0; i < MAX_CHILDREN && children[i]; i++) {
        continue;
    }
    if (i < MAX_CHILDREN) {
        children[i] = pid;
    }
    unblock_signals(&old);
    g_assert(i < MAX_CHILDREN);
}

void children_remove(pid_t pid)
{
    sigset_t old;

    block_signals(&old);
    for (int i = 0; i < MAX_CHILDREN; i++) {
        if (children[i] == pid) {
            children[i] = 0;
        }
    }
    unblock_signals(&old);
}

gboolean children_add_dir(const char *path)
{
    gboolean done = FALSE;
    sigset_t old;

    block_signals(&old);
    for (int i = 0; i < MAX_DIRS && !done; i++) {
        if (!dirs[i][0] && strlen(path) < MAX_PATH_BYTES) {
            strcpy(dirs[i], path);
            done = TRUE;
        }
    }
    unblock_signals(&old);
    return done;
}

void children_remove_dir(const char *path)
{
    sigset_t old;

    block_signals(&old);
    for (int i = 0; i < MAX_DIRS; i++) {
        if (g_str_equal(dirs[i], path)) {
            remove_dir(dirs[i]);
            dirs[i][0] = 0;
        }
    }
    unblock_signals(&old);
    if (g_file_test(path, G_FILE_TEST_EXISTS)) {
        g_warning("%s stays behind: it holds files of names that are not "
                  "known here", path);
    }
}

void children_die_with_parent(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* The parent may have died before the call: nobody would tell us */
    if (getppid() != owner) {
        _exit(127);
    }
}
