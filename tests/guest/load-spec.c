/*
 * The loads that a guest is asked for: parser
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load-spec.h"

#define MAX_ARGS 5
#define MAX_ITEM_BYTES 96

/* Bounds that keep every product in the guest far inside 64 bits. */
#define MAX_MIB (1024 * 1024)
#define MAX_MB_PER_S (1000 * 1000)
#define MAX_MS (3600 * 1000)

#define MIB { "MIB", 1, MAX_MIB }
#define MBPS { "MBPS", 0, MAX_MB_PER_S }
#define MS(name) { name, 1, MAX_MS }
#define PCT(name) { name, 1, 99 }
#define AMOUNT(name) { name, 1, 100 * 1000 }

typedef struct LoadArg {
    const char *name;
    uint64_t min, max;
} LoadArg;

typedef struct LoadKind {
    const char *name;
    LoadWork work;
    LoadArg arg[MAX_ARGS];
    void (*fill)(Load *load, const uint64_t *arg);
} LoadKind;

static LoadPhase phase(uint64_t mib, uint64_t mb_per_s, uint64_t for_ms)
{
    return (LoadPhase) {
        .pages = mib * 1024 * 1024 / GUEST_PAGE_BYTES,
        .pages_per_s = (mb_per_s * 1000000 + GUEST_PAGE_BYTES / 2) /
                       GUEST_PAGE_BYTES,
        .for_ms = for_ms,
    };
}

static void fill_reader(Load *load, const uint64_t *arg)
{
    load->phase[load->nr_phases++] = phase(arg[0], 0, 0);
}

static void fill_writer(Load *load, const uint64_t *arg)
{
    load->phase[load->nr_phases++] = phase(arg[0], arg[1], 0);
}

static void fill_burst(Load *load, const uint64_t *arg)
{
    load->phase[load->nr_phases++] = phase(arg[0], arg[1], arg[2]);
    load->phase[load->nr_phases++] = phase(0, 0, arg[3]);
}

static void fill_phase(Load *load, const uint64_t *arg)
{
    load->phase[load->nr_phases++] = phase(arg[0], arg[1], arg[4]);
    load->phase[load->nr_phases++] = phase(arg[2], arg[3], arg[4]);
}

static void fill_hot(Load *load, const uint64_t *arg)
{
    load->hot_pct = arg[1];
    load->share_pct = arg[2];
    load->phase[load->nr_phases++] = phase(arg[0], arg[3], 0);
}

static void fill_program(Load *load, const uint64_t *arg)
{
    load->amount = arg[0];
}

static const LoadKind kinds[] = {
    { "idle", LOAD_IDLE, { }, NULL },
    { "compute", LOAD_COMPUTE, { }, NULL },
    { "syscall", LOAD_SYSCALL, { }, NULL },
    { "unmap", LOAD_UNMAP, { }, NULL },
    { "membarrier", LOAD_MEMBARRIER, { }, NULL },
    { "read", LOAD_READ, { MIB }, fill_reader },
    { "write", LOAD_WRITE, { MIB, MBPS }, fill_writer },
    { "touch", LOAD_TOUCH, { MIB, MBPS }, fill_writer },
    { "rand", LOAD_RAND, { MIB, MBPS }, fill_writer },
    { "verify", LOAD_VERIFY, { MIB, MBPS }, fill_writer },
    { "straddle", LOAD_STRADDLE, { MIB, MBPS }, fill_writer },
    { "read-disk", LOAD_READ_DISK, { MIB, MBPS }, fill_writer },
    { "burst", LOAD_WRITE,
      { MIB, MBPS, MS("ON_MS"), MS("OFF_MS") }, fill_burst },
    { "phase", LOAD_WRITE,
      { MIB, MBPS, MIB, MBPS, MS("PERIOD_MS") }, fill_phase },
    { "hot", LOAD_HOT,
      { MIB, PCT("HOTPCT"), PCT("SHAREPCT"), MBPS }, fill_hot },
    { "redis", LOAD_REDIS, { AMOUNT("MB") }, fill_program },
    { "redis-load", LOAD_REDIS_LOAD, { }, NULL },
    { "sqlite", LOAD_SQLITE, { AMOUNT("MB") }, fill_program },
    { "compile", LOAD_COMPILE, { AMOUNT("FILES") }, fill_program },
    { "stress", LOAD_STRESS, { AMOUNT("MIB") }, fill_program },
};

#define NR_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const LoadKind *find_kind(const char *name)
{
    for (size_t i = 0; i < NR_KINDS; i++) {
        if (!strcmp(kinds[i].name, name)) {
            return &kinds[i];
        }
    }
    return NULL;
}

static void describe_kinds(char *buf, size_t bytes)
{
    size_t len = snprintf(buf, bytes, "unknown load; known are");

    for (size_t i = 0; i < NR_KINDS && len < bytes; i++) {
        len += snprintf(buf + len, bytes - len, " %s", kinds[i].name);
    }
}

/* "write:MIB:MBPS", to show what was expected. */
static void describe_usage(const LoadKind *kind, char *buf, size_t bytes)
{
    size_t len = snprintf(buf, bytes, "expected %s", kind->name);

    for (int i = 0; i < MAX_ARGS && kind->arg[i].name && len < bytes; i++) {
        len += snprintf(buf + len, bytes - len, ":%s", kind->arg[i].name);
    }
}

static bool parse_arg(const LoadArg *arg, const char *text, uint64_t *value,
                      char *why, size_t why_bytes)
{
    char *end;

    /* strtoull would take signs, blanks and an empty string. */
    *value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end ||
        *value < arg->min || *value > arg->max) {
        snprintf(why, why_bytes, "%s is \"%s\", expected %llu to %llu",
                 arg->name, text, (unsigned long long)arg->min,
                 (unsigned long long)arg->max);
        return false;
    }
    return true;
}

/* Takes @item apart in place. */
static bool parse_item(char *item, Load *load, char *why, size_t why_bytes)
{
    uint64_t value[MAX_ARGS] = { 0 };
    char *rest = item;
    const LoadKind *kind = find_kind(strsep(&rest, ":"));

    if (!kind) {
        describe_kinds(why, why_bytes);
        return false;
    }
    *load = (Load) { .work = kind->work };
    for (int i = 0; i < MAX_ARGS && kind->arg[i].name; i++) {
        char *text = strsep(&rest, ":");

        if (!text) {
            describe_usage(kind, why, why_bytes);
            return false;
        }
        if (!parse_arg(&kind->arg[i], text, &value[i], why, why_bytes)) {
            return false;
        }
    }
    if (rest) {
        describe_usage(kind, why, why_bytes);
        return false;
    }
    if (kind->fill) {
        kind->fill(load, value);
    }
    for (unsigned i = 0; i < load->nr_phases; i++) {
        if (load->phase[i].pages > load->pages) {
            load->pages = load->phase[i].pages;
        }
    }
    return true;
}

int load_spec_parse(const char *spec, Load *loads, unsigned max,
                    char *error, size_t error_bytes)
{
    unsigned count = 0;

    for (const char *at = spec; ; count++) {
        size_t bytes = strcspn(at, ",");
        char item[MAX_ITEM_BYTES], why[256];

        snprintf(item, sizeof(item), "%.*s", (int)bytes, at);
        if (count == max) {
            snprintf(error, error_bytes,
                     "item %u \"%s\": there are only %u vCPUs",
                     count, item, max);
            return -1;
        }
        if (!parse_item(item, &loads[count], why, sizeof(why))) {
            snprintf(error, error_bytes, "item %u \"%.*s\": %s",
                     count, (int)bytes, at, why);
            return -1;
        }
        if (!at[bytes]) {
            return count + 1;
        }
        at += bytes + 1;
    }
}
