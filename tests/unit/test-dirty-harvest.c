/*
 * What a sync of the dirty bitmap counts, word by word
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib.h>
#include "exec/dirty-harvest.h"

/* 256 pages: four words, in chunks of 64 or of 128 pages. */
#define WORDS 4

typedef struct Case {
    const char *what;
    bool manual;
    uint8_t shift;
    /* A bit for each chunk that was not cleared since the last sync. */
    unsigned long uncleared;
    unsigned long waits[WORDS], reported[WORDS];
    uint64_t seen, unseen;
} Case;

static const Case cases[] = {
    { "exact log: all that is reported was written", false, 6, 0xf,
      { ~0ul, 0, ~0ul, 0xff }, { ~0ul, 3, 1, 0xf0f }, 64 + 2 + 1 + 8, 0 },
    { "cleared since: all that is reported was written", true, 6, 0,
      { ~0ul, 0, ~0ul, 0xff }, { ~0ul, 3, 1, 0xf0f }, 64 + 2 + 1 + 8, 0 },
    { "not cleared: only what did not wait is known to be", true, 6, 0xf,
      { ~0ul, 0, ~0ul, 0xff }, { ~0ul, 3, 1, 0xf0f }, 0 + 2 + 0 + 4,
      64 + 0 + 1 + 4 },
    { "each chunk by itself", true, 6, 0x5,
      { ~0ul, ~0ul, 0, 0xff }, { 7, 7, 7, 7 }, 0 + 3 + 3 + 3, 3 },
    { "chunks of two words", true, 7, 0x2,
      { ~0ul, ~0ul, 0, ~0ul }, { 7, 7, 7, 7 }, 3 + 3 + 3 + 0, 3 },
    { "the start: all is set and all waits", true, 6, 0xf,
      { ~0ul, ~0ul, ~0ul, ~0ul }, { ~0ul, ~0ul, ~0ul, ~0ul }, 0, 256 },
};

static void test_counts(const void *opaque)
{
    const Case *c = opaque;
    unsigned long waits[WORDS], uncleared = c->uncleared;
    RAMBlock block = {
        .bmap = waits, .clear_bmap = &uncleared, .clear_bmap_shift = c->shift,
    };
    DirtyHarvest harvest = { .block = &block, .manual = c->manual };

    memcpy(waits, c->waits, sizeof(waits));
    for (unsigned word = 0; word < WORDS; word++) {
        dirty_harvest_word(&harvest, word, c->reported[word]);
    }
    g_assert_cmpuint(harvest.pages, ==, c->seen);
    g_assert_cmpuint(harvest.unseen_pages, ==, c->unseen);
}

/* What is not seen is neither lost nor counted twice, whatever the chunks. */
static void test_every_reported_page_counts_once(void)
{
    GRand *random = g_rand_new_with_seed(1);

    for (int round = 0; round < 10000; round++) {
        unsigned long waits[WORDS], reported[WORDS];
        unsigned long uncleared = g_rand_int(random) & 0xf;
        RAMBlock block = {
            .bmap = waits, .clear_bmap = &uncleared, .clear_bmap_shift = 6,
        };
        DirtyHarvest harvest = { .block = &block, .manual = true };
        uint64_t all = 0, newly = 0;

        for (unsigned word = 0; word < WORDS; word++) {
            waits[word] = (unsigned long)g_rand_int(random) << 32 |
                          g_rand_int(random);
            reported[word] = (unsigned long)g_rand_int(random) << 32 |
                             g_rand_int(random);
            all += __builtin_popcountl(reported[word]);
            newly += __builtin_popcountl(reported[word] & ~waits[word]);
            dirty_harvest_word(&harvest, word, reported[word]);
        }
        g_assert_cmpuint(harvest.pages + harvest.unseen_pages, ==, all);
        g_assert_cmpuint(harvest.pages, >=, newly);
    }
    g_rand_free(random);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/dirty-harvest/%s",
                                                cases[i].what);

        g_test_add_data_func(path, &cases[i], test_counts);
    }
    g_test_add_func("/dirty-harvest/every reported page counts once",
                    test_every_reported_page_counts_once);
    return g_test_run();
}
