/*
 * Convergence engine, QEMU side: a migration's life
 *
 *   RAM save loop --(sample)--> engine --(decision)--> actuators, monitors
 *
 * The sample is made by convergence-sample.c, parameters are handled by
 * convergence-params.c, and monitors are told by convergence-info.c.
 *
 * Threads: the migration thread does everything but what must not wait for it.
 * The main thread answers the monitors, lifts the slow-down on a cancel, and
 * watches: a migration thread that sits in a blocked send sees no deadline, and
 * the guest is not to be slowed for a link that carries nothing.  `lock` guards
 * the state below; it is taken after the BQL, never before it.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-events-convergence.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "exec/dirty-harvest.h"
#include "hw/core/cpu.h"
#include "migration/convergence.h"
#include "sysemu/cpu-throttle.h"
#include "sysemu/dirty-count.h"
#include "sysemu/dirtylimit.h"
#include "sysemu/runstate.h"
#include "sysemu/vcpu-slowdown.h"
#include "convergence-base.h"
#include "convergence-channel.h"
#include "convergence-info.h"
#include "convergence-sample.h"
#include "convergence-switchover.h"
#include "migration.h"
#include "qemu-file.h"
#include "ram.h"
#include "trace.h"

QEMU_BUILD_BUG_ON((int)CONVERGENCE_STATE_OFF != (int)CONVERGENCE_PHASE_OFF);
QEMU_BUILD_BUG_ON((int)CONVERGENCE_STATE_TIMED_OUT !=
                  (int)CONVERGENCE_PHASE_TIMED_OUT);
QEMU_BUILD_BUG_ON((int)CONVERGENCE_STATE__MAX !=
                  (int)CONVERGENCE_PHASE__MAX);

#define WATCH_PERIOD_MS 250
/*
 * A migration thread that has not looked at the deadline for so long, where it
 * does ten times a second, sits in a blocked send.
 */
#define BLOCKED_NS      NANOSECONDS_PER_SECOND
/* After so long with nothing sent, slowing the guest down is of no use. */
#define STILL_NS        (5 * NANOSECONDS_PER_SECOND)

/* Migration thread: which syncs clients are told of as the end of a pass. */
typedef struct PassCount {
    bool owed;                  /* a pass ended, and no sync was told of */
    bool ahead;                 /* one was before the pass came to its end */
    bool counts;                /* the sync under way is told of */
} PassCount;

static struct {
    QemuMutex lock;
    /* The migration thread is between convergence_start and _end (atomic). */
    bool running;
    /* The guest may be slowed (atomic): not yet at the switch-over. */
    bool may_slow;
    /* When the next sync is due (atomic, read without the lock). */
    int64_t next_sync_ns;
    /* Clear the log of what waits before the next page is sent (atomic). */
    bool see_rewrites;
    /* When the migration thread last looked at the deadline (atomic). */
    int64_t ticked_ns;
    /* Migration thread: ask the host again what was never touched. */
    bool census_due;
    /* Migration thread: what the last sync was busy for. */
    int64_t sync_busy_ns;
    QEMUTimer *watch_timer;

    /* Under `lock`. */
    bool known;                 /* there is something to report */
    ConvergenceChannel channel;
    bool conditions_by_client;  /* set since QEMU was started */
    ConvergenceEngine engine;
    ConvergenceParams user;     /* as the user has set them */
    uint64_t user_bandwidth_bytes_per_s;
    int64_t timeout_from_ns;    /* when it was last changed in flight */
    ConvergenceParams params;   /* as they are in force */
    ConvergencePhase phase;     /* last reported */
    char reason[CONVERGENCE_REASON_MAX_BYTES];
    uint64_t passes;
    uint64_t syncs;             /* that which began the migration included */
    /* Migration thread: whether anything was sent since the last pass. */
    bool pass_sent;
    uint64_t pass_remaining_bytes;
    PassCount pass_count;
    int progress_pct;
    uint64_t present_bytes;     /* that the guest has */
    ConvergenceSampler sampler;
    double bandwidth_bytes_per_ms;  /* as upstream last measured it */
    ConvergenceLink link;
    uint64_t queued_bytes;      /* as last looked at */
    /* What had been sent, and when it was last seen to have changed. */
    uint64_t sent_bytes;
    uint64_t seen_queued_bytes;
    int64_t sent_ns;
    bool still;                 /* for so long that the slow-down is lifted */
    bool gives_up;              /* the thread has been made to end */
    bool guest_stopped;         /* for the switch-over, or for postcopy */

    /* By the end of the migration: of a vCPU (BQL). */
    int64_t longest_pause_ns;
} convergence;

static void __attribute__((__constructor__)) convergence_init_lock(void)
{
    qemu_mutex_init(&convergence.lock);
}

static int64_t now_ns(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
}

static bool has_condition(const ConvergenceParams *params)
{
    return params->timeout_s || params->max_iterations ||
           params->max_transfer_pct;
}

/* A deadline is of use also while no policy acts. */
static bool engine_wanted(const ConvergenceParams *params)
{
    return params->auto_converge || has_condition(params);
}

/*
 * A state written to a file, by virsh save or a snapshot, is no migration that
 * has to end by some time; nor is one of a guest that stands still.  A pipe may
 * lead to either.  What a client has set for this migration, it has set for
 * this pipe; what holds for all of a guest's migrations, by -global, is not
 * meant for its snapshots.
 */
static bool channel_has_deadline(void)
{
    return convergence.channel == CONVERGENCE_CHANNEL_LINK ||
           (convergence.channel == CONVERGENCE_CHANNEL_PIPE &&
            convergence.conditions_by_client);
}

static bool has_deadline(void)
{
    return runstate_is_running() && channel_has_deadline();
}

/* For so long that whoever waits for the link may wait for ever. */
static bool stands_still(void)
{
    return now_ns() - convergence.sent_ns >= BLOCKED_NS;
}

/* QEMU's own copy is the main thread's, and the migration thread has no BQL. */
static void take_user_params(MigrationState *s)
{
    uint64_t timeout_s = convergence.user.timeout_s;

    convergence_params_get(s, convergence_sampler_meter(&convergence.sampler),
                           &convergence.user);
    convergence.conditions_by_client = convergence_params_by_client();
    convergence.user_bandwidth_bytes_per_s = s->parameters.max_bandwidth;
    if (!qatomic_read(&convergence.running)) {
        convergence.timeout_from_ns = 0;
    } else if (convergence.user.timeout_s != timeout_s) {
        convergence.timeout_from_ns = now_ns();
    }
    convergence.user.timeout_from_ns = convergence.timeout_from_ns;
}

void convergence_params_changed(void)
{
    QEMU_LOCK_GUARD(&convergence.lock);
    take_user_params(migrate_get_current());
}

/* The settings in force for this migration. */
static void refresh_params(void)
{
    convergence.params = convergence.user;
    if (!has_deadline()) {
        convergence.params.timeout_s = 0;
        convergence.params.max_iterations = 0;
        convergence.params.max_transfer_pct = 0;
        convergence.params.switchover_bytes_per_s = 0;
    }
}

static ConvergenceProgress make_progress(void)
{
    return (ConvergenceProgress) {
        .now_ns = now_ns(),
        .passes = convergence.passes,
        .sent_bytes = migration_transferred_bytes(),
        .ram_bytes = convergence.present_bytes,
        .remaining_bytes = ram_bytes_remaining(),
    };
}

/* Also right before the switch-over: the queue may have filled up since. */
static ConvergenceLinkLook look_at_link(MigrationState *s)
{
    ConvergenceLinkLook look = convergence_stream_look(s, now_ns());
    ConvergenceLinkView view;

    look.cap_bytes_per_s = convergence.user_bandwidth_bytes_per_s;
    convergence_link_look(&convergence.link, &look);
    view = convergence_link_view(&convergence.link, look.now_ns);
    view.devices_bytes = convergence_devices_bytes();
    convergence_engine_see_link(&convergence.engine, &view);
    convergence.queued_bytes = look.queued_bytes;
    return look;
}

static int64_t threshold_bytes_with(uint64_t queued_bytes)
{
    return convergence_engine_threshold_bytes(
        &convergence.engine, &convergence.params,
        convergence.engine.deadline.downtime_limit_ms,
        convergence.bandwidth_bytes_per_ms * 1000, queued_bytes);
}

static bool stops_now(void)
{
    const ConvergenceDeadline *deadline = &convergence.engine.deadline;

    return deadline->stop != CONVERGENCE_STOP_NONE &&
           deadline->action == CONVERGENCE_ACTION_STOP;
}

/*
 * The threshold was made before this sync, and knows of no queue.  QEMU
 * compares with it right after the sync.
 */
static void count_queue(MigrationState *s, uint64_t queued_bytes)
{
    if (engine_wanted(&convergence.params) && !stops_now() &&
        s->state == MIGRATION_STATUS_ACTIVE) {
        s->threshold_size = MIN(s->threshold_size,
                                threshold_bytes_with(queued_bytes));
    }
}

static void report(ConvergencePhase phase, const char *reason)
{
    g_strlcpy(convergence.reason, reason, sizeof(convergence.reason));
    if (phase != convergence.phase) {
        convergence.phase = phase;
        qapi_event_send_migration_convergence((ConvergenceState)phase,
                                              convergence.reason);
    }
}

static void watch(void *opaque);

static void set_watch(void)
{
    timer_mod(convergence.watch_timer,
              qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + WATCH_PERIOD_MS);
}

static void start_watch(void)
{
    if (!convergence.watch_timer) {
        convergence.watch_timer = timer_new_ms(QEMU_CLOCK_REALTIME, watch,
                                               NULL);
    }
    qatomic_set_i64(&convergence.ticked_ns, now_ns());
    set_watch();
}

/* The thread may not know it yet. */
static bool is_over(const MigrationState *s)
{
    return convergence.gives_up || s->state == MIGRATION_STATUS_FAILED ||
           s->state == MIGRATION_STATUS_CANCELLING;
}

/* BQL held. */
static void lift_slowdown(void)
{
    cpu_throttle_stop();
    dirtylimit_clear_migration_limits();
}

void convergence_forget(void)
{
    QEMU_LOCK_GUARD(&convergence.lock);
    convergence.known = false;
}

void convergence_start(MigrationState *s)
{
    int64_t now = now_ns();
    ConvergenceProgress progress;
    uint64_t remaining_bytes = ram_bytes_remaining();
    ConvergenceUntouched untouched = { 0 };
    /* Of use to policies alone; one that is chosen later does without. */
    uint64_t untouched_bytes = migrate_auto_converge() ?
                               convergence_untouched_bytes(&untouched) : 0;
    int64_t census_ns = now_ns() - now;
    char begin[CONVERGENCE_REASON_MAX_BYTES];

    bql_lock();
    qemu_mutex_lock(&convergence.lock);
    convergence.sampler.meter_dropped = false;
    take_user_params(s);
    convergence.channel = convergence_channel_of(s);
    refresh_params();
    convergence.known = engine_wanted(&convergence.user) || has_deadline();
    convergence_engine_init(&convergence.engine, now);
    convergence.phase = CONVERGENCE_PHASE_OFF;
    report(CONVERGENCE_PHASE_OFF, CONVERGENCE_REASON_OFF);
    convergence.sent_bytes = 0;
    convergence.sent_ns = now;
    convergence.still = false;
    convergence.gives_up = false;
    convergence.guest_stopped = false;
    vcpu_slowdown_forget_pauses();
    convergence.passes = 0;
    convergence.syncs = 1;
    convergence.census_due = false;
    convergence.pass_sent = false;
    convergence.pass_count = (PassCount) { 0 };
    convergence.pass_remaining_bytes = remaining_bytes;
    convergence.progress_pct = 0;
    convergence.present_bytes = convergence_present_bytes();
    convergence_sampler_start(&convergence.sampler, now);
    convergence.sampler.untouched = untouched;
    convergence_sampler_set_untouched(&convergence.sampler, now, census_ns,
                                      untouched_bytes);
    convergence_link_init(&convergence.link);
    convergence.bandwidth_bytes_per_ms = 0;
    convergence_stream_start(s);
    look_at_link(s);
    trace_convergence_start(remaining_bytes, untouched_bytes, census_ns);
    progress = make_progress();
    convergence_engine_deadline(&convergence.engine, &convergence.params,
                                &progress);
    /* The sync that found all of RAM dirty was just before this. */
    qatomic_set_i64(&convergence.next_sync_ns, now +
                    convergence_engine_first_sync_ns(&convergence.engine,
                                                     &convergence.params,
                                                     convergence.sync_busy_ns));
    if (convergence.params.auto_converge) {
        snprintf(begin, sizeof(begin), "%.1f MB remain: the first look at the "
                 "guest is still to come", remaining_bytes / 1e6);
        report(CONVERGENCE_PHASE_WATCHING, begin);
    }
    qemu_mutex_unlock(&convergence.lock);

    dirty_count_set_migrating(true);
    qatomic_set(&convergence.see_rewrites, false);
    qatomic_set(&convergence.may_slow, true);
    qatomic_set(&convergence.running, true);
    start_watch();
    bql_unlock();
}

/* A cancel, in the main thread, begins no downtime: the guest runs on. */
static void note_downtime(ConvergenceDowntimePart part)
{
    MigrationState *s = migrate_get_current();

    if (qatomic_read(&convergence.running) &&
        !qatomic_read(&convergence.may_slow) &&
        runstate_check(RUN_STATE_FINISH_MIGRATE) &&
        s->state == MIGRATION_STATUS_ACTIVE) {
        convergence_downtime_part(s, part, now_ns());
    }
}

void convergence_switchover(void)
{
    bool locked = bql_locked();

    if (!qatomic_read(&convergence.running)) {
        return;
    }
    if (!locked) {
        bql_lock();
    }
    /* A decision under way is over by now: it is made with the BQL held. */
    qatomic_set(&convergence.may_slow, false);
    convergence.guest_stopped |= runstate_check(RUN_STATE_FINISH_MIGRATE);
    note_downtime(CONVERGENCE_DOWNTIME_STOPPED);
    lift_slowdown();
    /* Once more at the end, when those that slept have woken. */
    convergence.longest_pause_ns = vcpu_slowdown_longest_pause_ns();
    if (!locked) {
        bql_unlock();
    }
}

/* In postcopy the return path's thread waits to be told to recover. */
static bool may_wait_for_return_path(const MigrationState *s)
{
    return is_over(s) && !(convergence.guest_stopped &&
                           qatomic_read(&s->start_postcopy));
}

void convergence_end(void)
{
    MigrationState *s = migrate_get_current();

    if (qatomic_read(&convergence.running)) {
        convergence_downtime_end(s, now_ns(),
                                 convergence.engine.model.wire_bytes_per_s);
    }
    convergence_switchover();
    qatomic_set(&convergence.running, false);
    dirty_count_set_migrating(false);
    if (may_wait_for_return_path(s)) {
        convergence_channel_end_return_path(s);
    }
}

bool convergence_is_ending(const MigrationState *s)
{
    return convergence_base_is_ending(s);
}

/*
 * So much of it may be left when it is looked what remains: the link has
 * something to carry during the sync, and next to nothing of a downtime is
 * lost, however short that may be.
 */
#define LEFT_IN_QUEUE_MS 10.0
#define LEFT_IN_QUEUE_PART 0.05
#define QUEUE_POLL_US 2000
#define TICK_NS (100 * SCALE_MS)

/* The end of a migration whose link stands still is not waited for. */
static bool may_wait(MigrationState *s)
{
    return s->state == MIGRATION_STATUS_ACTIVE && runstate_is_running() &&
           !qemu_file_get_error(s->to_dst_file) &&
           !convergence_stream_broken() &&
           !qatomic_read(&s->start_postcopy);
}

static bool queue_is_short(MigrationState *s)
{
    uint64_t queued_bytes;
    double rate, left_ms;

    QEMU_LOCK_GUARD(&convergence.lock);
    if (!engine_wanted(&convergence.params) || stops_now()) {
        return true;
    }
    queued_bytes = look_at_link(s).queued_bytes;
    rate = convergence.engine.link.recent_bytes_per_s ?:
           convergence.engine.model.link_bytes_per_s;
    left_ms = MIN(convergence.engine.deadline.downtime_limit_ms *
                  LEFT_IN_QUEUE_PART, LEFT_IN_QUEUE_MS);
    return queued_bytes <= rate * left_ms / 1000;
}

/*
 * What is handed to a socket at once, with nothing remaining, is no end: QEMU
 * would stop the guest and have it wait for the queue.  Meanwhile the link is
 * busy, and pages that are written again are not sent in vain.
 */
static void wait_for_queue(MigrationState *s)
{
    int64_t tick_ns = now_ns() + TICK_NS;

    while (may_wait(s) && !queue_is_short(s)) {
        g_usleep(QUEUE_POLL_US);
        if (now_ns() >= tick_ns) {
            s->threshold_size =
                convergence_tick(s, convergence.bandwidth_bytes_per_ms);
            tick_ns = now_ns() + TICK_NS;
        }
    }
}

static bool clock_is_due(void)
{
    return qatomic_read(&convergence.running) &&
           qatomic_read(&convergence.may_slow) &&
           migrate_auto_converge() && !convergence_base_block_bulk() &&
           now_ns() >= qatomic_read_i64(&convergence.next_sync_ns);
}

/*
 * Nothing remains, as far as is known, and QEMU would stop the guest without
 * another look.  Where no downtime is allowed at all it may: it could look
 * again and again.
 */
static bool nothing_remains(const MigrationState *s)
{
    return engine_wanted(&convergence.params) && s->threshold_size > 0 &&
           !ram_bytes_remaining();
}

bool convergence_sync_due(bool near_end)
{
    MigrationState *s = migrate_get_current();

    if (!qatomic_read(&convergence.running) ||
        !qatomic_read(&convergence.may_slow)) {
        return near_end;
    }
    if (near_end || nothing_remains(s)) {
        wait_for_queue(s);
        return true;
    }
    return clock_is_due();
}

bool convergence_is_over(MigrationState *s)
{
    return qatomic_read(&convergence.running) &&
           (is_over(s) || (qatomic_read(&convergence.may_slow) &&
                           qemu_file_get_error(s->to_dst_file)));
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

    convergence_sampler_sync_begin(&convergence.sampler, now_ns());
    note_downtime(CONVERGENCE_DOWNTIME_SYNC);
    notice_sent(convergence.sampler.sync_begin_remaining_bytes);
    if (qatomic_read(&convergence.running)) {
        WITH_QEMU_LOCK_GUARD(&convergence.lock) {
            /* What the link did until now is not to be mixed with the sync. */
            look_at_link(migrate_get_current());
        }
        convergence.syncs++;
        counts = counts_as_pass(migrate_get_current());
    }
    convergence.pass_count.counts = counts;
    return counts;
}

static void throttle_vcpus(void)
{
    CPUState *cpu;
    unsigned n = 0;

    CPU_FOREACH(cpu) {
        const ConvergenceVcpu *vcpu =
            convergence_sampler_vcpu(&convergence.sampler, cpu->cpu_index, n++);

        if (vcpu) {
            cpu_throttle_set_vcpu(cpu, vcpu->throttle_pct);
        }
    }
}

static void limit_vcpus(void)
{
    CPUState *cpu;
    unsigned n = 0;

    CPU_FOREACH(cpu) {
        const ConvergenceVcpu *vcpu =
            convergence_sampler_vcpu(&convergence.sampler, cpu->cpu_index, n++);

        if (vcpu) {
            dirtylimit_charge_late(cpu, vcpu->late_bytes);
            dirtylimit_set_migration_limit(cpu, vcpu->limit_bytes_per_s);
        }
    }
}

static void apply(const ConvergenceDecision *decision)
{
    if (!qatomic_read(&convergence.may_slow) || convergence.still) {
        return;
    }
    if (decision->throttle_pct && decision->vcpus_throttled) {
        throttle_vcpus();
    } else if (decision->throttle_pct) {
        cpu_throttle_set(decision->throttle_pct);
    } else {
        cpu_throttle_stop();
    }
    if (decision->vcpus_limited) {
        limit_vcpus();
    } else {
        dirtylimit_clear_migration_limits();
    }
}

static void report_decision(const ConvergenceDecision *decision)
{
    const ConvergenceDeadline *deadline = &convergence.engine.deadline;

    if (deadline->stop == CONVERGENCE_STOP_NONE && !convergence.still) {
        report(decision->told, decision->reason);
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
    take_user_params(migrate_get_current());
    refresh_params();
}

/*
 * What the link carries while nobody is slowed is no measure of what it carries
 * in between, nor of what the guest dirties under a throttle: such a sample is
 * passed over, and the last decision is in force again.
 */
static void stand_still(void)
{
    if (!convergence.still) {
        convergence.still = true;
        convergence_sampler_interrupt(&convergence.sampler);
        lift_slowdown();
    }
}

static void move_again(int64_t now)
{
    if (convergence.still) {
        convergence.still = false;
        report_decision(&convergence.engine.decision);
        /* The guest is to be slowed again: at once. */
        qatomic_set_i64(&convergence.next_sync_ns, now);
    }
}

/* Returns: whether anything was sent since the last call. */
static bool notice_sends(MigrationState *s, int64_t now)
{
    uint64_t sent_bytes = convergence_channel_sent_bytes(s);
    bool moves = sent_bytes != convergence.sent_bytes ||
                 convergence.queued_bytes != convergence.seen_queued_bytes;

    if (moves) {
        convergence.sent_bytes = sent_bytes;
        convergence.seen_queued_bytes = convergence.queued_bytes;
        convergence.sent_ns = now;
        move_again(now);
    } else if (now - convergence.sent_ns >= STILL_NS) {
        stand_still();
    }
    return moves;
}

static void decide(void)
{
    MigrationState *s = migrate_get_current();
    const ConvergenceDecision *decision;
    ConvergenceSample sample;
    uint64_t queued_bytes;

    WITH_QEMU_LOCK_GUARD(&convergence.lock) {
        refresh_params();
        queued_bytes = look_at_link(s).queued_bytes;
        sample = convergence_sampler_sync_end(&convergence.sampler, now_ns(),
                                              !convergence.passes);
        notice_sends(s, sample.now_ns);
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
                             has_deadline();
        report_decision(decision);
        update_progress(sample.now_ns);
        qatomic_set_i64(&convergence.next_sync_ns,
                        sample.now_ns + decision->next_sync_ns);
        qatomic_set(&convergence.see_rewrites, decision->see_rewrites);
        convergence.census_due = convergence.params.auto_converge &&
            sample.bulk_pass &&
            convergence_sampler_census_due(&convergence.sampler,
                                           sample.now_ns);
        count_queue(s, queued_bytes);
    }
}

bool convergence_sync_end(void)
{
    convergence.pass_remaining_bytes = ram_bytes_remaining();
    convergence.sync_busy_ns =
        convergence_sampler_sync_busy_ns(&convergence.sampler);
    note_downtime(CONVERGENCE_DOWNTIME_PAGES);
    if (qatomic_read(&convergence.running) &&
        qatomic_read(&convergence.may_slow)) {
        decide();
    }
    return convergence.pass_count.counts;
}

/* With the lock of the bitmap: the guest may say what is free meanwhile. */
static void take_census(void)
{
    int64_t begin_ns = now_ns();
    ConvergenceSampler *sampler = &convergence.sampler;
    uint64_t untouched_bytes = convergence_untouched_bytes(&sampler->untouched);
    int64_t end_ns = now_ns();

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
    begin_ns = now_ns();
    dirty_harvest_see_rewrites();
    convergence_sampler_log_cleared(&convergence.sampler,
                                    now_ns() - begin_ns);
}

/*
 * Both sides hear of it by their sockets, also a migration thread that sits in
 * a blocked send.  It says itself that the migration has failed: it alone knows
 * whether the guest has been stopped meanwhile, and what has to be undone then.
 */
static void abort_migration(MigrationState *s, const char *why)
{
    Error *err = NULL;

    error_setg(&err, "Migration given up: %s", why);
    migrate_set_error(s, err);
    error_free(err);
    convergence.gives_up = true;
    convergence_channel_shut(s);
}

/* Returns the threshold; INT64_MAX to switch over whatever remains. */
static int64_t take_action(MigrationState *s,
                           const ConvergenceDeadline *deadline,
                           const ConvergenceProgress *progress,
                           int64_t threshold_bytes)
{
    char why[CONVERGENCE_REASON_MAX_BYTES];

    if (convergence.gives_up ||
        (stands_still() && deadline->action != CONVERGENCE_ACTION_ABORT)) {
        /* Once the guest has stopped for a dead link there is no way back. */
        return threshold_bytes;
    }
    convergence_stop_describe(deadline, &convergence.params, progress, why,
                              sizeof(why));
    convergence.known = true;
    report(CONVERGENCE_PHASE_TIMED_OUT, why);

    switch (deadline->action) {
    case CONVERGENCE_ACTION_STOP:
        return INT64_MAX;
    case CONVERGENCE_ACTION_POSTCOPY:
        qatomic_set(&s->start_postcopy, true);
        break;
    case CONVERGENCE_ACTION_ABORT:
        abort_migration(s, why);
        break;
    default:
        break;
    }
    return threshold_bytes;
}

int64_t convergence_tick(MigrationState *s, double bandwidth_bytes_per_ms)
{
    const ConvergenceDeadline *deadline;
    ConvergenceProgress progress;
    int64_t threshold_bytes;

    if (!qatomic_read(&convergence.running)) {
        return bandwidth_bytes_per_ms * s->parameters.downtime_limit;
    }
    qatomic_set_i64(&convergence.ticked_ns, now_ns());
    QEMU_LOCK_GUARD(&convergence.lock);
    threshold_bytes = bandwidth_bytes_per_ms *
                      convergence.user.downtime_limit_ms;
    if (s->state != MIGRATION_STATUS_ACTIVE) {
        return threshold_bytes;
    }
    convergence.bandwidth_bytes_per_ms = bandwidth_bytes_per_ms;
    refresh_params();
    progress = make_progress();
    deadline = convergence_engine_deadline(&convergence.engine,
                                           &convergence.params, &progress);
    if (!engine_wanted(&convergence.params)) {
        /* As in later QEMUs, whose clients know it. */
        return convergence.params.switchover_bytes_per_s ?
               MIN(convergence.params.switchover_bytes_per_s / 1000.0 *
                   convergence.params.downtime_limit_ms, INT64_MAX / 2) :
               threshold_bytes;
    }
    look_at_link(s);
    convergence.known = true;
    threshold_bytes = threshold_bytes_with(0);
    if (deadline->stop != CONVERGENCE_STOP_NONE) {
        threshold_bytes = take_action(s, deadline, &progress,
                                      threshold_bytes);
    } else if (convergence.phase == CONVERGENCE_PHASE_TIMED_OUT) {
        /* The user moved the deadline away. */
        report_decision(&convergence.engine.decision);
    }
    return threshold_bytes;
}

static void report_still(int64_t now)
{
    const ConvergenceDeadline *deadline = &convergence.engine.deadline;
    bool met = deadline->stop != CONVERGENCE_STOP_NONE;
    char reason[CONVERGENCE_REASON_MAX_BYTES];
    g_autofree char *condition = NULL;

    if (met) {
        ConvergenceProgress progress = make_progress();

        convergence_stop_describe(deadline, &convergence.params, &progress,
                                  reason, sizeof(reason));
        condition = g_strdup(reason);
    }
    snprintf(reason, sizeof(reason), "nothing was sent for %" PRId64 " s: the "
             "destination or the link stands still; the guest is not slowed "
             "down until it moves again%s%s",
             (int64_t)((now - convergence.sent_ns) / NANOSECONDS_PER_SECOND),
             met ? "; " : "", condition ?: "");
    report(met ? CONVERGENCE_PHASE_TIMED_OUT : CONVERGENCE_PHASE_STUCK,
           reason);
}

/*
 * For a migration thread that cannot.  Once postcopy was asked for, the guest
 * may be on its way, and nothing is given up from here.  BQL held.
 */
static void look_at_deadline(MigrationState *s)
{
    const ConvergenceDeadline *deadline;
    ConvergenceProgress progress = make_progress();
    bool postcopy = qatomic_read(&s->start_postcopy);

    refresh_params();
    deadline = convergence_engine_deadline(&convergence.engine,
                                           &convergence.params, &progress);
    if (deadline->stop == CONVERGENCE_STOP_NONE) {
        return;
    }
    if (deadline->action != CONVERGENCE_ACTION_ABORT) {
        stand_still();
    } else if (!postcopy) {
        take_action(s, deadline, &progress, 0);
    }
}

/*
 * Who is held to see who writes, or whether devices follow, is held for looks
 * of a quarter of a second.  A look that does not come is no reason to go on
 * with it; it tells nothing.
 */
static void end_overdue_probe(int64_t now)
{
    const ConvergenceEngine *engine = &convergence.engine;
    int64_t due_ns = qatomic_read_i64(&convergence.next_sync_ns);

    if ((engine->estimate.probing || engine->devices.trying) && due_ns &&
        now - due_ns >= WATCH_PERIOD_MS * SCALE_MS) {
        convergence_sampler_interrupt(&convergence.sampler);
        lift_slowdown();
        report(convergence.phase, "nothing is sent, so vCPUs are no longer "
               "held to see who writes");
    }
}

static void watch_one_that_runs(MigrationState *s, int64_t now)
{
    end_overdue_probe(now);
    if (now - qatomic_read_i64(&convergence.ticked_ns) >= BLOCKED_NS ||
        stands_still()) {
        look_at_deadline(s);
    }
    if (convergence.still && !convergence.gives_up &&
        convergence.channel != CONVERGENCE_CHANNEL_FILE &&
        engine_wanted(&convergence.params)) {
        report_still(now);
    }
}

static void watch(void *opaque)
{
    MigrationState *s = migrate_get_current();
    int64_t now = now_ns();
    bool moves;

    if (!qatomic_read(&convergence.running)) {
        return;
    }
    set_watch();
    QEMU_LOCK_GUARD(&convergence.lock);
    moves = notice_sends(s, now);
    if (is_over(s)) {
        /* What still moves ends by itself. */
        lift_slowdown();
        if (!moves) {
            convergence_channel_shut(s);
        }
    } else if (s->state == MIGRATION_STATUS_ACTIVE &&
               qatomic_read(&convergence.may_slow)) {
        watch_one_that_runs(s, now);
    }
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
    note_downtime(CONVERGENCE_DOWNTIME_DEVICES);
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

void convergence_fill_info(MigrationInfo *info)
{
    QEMU_LOCK_GUARD(&convergence.lock);
    if (!convergence.known) {
        return;
    }
    if (info->has_expected_downtime && qatomic_read(&convergence.running) &&
        convergence.engine.decision.predicted) {
        info->expected_downtime =
            convergence.engine.decision.predicted_downtime_ms;
    }
    convergence_base_set_info(info, convergence_info_new(&(ConvergenceView) {
        .engine = &convergence.engine,
        .sampler = &convergence.sampler,
        .policy = convergence.engine.policy ?
                  convergence.engine.policy->name :
                  convergence.params.policy->name,
        .phase = convergence.phase,
        .reason = convergence.reason,
        .passes = convergence.passes,
        .syncs = convergence.syncs,
        .progress_pct = convergence.progress_pct,
        .may_slow = qatomic_read(&convergence.may_slow) &&
                    !convergence.still,
        .still = convergence.still,
        .no_deadline = has_condition(&convergence.user) &&
                       !channel_has_deadline(),
        .longest_pause_ns = qatomic_read(&convergence.running) ?
                            vcpu_slowdown_longest_pause_ns() :
                            convergence.longest_pause_ns,
        .now_ns = now_ns(),
    }, info->status));
}
