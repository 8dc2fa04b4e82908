/*
 * The loads that write and read memory
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "console.h"
#include "load-worker.h"

/* Work between two looks at the clock: 20 to 50 us under TCG, less on KVM. */
#define LOOK_READ_PAGES 16
/*
 * Fewer, since a host that limits dirtying may put a sleep before each page:
 * the gap should show one such sleep and not the sum of many.
 */
#define LOOK_WRITE_PAGES 16
/* A read of a disk is a request of 128 KiB. */
#define LOOK_DISK_PAGES 32

/* A paced writer wakes this often; what it owes is written in one go. */
#define SLICE_NS (5 * 1000 * 1000ULL)
/* After a stop it catches up on no more than this; the rest is forgotten. */
#define MAX_CATCH_UP_NS (100 * 1000 * 1000ULL)

/* A host that loses pages loses thousands; the count tells of the others. */
#define MAX_CORRUPT_LINES 16

#define WORDS_PER_PAGE (GUEST_PAGE_BYTES / sizeof(uint64_t))

/* First words of a page under "verify"; the rest of it is filler. */
typedef struct Stamp {
    uint64_t page;
    uint64_t generation;
    uint64_t sum;
} Stamp;

/* What a paced writer may write: earned since from_ns at pages_per_s. */
typedef struct Pace {
    uint64_t pages_per_s;
    uint64_t from_ns;
} Pace;

static _Atomic uint64_t bad_pages;

static uint64_t pace_due_pages(Pace *pace, uint64_t now)
{
    uint64_t pages;

    if (now - pace->from_ns > MAX_CATCH_UP_NS) {
        pace->from_ns = now - MAX_CATCH_UP_NS;
    }
    pages = (now - pace->from_ns) * pace->pages_per_s / 1000000000;
    /* Keeps the part of a page that is earned and not yet written. */
    pace->from_ns += pages * 1000000000 / pace->pages_per_s;
    return pages;
}

/* Even over 0 to @below - 1, which fits in 32 bits. */
static uint64_t random_below(Worker *w, uint64_t below)
{
    return (next_random(w) >> 32) * below >> 32;
}

static volatile uint64_t *page_at(Worker *w, uint64_t page)
{
    return w->memory + page * WORDS_PER_PAGE;
}

static uint64_t next_in_walk(Worker *w, uint64_t pages)
{
    uint64_t page = w->cursor < pages ? w->cursor : 0;

    if (!page) {
        w->generation++;
    }
    w->cursor = page + 1;
    return page;
}

static uint64_t stamp_sum(uint64_t page, uint64_t generation)
{
    uint64_t sum = (page + 1) * 0x9e3779b97f4a7c15 ^ generation;

    sum = (sum ^ sum >> 31) * 0xbf58476d1ce4e5b9;
    return sum ^ sum >> 29;
}

static void write_stamp(Worker *w, uint64_t page, uint64_t generation)
{
    volatile Stamp *stamp = (volatile Stamp *)page_at(w, page);

    stamp->page = page;
    stamp->generation = generation;
    stamp->sum = stamp_sum(page, generation);
}

/*
 * The generation expected is the worker's own, not the page's: a page that
 * fell back to an older state is as consistent in itself as a good one.
 */
static void check_stamp(Worker *w, uint64_t page, uint64_t want)
{
    volatile Stamp *stamp = (volatile Stamp *)page_at(w, page);
    uint64_t got_page = stamp->page, got = stamp->generation;
    uint64_t got_sum = stamp->sum;

    if (got_page == page && got == want &&
        got_sum == stamp_sum(page, want)) {
        return;
    }
    if (atomic_fetch_add(&bad_pages, 1) < MAX_CORRUPT_LINES) {
        console_say(true, "corrupt page=%llu want=%llu got=%llu "
                    "got_page=%llu sum_ok=%d vcpu=%u t_ms=%llu",
                    (unsigned long long)page, (unsigned long long)want,
                    (unsigned long long)got, (unsigned long long)got_page,
                    got_sum == stamp_sum(got_page, got), w->vcpu,
                    (unsigned long long)now_ns() / 1000000);
    }
}

/* The last that begins in the page; it ends in the next one. */
static volatile char *straddling_word(Worker *w, uint64_t page)
{
    return (volatile char *)page_at(w, page + 1) - sizeof(uint64_t) / 2;
}

static uint64_t read_straddling(Worker *w, uint64_t page)
{
    uint64_t value;

    memcpy(&value, (const char *)straddling_word(w, page), sizeof(value));
    return value;
}

/*
 * One instruction reads and writes a word that lies in two pages: done half,
 * and then again, it would add twice.
 */
static void add_straddling(Worker *w, uint64_t page, uint64_t want)
{
    typedef uint64_t Unaligned __attribute__((aligned(1)));
    volatile Unaligned *word = (volatile void *)straddling_word(w, page);
    uint64_t got = read_straddling(w, page);

    if (got != want &&
        atomic_fetch_add(&bad_pages, 1) < MAX_CORRUPT_LINES) {
        console_say(true, "corrupt page=%llu want=%llu got=%llu "
                    "got_page=%llu sum_ok=%d vcpu=%u t_ms=%llu",
                    (unsigned long long)page, (unsigned long long)want,
                    (unsigned long long)got, (unsigned long long)page, 0,
                    w->vcpu, (unsigned long long)now_ns() / 1000000);
    }
    __asm__ volatile("addq $1, %0" : "+m"(*word) : : "cc");
}

/* Each word changes, so that no compression finds an old one. */
static void write_page(Worker *w, uint64_t page)
{
    volatile uint64_t *at = page_at(w, page);

    for (unsigned i = 0; i < WORDS_PER_PAGE; i++) {
        at[i] += w->generation + 1;
    }
}

static void write_pages(Worker *w, uint64_t pages, unsigned count)
{
    const Load *load = &w->load;
    uint64_t hot_pages = pages * load->hot_pct / 100;
    uint64_t page;

    if (load->work == LOAD_READ_DISK) {
        page = w->cursor + count <= pages ? w->cursor : 0;
        load_read_disk(w, page, count);
        w->cursor = page + count;
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        switch (load->work) {
        case LOAD_VERIFY:
            page = next_in_walk(w, pages);
            check_stamp(w, page, w->generation - 1);
            write_stamp(w, page, w->generation);
            continue;
        case LOAD_STRADDLE:
            page = next_in_walk(w, pages - 1);
            add_straddling(w, page, w->generation - 1);
            continue;
        case LOAD_TOUCH:
            *page_at(w, next_in_walk(w, pages)) += 1;
            continue;
        case LOAD_RAND:
            page = random_below(w, pages);
            break;
        case LOAD_HOT:
            page = random_below(w, 100) < load->share_pct ?
                random_below(w, hot_pages) :
                hot_pages + random_below(w, pages - hot_pages);
            break;
        default:
            page = next_in_walk(w, pages);
            break;
        }
        write_page(w, page);
    }
}

static void run_phase(Worker *w, const LoadPhase *phase, uint64_t end_ns)
{
    Pace pace = {
        .pages_per_s = phase->pages_per_s, .from_ns = w->last_look_ns,
    };

    unsigned most = w->load.work == LOAD_READ_DISK ? LOOK_DISK_PAGES :
                    LOOK_WRITE_PAGES;

    while (w->last_look_ns < end_ns) {
        uint64_t now = w->last_look_ns;
        uint64_t due = pace.pages_per_s ? pace_due_pages(&pace, now) : most;

        while (due) {
            unsigned count = due < most ? due : most;

            write_pages(w, phase->pages, count);
            did(w, count);
            due -= count;
            look(w);
        }
        if (pace.pages_per_s) {
            nap_until(w, now + SLICE_NS);
        }
    }
}

void load_run_writer(Worker *w)
{
    for (unsigned i = 0; ; i = (i + 1) % w->load.nr_phases) {
        const LoadPhase *phase = &w->load.phase[i];
        uint64_t end_ns = phase->for_ms ?
            w->last_look_ns + phase->for_ms * 1000000 : UINT64_MAX;

        if (phase->pages) {
            run_phase(w, phase, end_ns);
        } else {
            nap_until(w, end_ns);
        }
    }
}

void load_run_reader(Worker *w)
{
    for (;;) {
        for (int i = 0; i < LOOK_READ_PAGES; i++) {
            volatile uint64_t *at = page_at(w, next_in_walk(w, w->load.pages));

            /* A word of each cache line. */
            for (unsigned j = 0; j < WORDS_PER_PAGE; j += 8) {
                (void)at[j];
            }
        }
        did(w, LOOK_READ_PAGES);
        look(w);
    }
}

/*
 * All of each page, with data that does not compress: what a migration sends
 * should cost what real memory costs.
 */
void load_fill_memory(Worker *w)
{
    for (uint64_t page = 0; page < w->load.pages; page++) {
        volatile uint64_t *at = page_at(w, page);

        for (unsigned i = 0; i < WORDS_PER_PAGE; i++) {
            at[i] = next_random(w);
        }
        if (w->load.work == LOAD_VERIFY) {
            write_stamp(w, page, w->generation);
        }
    }
    for (uint64_t page = 0;
         w->load.work == LOAD_STRADDLE && page + 1 < w->load.pages; page++) {
        memcpy((char *)straddling_word(w, page), &w->generation,
               sizeof(w->generation));
    }
}

uint64_t load_run_bad_pages(void)
{
    return atomic_load(&bad_pages);
}
