/*
 * Processes and files that must not outlive this one
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * A guest that writes memory flat out and is forgotten eats a core for
 * ever.  What is registered here is killed and removed when the program
 * returns from main(), calls exit(), or gets SIGINT, SIGTERM, SIGHUP or
 * SIGPIPE.  A crash or SIGKILL runs none of our code: for those
 * children_die_with_parent() has the kernel kill the child, and only the
 * empty shells of sockets stay behind.
 */

#ifndef CONVERGE_CHILDREN_H
#define CONVERGE_CHILDREN_H

#include <glib.h>
#include <sys/types.h>

/* Installs the handlers; once, before the first child */
void children_guard(void);

void children_add(pid_t pid);
void children_remove(pid_t pid);

/*
 * A directory whose files (those of the names in children.c) are removed with
 * it.  FALSE if the table is full or the path too long to be kept.
 */
gboolean children_add_dir(const char *path);
void children_remove_dir(const char *path);

/*
 * To be called in the child between fork and exec.  The kernel ties it to
 * the *thread* that forked: start children from a thread that lives on.
 */
void children_die_with_parent(void);

#endif
