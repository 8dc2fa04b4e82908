/*
 * What stands in a dirty ring, over plain memory
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib.h>
#include "sysemu/dirty-ring.h"

/* KVM's largest ring. */
#define LARGEST 65536

typedef struct TestRing {
    DirtyRingEntry *entries;
    uint32_t size, fetch;
} TestRing;

/* @dirty entries from @fetch on; those just before it await their reset. */
static TestRing new_ring(uint32_t size, uint32_t fetch, uint32_t dirty)
{
    TestRing ring = { g_new0(DirtyRingEntry, size), size, fetch };

    for (uint32_t i = 1; i <= (size - dirty) / 2; i++) {
        ring.entries[(fetch - i) & (size - 1)].flags = DIRTY_RING_ENTRY_RESET;
    }
    for (uint32_t i = 0; i < dirty; i++) {
        ring.entries[(fetch + i) & (size - 1)].flags = DIRTY_RING_ENTRY_DIRTY;
    }
    return ring;
}

typedef struct Visits {
    const TestRing *ring;
    uint32_t next;              /* entry that is expected to be visited */
    uint32_t n;
} Visits;

static void visit(void *opaque, const DirtyRingEntry *entry)
{
    Visits *visits = opaque;
    const TestRing *ring = visits->ring;

    g_assert_true(entry == &ring->entries[visits->next & (ring->size - 1)]);
    g_assert_cmpuint(entry->flags, ==, DIRTY_RING_ENTRY_DIRTY);
    visits->next++;
    visits->n++;
}

/* Returns: how many entries were visited; @end is where the walk ended. */
static uint32_t walk(const TestRing *ring, uint32_t seen, uint32_t first,
                     uint32_t *end)
{
    Visits visits = { ring, first, 0 };

    *end = dirty_ring_walk(ring->entries, ring->size, ring->fetch, seen, visit,
                           &visits);
    return visits.n;
}

/* Each entry is visited once, however many of them an earlier walk has seen. */
static void assert_pending(uint32_t size, uint32_t fetch, uint32_t dirty)
{
    TestRing ring = new_ring(size, fetch, dirty);
    uint32_t seen[] = { 0, 1, dirty / 2, dirty - 1, dirty };
    uint32_t end;

    for (size_t i = 0; i < G_N_ELEMENTS(seen); i++) {
        if (seen[i] <= dirty) {
            g_assert_cmpuint(walk(&ring, fetch + seen[i], fetch + seen[i],
                                  &end), ==, dirty - seen[i]);
            g_assert_cmpuint(end, ==, fetch + dirty);
        }
    }
    /* Those that it saw were all harvested since, and more. */
    for (uint32_t behind = 1; behind <= 2 * size; behind += size / 2 + 1) {
        g_assert_cmpuint(walk(&ring, fetch - behind, fetch, &end), ==, dirty);
        g_assert_cmpuint(end, ==, fetch + dirty);
    }
    g_free(ring.entries);
}

static void test_empty(void)
{
    assert_pending(4096, 0, 0);
    assert_pending(4096, 4095, 0);
    assert_pending(1, 0, 0);
}

static void test_full(void)
{
    assert_pending(4096, 0, 4096);
    assert_pending(4096, 17, 4096);
    assert_pending(1, 0, 1);
}

static void test_wrapped(void)
{
    assert_pending(1024, 1023, 2);
    assert_pending(1024, 1000, 500);
    /* The index of the next entry has itself wrapped. */
    assert_pending(1024, UINT32_MAX, 3);
    assert_pending(1024, UINT32_MAX - 400, 1000);
}

static void test_every_count(void)
{
    for (uint32_t dirty = 0; dirty <= 64; dirty++) {
        for (uint32_t fetch = 0; fetch < 64; fetch++) {
            assert_pending(64, fetch, dirty);
        }
    }
}

static void test_largest(void)
{
    assert_pending(LARGEST, 0, 0);
    assert_pending(LARGEST, 12345, 1);
    assert_pending(LARGEST, 65535, 32768);
    assert_pending(LARGEST, 40000, 65535);
    assert_pending(LARGEST, 40000, LARGEST);
}

/* What the kernel wrote beside the flags plays no part. */
static void test_other_fields_are_ignored(void)
{
    TestRing ring = new_ring(16, 5, 3);
    uint32_t end;

    for (int i = 0; i < 16; i++) {
        ring.entries[i].slot = UINT32_MAX;
        ring.entries[i].offset = UINT64_MAX;
    }
    g_assert_cmpuint(walk(&ring, 5, 5, &end), ==, 3);
    g_free(ring.entries);
}

/* How far the producer has come; it never stops before the ring is full. */
static uint32_t produced;

static gpointer produce(gpointer opaque)
{
    TestRing *ring = opaque;

    for (uint32_t i = 0; i < ring->size; i++) {
        DirtyRingEntry *entry =
            &ring->entries[(ring->fetch + i) & (ring->size - 1)];

        entry->offset = i;
        __atomic_store_n(&entry->flags, DIRTY_RING_ENTRY_DIRTY,
                         __ATOMIC_RELEASE);
        __atomic_store_n(&produced, i + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* Walks that follow a producer miss no entry and visit none twice. */
static void test_racing_producer(void)
{
    for (int round = 0; round < 20; round++) {
        TestRing ring = new_ring(LARGEST, 4711 * round, 0);
        GThread *thread;
        uint32_t seen = ring.fetch, count = 0;

        __atomic_store_n(&produced, 0, __ATOMIC_RELEASE);
        thread = g_thread_new("produce", produce, &ring);
        while (count < ring.size) {
            uint32_t least = __atomic_load_n(&produced, __ATOMIC_ACQUIRE);
            uint32_t most;

            count += walk(&ring, seen, seen, &seen);
            most = __atomic_load_n(&produced, __ATOMIC_ACQUIRE);
            g_assert_cmpuint(count, >=, least);
            /* The entry is there just before the producer says so. */
            g_assert_cmpuint(count, <=, most + 1);
        }
        g_thread_join(thread);
        g_free(ring.entries);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dirty-ring/empty", test_empty);
    g_test_add_func("/dirty-ring/full", test_full);
    g_test_add_func("/dirty-ring/wrapped", test_wrapped);
    g_test_add_func("/dirty-ring/every-count", test_every_count);
    g_test_add_func("/dirty-ring/65536-entries", test_largest);
    g_test_add_func("/dirty-ring/other-fields", test_other_fields_are_ignored);
    g_test_add_func("/dirty-ring/racing-producer", test_racing_producer);
    return g_test_run();
}
