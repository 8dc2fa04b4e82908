/*
 * Convergence engine, QEMU side: samples from what QEMU counts
 *
 *   remaining  ----.         .---- sync: pages newly dirtied
 *                   \       /|
 *                    \     / |
 *                     \   /  `---- remaining before the next sync
 *                      \ /
 *                       `--------- drained, or said to be free by the guest:
 *                                  the rest of the difference
 *
 * so that no page is counted twice, and pages are compared with pages.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qemu/thread-cpu-time.h"
#include "exec/dirty-harvest.h"
#include "exec/target_page.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "sysemu/cpu-throttle.h"
#include "sysemu/dirty-meter.h"
#include "sysemu/runstate.h"
#include "convergence-base.h"
#include "convergence-sample.h"
#include "migration.h"
#include "ram.h"

static uint64_t pages_to_bytes(uint64_t pages)
{
    return pages * qemu_target_page_size();
}

/*
 * Zero pages among them, and those that XBZRLE found unchanged.  What it could
 * not make smaller counts twice there.
 */
static uint64_t sent_pages(void)
{
    return ram_get_total_transferred_pages() - xbzrle_counters.overflow;
}

static void take_base(ConvergenceSampler *sampler, int64_t now_ns,
                      uint64_t remaining_bytes)
{
    sampler->base = (SampleBase) {
        .now_ns = now_ns,
        .remaining_bytes = remaining_bytes,
        .wire_bytes = migration_transferred_bytes(),
        .zero_pages = stat64_get(&mig_stats.zero_pages),
        .sent_pages = sent_pages(),
        .harvested_pages = dirty_harvest_total_pages(),
        .unseen_pages = dirty_harvest_total_unseen_pages(),
    };
}

static int64_t vcpu_slept_ns(const CPUState *cpu)
{
    /* The former is its thread's, which writes it with the BQL held. */
    return cpu->slowdown.throttle.slept_ns +
           qatomic_read_i64(&cpu->slowdown.dirty.slept_ns);
}

static int64_t vcpu_cpu_time_ns(const CPUState *cpu)
{
#ifdef CONFIG_LINUX
    if (cpu->created && !cpu->unplug) {
        return thread_cpu_time_of_ns(cpu->thread->thread);
    }
#endif
    return -1;
}

/* What a counter has gone up by; a sync that found nothing left it behind. */
static uint64_t take_pages(uint64_t *base_pages, uint64_t pages)
{
    uint64_t more = pages > *base_pages ? pages - *base_pages : 0;

    *base_pages += more;
    return pages_to_bytes(more);
}

/* @interrupted: what was decided last is to be in force again. */
static void sample_vcpu(CPUState *cpu, ConvergenceVcpu *vcpu, VcpuBase *base,
                        int64_t interval_ns, bool interrupted)
{
    VcpuDirtyBucket *dirty = &cpu->slowdown.dirty;
    uint64_t touched_pages = qatomic_read_u64(&dirty->harvested_touched_pages);
    uint64_t new_pages = qatomic_read_u64(&dirty->harvested_new_pages);
    int64_t slept_ns = vcpu_slept_ns(cpu);
    int64_t cpu_time_ns = vcpu_cpu_time_ns(cpu);

    if (vcpu->id != cpu->cpu_index) {
        *vcpu = (ConvergenceVcpu) { .id = cpu->cpu_index };
        /*
         * What it wrote before the sync that began the migration is none of
         * the migration's business; what it wrote since is in the next one.
         */
        *base = (VcpuBase) {
            .touched_pages = touched_pages,
            .new_pages = new_pages,
            .slept_ns = slept_ns,
            .cpu_time_ns = cpu_time_ns,
        };
    }
    if (!interrupted) {
        vcpu->throttle_pct = cpu_throttle_get_vcpu_percentage(cpu);
    }
    vcpu->ran_ns = MAX(cpu_time_ns - base->cpu_time_ns, 0);
    base->cpu_time_ns = cpu_time_ns;
    vcpu->touched_bytes = take_pages(&base->touched_pages, touched_pages);
    vcpu->dirtied_bytes = take_pages(&base->new_pages, new_pages);
    if (interval_ns > 0 && slept_ns >= base->slept_ns) {
        base->throttle_pct = MIN((slept_ns - base->slept_ns) * 100 /
                                 interval_ns, 100);
    }
    base->slept_ns = slept_ns;
}

static void swap_entries(ConvergenceSampler *sampler, unsigned a, unsigned b)
{
    ConvergenceVcpu vcpu = sampler->vcpus[a];
    VcpuBase base = sampler->vcpu_bases[a];

    sampler->vcpus[a] = sampler->vcpus[b];
    sampler->vcpu_bases[a] = sampler->vcpu_bases[b];
    sampler->vcpus[b] = vcpu;
    sampler->vcpu_bases[b] = base;
}

/* One that is gone leaves those behind it in other places of the list. */
static void find_entry(ConvergenceSampler *sampler, unsigned n, int cpu_index)
{
    for (unsigned i = n; i < sampler->max_vcpus; i++) {
        if (sampler->vcpus[i].id == cpu_index) {
            if (i != n) {
                swap_entries(sampler, i, n);
            }
            return;
        }
    }
}

/* BQL held: nobody plugs vCPUs meanwhile. */
static void sample_vcpus(ConvergenceSampler *sampler, int64_t interval_ns)
{
    CPUState *cpu;
    unsigned n = 0;

    CPU_FOREACH(cpu) {
        if (n == sampler->max_vcpus) {
            break;
        }
        find_entry(sampler, n, cpu->cpu_index);
        sample_vcpu(cpu, &sampler->vcpus[n], &sampler->vcpu_bases[n],
                    interval_ns, sampler->interrupted);
        n++;
    }
    sampler->n_vcpus = n;
}

const ConvergenceVcpu *
convergence_sampler_vcpu(const ConvergenceSampler *sampler, int id,
                         unsigned likely)
{
    if (likely < sampler->n_vcpus && sampler->vcpus[likely].id == id) {
        return &sampler->vcpus[likely];
    }
    for (unsigned i = 0; i < sampler->n_vcpus; i++) {
        if (sampler->vcpus[i].id == id) {
            return &sampler->vcpus[i];
        }
    }
    return NULL;
}

void convergence_sampler_start(ConvergenceSampler *sampler, int64_t now_ns)
{
    uint64_t remaining_bytes = ram_bytes_remaining();
    unsigned max_vcpus = MACHINE(qdev_get_machine())->smp.max_cpus;

    g_free(sampler->vcpus);
    g_free(sampler->vcpu_bases);
    *sampler = (ConvergenceSampler) {
        .start_bytes = remaining_bytes,
        .start_sent_pages = sent_pages(),
        .bulk_remaining_bytes = remaining_bytes,
        .vcpus = g_new0(ConvergenceVcpu, max_vcpus),
        .vcpu_bases = g_new0(VcpuBase, max_vcpus),
        .max_vcpus = max_vcpus,
    };
    for (unsigned i = 0; i < max_vcpus; i++) {
        sampler->vcpus[i].id = -1;
    }
    sample_vcpus(sampler, 0);
    take_base(sampler, now_ns, remaining_bytes);
}

/* A census takes no more than a hundredth of the time. */
#define CENSUS_COST_SHARE       100

bool convergence_sampler_census_due(const ConvergenceSampler *sampler,
                                    int64_t now_ns)
{
    return sampler->untouched.has_account && now_ns >= sampler->next_census_ns;
}

void convergence_sampler_set_untouched(ConvergenceSampler *sampler,
                                       int64_t now_ns, int64_t took_ns,
                                       uint64_t untouched_bytes)
{
    sampler->bulk_empty_bytes = MIN(untouched_bytes,
                                    sampler->bulk_remaining_bytes);
    sampler->next_census_ns = now_ns + took_ns * CENSUS_COST_SHARE;
}

/* The least that a meter is judged by. */
#define METER_CHECK_MIN_BYTES   (16 * MiB)
#define METER_CHECK_FACTOR      2

/* Returns: how much of what was written the meter saw, or 1 if that is little. */
static double seen_part(const MeterCheck *check)
{
    return check->written_bytes < METER_CHECK_MIN_BYTES ? 1 :
           (double)check->metered_bytes / check->written_bytes;
}

static void add_to_check(MeterCheck *check, const ConvergenceSample *sample)
{
    for (unsigned i = 0; i < sample->n_vcpus; i++) {
        check->metered_bytes += sample->vcpus[i].touched_bytes;
    }
    check->written_bytes += sample->touched_bytes;
}

bool convergence_sampler_meter_fits(ConvergenceSampler *sampler,
                                    const ConvergenceSample *sample)
{
    const DirtyMeter *meter = convergence_sampler_meter(sampler);

    if (!meter || !meter->may_miss) {
        return true;
    }
    add_to_check(&sampler->all_samples, sample);
    if (!sample->unseen_bytes) {
        add_to_check(&sampler->known_samples, sample);
    }
    /* Where not all was seen, the bitmap tells the least that was written. */
    return seen_part(&sampler->all_samples) >= 1.0 / METER_CHECK_FACTOR &&
           seen_part(&sampler->known_samples) >= 1.0 / METER_CHECK_FACTOR &&
           seen_part(&sampler->known_samples) <= METER_CHECK_FACTOR;
}

void convergence_sampler_drop_meter(ConvergenceSampler *sampler)
{
    sampler->meter_dropped = true;
}

const DirtyMeter *convergence_sampler_meter(const ConvergenceSampler *sampler)
{
    const DirtyMeter *pages = sampler->meter_dropped ? NULL :
                              dirty_meter_in_use();

    return pages ?: dirty_meter_of_shares();
}

void convergence_sampler_name_meter(const ConvergenceSampler *sampler,
                                    ConvergenceSample *sample)
{
    const DirtyMeter *meter = convergence_sampler_meter(sampler);

    sample->vcpus = meter ? sampler->vcpus : NULL;
    sample->n_vcpus = meter ? sampler->n_vcpus : 0;
    sample->meter = meter ? meter->name : NULL;
    sample->metered = meter && !meter->only_shares;
    sample->run_times_known = dirty_meter_of_shares();
    sample->one_thread = sampler->n_vcpus > 1 &&
                         CPU_NEXT(first_cpu)->thread == first_cpu->thread;
    for (unsigned i = 0; !sample->metered && i < sampler->n_vcpus; i++) {
        sampler->vcpus[i].touched_bytes = 0;
        sampler->vcpus[i].dirtied_bytes = 0;
        sampler->vcpus[i].dirty_rate_bytes_per_s = 0;
        sampler->vcpus[i].new_rate_bytes_per_s = 0;
    }
}

void convergence_sampler_sync_begin(ConvergenceSampler *sampler,
                                    int64_t now_ns)
{
    sampler->sync_begin_ns = now_ns;
    sampler->sync_begin_cpu_ns = thread_cpu_time_ns();
    sampler->sync_begin_remaining_bytes = ram_bytes_remaining();
}

int64_t convergence_sampler_sync_busy_ns(const ConvergenceSampler *sampler)
{
    return thread_cpu_time_ns() - sampler->sync_begin_cpu_ns;
}

void convergence_sampler_log_cleared(ConvergenceSampler *sampler,
                                     int64_t took_ns)
{
    sampler->log_cleared_ns += took_ns;
}

void convergence_sampler_interrupt(ConvergenceSampler *sampler)
{
    sampler->interrupted = true;
}

/*
 * What the stream carried of @gone_bytes that remain no longer.  The rest are
 * pages that the guest said are free: they tell nothing of the link.
 */
static uint64_t carried_bytes(const SampleBase *base, uint64_t gone_bytes)
{
    return MIN(gone_bytes, pages_to_bytes(sent_pages() - base->sent_pages));
}

/* By the sums since the start: compression threads are late to count. */
static uint64_t newly_freed_bytes(ConvergenceSampler *sampler)
{
    uint64_t sent = pages_to_bytes(sent_pages() - sampler->start_sent_pages);
    uint64_t freed = sampler->gone_bytes > sent ? sampler->gone_bytes - sent
                                                : 0;
    uint64_t newly = freed > sampler->freed_bytes ?
                     freed - sampler->freed_bytes : 0;

    sampler->freed_bytes += newly;
    return newly;
}

/*
 * In the bulk pass only what has been sent can become dirty again.  Of what the
 * guest says is free, what it never touched is the first part, as long as no
 * new census tells better.
 */
static void follow_bulk_pass(ConvergenceSampler *sampler,
                             ConvergenceSample *sample, uint64_t gone_bytes)
{
    uint64_t left = sample->bulk_pass ? sampler->bulk_remaining_bytes : 0;
    uint64_t empty = sampler->bulk_empty_bytes;

    sampler->gone_bytes += gone_bytes;
    if (sample->bulk_pass) {
        empty -= MIN(newly_freed_bytes(sampler), empty);
    }
    left -= MIN(gone_bytes, left);
    empty -= MIN(sample->zero_bytes, empty);
    sampler->bulk_remaining_bytes = left;
    sampler->bulk_empty_bytes = MIN(empty, left);
    sample->bulk_remaining_bytes = sampler->bulk_remaining_bytes;
    sample->bulk_empty_bytes = sampler->bulk_empty_bytes;
    sample->ram_bytes = sampler->start_bytes - MIN(sampler->freed_bytes,
                                                   sampler->start_bytes);
}

ConvergenceSample convergence_sampler_sync_end(ConvergenceSampler *sampler,
                                               int64_t now_ns, bool bulk_pass)
{
    const SampleBase *base = &sampler->base;
    uint64_t before = sampler->sync_begin_remaining_bytes;
    uint64_t after = ram_bytes_remaining();
    uint64_t dirtied_bytes = after > before ? after - before : 0;
    uint64_t gone_bytes = base->remaining_bytes > before ?
                          base->remaining_bytes - before : 0;
    ConvergenceSample sample = {
        .now_ns = now_ns,
        .interval_ns = now_ns - base->now_ns,
        .dirtied_bytes = dirtied_bytes,
        .drained_bytes = carried_bytes(base, gone_bytes),
        .zero_bytes = pages_to_bytes(stat64_get(&mig_stats.zero_pages) -
                                     base->zero_pages),
        .wire_bytes = migration_transferred_bytes() - base->wire_bytes,
        .remaining_bytes = after,
        .sync_cost_ns = now_ns - sampler->sync_begin_ns +
                        sampler->log_cleared_ns,
        .sync_busy_ns = convergence_sampler_sync_busy_ns(sampler),
        .throttle_pct = cpu_throttle_get_percentage(),
        .bulk_pass = bulk_pass,
        .valid = runstate_is_running() && !convergence_base_block_bulk() &&
                 !sampler->interrupted,
    };

    sample.touched_bytes =
        MAX(dirtied_bytes, pages_to_bytes(dirty_harvest_total_pages() -
                                          base->harvested_pages));
    sample.unseen_bytes = pages_to_bytes(dirty_harvest_total_unseen_pages() -
                                         base->unseen_pages);
    sampler->log_cleared_ns = 0;
    follow_bulk_pass(sampler, &sample, gone_bytes);
    sample_vcpus(sampler, sample.interval_ns);
    sampler->interrupted = false;
    convergence_sampler_name_meter(sampler, &sample);
    take_base(sampler, now_ns, after);
    return sample;
}
