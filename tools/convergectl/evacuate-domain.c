/*
 * What an evacuation asks of libvirt, one guest at a time
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "evacuate-domain.h"

#include "format.h"

#include <json-glib/json-glib.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <string.h>

#define BYTES_PER_MIB 1048576.0
#define BYTES_PER_KIB 1024.0

char *domain_last_error(void)
{
    const char *said = virGetLastErrorMessage();

    return format_sanitize(said ? said : "libvirt gives no reason");
}

gboolean domain_is_running(virDomainPtr domain)
{
    int state = VIR_DOMAIN_NOSTATE;

    return virDomainGetState(domain, &state, NULL, 0) == 0 &&
           state != VIR_DOMAIN_SHUTOFF && state != VIR_DOMAIN_CRASHED;
}

double domain_memory_in_use_bytes(virDomainPtr domain)
{
    virDomainMemoryStatStruct stats[VIR_DOMAIN_MEMORY_STAT_NR];
    int n = virDomainMemoryStats(domain, stats, G_N_ELEMENTS(stats), 0);

    for (int i = 0; i < n; i++) {
        if (stats[i].tag == VIR_DOMAIN_MEMORY_STAT_RSS) {
            return stats[i].val * BYTES_PER_KIB;
        }
    }
    return 0;
}

gboolean domain_measure(virDomainPtr domain, int seconds)
{
    return virDomainStartDirtyRateCalc(domain, seconds, 0) == 0;
}

double domain_measured_bytes(virDomainPtr domain, int seconds)
{
    virDomainPtr domains[] = { domain, NULL };
    virDomainStatsRecordPtr *records = NULL;
    double bytes = -1;
    int status = 0;
    long long rate = 0;

    if (virDomainListGetStats(domains, VIR_DOMAIN_STATS_DIRTYRATE, &records,
                              0) < 1) {
        return -1;
    }
    if (virTypedParamsGetInt(records[0]->params, records[0]->nparams,
                             "dirtyrate.calc_status", &status) > 0 &&
        status == VIR_DOMAIN_DIRTYRATE_MEASURED &&
        virTypedParamsGetLLong(records[0]->params, records[0]->nparams,
                               "dirtyrate.megabytes_per_second", &rate) > 0) {
        bytes = rate * BYTES_PER_MIB * seconds;
    }
    virDomainStatsRecordListFree(records);
    return bytes;
}

static double field(virTypedParameterPtr params, int n, const char *name)
{
    unsigned long long value = 0;

    virTypedParamsGetULLong(params, n, name, &value);
    return value;
}

gboolean domain_look(virDomainPtr domain, DomainLook *look)
{
    virTypedParameterPtr params = NULL;
    int n = 0, type = VIR_DOMAIN_JOB_NONE;
    int operation = VIR_DOMAIN_JOB_OPERATION_UNKNOWN;

    *look = (DomainLook) { 0 };
    if (virDomainGetJobStats(domain, &type, &params, &n, 0) < 0) {
        return FALSE;
    }
    virTypedParamsGetInt(params, n, VIR_DOMAIN_JOB_OPERATION, &operation);
    look->migrates = type != VIR_DOMAIN_JOB_NONE &&
        operation == VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT;
    look->sent_bytes = field(params, n, VIR_DOMAIN_JOB_MEMORY_PROCESSED);
    look->remaining_bytes = field(params, n, VIR_DOMAIN_JOB_MEMORY_REMAINING);
    look->total_bytes = field(params, n, VIR_DOMAIN_JOB_MEMORY_TOTAL);
    look->pass = field(params, n, VIR_DOMAIN_JOB_MEMORY_ITERATION);
    virTypedParamsFree(params, n);
    return TRUE;
}

/* What is under "return" of a command without arguments; NULL: nothing */
static JsonNode *monitor(virDomainPtr domain, const char *command)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    char *reply = NULL;
    JsonNode *node = NULL;
    JsonObject *object;

    if (virDomainQemuMonitorCommand(domain, command, &reply, 0) < 0) {
        return NULL;
    }
    if (json_parser_load_from_data(parser, reply, -1, NULL) &&
        JSON_NODE_HOLDS_OBJECT(json_parser_get_root(parser))) {
        object = json_node_get_object(json_parser_get_root(parser));
        node = json_object_dup_member(object, "return");
    }
    free(reply);
    return node;
}

char *domain_reason(virDomainPtr domain, gboolean *stuck)
{
    g_autoptr(JsonNode) node = monitor(domain,
                                       "{\"execute\":\"query-migrate\"}");
    JsonNode *told = NULL;
    JsonObject *object;

    *stuck = FALSE;
    if (node && JSON_NODE_HOLDS_OBJECT(node)) {
        told = json_object_get_member(json_node_get_object(node),
                                      "convergence");
    }
    if (!told || !JSON_NODE_HOLDS_OBJECT(told)) {
        return g_strdup("");
    }
    object = json_node_get_object(told);
    *stuck = g_str_equal(json_object_get_string_member_with_default(
                             object, "state", ""), "stuck");
    return format_sanitize(json_object_get_string_member_with_default(
                               object, "reason", ""));
}

gboolean domain_set_policy(virDomainPtr domain, const char *policy)
{
    g_autofree char *command = g_strdup_printf(
        "{\"execute\":\"migrate-set-parameters\",\"arguments\":"
        "{\"convergence-policy\":\"%s\"}}", policy);
    g_autoptr(JsonNode) known = monitor(domain,
        "{\"execute\":\"query-migrate-parameters\"}");
    g_autoptr(JsonNode) done = NULL;

    if (!known || !JSON_NODE_HOLDS_OBJECT(known) ||
        !json_object_has_member(json_node_get_object(known),
                                "convergence-policy")) {
        return FALSE;
    }
    done = monitor(domain, command);
    return done != NULL;
}

struct DomainMove {
    GThread *thread;
    char *uuid;
    char *source_uri, *destination_uri, *migrate_uri;
    guint64 bytes_per_s, downtime_ms;
    gboolean unsafe;
    gint ended;                     /* atomic; error is the thread's before */
    char *error;
};

static unsigned long long whole_mib(double bytes_per_s)
{
    /* 0 would be no limit at all. */
    return MAX(bytes_per_s / BYTES_PER_MIB + 0.5, 1);
}

static gboolean migrate(DomainMove *move, virDomainPtr domain)
{
    virTypedParameterPtr params = NULL;
    int n = 0, room = 0;
    unsigned flags = VIR_MIGRATE_LIVE | VIR_MIGRATE_PEER2PEER |
                     VIR_MIGRATE_AUTO_CONVERGE |
                     (move->unsafe ? VIR_MIGRATE_UNSAFE : 0);
    gboolean ok;

    if (move->migrate_uri) {
        virTypedParamsAddString(&params, &n, &room, VIR_MIGRATE_PARAM_URI,
                                move->migrate_uri);
    }
    if (move->bytes_per_s) {
        virTypedParamsAddULLong(&params, &n, &room,
                                VIR_MIGRATE_PARAM_BANDWIDTH,
                                whole_mib(move->bytes_per_s));
    }
    ok = virDomainMigrateToURI3(domain, move->destination_uri, params, n,
                                flags) == 0;
    virTypedParamsFree(params, n);
    return ok;
}

static void *move_thread(void *opaque)
{
    DomainMove *move = opaque;
    virConnectPtr connection = virConnectOpen(move->source_uri);
    virDomainPtr domain = connection
        ? virDomainLookupByUUIDString(connection, move->uuid) : NULL;

    if (!domain) {
        move->error = domain_last_error();
    } else {
        if (move->downtime_ms) {
            virDomainMigrateSetMaxDowntime(domain, move->downtime_ms, 0);
        }
        if (!migrate(move, domain)) {
            move->error = domain_last_error();
        }
        virDomainFree(domain);
    }
    if (connection) {
        virConnectClose(connection);
    }
    g_atomic_int_set(&move->ended, 1);
    return NULL;
}

DomainMove *domain_move(const char *uuid, const DomainMoveOptions *options)
{
    DomainMove *move = g_new0(DomainMove, 1);

    move->uuid = g_strdup(uuid);
    move->source_uri = g_strdup(options->source_uri);
    move->destination_uri = g_strdup(options->destination_uri);
    move->migrate_uri = g_strdup(options->migrate_uri);
    move->bytes_per_s = options->bytes_per_s;
    move->downtime_ms = options->downtime_ms;
    move->unsafe = options->unsafe;
    move->thread = g_thread_new("migrate", move_thread, move);
    return move;
}

gboolean domain_move_ended(DomainMove *move, char **error)
{
    if (!g_atomic_int_get(&move->ended)) {
        return FALSE;
    }
    *error = g_strdup(move->error);
    return TRUE;
}

void domain_move_free(DomainMove *move)
{
    if (move) {
        g_thread_join(move->thread);
        g_free(move->uuid);
        g_free(move->source_uri);
        g_free(move->destination_uri);
        g_free(move->migrate_uri);
        g_free(move->error);
        g_free(move);
    }
}

void domain_set_speed(virDomainPtr domain, double bytes_per_s)
{
    virDomainMigrateSetMaxSpeed(domain, whole_mib(bytes_per_s), 0);
}
