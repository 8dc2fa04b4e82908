/*
 * Simulator: the migration loop around the engine
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "sim-migration.h"

#define NS_PER_S  1000000000LL
#define NS_PER_MS 1000000LL

/* A host that has been up for 104 days. */
#define START_NS (104 * 86400 * NS_PER_S + 987654321)
#define SLICE_NS (50 * NS_PER_MS)
#define CAPPED_SLICE_NS (100 * NS_PER_MS)
#define TICK_NS (100 * NS_PER_MS)
/* Of a sync: 256 GiB were seen to take 10 to 70 ms. */
#define SYNC_BASE_NS (50 * 1000)
#define SYNC_NS_PER_GIB (50 * 1000)
/* Device state, and the destination's start. */
#define DEVICES_MS 4
/* QEMU waits until no more than that is queued. */
#define LEFT_IN_QUEUE_S 0.01
#define LEFT_IN_QUEUE_MIN_BYTES 32768
#define QUEUE_POLL_NS (2 * NS_PER_MS)
/* Pages that the sender can look at, above what it sends. */
#define SCAN_BYTES_PER_S 5e9

static const char *const meter_names[] = {
    [SIM_METER_USUAL] = "usual",
    [SIM_METER_NONE] = "none",
    [SIM_METER_PAGES] = "pages",
    [SIM_METER_ESTIMATE] = "estimate",
};

SimMeter sim_meter_find(const char *name)
{
    SimMeter meter = SIM_METER_USUAL;

    while (meter < SIM_METER_MAX && strcmp(meter_names[meter], name)) {
        meter++;
    }
    return meter;
}

static int64_t sync_cost_ns(const SimMigration *m)
{
    return SYNC_BASE_NS + SYNC_NS_PER_GIB *
           (m->spec.guest->ram_bytes / (1ULL << 30));
}

static SimMeter meter_of(const SimSpec *spec)
{
    return spec->meter != SIM_METER_USUAL ? spec->meter :
           spec->log.manual ? SIM_METER_NONE : SIM_METER_PAGES;
}

/* As QEMU's sockets tell it; without a queue, nothing stands there. */
static void look_at_link(SimMigration *m)
{
    ConvergenceLinkLook look = {
        .now_ns = m->now_ns,
        .sent_bytes = m->result.wire_bytes,
        .queued_bytes = m->queued_bytes,
        .unsent_bytes = m->queued_bytes,
        .busy_ns = m->busy_ns,
        .cap_bytes_per_s = m->spec.link->cap_bytes_per_s,
        .queue_known = true,
    };
    ConvergenceLinkView view;

    if (m->spec.link->queue_bytes > 0) {
        convergence_link_look(&m->seen_link, &look);
    }
    view = convergence_link_view(&m->seen_link, m->now_ns);
    view.devices_bytes = m->spec.link->devices_bytes;
    convergence_engine_see_link(&m->engine, &view);
}

bool sim_migration_init(SimMigration *m, const SimSpec *spec,
                        const char *policy)
{
    bool none = !strcmp(policy, SIM_POLICY_NONE);
    bool stock = !strcmp(policy, SIM_POLICY_STOCK);
    bool by_auto = !strcmp(policy, SIM_POLICY_AUTO);
    unsigned n_vcpus = spec->guest->n_vcpus;

    if (by_auto) {
        policy = meter_of(spec) == SIM_METER_PAGES ? "dirty-limit" :
                                                     "predictive";
    }
    if (!none && !stock && !convergence_policy_find(policy)) {
        return false;
    }
    *m = (SimMigration) {
        .spec = *spec,
        .is_stock = stock,
        .start_ns = START_NS, .now_ns = START_NS, .last_sync_ns = START_NS,
        .tick_ns = START_NS, .stock_period_ns = START_NS,
        .params = {
            .auto_converge = !none && !stock,
            .policy = convergence_policy_find(policy),
            .policy_by_auto = by_auto,
            .initial_throttle_pct = 20, .throttle_increment_pct = 10,
            .max_throttle_pct = 99, .trigger_threshold_pct = 50,
            .sync_period_ms = 1000,
            .downtime_limit_ms = spec->downtime_limit_ms,
            .timeout_s = spec->deadline.timeout_s,
            .max_downtime_ms = spec->deadline.max_downtime_ms ?: 5000,
            .max_transfer_pct = spec->deadline.max_transfer_pct,
            .timeout_action = spec->deadline.action,
        },
        .vcpus = g_new0(ConvergenceVcpu, n_vcpus),
        .throttles_pct = g_new0(uint8_t, n_vcpus),
        .limits_bytes_per_s = g_new0(uint64_t, n_vcpus),
        .record = spec->keep_record ?
                  g_array_new(false, false, sizeof(SimRecord)) : NULL,
    };
    for (unsigned v = 0; v < n_vcpus; v++) {
        m->vcpus[v].id = v;
    }
    m->spec.meter = meter_of(spec);
    sim_guest_init(&m->guest, spec->guest, &spec->log);
    sim_link_init(&m->link, spec->link, spec->seed);
    m->synced_remaining_bytes = sim_guest_remaining_bytes(&m->guest);
    convergence_engine_init(&m->engine, START_NS);
    convergence_link_init(&m->seen_link);
    look_at_link(m);
    m->next_sync_ns = m->params.auto_converge ?
        START_NS + convergence_engine_first_sync_ns(&m->engine, &m->params,
                                                    sync_cost_ns(m)) :
        INT64_MAX;
    return true;
}

void sim_migration_free(SimMigration *m)
{
    sim_guest_free(&m->guest);
    g_free(m->vcpus);
    g_free(m->limits_bytes_per_s);
    g_free(m->throttles_pct);
    if (m->record) {
        g_array_free(m->record, true);
    }
    *m = (SimMigration) { .done = true };
}

static double elapsed_s(const SimMigration *m)
{
    return (double)(m->now_ns - m->start_ns) / NS_PER_S;
}

static void pass_time(SimMigration *m, int64_t ns)
{
    sim_guest_run(&m->guest, elapsed_s(m), (double)ns / NS_PER_S,
                  &m->slowdown);
    m->now_ns += ns;
}

/*
 * QEMU 7.2: at a sync at least a second after the last such, dirtied pages
 * against half of the bytes on the wire; each second bad one adds 10 %.
 */
static void stock_decide(SimMigration *m, double dirtied_bytes)
{
    double *pct = &m->slowdown.throttle_pct;

    m->stock_dirtied_bytes += dirtied_bytes;
    if (m->now_ns <= m->stock_period_ns + NS_PER_S) {
        return;
    }
    if (m->stock_dirtied_bytes > m->stock_wire_bytes / 2 &&
        ++m->stock_bad_periods >= 2) {
        m->stock_bad_periods = 0;
        *pct = *pct > 0 ? MIN(*pct + 10, 99) : 20;
    }
    m->stock_period_ns = m->now_ns;
    m->stock_dirtied_bytes = 0;
    m->stock_wire_bytes = 0;
}

/* Before the sync, which starts their count anew. */
static void read_meters(SimMigration *m)
{
    for (unsigned v = 0; v < m->spec.guest->n_vcpus; v++) {
        ConvergenceVcpu *vcpu = &m->vcpus[v];

        if (m->spec.meter == SIM_METER_PAGES) {
            vcpu->dirtied_bytes = m->guest.vcpu_new_bytes[v];
            vcpu->touched_bytes = m->guest.vcpu_touched_bytes[v];
        }
        vcpu->ran_ns = m->guest.vcpu_ran_s[v] * NS_PER_S;
    }
}

static ConvergenceSample make_sample(SimMigration *m, SimSync sync,
                                     int64_t cost_ns)
{
    uint64_t after = sim_guest_remaining_bytes(&m->guest);

    return (ConvergenceSample) {
        .now_ns = m->now_ns,
        .interval_ns = m->now_ns - m->last_sync_ns,
        .dirtied_bytes = sync.dirtied_bytes,
        .touched_bytes = sync.touched_bytes,
        .unseen_bytes = sync.unseen_bytes,
        .drained_bytes = m->drained.page_bytes,
        .zero_bytes = m->drained.zero_bytes,
        .wire_bytes = m->drained.wire_bytes,
        .remaining_bytes = after,
        .ram_bytes = m->spec.guest->ram_bytes,
        .bulk_remaining_bytes = sim_guest_unsent_bytes(&m->guest),
        .bulk_empty_bytes = sim_guest_unsent_empty_bytes(&m->guest),
        .bandwidth_bytes_per_s = m->spec.link->cap_bytes_per_s,
        .sync_cost_ns = cost_ns,
        .sync_busy_ns = cost_ns,
        .queued_bytes = m->queued_bytes,
        .link = m->engine.link,
        .throttle_pct = m->slowdown.throttle_pct,
        .vcpus = m->vcpus,
        .n_vcpus = m->spec.guest->n_vcpus,
        .meter = meter_names[m->spec.meter],
        .metered = m->spec.meter == SIM_METER_PAGES,
        .run_times_known = m->spec.meter != SIM_METER_NONE,
        .bulk_pass = sim_guest_in_bulk_pass(&m->guest),
        .valid = true,
    };
}

static void count_reversals(SimMigration *m, const ConvergenceDecision *d)
{
    int change = (int)d->throttle_pct - (int)m->slowdown.throttle_pct;
    int direction = (change > 0) - (change < 0);

    /* A point or two is the rounding of a percentage. */
    if (abs(change) <= 2) {
        return;
    }
    m->result.reversals += m->last_direction && direction &&
                           direction != m->last_direction;
    m->last_direction = direction;
}

/* Whether what is told comes true. */
static void judge_state(SimMigration *m, const ConvergenceDecision *d)
{
    uint64_t remaining_bytes = sim_guest_remaining_bytes(&m->guest);
    bool begins = d->told != m->told;
    double s;

    m->result.state_changes += begins;
    m->told = d->told;
    if (d->told != CONVERGENCE_PHASE_CONVERGING || begins ||
        remaining_bytes < m->least_remaining_bytes) {
        m->shrank_ns = m->now_ns;
        m->least_remaining_bytes = remaining_bytes;
    }
    s = (double)(m->now_ns - m->shrank_ns) / NS_PER_S;
    m->result.falsely_converging_s = MAX(m->result.falsely_converging_s, s);
}

static void obey(SimMigration *m, const ConvergenceDecision *d)
{
    SimResult *r = &m->result;

    judge_state(m, d);

    count_reversals(m, d);
    m->slowdown.throttle_pct = d->throttle_pct;
    for (unsigned v = 0; v < m->spec.guest->n_vcpus; v++) {
        if (d->vcpus_limited && m->slowdown.limits_bytes_per_s) {
            sim_guest_charge_late(&m->guest, v, elapsed_s(m),
                                  m->vcpus[v].late_bytes);
        }
        m->limits_bytes_per_s[v] = m->vcpus[v].limit_bytes_per_s;
        m->throttles_pct[v] = m->vcpus[v].throttle_pct;
    }
    m->slowdown.throttles_pct = m->throttles_pct;
    m->slowdown.limits_bytes_per_s =
        d->vcpus_limited ? m->limits_bytes_per_s : NULL;
    m->next_sync_ns = m->now_ns + d->next_sync_ns;
    if (d->see_rewrites) {
        sim_guest_see_rewrites(&m->guest);
    }
    r->limited |= d->vcpus_limited;
    r->max_throttle_pct = MAX(r->max_throttle_pct, d->throttle_pct);
    r->last_throttle_pct = d->throttle_pct;
    if (d->phase == CONVERGENCE_PHASE_STUCK) {
        r->stuck = true;
        g_strlcpy(r->reason, d->reason, sizeof(r->reason));
    }
}

static void write_trace(SimMigration *m, const ConvergenceSample *sample,
                        const ConvergenceDecision *d)
{
    char in[32768], out[32768];

    convergence_format_sample(&m->engine, sample, &m->params, in, sizeof(in));
    convergence_format_decision(d, sample, out, sizeof(out));
    fprintf(m->spec.trace, "convergence_decision %s %s\n", in, out);
}

static void keep_record(SimMigration *m, const ConvergenceSample *sample,
                        double written_bytes)
{
    const ConvergenceDecision *d = &m->engine.decision;
    double s = (double)MAX(sample->interval_ns, 1) / NS_PER_S;
    SimRecord record = {
        .at_s = elapsed_s(m),
        .remaining_bytes = sample->remaining_bytes,
        .dirty_bytes_per_s = sample->touched_bytes / s,
        .told_bytes_per_s = m->engine.model.dirty_bytes_per_s,
        .true_bytes_per_s = written_bytes / s,
        .sees_rewrites = d->see_rewrites,
        .drain_bytes_per_s = m->engine.model.drain_bytes_per_s,
        .throttle_pct = m->slowdown.throttle_pct,
        .phase = d->phase,
        .predicted = d->predicted,
        .predicted_total_s = elapsed_s(m) + d->predicted_remaining_ms / 1e3,
        .bulk_pass = sample->bulk_pass,
    };

    g_array_append_val(m->record, record);
}

/* What is queued goes on, whatever the sender does. */
static void carry(SimMigration *m, double rate_bytes_per_s, int64_t ns)
{
    double s = (double)ns / NS_PER_S;
    double carried = MIN(m->queued_bytes, rate_bytes_per_s * s);

    if (carried > 0) {
        m->queued_bytes -= carried;
        m->busy_ns += carried / rate_bytes_per_s * NS_PER_S;
    }
}

static void sync_bitmap(SimMigration *m, double share)
{
    int64_t cost_ns = sync_cost_ns(m);
    ConvergenceSample sample;
    SimSync sync;

    if (m->spec.link->queue_bytes > 0) {
        carry(m, sim_link_rate(&m->link, elapsed_s(m)) * share, cost_ns);
    }
    pass_time(m, cost_ns);
    look_at_link(m);
    read_meters(m);
    sync = sim_guest_sync(&m->guest);
    sample = make_sample(m, sync, cost_ns);
    if (m->is_stock) {
        stock_decide(m, sync.dirtied_bytes);
        m->result.max_throttle_pct = m->slowdown.throttle_pct;
    } else if (m->params.auto_converge) {
        const ConvergenceDecision *d =
            convergence_engine_update(&m->engine, &m->params, &sample);

        if (m->spec.trace) {
            write_trace(m, &sample, d);
        }
        obey(m, d);
    }
    if (m->record) {
        keep_record(m, &sample, sync.written_bytes);
    }
    m->last_sync_ns = m->now_ns;
    m->drained = (SimDrain) { 0 };
}

/* How long the link takes for all that remains, the guest stopped. */
static double send_rest_s(SimMigration *m, double share, double cap)
{
    double left_bytes = sim_guest_remaining_bytes(&m->guest) +
                        m->queued_bytes + m->spec.link->devices_bytes;
    double s = 0, slice_s = (double)SLICE_NS / NS_PER_S;

    while (left_bytes > 0) {
        double rate = sim_link_rate(&m->link, elapsed_s(m) + s) * share;
        double take_s;

        rate = cap > 0 ? MIN(rate, cap) : rate;
        take_s = MIN(slice_s, left_bytes / rate);
        left_bytes -= rate * take_s;
        s += take_s;
        if (take_s < slice_s) {
            break;
        }
    }
    return s;
}

static void complete(SimMigration *m, double share)
{
    SimResult *r = &m->result;
    /* max-bandwidth does not hold while the guest is stopped. */
    double s = send_rest_s(m, share, 0);

    r->completed = true;
    r->downtime_ms = s * 1000 + sync_cost_ns(m) / 1e6 + DEVICES_MS;
    r->wire_bytes += sim_guest_remaining_bytes(&m->guest);
    m->now_ns += r->downtime_ms * NS_PER_MS;
    sim_guest_lose(&m->guest, r->downtime_ms / 1000);
}

static void finish(SimMigration *m)
{
    SimResult *r = &m->result;

    m->done = true;
    r->total_s = elapsed_s(m);
    r->lost_vcpu_s = sim_guest_lost_s(&m->guest);
    r->reader_lost_s = m->guest.vcpu_lost_s[m->spec.guest->n_vcpus - 1];
}

static double threshold_with(const SimMigration *m, uint64_t queued_bytes)
{
    uint64_t limit_ms = m->engine.deadline.downtime_limit_ms;

    return m->params.auto_converge ?
        convergence_engine_threshold_bytes(&m->engine, &m->params, limit_ms,
                                           m->bandwidth_bytes_per_s,
                                           queued_bytes) :
        m->bandwidth_bytes_per_s * limit_ms / 1000;
}

/* Returns what may remain, once the deadline has had its say. */
static double meet_deadline(SimMigration *m)
{
    ConvergenceProgress progress = {
        .now_ns = m->now_ns,
        .sent_bytes = m->result.wire_bytes,
        .ram_bytes = m->spec.guest->ram_bytes,
        .remaining_bytes = sim_guest_remaining_bytes(&m->guest),
    };
    const ConvergenceDeadline *deadline =
        convergence_engine_deadline(&m->engine, &m->params, &progress);
    SimResult *r = &m->result;

    r->limit_in_force_ms = deadline->downtime_limit_ms;
    r->stop = deadline->stop;
    if (deadline->stop != CONVERGENCE_STOP_NONE) {
        r->aborted = deadline->action == CONVERGENCE_ACTION_ABORT;
        r->to_postcopy = deadline->action == CONVERGENCE_ACTION_POSTCOPY;
        if (deadline->action == CONVERGENCE_ACTION_STOP) {
            return HUGE_VAL;
        }
    }
    return threshold_with(m, 0);
}

static void measure_bandwidth(SimMigration *m)
{
    double s = (double)(m->now_ns - m->tick_ns) / NS_PER_S;

    if (m->now_ns < m->tick_ns + TICK_NS) {
        return;
    }
    m->bandwidth_bytes_per_s = m->tick_wire_bytes / s;
    look_at_link(m);
    m->threshold_bytes = meet_deadline(m);
    m->tick_ns = m->now_ns;
    m->tick_wire_bytes = 0;
}

static void account(SimMigration *m, const SimDrain *drain)
{
    m->drained.page_bytes += drain->page_bytes;
    m->drained.zero_bytes += drain->zero_bytes;
    m->drained.wire_bytes += drain->wire_bytes;
    m->tick_wire_bytes += drain->wire_bytes;
    m->stock_wire_bytes += drain->wire_bytes;
    m->result.wire_bytes += drain->wire_bytes;
}

/* With a queue the cap is the sender's, and the wire does what it can. */
static double may_hand_over(const SimMigration *m, double rate_bytes_per_s,
                            double s)
{
    const SimLinkSpec *link = m->spec.link;
    double bytes = rate_bytes_per_s * s;

    if (link->queue_bytes > 0) {
        bytes = MAX(link->queue_bytes - m->queued_bytes, 0) + bytes;
        bytes = link->cap_bytes_per_s > 0 ?
                MIN(bytes, link->cap_bytes_per_s * s) : bytes;
    }
    return bytes;
}

/* Returns: false when there is a reason to go round before the slice ends. */
static bool send_turn(SimMigration *m, double rate_bytes_per_s, int64_t ns)
{
    double s = (double)ns / NS_PER_S;
    bool was_bulk = sim_guest_in_bulk_pass(&m->guest);
    SimDrain drain = sim_guest_drain(&m->guest,
                                     may_hand_over(m, rate_bytes_per_s, s),
                                     MAX(SCAN_BYTES_PER_S,
                                         2 * rate_bytes_per_s) * s);
    bool ran_dry = !(sim_guest_remaining_bytes(&m->guest) > 0) &&
                   rate_bytes_per_s > 0;

    if (m->spec.link->queue_bytes > 0) {
        /* To fill a queue takes next to no time. */
        m->queued_bytes += drain.wire_bytes;
        ns = ran_dry ? NS_PER_MS : ns;
    } else if (ran_dry) {
        ns = MAX(drain.wire_bytes / rate_bytes_per_s * NS_PER_S, NS_PER_MS);
    }
    account(m, &drain);
    carry(m, rate_bytes_per_s, ns);
    pass_time(m, ns);
    if (was_bulk && !sim_guest_in_bulk_pass(&m->guest)) {
        m->result.bulk_s = elapsed_s(m);
        if (m->params.auto_converge) {
            /* As convergence_pass_done() has it. */
            m->next_sync_ns = m->now_ns;
        }
        return false;
    }
    return !ran_dry;
}

static void send_slice(SimMigration *m, double share)
{
    const SimLinkSpec *link = m->spec.link;
    int64_t left_ns = link->cap_bytes_per_s > 0 ? CAPPED_SLICE_NS : SLICE_NS;
    int64_t turn_ns = MIN(m->guest.ops->turn_s * NS_PER_S, left_ns);
    double rate = sim_link_rate(&m->link, elapsed_s(m)) * share;

    if (link->cap_bytes_per_s > 0 && !(link->queue_bytes > 0)) {
        rate = MIN(rate, link->cap_bytes_per_s);
    }
    while (left_ns > 0 && send_turn(m, rate, MIN(turn_ns, left_ns))) {
        left_ns -= turn_ns;
    }
}

static bool is_near_end(const SimMigration *m)
{
    double left_bytes = sim_guest_remaining_bytes(&m->guest);

    return left_bytes < m->threshold_bytes ||
           (m->spec.link->queue_bytes > 0 && !(left_bytes > 0));
}

/* As convergence_sync_due() does. */
static void wait_for_queue(SimMigration *m, double share)
{
    double rate;

    do {
        rate = m->engine.link.recent_bytes_per_s ?:
               m->engine.model.link_bytes_per_s;
        if (m->queued_bytes <= MAX(rate * LEFT_IN_QUEUE_S,
                                   LEFT_IN_QUEUE_MIN_BYTES)) {
            break;
        }
        carry(m, sim_link_rate(&m->link, elapsed_s(m)) * share, QUEUE_POLL_NS);
        pass_time(m, QUEUE_POLL_NS);
        look_at_link(m);
    } while (elapsed_s(m) < m->spec.limit_s);
}

static double threshold_now(const SimMigration *m)
{
    return m->spec.link->queue_bytes > 0 ? threshold_with(m, m->queued_bytes) :
                                           HUGE_VAL;
}

void sim_migration_slice(SimMigration *m, double share)
{
    if (m->done) {
        return;
    }
    if (is_near_end(m)) {
        wait_for_queue(m, share);
    }
    if (m->now_ns >= m->next_sync_ns || is_near_end(m)) {
        sync_bitmap(m, share);
        if (sim_guest_remaining_bytes(&m->guest) <
            MIN(m->threshold_bytes, threshold_now(m))) {
            complete(m, share);
            finish(m);
            return;
        }
    }
    send_slice(m, share);
    measure_bandwidth(m);
    if (elapsed_s(m) >= m->spec.limit_s || m->result.aborted ||
        m->result.to_postcopy) {
        finish(m);
    }
}

SimResult sim_migration_run(SimMigration *m, const SimSpec *spec,
                            const char *policy)
{
    bool known = sim_migration_init(m, spec, policy);

    assert(known);
    while (!m->done) {
        sim_migration_slice(m, 1);
    }
    return m->result;
}

SimFloor sim_floor(const SimSpec *spec)
{
    SimMigration m;
    SimFloor floor;
    double stop_s;

    sim_migration_init(&m, spec, SIM_POLICY_NONE);
    while (sim_guest_in_bulk_pass(&m.guest)) {
        send_slice(&m, 1);
    }
    sim_guest_sync(&m.guest);
    /* Who stops a guest has to look once more what it has written. */
    stop_s = send_rest_s(&m, 1, spec->link->cap_bytes_per_s) +
             sync_cost_ns(&m) / 1e9;
    floor.total_s = elapsed_s(&m) + stop_s;
    floor.lost_vcpu_s = stop_s * spec->guest->n_vcpus;
    sim_migration_free(&m);
    return floor;
}
