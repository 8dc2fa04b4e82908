/*
 * Convergence engine, QEMU side: samples from what QEMU counts
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONVERGENCE_SAMPLE_H
#define MIGRATION_CONVERGENCE_SAMPLE_H

#include "migration/convergence.h"
#include "migration/convergence-engine.h"
#include "sysemu/dirty-meter.h"

/* Counters as they stood when the last interval ended. */
typedef struct SampleBase {
    int64_t now_ns;
    uint64_t remaining_bytes;
    uint64_t wire_bytes;
    uint64_t zero_pages;
    uint64_t sent_pages;        /* zero pages among them */
    uint64_t harvested_pages;
    uint64_t unseen_pages;
} SampleBase;

/* What is remembered of a vCPU between two samples. */
typedef struct VcpuBase {
    uint64_t touched_pages;
    uint64_t new_pages;
    int64_t slept_ns;
    int64_t cpu_time_ns;        /* of its thread */
    int throttle_pct;           /* share of the last interval slept */
} VcpuBase;

/* What vCPUs are said to have written, of how much that was written. */
typedef struct MeterCheck {
    uint64_t metered_bytes;
    uint64_t written_bytes;
} MeterCheck;

/* Of one migration.  All calls need the same lock of the caller's. */
typedef struct ConvergenceSampler {
    SampleBase base;
    int64_t sync_begin_ns;
    int64_t sync_begin_cpu_ns;
    int64_t log_cleared_ns;     /* what it took since the last interval */
    uint64_t sync_begin_remaining_bytes;
    uint64_t start_bytes;       /* what remained at the start */
    uint64_t start_sent_pages;
    uint64_t gone_bytes;        /* that remained, and then did not */
    uint64_t freed_bytes;       /* of them in the bulk pass, not sent */
    uint64_t bulk_remaining_bytes;
    uint64_t bulk_empty_bytes;  /* of them, never touched by the guest */
    ConvergenceUntouched untouched;
    int64_t next_census_ns;
    ConvergenceVcpu *vcpus;
    VcpuBase *vcpu_bases;
    unsigned n_vcpus;
    unsigned max_vcpus;
    /* Since the start, of all samples and of those that saw all. */
    MeterCheck all_samples;
    MeterCheck known_samples;
    bool meter_dropped;
    bool interrupted;           /* in this interval: the next sample is void */
} ConvergenceSampler;

/**
 * convergence_sampler_name_meter: say in a sample what tells its vCPUs apart
 *
 * After the meter was dropped, too.  BQL held.
 */
void convergence_sampler_name_meter(const ConvergenceSampler *sampler,
                                    ConvergenceSample *sample);

/**
 * convergence_sampler_start: a migration begins, nothing has been sent
 * @sampler: zero-initialised, or of an earlier migration
 * @now_ns: the time
 *
 * BQL held.
 */
void convergence_sampler_start(ConvergenceSampler *sampler, int64_t now_ns);

/**
 * convergence_sampler_vcpu: what is known of a vCPU, and decided for it
 * @sampler: the sampler
 * @id: its cpu_index
 * @likely: its place in QEMU's list, where it is looked for first
 *
 * Returns: NULL if it was plugged since the last sample.  BQL held.
 */
const ConvergenceVcpu *
convergence_sampler_vcpu(const ConvergenceSampler *sampler, int id,
                         unsigned likely);

/**
 * convergence_sampler_census_due: whether it is time to ask the host again what
 * the guest never touched
 * @sampler: the sampler
 * @now_ns: of a sync, in the bulk pass
 *
 * What the guest says is free, and what a balloon takes, is not told otherwise.
 */
bool convergence_sampler_census_due(const ConvergenceSampler *sampler,
                                    int64_t now_ns);

/**
 * convergence_sampler_set_untouched: what a census found
 * @sampler: the sampler
 * @now_ns: when, before anything was sent since the last sync
 * @took_ns: the census
 * @untouched_bytes: that wait to be sent and are known to be zero
 */
void convergence_sampler_set_untouched(ConvergenceSampler *sampler,
                                       int64_t now_ns, int64_t took_ns,
                                       uint64_t untouched_bytes);

/**
 * convergence_sampler_sync_begin: a sync of the dirty bitmap begins
 * @sampler: the sampler
 * @now_ns: the time
 */
void convergence_sampler_sync_begin(ConvergenceSampler *sampler,
                                    int64_t now_ns);

/**
 * convergence_sampler_drop_meter: count the pages of single vCPUs no more in
 * this migration
 *
 * An estimate of who writes may take the meter's place.
 */
void convergence_sampler_drop_meter(ConvergenceSampler *sampler);

/**
 * convergence_sampler_meter: the meter that tells vCPUs apart in this migration
 *
 * Returns: NULL if there is none, or none any more.  BQL held.
 */
const DirtyMeter *convergence_sampler_meter(const ConvergenceSampler *sampler);

/**
 * convergence_sampler_meter_fits: whether what vCPUs are said to have written
 * agrees with what the bitmap says that was written
 *
 * By a factor of two, over all of the migration so far, as single samples may be
 * off by what is written in the midst of a sync.  Only a meter that may miss
 * writes is judged; for such a one devices that write more than vCPUs do look
 * the same.
 */
bool convergence_sampler_meter_fits(ConvergenceSampler *sampler,
                                    const ConvergenceSample *sample);

/**
 * convergence_sampler_log_cleared: the log was cleared ahead of time
 * @sampler: the sampler
 * @took_ns: for so long nothing was sent; counts as part of the last sync
 */
void convergence_sampler_log_cleared(ConvergenceSampler *sampler,
                                     int64_t took_ns);

/**
 * convergence_sampler_interrupt: what happens in this interval tells nothing
 * @sampler: the sampler
 *
 * The sample that it ends with is not valid, and keeps the vCPUs' throttles as
 * they were decided.
 */
void convergence_sampler_interrupt(ConvergenceSampler *sampler);

/**
 * convergence_sampler_sync_busy_ns: how long the sync was at work, so far
 *
 * Without what it waited for vCPUs, when it let go of the BQL, or for a CPU of
 * the host.  In the thread that began it.
 */
int64_t convergence_sampler_sync_busy_ns(const ConvergenceSampler *sampler);

/**
 * convergence_sampler_sync_end: the sync is over, and with it an interval
 * @sampler: the sampler
 * @now_ns: the time
 * @bulk_pass: the first pass over RAM goes on
 *
 * BQL held.  Returns: the sample of the interval; its vCPUs are @sampler's.
 */
ConvergenceSample convergence_sampler_sync_end(ConvergenceSampler *sampler,
                                               int64_t now_ns, bool bulk_pass);

#endif /* MIGRATION_CONVERGENCE_SAMPLE_H */
