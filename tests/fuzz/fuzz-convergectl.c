/*
 * libFuzzer target: what convergectl and the benchmarks read
 *
 * The input is taken for a recording, for a reply of query-migrate, and for
 * what the test guest says on its serial line.  What was understood is written
 * as a record and read again, and must be the same then.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "recording.h"
#include "worklog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_and_read_again(const Look *look)
{
    g_autofree char *json = recording_json(look);
    g_autofree char *csv = recording_csv(look);
    g_autofree char *again = NULL;
    g_autoptr(GPtrArray) looks = recording_parse(json, NULL);

    if (strchr(json, '\n') || strchr(csv, '\n') || !*look_phase(look)) {
        abort();
    }
    /* One without a status is no record. */
    if (looks && looks->len) {
        again = recording_json(looks->pdata[0]);
        if (strcmp(json, again)) {
            abort();
        }
    }
}

static void as_recording(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) looks = recording_parse(text, &error);

    if (!looks && !error) {
        abort();
    }
    for (guint i = 0; looks && i < looks->len; i++) {
        write_and_read_again(looks->pdata[i]);
    }
}

static void as_reply(const char *text)
{
    g_autoptr(JsonNode) node = json_from_string(text, NULL);

    if (node && JSON_NODE_HOLDS_OBJECT(node)) {
        g_autoptr(Look) look = look_from_info(json_node_get_object(node));

        write_and_read_again(look);
    }
}

static void as_serial_line(const char *text, gsize bytes)
{
    g_autoptr(Worklog) log = worklog_new();
    gsize half = bytes / 2;

    worklog_feed(log, 0, text, half, 1);
    worklog_feed(log, 1, text + half, bytes - half, 2);
    for (unsigned i = 0; i < worklog_count(log); i++) {
        if (worklog_at(log, i)->nr_vcpus > WORKLOG_MAX_VCPUS) {
            abort();
        }
    }
    worklog_units_per_s(log, 0, 0, 3);
    worklog_max_gap_us(log, 0, 0, 3);
    worklog_max_silence_ns(log, 0, 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);

    as_recording(text);
    as_reply(text);
    as_serial_line(text, size);
    return 0;
}
