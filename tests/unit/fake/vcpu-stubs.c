/*
 * Monitor and QAPI for tests of the vCPU slow-down
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "fake-qemu.h"

struct Error {
    char *message;
};

void error_setg(Error **errp, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    *errp = g_new0(Error, 1);
    (*errp)->message = g_strdup_vprintf(fmt, ap);
    va_end(ap);
}

const char *error_get_pretty(const Error *err)
{
    return err->message;
}

void error_free(Error *err)
{
    g_free(err->message);
    g_free(err);
}

int64_t qdict_get_int(const QDict *qdict, const char *key)
{
    g_assert_cmpstr(key, ==, "percentage");
    return qdict->percentage;
}

int monitor_printf(Monitor *mon, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_string_append_vprintf(mon->out, fmt, ap);
    va_end(ap);
    return 0;
}

bool hmp_handle_error(Monitor *mon, Error *err)
{
    if (!err) {
        return false;
    }
    g_string_append_printf(mon->out, "Error: %s\n", err->message);
    error_free(err);
    return true;
}

void qapi_free_CpuThrottleInfoList(CpuThrottleInfoList *list)
{
    while (list) {
        CpuThrottleInfoList *next = list->next;

        g_free(list->value);
        g_free(list);
        list = next;
    }
}
