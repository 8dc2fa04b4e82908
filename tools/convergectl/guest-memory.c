/*
 * How much of a guest's RAM was ever touched
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "guest-memory.h"

#include <stdio.h>
#include <string.h>

/*
 * RAM is some large mappings.  One that is smaller than this part of it is not
 * RAM; one that can be executed is the code that TCG has made.
 */
#define LEAST_PART 64

typedef struct Mapping {
    double size_bytes;
    double resident_bytes;          /* in memory, or swapped out */
    gboolean executable;
} Mapping;

/* "55d0c0000000-55d0c8000000 rw-p 00000000 00:00 0" */
static gboolean begins_mapping(const char *line, Mapping *mapping)
{
    guint64 begin, end;
    char flags[8];

    if (sscanf(line, "%" G_GINT64_MODIFIER "x-%" G_GINT64_MODIFIER "x %7s ",
               &begin, &end, flags) != 3) {
        return FALSE;
    }
    *mapping = (Mapping) {
        .size_bytes = end - begin,
        .executable = strchr(flags, 'x') != NULL,
    };
    return TRUE;
}

static void add_resident(Mapping *mapping, const char *line)
{
    static const char *const names[] = {
        "Rss", "Swap", "Shared_Hugetlb", "Private_Hugetlb",
    };
    char name[32];
    guint64 kib;

    if (sscanf(line, "%31[^:]: %" G_GINT64_MODIFIER "u kB", name,
               &kib) != 2) {
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        mapping->resident_bytes += g_str_equal(name, names[i]) ?
                                   kib * 1024.0 : 0;
    }
}

typedef struct Sums {
    double size_bytes;
    double resident_bytes;
} Sums;

static void count(const Mapping *mapping, double ram_bytes, Sums *sums)
{
    if (!mapping->executable &&
        mapping->size_bytes >= ram_bytes / LEAST_PART) {
        sums->size_bytes += mapping->size_bytes;
        sums->resident_bytes += mapping->resident_bytes;
    }
}

double guest_memory_touched_of(const char *smaps, double ram_bytes)
{
    g_auto(GStrv) lines = g_strsplit(smaps, "\n", -1);
    Mapping mapping = { .executable = TRUE };
    Sums sums = { 0 };

    for (char **line = lines; *line; line++) {
        Mapping next;

        if (begins_mapping(*line, &next)) {
            count(&mapping, ram_bytes, &sums);
            mapping = next;
        } else {
            add_resident(&mapping, *line);
        }
    }
    count(&mapping, ram_bytes, &sums);
    return sums.size_bytes >= ram_bytes ? MIN(sums.resident_bytes, ram_bytes)
                                        : -1;
}

double guest_memory_touched(GPid pid, double ram_bytes)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/smaps", (int)pid);
    g_autofree char *text = NULL;

    if (pid <= 0 || !g_file_get_contents(path, &text, NULL, NULL)) {
        return -1;
    }
    return guest_memory_touched_of(text, ram_bytes);
}
