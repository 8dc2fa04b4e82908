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

/*
 * Two measurements of one guest differ by so much; samples of its pages, which
 * do not show what is written again as it was, by more.
 */
#define SPREAD_COUNTED 0.15
#define SPREAD_SAMPLED 0.4
/* Modes that differ by more do not see the same thing. */
#define MODES_DIFFER 2.0

/* What vCPUs are short of by this part of the whole, devices dirty. */
#define DEVICES_SHOW 0.3

/* To connect, and what the host does beside it. */
#define SLACK_PART 0.1
#define SLACK_S 0.5

/* As slow as this against being slowed down is worth a word. */
#define MUCH_LONGER 2.0

static double bytes_of(const DirtyRate *rate)
{
    return rate->bytes_per_s * rate->seconds;
}

static double sum_of_vcpus(const CheckFacts *facts)
{
    double sum = 0;

    for (guint i = 0; facts->vcpus && i < facts->vcpus->vcpus->len; i++) {
        sum += g_array_index(facts->vcpus->vcpus, VcpuRate, i).bytes_per_s;
    }
    return sum;
}

static gboolean is_sampled(const DirtyRate *rate)
{
    return g_str_equal(rate->mode, DIRTY_RATE_SAMPLED);
}

/*
 * By vCPU, pages are told anew each second: not how many different ones there
 * are of them, be it for ever the same or others each time.
 */
static gboolean set_is_unknown(const CheckFacts *facts,
                               const CheckResult *result)
{
    return g_str_equal(facts->first->mode, DIRTY_RATE_BY_VCPU) ||
           result->modes_differ;
}

/* Of all that was measured, what is the worst for a migration. */
static void find_model(const CheckFacts *facts, CheckResult *result)
{
    double counted = MAX(facts->first->bytes_per_s,
                         facts->second->bytes_per_s);
    double sampled = facts->sampled ? facts->sampled->bytes_per_s : 0;
    double by_vcpus = sum_of_vcpus(facts);

    result->model = write_model_fit(bytes_of(facts->first),
                                    facts->first->seconds,
                                    bytes_of(facts->second),
                                    facts->second->seconds, facts->ram_bytes);
    if (sampled > counted * MODES_DIFFER + DIRTY_RATE_STEP) {
        result->modes_differ = TRUE;
        result->model.rate_bytes_per_s = sampled;
        result->model.working_set_bytes =
            MAX(result->model.working_set_bytes, bytes_of(facts->sampled));
    } else if (by_vcpus > counted * MODES_DIFFER + DIRTY_RATE_STEP) {
        result->modes_differ = TRUE;
        result->model.rate_bytes_per_s = by_vcpus;
        result->model.working_set_bytes =
            MAX(result->model.working_set_bytes,
                by_vcpus * facts->vcpus->seconds);
    }
    if (facts->vcpus && !is_sampled(facts->first) &&
        by_vcpus < counted * (1 - DEVICES_SHOW) - DIRTY_RATE_STEP) {
        result->devices_bytes_per_s = counted - by_vcpus;
    }
}

static RehearsalSpec make_spec(const CheckFacts *facts,
                               const CheckResult *result, gboolean worst)
{
    RehearsalSpec spec = {
        .ram_bytes = facts->ram_bytes,
        .touched_bytes = facts->touched_bytes >= 0 ? facts->touched_bytes :
                         worst ? facts->ram_bytes : 0,
        .bandwidth_bytes_per_s = facts->bandwidth_bytes_per_s,
        .downtime_s = facts->downtime_s,
        .model = result->model,
        .vcpus = facts->vcpus ? facts->vcpus->vcpus : NULL,
    };

    if (facts->touched_bytes >= 0) {
        spec.model.working_set_bytes =
            MIN(spec.model.working_set_bytes,
                MAX(facts->touched_bytes, bytes_of(facts->second)));
    }
    if (result->devices_bytes_per_s > 0) {
        spec.devices_part = result->devices_bytes_per_s /
                            (result->devices_bytes_per_s +
                             sum_of_vcpus(facts));
    }
    return spec;
}

static const Rehearsal *the_worse(const Rehearsal *a, const Rehearsal *b)
{
    if (a->completes != b->completes) {
        return a->completes ? b : a;
    }
    return a->total_s > b->total_s ? a : b;
}

static Outlook look_ahead(const CheckFacts *facts, const CheckResult *result,
                          const char *policy)
{
    RehearsalSpec bad = make_spec(facts, result, TRUE);
    RehearsalSpec good = make_spec(facts, result, FALSE);
    double spread = is_sampled(facts->first) || result->modes_differ ?
                    SPREAD_SAMPLED : SPREAD_COUNTED;
    /* What is less than a step is told as nothing. */
    double step = bad.model.rate_bytes_per_s > 0 ?
                  DIRTY_RATE_STEP / bad.model.rate_bytes_per_s : 0;
    Outlook outlook;

    if (!(bad.model.rate_bytes_per_s > 0)) {
        bad.model.rate_bytes_per_s = DIRTY_RATE_STEP;
        bad.model.working_set_bytes = MIN(DIRTY_RATE_STEP * 10,
                                          facts->ram_bytes);
    }
    outlook = (Outlook) {
        .best = rehearse(&good, policy, 1 - spread),
        .likely = rehearse(&bad, policy, 1),
        .worst = rehearse(&bad, policy, 1 + spread + step),
    };
    if (set_is_unknown(facts, result)) {
        RehearsalSpec same = bad;
        Rehearsal r;

        /* All of it was written within the second, by one that is faster. */
        same.model.working_set_bytes = MIN(bad.model.rate_bytes_per_s *
                                           (1 + spread), facts->ram_bytes);
        same.model.at_least = TRUE;
        r = rehearse(&same, policy, 1 + spread);
        outlook.worst = *the_worse(&outlook.worst, &r);
    }
    return outlook;
}

CheckResult check_result(const CheckFacts *facts)
{
    CheckResult result = { 0 };

    find_model(facts, &result);
    result.as_is = look_ahead(facts, &result, REHEARSAL_FREE);
    result.slowed = look_ahead(facts, &result, facts->has_converge ?
                               REHEARSAL_AUTO : REHEARSAL_STOCK);
    return result;
}

/* A guess that its writing a little more would overthrow is no yes. */
static gboolean surely(const Outlook *outlook)
{
    return outlook->likely.completes && outlook->worst.completes;
}

gboolean check_converges(const CheckResult *result)
{
    return surely(&result->slowed) || surely(&result->as_is);
}

static double least_s(const Outlook *outlook)
{
    return MIN(outlook->best.completes ? outlook->best.total_s :
               outlook->likely.total_s, outlook->likely.total_s) *
           (1 - SLACK_PART);
}

static double most_s(const Outlook *outlook)
{
    return MAX(outlook->worst.completes ? outlook->worst.total_s : 0,
               outlook->likely.total_s) * (1 + SLACK_PART) + SLACK_S;
}

/* "0.9 to 2.1 s" */
static void append_span(GString *text, const Outlook *outlook)
{
    double least = least_s(outlook), most = most_s(outlook);
    char a[FORMAT_MAX], b[FORMAT_MAX];

    if (most < 120) {
        g_string_append_printf(text, "%.1f to %.1f s", least, most);
    } else {
        g_string_append_printf(text, "%s to %s",
                               format_duration(a, least * 1000),
                               format_duration(b, most * 1000));
    }
}

/* What QEMU tells as 0 may be anything below its step. */
static const char *told_rate(char *text, const DirtyRate *rate)
{
    return rate->bytes_per_s > 0 ? format_rate(text, rate->bytes_per_s)
                                 : "less than 1.0 MB/s";
}

static void tell_modes(GString *text, const CheckFacts *facts,
                       const CheckResult *result)
{
    char a[FORMAT_MAX], b[FORMAT_MAX];

    if (result->modes_differ) {
        g_string_append_printf(text, "           %s says %s, though; the "
            "higher figure counts\n",
            facts->sampled && facts->sampled->bytes_per_s ==
            result->model.rate_bytes_per_s ? DIRTY_RATE_SAMPLED :
            DIRTY_RATE_BY_VCPU,
            format_rate(a, result->model.rate_bytes_per_s));
    }
    if (is_sampled(facts->first)) {
        g_string_append(text, "           these are samples: pages that are "
            "written again with what they held before are not seen\n");
    } else if (!facts->sampled && !facts->vcpus) {
        g_string_append(text, "           this QEMU has no second way to "
                        "measure it, to check that figure\n");
    }
    if (result->devices_bytes_per_s > 0) {
        g_string_append_printf(text, "           %s of that are dirtied by "
            "devices or the like, %s by vCPUs\n",
            format_rate(a, result->devices_bytes_per_s),
            format_rate(b, sum_of_vcpus(facts)));
    }
}

static void tell_guest(GString *text, const CheckFacts *facts,
                       const CheckResult *result)
{
    char a[FORMAT_MAX], b[FORMAT_MAX];
    const WriteModel *model = &result->model;

    g_string_append_printf(text, "guest      %s of RAM, ",
                           format_bytes(a, facts->ram_bytes));
    if (facts->touched_bytes >= 0) {
        g_string_append_printf(text, "%s of it ever used",
                               format_bytes(a, facts->touched_bytes));
    } else {
        g_string_append(text, "how much of it was ever used is not known");
    }
    g_string_append_printf(text, "; dirties %s over %.0f s, %s over %.0f s "
        "(by %s)\n",
        told_rate(a, facts->first), facts->first->seconds,
        told_rate(b, facts->second), facts->second->seconds,
        facts->first->mode);
    tell_modes(text, facts, result);
    if (model->at_least) {
        g_string_append_printf(text, "           writes the same %s over and "
            "over, at %s or more\n",
            format_bytes(a, model->working_set_bytes),
            format_rate(b, model->rate_bytes_per_s));
    } else if (model->rate_bytes_per_s > 0 &&
               model->working_set_bytes < facts->ram_bytes) {
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
                   WRITER_SHARE * sum_of_vcpus(facts);
    }
    return writers;
}

static void tell_as_is(GString *text, const CheckFacts *facts,
                       const CheckResult *result)
{
    const Rehearsal *r = &result->as_is.likely;
    char a[FORMAT_MAX];

    g_string_append(text, "as it is   ");
    if (r->completes) {
        g_string_append(text, surely(&result->as_is) ? "yes: in " :
                        "only if it writes no more than now: in ");
        append_span(text, &result->as_is);
        g_string_append_printf(text, ", %u %s over RAM, downtime about %s\n",
                               r->passes, r->passes == 1 ? "pass" : "passes",
                               format_downtime(a, r->downtime_s * 1000));
    } else {
        g_string_append_printf(text, "no: in each pass over RAM the guest "
            "dirties as much as the pass sends, or more than the downtime "
            "limit allows; to stop it after the first pass would be a "
            "downtime of %s\n",
            format_downtime(a, r->stop_downtime_s * 1000));
    }
}

static const char *slowed_by(const CheckFacts *facts)
{
    return facts->has_converge ? "policy auto" : "this QEMU's auto-converge";
}

static void tell_cost(GString *text, const CheckFacts *facts,
                      const CheckResult *result)
{
    const Rehearsal *r = &result->slowed.likely;

    if (r->limited) {
        g_string_append_printf(text, "at the cost of %.1f s of the work of "
            "the %d of %u vCPUs that write", r->lost_s, count_writers(facts),
            facts->vcpus->vcpus->len);
    } else if (r->throttle_pct) {
        g_string_append_printf(text, "at the cost of %.1f s of work of all "
            "vCPUs, which sleep up to %u %% of their time", r->lost_s,
            r->throttle_pct);
    } else {
        g_string_append(text, "without slowing the guest down");
    }
}

static void tell_slowed(GString *text, const CheckFacts *facts,
                        const CheckResult *result)
{
    const Rehearsal *r = &result->slowed.likely;
    char a[FORMAT_MAX];

    g_string_append(text, "slowed     ");
    if (!r->completes) {
        g_string_append_printf(text, "no: %s would not make it end\n",
                               slowed_by(facts));
        return;
    }
    g_string_append_printf(text, "%s: by %s in ", surely(&result->slowed) ?
                           "yes" : "perhaps", slowed_by(facts));
    append_span(text, &result->slowed);
    g_string_append_printf(text, ", downtime about %s, ",
                           format_downtime(a, r->downtime_s * 1000));
    tell_cost(text, facts, result);
    g_string_append_c(text, '\n');
}

/* To be pasted into a shell. */
static void append_command(GString *text, const CheckFacts *facts,
                           const char *options)
{
    g_autofree char *qmp = g_shell_quote(facts->qmp ?: "SOCKET");
    g_autofree char *uri = g_shell_quote(facts->uri ?: "tcp:HOST:PORT");

    g_string_append_printf(text, "convergectl migrate --qmp %s", qmp);
    if (facts->bandwidth) {
        g_autofree char *bandwidth = g_shell_quote(facts->bandwidth);

        g_string_append_printf(text, " --bandwidth %s", bandwidth);
    }
    if (facts->downtime_ms >= 0) {
        g_string_append_printf(text, " --downtime %d", facts->downtime_ms);
    }
    g_string_append_printf(text, "%s %s\n", options,
                           facts->uri ? uri : "tcp:HOST:PORT");
}

static void append_last_resort(GString *text, const CheckFacts *facts,
                               const CheckResult *result)
{
    double stop_s = MAX(result->slowed.worst.stop_downtime_s,
                        facts->downtime_s);
    g_autofree char *options = NULL;

    g_string_append_printf(text, "more bandwidth, postcopy, or a downtime of "
                           "some %.1f s:\n           ", stop_s * 1.2);
    options = g_strdup_printf(facts->has_converge ?
                              " --policy auto --timeout 60 --max-downtime %.0f"
                              : " --policy step --set downtime-limit=%.0f",
                              ceil(stop_s * 1.2) * 1000);
    append_command(text, facts, options);
}

static void tell_advice(GString *text, const CheckFacts *facts,
                        const CheckResult *result)
{
    const char *slow = facts->has_converge ? " --policy auto"
                                           : " --policy step";

    g_string_append(text, "advice     ");
    if (surely(&result->as_is) && (!surely(&result->slowed) ||
        result->as_is.likely.total_s <
        result->slowed.likely.total_s * MUCH_LONGER)) {
        append_command(text, facts, facts->has_converge ? slow :
                       " --policy off");
    } else if (check_converges(result)) {
        append_command(text, facts, slow);
    } else {
        append_last_resort(text, facts, result);
    }
}

char *check_report(const CheckFacts *facts, const CheckResult *result)
{
    GString *text = g_string_new("");
    char a[FORMAT_MAX], b[FORMAT_MAX], c[FORMAT_MAX];

    tell_guest(text, facts, result);
    g_string_append_printf(text, "link       %s, downtime limit %s; a first "
        "pass takes at most %s\n",
        format_rate(a, facts->bandwidth_bytes_per_s),
        format_downtime(b, facts->downtime_s * 1000),
        format_duration(c, (facts->touched_bytes >= 0 ? facts->touched_bytes :
                            facts->ram_bytes) * 1000 /
                        facts->bandwidth_bytes_per_s));
    tell_as_is(text, facts, result);
    tell_slowed(text, facts, result);
    tell_advice(text, facts, result);
    return g_string_free(text, FALSE);
}

static JsonObject *json_of(const Outlook *outlook)
{
    JsonObject *object = json_object_new();

    json_object_set_boolean_member(object, "converges", surely(outlook));
    json_object_set_int_member(object, "total-ms",
                               outlook->likely.total_s * 1000);
    json_object_set_int_member(object, "total-least-ms",
                               least_s(outlook) * 1000);
    json_object_set_int_member(object, "total-most-ms",
                               most_s(outlook) * 1000);
    json_object_set_int_member(object, "downtime-ms",
                               outlook->likely.downtime_s * 1000);
    json_object_set_int_member(object, "throttle-pct",
                               outlook->likely.throttle_pct);
    json_object_set_int_member(object, "lost-ms",
                               outlook->likely.lost_s * 1000);
    return object;
}

char *check_report_json(const CheckFacts *facts, const CheckResult *result)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    JsonObject *object = json_object_new();

    json_object_set_string_member(object, "type", "check");
    json_object_set_string_member(object, "mode", facts->first->mode);
    json_object_set_boolean_member(object, "modes-agree",
                                   !result->modes_differ);
    json_object_set_int_member(object, "ram-bytes", facts->ram_bytes);
    if (facts->touched_bytes >= 0) {
        json_object_set_int_member(object, "used-bytes",
                                   facts->touched_bytes);
    }
    json_object_set_int_member(object, "bandwidth-bytes-per-s",
                               facts->bandwidth_bytes_per_s);
    json_object_set_int_member(object, "downtime-limit-ms",
                               facts->downtime_s * 1000);
    json_object_set_int_member(object, "dirty-bytes-per-s",
                               result->model.rate_bytes_per_s);
    json_object_set_int_member(object, "working-set-bytes",
                               result->model.working_set_bytes);
    json_object_set_boolean_member(object, "converges",
                                   surely(&result->as_is));
    json_object_set_boolean_member(object, "converges-slowed",
                                   check_converges(result));
    json_object_set_int_member(object, "passes",
                               result->as_is.likely.passes);
    json_object_set_object_member(object, "as-it-is",
                                  json_of(&result->as_is));
    json_object_set_object_member(object, "slowed", json_of(&result->slowed));
    json_node_take_object(node, object);
    return json_to_string(node, FALSE);
}
