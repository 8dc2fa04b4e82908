/*
 * What the sanitizers must report, or their silence on all else means nothing
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <limits.h>
#include <pthread.h>

static int shared = INT_MAX;

/* Undefined once; and a race, as two threads do it. */
static void *add_one(void *unused)
{
    shared++;
    return unused;
}

int main(void)
{
    pthread_t threads[2];

    for (int i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, add_one, NULL);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    return 0;
}
