/*
 * What stopping the guest would take: F and C of migrate.h, measured
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "migrate-pair.h"

/* Between looks for the end of the bulk pass */
#define FLOOR_POLL_MS 20

/* So many of them for the sync that ends it */
#define SYNC_POLLS 10

/* A bulk pass slower than a tenth of the link says that something is wrong */
#define FLOOR_SLACK 10

/* The reply of query-migrate right after the bulk pass; see migrate.h */
static JsonObject *wait_bulk_pass(MigratePair *pair, unsigned limit_s,
                                  GError **errp)
{
    gint64 deadline_us = g_get_monotonic_time() + limit_s * G_USEC_PER_SEC;

    while (g_get_monotonic_time() < deadline_us) {
        JsonObject *info = qmp_query(vm_qmp(pair->source), "query-migrate",
                                     errp);

        if (!info || migrate_info_int(info, "ram", "dirty-sync-count") >= 2) {
            return info;
        }
        if (migrate_has_ended(migrate_info_status(info))) {
            g_set_error(errp, G_IO_ERROR, G_IO_ERROR_FAILED,
                        "the reference migration ended as '%s' in its bulk "
                        "pass", migrate_info_status(info));
            json_object_unref(info);
            return NULL;
        }
        json_object_unref(info);
        migrate_sleep_ms(FLOOR_POLL_MS);
    }
    g_set_error(errp, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                "no end of the bulk pass within %u s", limit_s);
    return NULL;
}

static double seconds_since(gint64 start_us)
{
    return (g_get_monotonic_time() - start_us) / 1e6;
}

/*
 * Sets when the bulk pass was seen to be over, and what its last sync found.
 * QEMU counts a sync as it begins, and has the new remainder as it ends, which
 * with KVM's ring takes a while: until then it tells the rest of the bulk pass,
 * next to nothing.  Where it stays at that, the guest has written nothing, and
 * the first look holds.
 *
 * @info: what wait_bulk_pass() returned
 */
static void take_bulk_pass(MigratePair *pair, JsonObject *info,
                           double bytes_per_s, gint64 start_us,
                           MigrateFloor *floor)
{
    const guint64 little = bytes_per_s * FLOOR_POLL_MS / 1000;

    floor->bulk_pass_s = seconds_since(start_us);
    floor->dirty_bytes = migrate_info_int(info, "ram", "remaining");
    for (int i = 0; i < SYNC_POLLS && floor->dirty_bytes < little; i++) {
        JsonObject *later;
        guint64 remaining;

        migrate_sleep_ms(FLOOR_POLL_MS);
        later = qmp_query(vm_qmp(pair->source), "query-migrate", NULL);
        if (!later) {
            break;
        }
        remaining = migrate_info_int(later, "ram", "remaining");
        if (remaining > floor->dirty_bytes) {
            floor->bulk_pass_s = seconds_since(start_us);
            floor->dirty_bytes = remaining;
        }
        json_object_unref(later);
    }
}

gboolean migrate_measure_floor(const MigrateSpec *spec, MigrateFloor *floor,
                               GError **errp)
{
    double bandwidth = spec->bandwidth_bytes_per_s;
    MigrateSpec reference = *spec;
    unsigned limit_s = 10 + FLOOR_SLACK * spec->mem_mib * 1048576.0 /
                            bandwidth;
    MigratePair pair = { 0 };
    JsonObject *info = NULL;
    gboolean found = FALSE;
    gint64 start_us;

    reference.policy = NULL;
    reference.settings = NULL;
    reference.no_auto_converge = TRUE;
    reference.downtime_limit_ms = 1;
    if (migrate_pair_start(&pair, &reference, errp) &&
        migrate_pair_configure(&pair, &reference, errp)) {
        migrate_sleep_ms(migrate_settle_ms(spec));
        start_us = g_get_monotonic_time();
        if (migrate_pair_go(&pair, NULL, errp)) {
            info = wait_bulk_pass(&pair, limit_s, errp);
        }
    }
    if (info) {
        take_bulk_pass(&pair, info, bandwidth, start_us, floor);
        floor->nonzero_bytes = migrate_info_int(info, "ram", "normal") *
                               migrate_info_int(info, "ram", "page-size");
        floor->f_s = floor->bulk_pass_s + floor->dirty_bytes / bandwidth;
        floor->c_s = floor->nonzero_bytes / bandwidth;
        json_object_unref(info);
        found = TRUE;
    }
    migrate_pair_clear(&pair);
    return found;
}
