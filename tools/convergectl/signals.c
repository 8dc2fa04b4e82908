/*
 * Signals as something to be polled
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "signals.h"

#include <glib.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const int watched[] = {
    SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH,
};

static sigset_t before;

int signals_open(void)
{
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < G_N_ELEMENTS(watched); i++) {
        struct sigaction old;

        /* Who started us under nohup, or with & in a script, means it */
        sigaction(watched[i], NULL, &old);
        if (old.sa_handler != SIG_IGN) {
            sigaddset(&set, watched[i]);
        }
    }
    sigprocmask(SIG_BLOCK, &set, &before);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

int signals_next(int fd)
{
    struct signalfd_siginfo info;

    if (read(fd, &info, sizeof(info)) == sizeof(info)) {
        return info.ssi_signo;
    }
    return 0;
}

void signals_close(int fd)
{
    close(fd);
    sigprocmask(SIG_SETMASK, &before, NULL);
}
