/*
 * Simulator: the dirty log of a guest, page by page, and how syncs count it
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "sim-log.h"

/* Of a page. */
#define LOGGED      1u              /* the kernel's bit */
#define WAITS       2u              /* the migration's */
#define REPORTED    4u              /* LOGGED at the last sync */
#define WRITTEN     8u              /* since the last sync: the truth */

/* Of a chunk. */
#define TO_CLEAR    1u              /* when its first page is sent */
#define CLEARED     2u              /* since the last sync */

#define GIB (1024.0 * 1024 * 1024)

void sim_log_init(SimDirtyLog *log, const SimLogSpec *spec,
                  unsigned n_pages, double page_bytes)
{
    double chunk_bytes = spec->chunk_bytes > 0 ? spec->chunk_bytes : GIB;

    *log = (SimDirtyLog) {
        .manual = spec->manual,
        .counts_reports = spec->counts_reports,
        .n_pages = n_pages,
        .waiting = n_pages,
        .chunk_pages = MAX(chunk_bytes / page_bytes, 1),
        .pages = g_new(uint8_t, n_pages),
    };
    log->n_chunks = DIV_ROUND_UP(n_pages, log->chunk_pages);
    log->chunks = g_new(uint8_t, log->n_chunks);
    memset(log->pages, spec->manual ? WAITS | LOGGED | REPORTED : WAITS,
           n_pages);
    memset(log->chunks, TO_CLEAR, log->n_chunks);
}

void sim_log_free(SimDirtyLog *log)
{
    g_free(log->pages);
    g_free(log->chunks);
}

SimWrite sim_log_write(SimDirtyLog *log, unsigned page)
{
    uint8_t before = log->pages[page];

    log->pages[page] |= LOGGED | WRITTEN;
    if (before & LOGGED) {
        return SIM_WRITE_UNSEEN;
    }
    return before & WAITS ? SIM_WRITE_WAITING : SIM_WRITE_NEW;
}

bool sim_log_waits(const SimDirtyLog *log, unsigned page)
{
    return log->pages[page] & WAITS;
}

/* KVM is told which bits to clear: those that it has reported. */
static void clear_chunk(SimDirtyLog *log, unsigned chunk)
{
    unsigned begin = chunk * log->chunk_pages;
    unsigned end = MIN(begin + log->chunk_pages, log->n_pages);

    for (unsigned page = begin; page < end; page++) {
        if (log->pages[page] & REPORTED) {
            log->pages[page] &= ~(LOGGED | REPORTED);
        }
    }
    log->chunks[chunk] = CLEARED;
    log->clears++;
}

void sim_log_send(SimDirtyLog *log, unsigned page)
{
    unsigned chunk = page / log->chunk_pages;

    if (log->manual && log->chunks[chunk] & TO_CLEAR) {
        clear_chunk(log, chunk);
    }
    log->pages[page] &= ~WAITS;
    log->waiting--;
}

static void count_page(const SimDirtyLog *log, unsigned page,
                       SimLogCount *count)
{
    uint8_t flags = log->pages[page];
    uint8_t chunk = log->chunks[page / log->chunk_pages];
    bool seen = !log->manual || chunk & CLEARED ||
                log->counts_reports;

    count->written += flags & WRITTEN ? 1 : 0;
    if (!(flags & LOGGED)) {
        return;
    }
    if (!(flags & WAITS)) {
        count->dirtied++;
        count->touched++;
    } else if (seen) {
        count->touched++;
    } else {
        count->unseen++;
    }
}

SimLogCount sim_log_sync(SimDirtyLog *log)
{
    uint8_t reported = log->manual ? LOGGED | REPORTED | WAITS : WAITS;
    SimLogCount count = { 0 };

    for (unsigned page = 0; page < log->n_pages; page++) {
        uint8_t flags = log->pages[page];

        count_page(log, page, &count);
        log->pages[page] = flags & LOGGED ? reported : flags & WAITS;
    }
    log->waiting += count.dirtied;
    log->clears++;
    memset(log->chunks, TO_CLEAR, log->n_chunks);
    return count;
}

void sim_log_clear_all(SimDirtyLog *log)
{
    for (unsigned chunk = 0; chunk < log->n_chunks; chunk++) {
        clear_chunk(log, chunk);
    }
}
