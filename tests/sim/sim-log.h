/*
 * Simulator: the dirty log of a guest, page by page, and how syncs count it
 *
 * Two bitmaps: the kernel's log, which a write sets where it is clear, and the
 * migration's, in which a sync sets what the log reports and the sender clears
 * what it sends.  An exact log is cleared by each sync.  A manual one (KVM with
 * KVM_CLEAR_DIRTY_LOG, all bits set at the start) is cleared by the chunk, when
 * the first page of it is sent after a sync, of what that sync reported:
 *
 *   sync       chunk A sent        sync
 *   --|---------|===================|---   A: written in ===, or set anew
 *   --|-----------------------------|---   B: not sent; bits that stood at the
 *                                          first sync are reported again
 *
 * So of a page that waited in B nobody knows whether it was written since.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SIM_LOG_H
#define SIM_LOG_H

#include "sim-guest.h"

/* What a write to a page was to the log. */
typedef enum SimWrite {
    SIM_WRITE_UNSEEN,               /* its bit stands already */
    SIM_WRITE_WAITING,              /* a fault; but the page waits anyway */
    SIM_WRITE_NEW,                  /* a fault, and it adds to the work */
} SimWrite;

typedef struct SimLogCount {
    unsigned dirtied, touched, unseen;
    unsigned written;               /* as only a simulator knows it */
} SimLogCount;

typedef struct SimDirtyLog {
    bool manual, counts_reports;    /* as in SimLogSpec */
    unsigned n_pages, waiting;
    unsigned chunk_pages, n_chunks;
    unsigned clears;                /* times that bits were cleared */
    uint8_t *pages, *chunks;        /* flags */
} SimDirtyLog;

/* As a migration finds it: all pages wait. */
void sim_log_init(SimDirtyLog *log, const SimLogSpec *spec,
                  unsigned n_pages, double page_bytes);
void sim_log_free(SimDirtyLog *log);

SimWrite sim_log_write(SimDirtyLog *log, unsigned page);
bool sim_log_waits(const SimDirtyLog *log, unsigned page);
void sim_log_send(SimDirtyLog *log, unsigned page);

/* What became of each page since the last one. */
SimLogCount sim_log_sync(SimDirtyLog *log);

/* Right after a sync: clear the log of all chunks, waiting pages or not. */
void sim_log_clear_all(SimDirtyLog *log);

#endif /* SIM_LOG_H */
