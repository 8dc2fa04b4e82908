/*
 * Convergence engine, QEMU side: syncs of the dirty bitmap, and passes over RAM
 *
 * When the next sync is due, what the engine is asked after it, and what is
 * done about its answer.  Migration thread.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "exec/dirty-harvest.h"
#include "hw/core/cpu.h"
#include "migration/convergence.h"
#include "sysemu/cpu-throttle.h"
#include "sysemu/dirtylimit.h"
#include "convergence-base.h"
#include "convergence-run.h"
#include "migration.h"
#include "ram.h"
#include "trace.h"

static bool clock_is_due(void)
{
    return qatomic_read(&convergence.running) &&
           qatomic_read(&convergence.may_slow) &&
           migrate_auto_converge() && !convergence_base_block_bulk() &&
           convergence_now_ns() >= qatomic_read_i64(&convergence.next_sync_ns);
}

/*
 * Nothing remains, as far as is known, and QEMU would stop the guest without
 * another look.  Where no downtime is allowed at all it may: it could look
 * again and again.
 */
static bool nothing_remains(const MigrationState *s)
{
    return convergence_run_wants_engine(&convergence.params) &&
           s->threshold_size > 0 && !ram_bytes_remaining();
}

bool convergence_sync_due(bool near_end)
{
    MigrationState *s = migrate_get_current();

    if (!qatomic_read(&convergence.running) ||
        !qatomic_read(&convergence.may_slow)) {
        return near_end;
    }
    if (near_end || nothing_remains(s)) {
        convergence_queue_wait(s);
        return true;
    }
    return clock_is_due();
}

/* What remains only rises in a sync; below its last value, pages were sent. */
static void notice_sent(uint64_t remaining_bytes)
{
    if (remaining_bytes < convergence.pass_remaining_bytes) {
        convergence.pass_sent = true;
    }
    convergence.pass_remaining_bytes = remaining_bytes;
}

/*
 * Upstream syncs when little remains, which is once a pass, shortly before the
 * search comes to the end of RAM; and counts each sync for a pass.  With syncs
 * on the clock, little remains at the very end alone.  So the first sync after
 * the end of a pass counts, too, unless one of upstream's was in time for it.
 */
static bool counts_as_pass(MigrationState *s)
{
    PassCount *count = &convergence.pass_count;

    if (count->owed) {
        count->owed = false;
        return true;
    }
    if (clock_is_due() && ram_bytes_remaining() >= s->threshold_size) {
        return false;
    }
    count->ahead = true;
    return true;
}

bool convergence_sync_begin(void)
{
    bool counts = true;

    convergence_sampler_sync_begin(&convergence.sampler, convergence_now_ns());
    convergence_run_note_downtime(CONVERGENCE_DOWNTIME_SYNC);
    notice_sent(convergence.sampler.sync_begin_remaining_bytes);
    if (qatomic_read(&convergence.running)) {
        WITH_QEMU_LOCK_GUARD(&convergence.lock) {
            /* What the link did until now is not to be mixed with the sync. */
            convergence_run_look_at_link(migrate_get_current());
        }
        convergence.syncs++;
        counts = counts_as_pass(migrate_get_current());
    }
    convergence.pass_count.counts = counts;
    return counts;
}

static void throttle_vcpu(CPUState *cpu, const ConvergenceVcpu *vcpu)
{
    cpu_throttle_set_vcpu(cpu, vcpu->throttle_pct);
}

static void limit_vcpu(CPUState *cpu, const ConvergenceVcpu *vcpu)
{
    dirtylimit_charge_late(cpu, vcpu->late_bytes);
    dirtylimit_set_migration_limit(cpu, vcpu->limit_bytes_per_s);
}

/* Of those that the sample has: what was decided of each. */
static void slow_vcpus(void (*slow)(CPUState *cpu, const ConvergenceVcpu *vcpu))
{
    CPUState *cpu;
    unsigned n = 0;

    CPU_FOREACH(cpu) {
        const ConvergenceVcpu *vcpu =
            convergence_sampler_vcpu(&convergence.sampler, cpu->cpu_index, n++);

        if (vcpu) {
            slow(cpu, vcpu);
        }
    }
}

static void apply(const ConvergenceDecision *decision)
{
    if (!qatomic_read(&convergence.may_slow) || convergence.still) {
        return;
    }
    if (decision->throttle_pct && decision->vcpus_throttled) {
        slow_vcpus(throttle_vcpu);
    } else if (decision->throttle_pct) {
        cpu_throttle_set(decision->throttle_pct);
    } else {
        cpu_throttle_stop();
    }
    if (decision->vcpus_limited) {
        slow_vcpus(limit_vcpu);
    } else {
        dirtylimit_clear_migration_limits();
    }
}

/*
 * By the forecast; while there is none, by the bulk pass, which is taken for
 * half of the work.
 */
static void update_progress(int64_t now)
{
    const ConvergenceDecision *decision = &convergence.engine.decision;
    const ConvergenceSampler *sampler = &convergence.sampler;
    double sent_bytes = convergence.engine.model.bulk_data_sent_bytes;
    double left_bytes = sampler->bulk_remaining_bytes -
                        sampler->bulk_empty_bytes;
    uint64_t elapsed_ms = (now - convergence.engine.start_ns) / SCALE_MS;
    uint64_t all_ms = elapsed_ms + decision->predicted_remaining_ms;
    int pct = 0;

    if (decision->predicted && all_ms) {
        pct = elapsed_ms * 100 / all_ms;
    } else if (sent_bytes + left_bytes > 0) {
        pct = sent_bytes * 50 / (sent_bytes + left_bytes);
    }
    convergence.progress_pct = MAX(convergence.progress_pct, MIN(pct, 99));
}

static void trace_decision(const ConvergenceSample *sample,
                           const ConvergenceDecision *decision)
{
    g_autofree char *in = NULL;
    g_autofree char *out = NULL;
    size_t in_size, out_size;

    if (!trace_event_get_state_backends(TRACE_CONVERGENCE_DECISION)) {
        return;
    }
    in_size = 1 + convergence_format_sample(&convergence.engine, sample,
                                            &convergence.params, NULL, 0);
    in = g_malloc(in_size);
    convergence_format_sample(&convergence.engine, sample,
                              &convergence.params, in, in_size);
    out_size = 1 + convergence_format_decision(decision, sample, NULL, 0);
    out = g_malloc(out_size);
    convergence_format_decision(decision, sample, out, out_size);
    trace_convergence_decision(in, out);
}

/*
 * A meter that does not tell the truth on this host is no base for limits of
 * single vCPUs; policy "auto" goes on with one that needs none.
 */
static void check_meter(ConvergenceSample *sample)
{
    if (convergence_sampler_meter_fits(&convergence.sampler, sample)) {
        return;
    }
    trace_convergence_meter_dropped(
        convergence_sampler_meter(&convergence.sampler)->name,
        sample->touched_bytes);
    convergence_sampler_drop_meter(&convergence.sampler);
    convergence_sampler_name_meter(&convergence.sampler, sample);
    convergence_run_take_user_params(migrate_get_current());
    convergence_run_refresh_params();
}

static void decide(void)
{
    MigrationState *s = migrate_get_current();
    const ConvergenceDecision *decision;
    ConvergenceSample sample;
    uint64_t queued_bytes;

    WITH_QEMU_LOCK_GUARD(&convergence.lock) {
        convergence_run_refresh_params();
        queued_bytes = convergence_run_look_at_link(s).queued_bytes;
        sample = convergence_sampler_sync_end(&convergence.sampler,
                                              convergence_now_ns(),
                                              !convergence.passes);
        convergence_watch_notice_sends(s, sample.now_ns);
        sample.bandwidth_bytes_per_s = convergence.user_bandwidth_bytes_per_s;
        if (convergence.params.max_transfer_pct) {
            convergence.present_bytes = convergence_present_bytes();
        }
        sample.queued_bytes = queued_bytes;
        sample.link = convergence.engine.link;
        check_meter(&sample);
        decision = convergence_engine_update(&convergence.engine,
                                             &convergence.params, &sample);
        trace_decision(&sample, decision);
        apply(decision);
        convergence.known |= convergence.params.auto_converge ||
                             convergence_run_has_deadline();
        convergence_run_report_decision(decision);
        update_progress(sample.now_ns);
        qatomic_set_i64(&convergence.next_sync_ns,
                        sample.now_ns + decision->next_sync_ns);
        qatomic_set(&convergence.see_rewrites, decision->see_rewrites);
        convergence.census_due = convergence.params.auto_converge &&
            sample.bulk_pass &&
            convergence_sampler_census_due(&convergence.sampler,
                                           sample.now_ns);
        convergence_queue_count(s, queued_bytes);
    }
}

bool convergence_sync_end(void)
{
    convergence.pass_remaining_bytes = ram_bytes_remaining();
    convergence.sync_busy_ns =
        convergence_sampler_sync_busy_ns(&convergence.sampler);
    convergence_run_note_downtime(CONVERGENCE_DOWNTIME_PAGES);
    if (qatomic_read(&convergence.running) &&
        qatomic_read(&convergence.may_slow)) {
        decide();
    }
    return convergence.pass_count.counts;
}

/* With the lock of the bitmap: the guest may say what is free meanwhile. */
static void take_census(void)
{
    int64_t begin_ns = convergence_now_ns();
    ConvergenceSampler *sampler = &convergence.sampler;
    uint64_t untouched_bytes = convergence_untouched_bytes(&sampler->untouched);
    int64_t end_ns = convergence_now_ns();

    QEMU_LOCK_GUARD(&convergence.lock);
    convergence_sampler_set_untouched(sampler, end_ns, end_ns - begin_ns,
                                      untouched_bytes);
}

void convergence_send_begin(void)
{
    int64_t begin_ns;

    if (convergence.census_due && qatomic_read(&convergence.may_slow)) {
        convergence.census_due = false;
        take_census();
    }
    /* Not once the guest has gone: it takes some ms for each GiB. */
    if (!qatomic_xchg(&convergence.see_rewrites, false) ||
        !qatomic_read(&convergence.may_slow)) {
        return;
    }
    begin_ns = convergence_now_ns();
    dirty_harvest_see_rewrites();
    convergence_sampler_log_cleared(&convergence.sampler,
                                    convergence_now_ns() - begin_ns);
}

/*
 * A limit of passes is met when a pass ends, not at the next tick: short
 * passes would overshoot it.
 */
static void stop_at_pass(MigrationState *s)
{
    uint64_t limit = convergence.params.max_iterations;
    double bandwidth = convergence.bandwidth_bytes_per_ms;

    if (limit && convergence.passes % limit == 0) {
        s->threshold_size = convergence_tick(s, bandwidth);
    }
}

/*
 * The search comes to the end of RAM twice for each round of pages: once in
 * vain, when the last one has been sent, and after the sync once more, from
 * where that one was.  It is a pass only if something was sent on the way.
 */
void convergence_pass_done(void)
{
    convergence_run_note_downtime(CONVERGENCE_DOWNTIME_DEVICES);
    if (!qatomic_read(&convergence.running) ||
        !qatomic_read(&convergence.may_slow)) {
        return;
    }
    notice_sent(ram_bytes_remaining());
    if (convergence.pass_sent) {
        convergence.pass_sent = false;
        if (!convergence.passes) {
            /* The policies wait for this, and zero pages hide when it is. */
            qatomic_set_i64(&convergence.next_sync_ns, 0);
        }
        WITH_QEMU_LOCK_GUARD(&convergence.lock) {
            convergence.passes++;
        }
        convergence.pass_count.owed = !convergence.pass_count.ahead;
        convergence.pass_count.ahead = false;
        stop_at_pass(migrate_get_current());
    }
}
