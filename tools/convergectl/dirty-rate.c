/*
 * QEMU's own measurement of a guest's dirty rate
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "dirty-rate.h"

#define POLL_MS 50

/* QEMU tells MiB/s */
#define BYTES_PER_MIB 1048576.0

/* Beyond the time asked for: sampling a large guest's pages takes a while */
#define SLACK_S 20

/*
 * By how well they tell what a migration would have to send: different
 * pages; pages of each vCPU, some of them twice; an estimate.
 */
static const char *const modes[] = {
    DIRTY_RATE_BITMAP, DIRTY_RATE_BY_VCPU, DIRTY_RATE_SAMPLED, NULL
};

/*
 * Pages to look at, of the whole guest, and what QEMU takes for each GiB.  Its
 * own 512 for a GiB are 64 of a guest of 128 MiB: one is 2 MB/s then.
 */
#define SAMPLES 2048
#define MIN_SAMPLES_PER_GIB 512
#define MAX_SAMPLES_PER_GIB 16384
#define BYTES_PER_GIB 1073741824.0

void dirty_rate_free(DirtyRate *rate)
{
    if (rate) {
        g_array_unref(rate->vcpus);
        g_free(rate);
    }
}

static int samples_per_gib(double ram_bytes)
{
    return CLAMP(SAMPLES / (ram_bytes / BYTES_PER_GIB), MIN_SAMPLES_PER_GIB,
                 MAX_SAMPLES_PER_GIB);
}

static gboolean start(QmpClient *qmp, const char *mode, int seconds,
                      double ram_bytes, GError **errp)
{
    JsonObject *arguments = json_object_new();

    json_object_set_int_member(arguments, "calc-time", seconds);
    json_object_set_string_member(arguments, "mode", mode);
    if (g_str_equal(mode, DIRTY_RATE_SAMPLED)) {
        json_object_set_int_member(arguments, "sample-pages",
                                   samples_per_gib(ram_bytes));
    }
    return qmp_run(qmp, "calc-dirty-rate", arguments, errp);
}

static gboolean has_kvm(QmpClient *qmp)
{
    JsonObject *reply = qmp_query(qmp, "query-kvm", NULL);
    gboolean enabled = reply &&
        json_object_get_boolean_member_with_default(reply, "enabled", FALSE);

    g_clear_pointer(&reply, json_object_unref);
    return enabled;
}

static gboolean has_converge(QmpClient *qmp)
{
    JsonObject *reply = qmp_query(qmp, "query-migrate-parameters", NULL);
    gboolean has = reply && json_object_has_member(reply,
                                                   "convergence-policy");

    g_clear_pointer(&reply, json_object_unref);
    return has;
}

/*
 * QEMU 7.2 without KVM asks a KVM that is not there for its dirty ring when
 * told any mode but page-sampling, and crashes; the guest with it.
 */
static gboolean is_safe(QmpClient *qmp, const char *mode)
{
    return g_str_equal(mode, DIRTY_RATE_SAMPLED) || has_kvm(qmp) ||
           has_converge(qmp);
}

static gboolean try_mode(QmpClient *qmp, const char *mode, int seconds,
                         double ram_bytes, GError **errp)
{
    if (!is_safe(qmp, mode)) {
        g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                    "mode %s can crash a QEMU that runs without KVM and is "
                    "not Converge's; page-sampling is safe", mode);
        return FALSE;
    }
    return start(qmp, mode, seconds, ram_bytes, errp);
}

/* The first mode that is taken; the error is that of the last one */
static const char *start_any(QmpClient *qmp, int seconds, double ram_bytes,
                             GError **errp)
{
    for (int i = 0; modes[i]; i++) {
        g_autoptr(GError) error = NULL;

        if (try_mode(qmp, modes[i], seconds, ram_bytes, &error)) {
            return modes[i];
        }
        if (!qmp_error_class(error) || !modes[i + 1]) {
            g_propagate_error(errp, g_steal_pointer(&error));
            return NULL;
        }
    }
    return NULL;
}

static void take_vcpus(DirtyRate *rate, JsonObject *reply)
{
    JsonNode *node = json_object_get_member(reply, "vcpu-dirty-rate");
    JsonArray *list = node && JSON_NODE_HOLDS_ARRAY(node)
                      ? json_node_get_array(node) : NULL;

    for (guint i = 0; list && i < json_array_get_length(list); i++) {
        JsonNode *element = json_array_get_element(list, i);
        VcpuRate vcpu;

        if (JSON_NODE_HOLDS_OBJECT(element)) {
            JsonObject *item = json_node_get_object(element);

            vcpu.id = json_object_get_int_member_with_default(item, "id", 0);
            vcpu.bytes_per_s = BYTES_PER_MIB *
                json_object_get_int_member_with_default(item, "dirty-rate",
                                                        0);
            g_array_append_val(rate->vcpus, vcpu);
        }
    }
}

/* TRUE if there is an end, good or bad; @rate NULL: not yet */
static gboolean take_result(QmpClient *qmp, DirtyRate *rate, gboolean *done,
                            GError **errp)
{
    JsonObject *reply = qmp_query(qmp, "query-dirty-rate", errp);
    const char *status;

    if (!reply) {
        return FALSE;
    }
    status = json_object_get_string_member_with_default(reply, "status", "");
    *done = g_str_equal(status, "measured");
    if (*done && json_object_get_int_member_with_default(reply, "dirty-rate",
                                                         -1) < 0) {
        json_object_unref(reply);
        g_set_error(errp, QMP_ERROR, QMP_ERROR_GENERIC,
                    "mode %s tells no dirty rate of this guest", rate->mode);
        return FALSE;
    }
    if (*done) {
        rate->bytes_per_s = BYTES_PER_MIB *
            json_object_get_int_member_with_default(reply, "dirty-rate", 0);
        take_vcpus(rate, reply);
    }
    json_object_unref(reply);
    return TRUE;
}

DirtyRate *dirty_rate_measure(QmpClient *qmp, const char *mode, int seconds,
                              double ram_bytes, GError **errp)
{
    gint64 deadline_us = g_get_monotonic_time() +
                         (gint64)(seconds + SLACK_S) * G_USEC_PER_SEC;
    g_autoptr(DirtyRate) rate = g_new0(DirtyRate, 1);
    gboolean done = FALSE;

    rate->vcpus = g_array_new(FALSE, FALSE, sizeof(VcpuRate));
    rate->seconds = seconds;
    if (!mode) {
        rate->mode = start_any(qmp, seconds, ram_bytes, errp);
    } else if (try_mode(qmp, mode, seconds, ram_bytes, errp)) {
        rate->mode = mode;
    }
    if (!rate->mode) {
        return NULL;
    }
    while (!done) {
        if (!take_result(qmp, rate, &done, errp)) {
            return NULL;
        }
        if (!done && g_get_monotonic_time() > deadline_us) {
            g_set_error(errp, QMP_ERROR, QMP_ERROR_TIMEOUT,
                        "QEMU has not measured the dirty rate in %d s",
                        seconds + SLACK_S);
            return NULL;
        }
        g_usleep(done ? 0 : POLL_MS * 1000);
    }
    return g_steal_pointer(&rate);
}
