/*
 * A running migration, shown to a person
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "progress.h"

#include "migrate-pair.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MEGA 1e6
#define BAR_CELLS 30
#define PLAIN_PERIOD_MS 1000

/* Span over which the drain rate is taken where QEMU does not tell it */
#define DRAIN_SPAN_MS 1000

struct Progress {
    char *title;
    double drained_bytes_per_s;
    gint64 span_from_ms;
    guint64 span_from_bytes;
    gint64 next_plain_ms;
    gboolean terminal;
    int drawn_lines;            /* of the block on the terminal */
};

Progress *progress_new(const char *title, guint64 bandwidth_bytes_per_s)
{
    Progress *progress = g_new0(Progress, 1);

    progress->title = g_strdup(title);
    /* The best guess until a second has gone by */
    progress->drained_bytes_per_s = bandwidth_bytes_per_s;
    progress->terminal = isatty(STDOUT_FILENO);
    return progress;
}

void progress_free(Progress *progress)
{
    if (progress) {
        g_free(progress->title);
        g_free(progress);
    }
}

static JsonObject *convergence_of(JsonObject *info)
{
    JsonNode *node = json_object_get_member(info, "convergence");

    return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node)
                                                : NULL;
}

static const char *state_of(JsonObject *info)
{
    JsonObject *convergence = convergence_of(info);

    return convergence ? json_object_get_string_member_with_default(
        convergence, "state", "") : "";
}

static const char *phase_of(const MigrateSample *sample, JsonObject *info)
{
    const char *status = migrate_info_status(info);
    JsonObject *convergence = convergence_of(info);
    gboolean bulk;

    if (g_str_equal(status, "completed")) {
        return "done";
    } else if (g_str_equal(status, "device") ||
               g_str_equal(status, "pre-switchover")) {
        return "switch-over";
    } else if (g_str_equal(status, "setup")) {
        return "set-up";
    } else if (!g_str_equal(status, "active")) {
        return g_str_equal(status, "failed") ? "failed" : "other";
    }
    if (convergence) {
        bulk = migrate_info_int(convergence, NULL, "passes") == 0;
    } else {
        bulk = sample->passes < 2;
    }
    if (g_str_equal(state_of(info), "stuck")) {
        return "stuck";
    }
    return bulk ? "bulk pass" : "converging";
}

/*
 * Ours foretells where a policy acts; else, and of any other QEMU, only the share of RAM that is clean can
 * be told, which goes back whenever the guest outruns the link.
 */
static int percent_of(const MigrateSample *sample, JsonObject *info)
{
    double total_bytes = migrate_info_int(info, "ram", "total");

    if (g_str_equal(migrate_info_status(info), "completed")) {
        return 100;
    }
    if (convergence_of(info) && !g_str_equal(state_of(info), "off")) {
        return migrate_info_int(info, "convergence", "progress-percentage");
    }
    if (total_bytes <= 0) {
        return 0;
    }
    return CLAMP(100 * (1 - sample->remaining_bytes / total_bytes), 0, 99);
}

static void list_vcpus(JsonObject *info, char *text, size_t size_bytes)
{
    JsonObject *convergence = convergence_of(info);
    JsonNode *node = convergence ? json_object_get_member(convergence,
                                                          "vcpus") : NULL;
    GString *list = g_string_new("");

    if (node && JSON_NODE_HOLDS_ARRAY(node)) {
        JsonArray *vcpus = json_node_get_array(node);

        for (guint i = 0; i < json_array_get_length(vcpus) && i < 16; i++) {
            JsonObject *vcpu = json_array_get_object_element(vcpus, i);

            g_string_append_printf(list, "%s%d", i ? "/" : "",
                (int)migrate_info_int(vcpu, NULL, "throttle-percentage"));
        }
        if (list->len) {
            g_string_append(list, " %");
        }
    }
    g_strlcpy(text, list->str, size_bytes);
    g_string_free(list, TRUE);
}

ProgressView progress_view(const MigrateSample *sample, JsonObject *info,
                           double drained_bytes_per_s)
{
    JsonObject *convergence = convergence_of(info);
    ProgressView view = {
        .phase = phase_of(sample, info),
        .percent = percent_of(sample, info),
        .elapsed_s = sample->at_ms / 1e3,
        .sent_mb = sample->sent_bytes / MEGA,
        .remaining_mb = sample->remaining_bytes / MEGA,
        .throttle_pct = sample->throttle_pct,
    };

    list_vcpus(info, view.vcpus, sizeof(view.vcpus));
    if (convergence) {
        view.dirty_mb_per_s =
            migrate_info_int(info, "convergence", "dirty-rate") / MEGA;
        view.drain_mb_per_s =
            (migrate_info_int(info, "convergence", "drain-rate") ?:
             drained_bytes_per_s) / MEGA;
        view.reason = json_object_get_string_member_with_default(
            convergence, "reason", NULL);
    } else {
        view.dirty_mb_per_s =
            migrate_info_int(info, "ram", "dirty-pages-rate") *
            migrate_info_int(info, "ram", "page-size") / MEGA;
        view.drain_mb_per_s = drained_bytes_per_s / MEGA;
    }
    return view;
}

static void measure_drain(Progress *progress, const MigrateSample *sample)
{
    gint64 span_ms = sample->at_ms - progress->span_from_ms;

    if (span_ms >= DRAIN_SPAN_MS) {
        progress->drained_bytes_per_s =
            (sample->sent_bytes - progress->span_from_bytes) * 1e3 / span_ms;
        progress->span_from_ms = sample->at_ms;
        progress->span_from_bytes = sample->sent_bytes;
    }
}

static int terminal_columns(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) {
        return size.ws_col;
    }
    return 80;
}

/* A line that wrapped would make the block taller than we go back up */
static void draw_line(Progress *progress, const char *text)
{
    printf("%.*s\033[K\n", terminal_columns() - 1, text);
    progress->drawn_lines++;
}

static void draw_block(Progress *progress, const ProgressView *view)
{
    int filled = view->percent * BAR_CELLS / 100;
    char bar[BAR_CELLS + 1];
    char line[512];

    memset(bar, '.', BAR_CELLS);
    memset(bar, '#', CLAMP(filled, 0, BAR_CELLS));
    bar[BAR_CELLS] = 0;
    if (progress->drawn_lines) {
        printf("\033[%dA", progress->drawn_lines);
        progress->drawn_lines = 0;
    }
    snprintf(line, sizeof(line), "  %-16s %-11s [%s] %3d %%  %6.1f s",
             progress->title, view->phase, bar, view->percent,
             view->elapsed_s);
    draw_line(progress, line);
    snprintf(line, sizeof(line), "    sent %.0f MB, remaining %.0f MB",
             view->sent_mb, view->remaining_mb);
    draw_line(progress, line);
    snprintf(line, sizeof(line),
             "    the guest dirties %.0f MB/s, the link drains %.0f MB/s",
             view->dirty_mb_per_s, view->drain_mb_per_s);
    draw_line(progress, line);
    snprintf(line, sizeof(line), "    throttle %d %%%s%s",
             view->throttle_pct, *view->vcpus ? "; each vCPU: " : "",
             view->vcpus);
    draw_line(progress, line);
    snprintf(line, sizeof(line), "    %s", view->reason ?: "");
    draw_line(progress, line);
    fputs("\033[J", stdout);
}

static void print_plain(Progress *progress, const ProgressView *view)
{
    printf("%s: %.1f s, %s, %d %%, sent %.0f MB, remaining %.0f MB, dirties "
           "%.0f MB/s, drains %.0f MB/s, throttle %d %%%s%s%s\n",
           progress->title, view->elapsed_s, view->phase, view->percent,
           view->sent_mb, view->remaining_mb, view->dirty_mb_per_s,
           view->drain_mb_per_s, view->throttle_pct,
           *view->vcpus ? " (vCPUs " : "", view->vcpus,
           *view->vcpus ? ")" : "");
}

void progress_show(void *opaque, const MigrateSample *sample,
                   JsonObject *info)
{
    Progress *progress = opaque;
    ProgressView view;

    measure_drain(progress, sample);
    view = progress_view(sample, info, progress->drained_bytes_per_s);
    if (progress->terminal) {
        draw_block(progress, &view);
    } else if (sample->at_ms >= progress->next_plain_ms ||
               g_str_equal(view.phase, "done")) {
        print_plain(progress, &view);
        progress->next_plain_ms = sample->at_ms -
            sample->at_ms % PLAIN_PERIOD_MS + PLAIN_PERIOD_MS;
    }
    fflush(stdout);
}
