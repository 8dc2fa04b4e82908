/*
 * The demo: one guest that writes faster than the link carries, twice
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * First with our QEMU, then with stock QEMU of the same host, and both side
 * by side.  Exit status 0 only if ours completed and stock's could be run.
 */

#include "accel.h"
#include "progress.h"
#include "recording.h"
#include "report.h"
#include "track.h"

#include <stdlib.h>
#include <string.h>

#define LOAD "write:256:100,compute"
#define BANDWIDTH_BYTES_PER_S (64 * 1000 * 1000)
#define DOWNTIME_LIMIT_MS 300
#define MEM_MIB 512
#define SMP 2

/*
 * After this a migration is called off.  Stock takes some 70 s for this
 * guest where it gets there at all; nobody wants to watch that.
 */
#define CAP_S 60

static char *choose_policy(const char *qemu)
{
    static const char *const by_preference[] = {
        "auto", "predictive", "step"
    };
    const char *wanted = g_getenv("DEMO_POLICY");

    if (wanted && *wanted) {
        return g_strdup(wanted);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(by_preference); i++) {
        if (migrate_has_policy(qemu, by_preference[i])) {
            return g_strdup(by_preference[i]);
        }
    }
    return NULL;
}

/* What watches a migration: a person, and a file to be plotted */
typedef struct Audience {
    Progress *progress;
    Track *track;
    Recording *recording;       /* NULL: none wanted */
} Audience;

static void show_and_record(void *opaque, const MigrateSample *sample,
                            JsonObject *info)
{
    g_autoptr(Look) look = look_from_info(info);
    Audience *audience = opaque;

    progress_show(audience->progress, sample, info);
    track_add(audience->track, look, sample->at_ms);
    if (audience->recording) {
        recording_add(audience->recording, look, NULL);
    }
}

/* In the directory that the environment names, for convergectl plot */
static Recording *open_recording(const char *label)
{
    const char *dir = g_getenv("DEMO_RECORDINGS");
    g_autofree char *path = NULL;

    if (!dir || !*dir) {
        return NULL;
    }
    path = g_strdup_printf("%s/%s.csv", dir, label);
    return recording_create(path, RECORD_CSV, NULL);
}

static const char *const roles[SMP] = { "writer", "reader" };

/* What the guest did meanwhile, beside the recording */
static void write_work(const char *label, const MigrateResult *result)
{
    const char *dir = g_getenv("DEMO_RECORDINGS");
    g_autoptr(GString) text = g_string_new("time-ms");
    g_autofree char *path = NULL;
    g_autoptr(GError) error = NULL;

    if (!dir || !*dir || !result->work_timeline->len) {
        return;
    }
    for (unsigned i = 0; i < SMP; i++) {
        g_string_append_printf(text, ",%s", roles[i]);
    }
    for (guint i = 0; i < result->work_timeline->len; i++) {
        const GuestWorkSpan *span =
            &g_array_index(result->work_timeline, GuestWorkSpan, i);

        g_string_append_printf(text, "\n%" G_GINT64_FORMAT,
                               span->end_us / 1000);
        for (unsigned v = 0; v < SMP; v++) {
            g_string_append_printf(text, ",%.1f", span->work_share_pct[v]);
        }
    }
    g_string_append_c(text, '\n');
    path = g_strdup_printf("%s/%s-work.csv", dir, label);
    if (!g_file_set_contents(path, text->str, -1, &error)) {
        fprintf(stderr, "demo: warning: %s\n", error->message);
    }
}

static MigrateResult *migrate(MigrateSpec *spec, GError **errp)
{
    g_autoptr(Recording) recording = open_recording(spec->label);
    g_autoptr(Track) track = track_new();
    g_autofree char *title =
        g_strdup_printf("%s%s%s", spec->label, spec->policy ? " " : "",
                        spec->policy ?: "");
    g_autoptr(Progress) progress = progress_new(title,
                                                spec->bandwidth_bytes_per_s);
    Audience audience = { progress, track, recording };
    MigrateResult *result;

    printf("\n%s: starting source, destination and guest (%s)\n", title,
           spec->qemu);
    fflush(stdout);
    spec->on_progress = show_and_record;
    spec->opaque = &audience;
    result = migrate_run(spec, errp);
    if (!result) {
        g_prefix_error(errp, "%s QEMU: ", spec->label);
        return NULL;
    }
    write_work(spec->label, result);
    return result;
}

static void tell(const MigrateSpec *spec, const MigrateResult *result)
{
    g_autofree char *verdict = report_verdict(result);

    printf("\n%s: %s\n", spec->label, verdict);
    if (result->downtime_ms >= 0) {
        printf("  downtime %" G_GINT64_FORMAT " ms; the limit is %u ms\n",
               result->downtime_ms, spec->downtime_limit_ms);
    }
    if (result->longest_pause_ms >= 0) {
        printf("  longest pause of a vCPU before that %" G_GINT64_FORMAT
               " ms\n", result->longest_pause_ms);
    }
    for (unsigned i = 0; i < result->nr_vcpus && i < SMP; i++) {
        const GuestWorkVcpu *vcpu = &result->vcpus[i];

        printf("  vCPU %u, the %s: did %.0f %% of its work meanwhile (%.1f s "
               "lost), silent for at most %.2f s\n", i, roles[i],
               vcpu->work_share_pct, MAX(vcpu->lost_s, 0),
               vcpu->silence_ms / 1e3);
    }
    fflush(stdout);
}

static void side_by_side(const MigrateSpec *ours, const MigrateResult *our,
                         const MigrateSpec *stock, const MigrateResult *their)
{
    printf("\nThe same guest, the same host: writes 256 MiB at 100 MB/s over "
           "a link of 64 MB/s\n\n");
    report_table_head(stdout);
    report_table_row(stdout, ours, NULL, our);
    report_table_row(stdout, stock, NULL, their);
    printf("\n  work %%, lost s: of each vCPU, writer/reader, during the "
           "migration\n");
    if (their->outcome == MIGRATE_CAPPED) {
        printf("  stock was called off after %d s; it was not done\n", CAP_S);
    }
    if (our->outcome == MIGRATE_CAPPED) {
        printf("  ours was called off after %d s; it was not done\n", CAP_S);
    }
}

static int fail(const char *message)
{
    fprintf(stderr, "demo: error: %s\n", message);
    return 1;
}

static int run(MigrateSpec *ours, MigrateSpec *stock)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(MigrateResult) our = migrate(ours, &error);
    g_autoptr(MigrateResult) their = NULL;

    if (!our) {
        return fail(error->message);
    }
    tell(ours, our);
    if (our->outcome == MIGRATE_FAILED) {
        return fail("our migration failed, as told above");
    }
    printf("\nNow the same with stock QEMU, called off after %d s\n", CAP_S);
    their = migrate(stock, &error);
    if (!their) {
        return fail(error->message);
    }
    tell(stock, their);
    if (their->outcome == MIGRATE_FAILED) {
        return fail("stock's migration failed, as told above");
    }
    side_by_side(ours, our, stock, their);
    if (our->outcome != MIGRATE_COMPLETED) {
        return fail("our migration did not complete in time");
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *qemu = argc > 1 ? argv[1] : "build/qemu/qemu-system-x86_64";
    const char *peer = argc > 2 ? argv[2] : "/usr/bin/qemu-system-x86_64";
    const char *const qemus[] = { qemu, peer, NULL };
    g_autofree char *why = NULL;
    g_autofree char *policy = NULL;
    MigrateSpec ours, stock;

    if (argc > 3) {
        fprintf(stderr, "usage: demo [OUR-QEMU [STOCK-QEMU]]\n");
        return 2;
    }
    for (int i = 0; qemus[i]; i++) {
        if (!g_file_test(qemus[i], G_FILE_TEST_IS_EXECUTABLE)) {
            fprintf(stderr, "demo: error: no QEMU at %s\n", qemus[i]);
            return 1;
        }
    }
    printf("trying whether a guest comes up on KVM, which takes some "
           "seconds\n");
    fflush(stdout);
    stock = (MigrateSpec) {
        .qemu = peer, .label = "stock", .accel = accel_choose(qemus, &why),
        .load = LOAD, .mem_mib = MEM_MIB, .smp = SMP,
        .bandwidth_bytes_per_s = BANDWIDTH_BYTES_PER_S,
        .downtime_limit_ms = DOWNTIME_LIMIT_MS, .cap_s = CAP_S,
    };
    printf("accelerator: %s, as %s\n", stock.accel, why);
    policy = choose_policy(qemu);
    if (policy) {
        printf("convergence-policy: %s\n", policy);
    } else {
        printf("convergence-policy: none, %s knows no such parameter\n",
               qemu);
    }
    ours = stock;
    ours.qemu = qemu;
    ours.label = "ours";
    ours.policy = policy;
    return run(&ours, &stock);
}
