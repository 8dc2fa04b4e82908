/*
 * One live migration between two QEMUs on this host, measured
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "migrate.h"

#include "host-load.h"

#include <string.h>

#define DEFAULT_BASELINE_MS 2000
#define DEFAULT_POLL_MS 100

/* The guest must be seen at work on the other side within this time */
#define ARRIVAL_TIMEOUT_MS 20000

/*
 * Reports that are waited for on the other side: half a second, in which the
 * gap that spans the switch-over is told.
 */
#define ARRIVAL_REPORTS 5

/* See await_times() */
#define TIMES_POLL_MS 50
#define TIMES_TRIES 40

#define WORK_SPAN_MS 500        /* five of the guest's reports */

static int throttle_in_force(JsonObject *info)
{
    gint64 throttle = migrate_info_int(info, NULL, "cpu-throttle-percentage");

    /* Ours says more: a throttle set by other means is told there as well */
    return MAX(throttle, migrate_info_int(info, "convergence",
                                          "throttle-percentage"));
}

/* Of our engine; -1 where there is none or it cannot tell */
static gint64 engine_ms(JsonObject *info, const char *name)
{
    JsonNode *node = json_object_get_member(info, "convergence");

    return node && json_object_has_member(json_node_get_object(node), name)
           ? migrate_info_int(info, "convergence", name) : -1;
}

/* Of our engine, interned; NULL where there is none or it does not tell */
static const char *engine_word(JsonObject *info, const char *name)
{
    JsonNode *node = json_object_get_member(info, "convergence");

    return node ? g_intern_string(json_object_get_string_member_with_default(
        json_node_get_object(node), name, NULL)) : NULL;
}

/* NULL where there is no engine of ours, or it does not tell them apart */
static JsonArray *vcpus_of(JsonObject *info)
{
    JsonNode *node = json_object_get_member(info, "convergence");
    JsonObject *convergence = node ? json_node_get_object(node) : NULL;

    return convergence && json_object_has_member(convergence, "vcpus") ?
           json_object_get_array_member(convergence, "vcpus") : NULL;
}

static void take_meters(MigrateSample *sample, JsonObject *info)
{
    JsonArray *vcpus = vcpus_of(info);
    unsigned n = vcpus ? json_array_get_length(vcpus) : 0;

    sample->nr_metered = MIN(n, MIGRATE_MAX_METERED);
    for (unsigned i = 0; i < sample->nr_metered; i++) {
        JsonObject *vcpu = json_array_get_object_element(vcpus, i);

        sample->vcpu_dirty_bytes_per_s[i] =
            json_object_get_int_member(vcpu, "dirty-rate");
        sample->vcpu_limit_bytes_per_s[i] =
            json_object_get_int_member(vcpu, "dirty-limit");
    }
}

/* After the bulk pass, in which single vCPUs may be held to tell them apart */
static void take_slowed(MigrateResult *result, JsonObject *info)
{
    JsonArray *vcpus = vcpus_of(info);
    g_autoptr(GString) slowed = g_string_new(NULL);

    for (unsigned i = 0; vcpus && i < json_array_get_length(vcpus); i++) {
        JsonObject *vcpu = json_array_get_object_element(vcpus, i);

        if (json_object_get_int_member(vcpu, "throttle-percentage") >= 50) {
            g_string_append_printf(slowed, "%s%d", slowed->len ? "," : "",
                                   (int)json_object_get_int_member(vcpu, "id"));
        }
    }
    if (slowed->len && migrate_info_int(info, "convergence", "passes")) {
        g_free(result->slowed);
        result->slowed = g_strdup(slowed->str);
    }
}

static void take_sample(MigrateResult *result, const MigrateSpec *spec,
                        JsonObject *info, gint64 start_us)
{
    MigrateSample sample = {
        .at_ms = (g_get_monotonic_time() - start_us) / 1000,
        .throttle_pct = throttle_in_force(info),
        .remaining_bytes = migrate_info_int(info, "ram", "remaining"),
        .sent_bytes = migrate_info_int(info, "ram", "transferred"),
        .passes = migrate_info_int(info, "ram", "dirty-sync-count"),
        .expected_downtime_ms = migrate_info_int(info, NULL,
                                                 "expected-downtime"),
        .state = engine_word(info, "state"),
        .meter = engine_word(info, "meter"),
        .predicted_total_ms = engine_ms(info, "predicted-total-time"),
        .predicted_downtime_ms = engine_ms(info, "predicted-downtime"),
        .dirty_bytes_per_s = migrate_info_int(info, "convergence",
                                              "dirty-rate"),
        .drain_bytes_per_s = migrate_info_int(info, "convergence",
                                              "drain-rate"),
        .bulk_pass = !migrate_info_int(info, "convergence", "passes"),
    };

    take_meters(&sample, info);
    take_slowed(result, info);
    g_array_append_val(result->timeline, sample);
    result->max_throttle_pct = MAX(result->max_throttle_pct,
                                   sample.throttle_pct);
    result->longest_pause_ms = MAX(result->longest_pause_ms,
                                   engine_ms(info, "longest-pause"));
    result->sent_bytes = MAX(result->sent_bytes, sample.sent_bytes);
    result->passes = MAX(result->passes, sample.passes);
    /* Not there any more once the migration has completed */
    if (sample.expected_downtime_ms) {
        result->expected_downtime_ms = sample.expected_downtime_ms;
    }
    if (spec->on_progress) {
        spec->on_progress(spec->opaque, &sample, info);
    }
}

/* Waits for the next look; an event that may be the end cuts it short */
static void wait_for_tick(QmpClient *qmp, gint64 tick_us)
{
    gint64 left_us;

    while ((left_us = tick_us - g_get_monotonic_time()) > 0) {
        JsonObject *event = qmp_next_event(qmp, (left_us + 999) / 1000, NULL);
        gboolean is_status = event &&
            g_str_equal(json_object_get_string_member(event, "event"),
                        "MIGRATION");

        if (event) {
            json_object_unref(event);
        } else {
            /* Nothing came, or the socket is gone: the next query tells */
            break;
        }
        if (is_status) {
            return;
        }
    }
}

/*
 * QEMU 7.2 says "completed" a moment before it works out total-time and
 * downtime: whoever asks in between is told 0.  Returns @info or a later one.
 */
static JsonObject *await_times(QmpClient *qmp, JsonObject *info)
{
    for (int tries = 0; tries < TIMES_TRIES; tries++) {
        JsonObject *later;

        migrate_sleep_ms(TIMES_POLL_MS);
        later = qmp_query(qmp, "query-migrate", NULL);
        if (!later) {
            break;
        }
        json_object_unref(info);
        info = later;
        if (migrate_info_int(info, NULL, "total-time")) {
            break;
        }
    }
    return info;
}

static void fail(MigrateResult *result, const char *why)
{
    result->outcome = MIGRATE_FAILED;
    g_free(result->why);
    result->why = g_strdup(why);
}

static void take_outcome(MigrateResult *result, JsonObject *info)
{
    const char *status = migrate_info_status(info);

    if (g_str_equal(status, "completed")) {
        result->outcome = MIGRATE_COMPLETED;
        result->downtime_ms = migrate_info_int(info, NULL, "downtime");
        result->total_ms = migrate_info_int(info, NULL, "total-time");
        return;
    }
    fail(result, json_object_get_string_member_with_default(
                     info, "error-desc", "QEMU gives no reason"));
}

/* Looks at the migration until it ends or its time is over */
static void follow(MigratePair *pair, const MigrateSpec *spec,
                   MigrateResult *result, gint64 start_us)
{
    gint64 cap_us = start_us + spec->cap_s * G_USEC_PER_SEC;
    gint64 poll_us = (spec->poll_ms ?: DEFAULT_POLL_MS) * 1000LL;
    QmpClient *qmp = vm_qmp(pair->source);
    gint64 tick_us = start_us;

    for (;;) {
        g_autoptr(GError) error = NULL;
        JsonObject *info = qmp_query(qmp, "query-migrate", &error);
        gboolean ended;

        result->total_ms = (g_get_monotonic_time() - start_us) / 1000;
        if (!info) {
            g_autofree char *said = vm_stderr(pair->source);

            fail(result, vm_guest_ended(pair->source) ?
                         "the guest was reset, or shut itself down" :
                         *said ? said : error->message);
            return;
        }
        ended = migrate_has_ended(migrate_info_status(info));
        if (g_str_equal(migrate_info_status(info), "completed")) {
            info = await_times(qmp, info);
        }
        take_sample(result, spec, info, start_us);
        if (ended) {
            take_outcome(result, info);
        }
        json_object_unref(info);
        if (ended) {
            return;
        }
        if (g_get_monotonic_time() >= cap_us) {
            result->outcome = MIGRATE_CAPPED;
            return;
        }
        tick_us = MAX(tick_us + poll_us, g_get_monotonic_time());
        wait_for_tick(qmp, MIN(tick_us, cap_us));
    }
}

/*
 * "completed" is QEMU's word; the guest's reports from the other side are
 * the proof.  What is known beside goes into the reason, since the console
 * alone cannot tell a guest that hangs from a console that does.
 */
static void check_arrival(MigratePair *pair, MigrateResult *result)
{
    unsigned seen = guest_work_wait_destination(pair->work, ARRIVAL_REPORTS,
                                                ARRIVAL_TIMEOUT_MS);
    JsonObject *status;
    g_autofree char *why = NULL;

    if (seen >= ARRIVAL_REPORTS) {
        return;
    }
    status = qmp_query(vm_qmp(pair->destination), "query-status", NULL);
    why = g_strdup_printf(
        "QEMU says completed, but the guest sent %u reports from the "
        "destination in %d s, where QEMU's status is '%s'", seen,
        ARRIVAL_TIMEOUT_MS / 1000,
        status ? migrate_info_status(status) : "gone");
    if (status) {
        json_object_unref(status);
    }
    fail(result, why);
}

/* What each vCPU wanted to run so far, in ns; 0 if not told */
static void take_wanted(MigratePair *pair, const int *threads, unsigned smp,
                        guint64 *wanted_ns)
{
    for (unsigned i = 0; i < smp; i++) {
        wanted_ns[i] = vm_thread_wanted_ns(pair->source, threads[i]);
    }
}

static void take_held(MigrateResult *result, const guint64 *before_ns,
                      const guint64 *after_ns)
{
    for (unsigned i = 0; i < result->nr_vcpus; i++) {
        double ms = (after_ns[i] - before_ns[i]) / 1e6;

        result->vcpus[i].held_pct = after_ns[i] > before_ns[i] ?
            MAX(100 - 100 * ms / MAX(result->total_ms, 1), 0) : -1;
    }
}

static void take_account(MigratePair *pair, MigrateResult *result,
                         gint64 base_us, gint64 start_us)
{
    gint64 end_us = start_us + result->total_ms * 1000;
    gint64 now_us = g_get_monotonic_time();

    result->nr_vcpus = guest_work_account(pair->work, base_us, start_us,
                                          end_us, now_us, result->vcpus);
    result->work_timeline = guest_work_timeline(pair->work, base_us, start_us,
                                                end_us, WORK_SPAN_MS * 1000);
    guest_work_latency(pair->work, base_us, start_us, now_us,
                       result->latencies);
    result->bad_pages = guest_work_bad_pages(pair->work);
    for (unsigned i = 0; i < result->nr_vcpus; i++) {
        GuestWorkVcpu *vcpu = &result->vcpus[i];

        /* The guest's clock does not see the downtime */
        vcpu->silence_ms = MAX(vcpu->silence_ms, result->downtime_ms);
        result->max_silence_ms = MAX(result->max_silence_ms,
                                     vcpu->silence_ms);
    }
}

MigrateResult *migrate_run(const MigrateSpec *spec, GError **errp)
{
    g_autoptr(MigrateResult) result = g_new0(MigrateResult, 1);
    MigratePair pair = { 0 };
    gint64 base_us, start_us;
    guint64 base_wait_ns, cpu_ns, main_thread_ns;
    guint64 before_ns[GUEST_WORK_MAX_VCPUS], after_ns[GUEST_WORK_MAX_VCPUS];
    int threads[GUEST_WORK_MAX_VCPUS];
    HostLoad base_load;

    result->timeline = g_array_new(FALSE, FALSE, sizeof(MigrateSample));
    result->downtime_ms = -1;
    result->felt_downtime_ms = -1;
    result->longest_pause_ms = -1;
    if (!migrate_pair_start(&pair, spec, errp) ||
        !migrate_pair_configure(&pair, spec, errp)) {
        migrate_pair_clear(&pair);
        return NULL;
    }
    for (unsigned i = 0; i < spec->smp; i++) {
        threads[i] = vm_vcpu_thread(pair.source, i, NULL);
    }
    migrate_sleep_ms(migrate_settle_ms(spec));
    base_us = g_get_monotonic_time();
    base_wait_ns = vm_cpu_wait_ns(pair.source);
    base_load = host_load_now(&pair);
    migrate_sleep_ms(spec->baseline_ms ?: DEFAULT_BASELINE_MS);
    take_wanted(&pair, threads, spec->smp, before_ns);
    start_us = g_get_monotonic_time();
    result->host_wait_pct =
        (vm_cpu_wait_ns(pair.source) - base_wait_ns) / 10.0 /
        (start_us - base_us) / spec->smp;

    if (!migrate_pair_go(&pair, spec->wire, errp)) {
        migrate_pair_clear(&pair);
        return NULL;
    }
    cpu_ns = vm_cpu_ns(pair.source);
    main_thread_ns = vm_main_thread_ns(pair.source);
    follow(&pair, spec, result, start_us);
    take_wanted(&pair, threads, spec->smp, after_ns);
    result->host_others_pct = host_load_others_pct(&base_load, &pair);
    result->cpu_ns = vm_cpu_ns(pair.source) - cpu_ns;
    result->main_thread_ns = vm_main_thread_ns(pair.source) - main_thread_ns;
    if (result->outcome == MIGRATE_COMPLETED) {
        check_arrival(&pair, result);
        result->felt_downtime_ms = guest_work_stood_still_ms(pair.work);
    }
    take_account(&pair, result, base_us, start_us);
    take_held(result, before_ns, after_ns);
    migrate_pair_clear(&pair);
    return g_steal_pointer(&result);
}

void migrate_result_free(MigrateResult *result)
{
    if (result) {
        g_array_unref(result->timeline);
        g_clear_pointer(&result->work_timeline, g_array_unref);
        g_free(result->why);
        g_free(result->slowed);
        g_free(result);
    }
}

gboolean migrate_has_policy(const char *qemu, const char *policy)
{
    VmConfig config = { .qemu = qemu, .name = "probe", .load = "idle",
                        .mem_mib = 64, .smp = 1, .incoming = TRUE };
    g_autoptr(Vm) vm = vm_start(&config, NULL);
    JsonObject *arguments = json_object_new();

    json_object_set_string_member(arguments, "convergence-policy", policy);
    if (!vm) {
        json_object_unref(arguments);
        return FALSE;
    }
    return qmp_run(vm_qmp(vm), "migrate-set-parameters", arguments, NULL);
}
