/*
 * What convergectl check says
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "report-check.h"

#include "format.h"

#include <math.h>

/*
 * A vCPU that writes less than this share of all is not what a dirty limit
 * would slow down
 */
#define WRITER_SHARE 0.05

CheckResult check_result(const CheckFacts *facts)
{
    CheckResult result = { 0 };
    WriteModel slowed;

    result.free = forecast_migration(&facts->model, facts->ram_bytes,
                                     facts->bandwidth_bytes_per_s,
                                     facts->downtime_s);
    result.throttle_pct =
        forecast_least_throttle_pct(&facts->model, facts->ram_bytes,
                                    facts->bandwidth_bytes_per_s,
                                    facts->downtime_s);
    slowed = write_model_throttled(&facts->model,
                                   MIN(result.throttle_pct, 99));
    result.slowed = forecast_migration(&slowed, facts->ram_bytes,
                                       facts->bandwidth_bytes_per_s,
                                       facts->downtime_s);
    return result;
}

static void tell_guest(GString *text, const CheckFacts *facts)
{
    char a[FORMAT_MAX], b[FORMAT_MAX], c[FORMAT_MAX];
    const WriteModel *model = &facts->model;

    g_string_append_printf(text, "guest      %s of RAM; dirties %s over "
        "%.0f s, %s over %.0f s (by %s)\n",
        format_bytes(a, facts->ram_bytes),
        format_rate(b, facts->first->bytes_per_s), facts->first->seconds,
        format_rate(c, facts->second->bytes_per_s), facts->second->seconds,
        facts->first->mode);
    if (model->at_least) {
        g_string_append_printf(text, "           writes the same %s over and "
            "over, at %s or more\n",
            format_bytes(a, model->working_set_bytes),
            format_rate(b, model->rate_bytes_per_s));
    } else if (model->working_set_bytes < facts->ram_bytes) {
        g_string_append_printf(text, "           writes some %s over and "
            "over, at first %s\n", format_bytes(a, model->working_set_bytes),
            format_rate(b, model->rate_bytes_per_s));
    }
    for (guint i = 0; facts->vcpus && i < facts->vcpus->vcpus->len; i++) {
        const VcpuRate *vcpu = &g_array_index(facts->vcpus->vcpus, VcpuRate,
                                              i);

        g_string_append_printf(text, "           vCPU %d dirties %s\n",
                               vcpu->id, format_rate(a, vcpu->bytes_per_s));
    }
}

static int count_writers(const CheckFacts *facts)
{
    int writers = 0;

    for (guint i = 0; i < facts->vcpus->vcpus->len; i++) {
        writers += g_array_index(facts->vcpus->vcpus, VcpuRate,
                                 i).bytes_per_s >
                   WRITER_SHARE * facts->vcpus->bytes_per_s;
    }
    return writers;
}

static void tell_cost(GString *text, const CheckFacts *facts,
                      const CheckResult *result)
{
    guint n = facts->vcpus ? facts->vcpus->vcpus->len : 0;

    g_string_append_printf(text, "vCPUs that sleep %d %% of their time",
                           result->throttle_pct);
    if (n) {
        g_string_append_printf(text, "; with --policy dirty-limit only the "
                               "%d of %u that write", count_writers(facts),
                               n);
    }
}

static void tell_slowed(GString *text, const CheckFacts *facts,
                        const CheckResult *result)
{
    char a[FORMAT_MAX], b[FORMAT_MAX];

    if (result->throttle_pct > 99) {
        g_string_append(text, "slowed     no: not even vCPUs that sleep 99 % "
                        "of their time would do\n");
        return;
    }
    g_string_append_printf(text, "slowed     yes: in about %s, downtime about "
        "%s, at the cost of ",
        format_duration(a, result->slowed.total_s * 1000),
        format_downtime(b, result->slowed.downtime_s * 1000));
    tell_cost(text, facts, result);
    g_string_append_c(text, '\n');
}

static void tell_advice(GString *text, const CheckFacts *facts,
                        const CheckResult *result)
{
    if (result->free.converges) {
        g_string_append(text, "advice     migrate it as it is\n");
    } else if (result->throttle_pct <= 99) {
        g_string_append(text, "advice     convergectl migrate --policy auto");
        g_string_append_printf(text, " --downtime %.0f\n",
                               facts->downtime_s * 1000);
    } else {
        g_string_append_printf(text, "advice     more bandwidth, or a "
            "downtime of %.1f s: convergectl migrate --timeout 60 "
            "--max-downtime %.0f\n", result->free.downtime_s,
            ceil(result->free.downtime_s * 1.2) * 1000);
    }
}

char *check_report(const CheckFacts *facts, const CheckResult *result)
{
    GString *text = g_string_new("");
    char a[FORMAT_MAX], b[FORMAT_MAX];

    tell_guest(text, facts);
    g_string_append_printf(text, "link       %s, downtime limit %s; a first "
        "pass takes at most %s\n",
        format_rate(a, facts->bandwidth_bytes_per_s),
        format_downtime(b, facts->downtime_s * 1000),
        format_duration((char[FORMAT_MAX]) { 0 }, facts->ram_bytes * 1000 /
                        facts->bandwidth_bytes_per_s));
    if (result->free.converges) {
        g_string_append_printf(text, "as it is   yes: in about %s, %d passes, "
            "downtime about %s\n",
            format_duration(a, result->free.total_s * 1000),
            result->free.passes,
            format_downtime(b, result->free.downtime_s * 1000));
    } else {
        g_string_append_printf(text, "as it is   no: it dirties more than the "
            "link drains; stopping it after the first pass would be a "
            "downtime of %s\n",
            format_downtime(a, result->free.downtime_s * 1000));
        tell_slowed(text, facts, result);
    }
    tell_advice(text, facts, result);
    return g_string_free(text, FALSE);
}

char *check_report_json(const CheckFacts *facts, const CheckResult *result)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    JsonObject *object = json_object_new();

    json_object_set_string_member(object, "type", "check");
    json_object_set_string_member(object, "mode", facts->first->mode);
    json_object_set_int_member(object, "ram-bytes", facts->ram_bytes);
    json_object_set_int_member(object, "bandwidth-bytes-per-s",
                               facts->bandwidth_bytes_per_s);
    json_object_set_int_member(object, "downtime-limit-ms",
                               facts->downtime_s * 1000);
    json_object_set_int_member(object, "dirty-bytes-per-s",
                               facts->model.rate_bytes_per_s);
    json_object_set_int_member(object, "working-set-bytes",
                               facts->model.working_set_bytes);
    json_object_set_boolean_member(object, "converges",
                                   result->free.converges);
    json_object_set_boolean_member(object, "converges-slowed",
                                   result->throttle_pct <= 99);
    json_object_set_int_member(object, "throttle-pct",
                               MIN(result->throttle_pct, 100));
    json_object_set_int_member(object, "total-ms",
                               result->slowed.total_s * 1000);
    json_object_set_int_member(object, "downtime-ms",
                               result->slowed.downtime_s * 1000);
    json_node_take_object(node, object);
    return json_to_string(node, FALSE);
}
