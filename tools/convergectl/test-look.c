/*
 * Tests of looks and tracks: replies of several QEMUs, and nonsense
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "track.h"

#include <string.h>

static Look *look_of(const char *json)
{
    g_autoptr(JsonNode) node = json_from_string(json, NULL);

    g_assert_nonnull(node);
    return look_from_info(json_node_get_object(node));
}

#define STOCK "{'status':'active','total-time':%d,'expected-downtime':300," \
    "'cpu-throttle-percentage':20,'ram':{'total':268435456," \
    "'remaining':%d,'transferred':%d,'dirty-sync-count':%d," \
    "'dirty-pages-rate':%d,'page-size':4096,'normal':%d,'duplicate':1000}}"

static Look *stock(int at_ms, int remaining, int syncs, int dirty_pages,
                   int normal)
{
    g_autofree char *json = g_strdup_printf(STOCK, at_ms, remaining,
        normal * 4096, syncs, dirty_pages, normal);

    return look_of(g_strdelimit(json, "'", '"'));
}

static void test_stock_reply(void)
{
    g_autoptr(Look) look = stock(5000, 1000000, 3, 1000, 5000);

    g_assert_false(look->has_convergence);
    g_assert_true(look_is_running(look));
    g_assert_cmpint(look->passes, ==, 2);
    g_assert_cmpint(look->throttle_pct, ==, 20);
    g_assert_cmpfloat(look->dirty_bytes_per_s, ==, 4096000);
    g_assert_cmpfloat(look->drained_bytes, ==, 6000 * 4096);
    g_assert_cmpint(look->predicted_downtime_ms, ==, 300);
    g_assert_cmpint(look->downtime_limit_ms, ==, LOOK_UNKNOWN);
    g_assert_cmpstr(look_phase(look), ==, "active");
}

static const char ours_reply[] =
    "{\"status\":\"active\",\"total-time\":2500,\"ram\":{\"total\":"
    "1000000,\"remaining\":500,\"dirty-sync-count\":9},\"convergence\":{"
    "\"policy\":\"dirty-limit\",\"state\":\"converging\",\"reason\":\"why\","
    "\"dirty-rate\":100,\"drain-rate\":200,\"throttle-percentage\":7,"
    "\"downtime-limit\":300,\"longest-pause\":70,\"passes\":1,"
    "\"progress-percentage\":42,\"predicted-total-time\":5000,"
    "\"predicted-downtime\":12,\"predicted-error-percentage\":20,"
    "\"vcpus\":[{"
    "\"id\":3,\"dirty-rate\":90,\"dirty-limit\":80,"
    "\"throttle-percentage\":55},7]}}";

static void test_reply_with_convergence(void)
{
    g_autoptr(Look) look = look_of(ours_reply);
    LookVcpu *vcpu = &g_array_index(look->vcpus, LookVcpu, 0);

    g_assert_true(look->has_convergence);
    g_assert_cmpstr(look_phase(look), ==, "converging");
    g_assert_cmpstr(look->policy, ==, "dirty-limit");
    g_assert_cmpstr(look->reason, ==, "why");
    g_assert_cmpint(look->passes, ==, 1);
    g_assert_cmpint(look->progress_pct, ==, 42);
    g_assert_cmpint(look->predicted_downtime_ms, ==, 12);
    g_assert_cmpint(look->longest_pause_ms, ==, 70);
    g_assert_cmpint(look->predicted_error_pct, ==, 20);
    g_assert_cmpint(look->vcpus->len, ==, 2);
    g_assert_cmpint(vcpu->id, ==, 3);
    g_assert_cmpint(vcpu->throttle_pct, ==, 55);
}

/* Without a policy it is as with any QEMU, but for reason and progress */
static void test_reply_of_an_onlooker(void)
{
    g_autofree char *json = g_strdup(
        "{'status':'active','total-time':5000,'expected-downtime':300,"
        "'ram':{'total':268435456,'remaining':1000000,'transferred':20480000,"
        "'dirty-sync-count':3,'dirty-pages-rate':1000,'page-size':4096,"
        "'normal':5000,'duplicate':1000},'convergence':{'policy':'step',"
        "'state':'off','reason':'why','dirty-rate':7000000,'drain-rate':1,"
        "'throttle-percentage':0,'downtime-limit':300,'passes':1,'syncs':3,"
        "'progress-percentage':50}}");
    g_autoptr(Look) look = look_of(g_strdelimit(json, "'", '"'));

    g_assert_false(look->has_convergence);
    g_assert_cmpstr(look_phase(look), ==, "active");
    g_assert_cmpstr(look->reason, ==, "why");
    g_assert_cmpfloat(look->dirty_bytes_per_s, ==, 7000000);
    g_assert_cmpfloat(look->drained_bytes, ==, 6000 * 4096);
    g_assert_cmpint(look->passes, ==, 2);
    g_assert_cmpint(look->progress_pct, ==, 50);
    g_assert_cmpint(look->downtime_limit_ms, ==, 300);
}

/* A member of the wrong type is one that was not told */
static void test_nonsense_is_unknown(void)
{
    static const char *const replies[] = {
        "{}", "{\"status\":7,\"ram\":3,\"convergence\":[]}",
        "{\"status\":null,\"ram\":{\"total\":\"x\",\"remaining\":{}},"
        "\"total-time\":[1]}",
        "{\"convergence\":{\"vcpus\":{},\"state\":1,\"passes\":\"no\"}}",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(replies); i++) {
        g_autoptr(Look) look = look_of(replies[i]);

        g_assert_cmpstr(look->status, ==, "none");
        g_assert_cmpfloat(look->total_bytes, ==, LOOK_UNKNOWN);
        g_assert_cmpint(look->at_ms, ==, LOOK_UNKNOWN);
        g_assert_cmpint(look->passes, ==, LOOK_UNKNOWN);
        g_assert_cmpint(look->vcpus->len, ==, 0);
        g_assert_false(look_is_running(look));
    }
}

static void test_statuses(void)
{
    static const struct {
        const char *status, *phase;
        gboolean running, ended, postcopy;
    } table[] = {
        { "none", "none", FALSE, FALSE, FALSE },
        { "setup", "setup", TRUE, FALSE, FALSE },
        { "active", "arriving", TRUE, FALSE, FALSE },
        { "device", "switch-over", TRUE, FALSE, FALSE },
        { "postcopy-active", "postcopy-active", TRUE, FALSE, TRUE },
        { "postcopy-paused", "postcopy-paused", TRUE, FALSE, TRUE },
        { "cancelling", "cancelling", TRUE, FALSE, FALSE },
        { "cancelled", "cancelled", FALSE, TRUE, FALSE },
        { "failed", "failed", FALSE, TRUE, FALSE },
        { "completed", "completed", FALSE, TRUE, FALSE },
        { "never-heard-of", "never-heard-of", TRUE, FALSE, FALSE },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autofree char *json = g_strdup_printf("{\"status\":\"%s\"}",
                                                table[i].status);
        g_autoptr(Look) look = look_of(json);

        g_assert_cmpstr(look_phase(look), ==, table[i].phase);
        g_assert_cmpint(look_is_running(look), ==, table[i].running);
        g_assert_cmpint(look_has_ended(look), ==, table[i].ended);
        g_assert_cmpint(look_is_postcopy(look), ==, table[i].postcopy);
    }
}

/* What a destination answers: a status, and nothing of time or RAM */
static void test_a_destination_has_no_clock(void)
{
    g_autoptr(Track) track = track_new();
    g_autoptr(Look) arrives = look_of("{\"status\":\"active\"}");
    g_autoptr(Look) source = stock(5000, 1000000, 1, 0, 5000);
    g_autoptr(Look) done = look_of("{\"status\":\"completed\"}");

    g_assert_true(arrives->incoming);
    g_assert_true(done->incoming);
    g_assert_false(source->incoming);
    g_assert_cmpstr(look_phase(source), ==, "first pass");
    track_add(track, arrives, 3000);
    g_assert_false(track->timed);
    g_assert_nonnull(strstr(arrives->reason, "told at the source"));
    track_add(track, done, 4000);
    g_assert_false(track->timed);
}

/* The time since somebody has looked is not that of the migration */
static void test_who_is_late_takes_the_time_from_qemu(void)
{
    g_autoptr(Track) late = track_new();
    g_autoptr(Track) owner = track_new();

    late->late = TRUE;
    for (int i = 0; i < 2; i++) {
        g_autoptr(Look) setup = look_of("{\"status\":\"setup\"}");

        track_add(i ? owner : late, setup, 700);
    }
    g_assert_false(late->timed);
    g_assert_true(owner->timed);
    for (int i = 0; i < 2; i++) {
        g_autoptr(Look) look = stock(5000, 1000000, 1, 0, 5000);
        g_autoptr(Look) failed = look_of("{\"status\":\"failed\"}");

        track_add(late, i ? failed : look, 900);
        g_assert_true(late->timed);
        g_assert_cmpint(late->max_at_ms, ==, 5000);
    }
}

/* That of query-migrate, also where a guess would be another one */
static void test_there_is_one_progress_figure(void)
{
    static const char *const states[] = { "off", "watching", "converging" };

    for (size_t i = 0; i < G_N_ELEMENTS(states); i++) {
        g_autofree char *json = g_strdup_printf(
            "{\"status\":\"active\",\"total-time\":9000,\"ram\":{\"total\":"
            "268435456,\"remaining\":1000000,\"dirty-sync-count\":3,"
            "\"dirty-pages-rate\":10,\"page-size\":4096,\"normal\":90000,"
            "\"duplicate\":0},\"convergence\":{\"policy\":\"step\","
            "\"state\":\"%s\",\"reason\":\"\",\"dirty-rate\":7,"
            "\"drain-rate\":9000000,\"passes\":2,"
            "\"predicted-total-time\":9100,\"progress-percentage\":37}}",
            states[i]);
        g_autoptr(Track) track = track_new();
        g_autoptr(Look) look = look_of(json);

        track_add(track, look, 0);
        g_assert_cmpint(track->progress_pct, ==, 37);
        g_assert_false(track->endless);
    }
}

static void test_no_progress_where_there_is_no_end(void)
{
    g_autoptr(GString) reply = g_string_new(ours_reply);
    g_autoptr(Track) ours = track_new();
    g_autoptr(Track) theirs = track_new();
    g_autoptr(Look) look = NULL;

    g_string_replace(reply, "\"converging\"", "\"stuck\"", 1);
    look = look_of(reply->str);
    track_add(ours, look, 0);
    g_assert_true(ours->endless);
    g_assert_cmpint(ours->left_ms, ==, LOOK_UNKNOWN);
    for (int i = 0; i <= 30; i++) {
        g_autoptr(Look) outpaced = stock(100 * i + 1, 100000000, 2, 9900,
                                         1000 * i);

        track_add(theirs, outpaced, 100 * i);
        /* The link's rate takes a second to be known */
        g_assert_cmpint(theirs->endless, ==, i >= 10);
    }
}

/* remaining goes up and down like a saw; progress must not */
static void test_progress_never_falls(void)
{
    g_autoptr(Track) track = track_new();
    int last_pct = 0;

    for (int i = 0; i < 400; i++) {
        int in_pass = i % 20;
        g_autoptr(Look) look = stock(100 * i + 1, 90000000 - in_pass *
                                     4000000, 1 + i / 20, 3000, i * 900);

        track_add(track, look, 100 * i);
        g_assert_cmpint(track->progress_pct, >=, last_pct);
        g_assert_cmpint(track->progress_pct, <=, 99);
        last_pct = track->progress_pct;
    }
    g_assert_cmpint(last_pct, >, 50);
}

static void test_drain_rate_from_page_counts(void)
{
    g_autoptr(Track) track = track_new();

    for (int i = 0; i <= 30; i++) {
        g_autoptr(Look) look = stock(100 * i + 1, 100000000, 2, 1000,
                                     1000 * i);

        track_add(track, look, 100 * i);
        if (i >= 10) {
            g_assert_cmpfloat_with_epsilon(look->drain_bytes_per_s,
                                           40.96e6, 1e6);
        } else {
            g_assert_cmpfloat(look->drain_bytes_per_s, ==, LOOK_UNKNOWN);
        }
    }
    /* 100 MB and what the pass has dirtied so far, at 40.96 - 4.096 MB/s */
    g_assert_cmpint(track->left_ms, >, 2500);
    g_assert_cmpint(track->left_ms, <, 3500);
}

static void test_no_estimate_when_outpaced(void)
{
    g_autoptr(Track) track = track_new();

    for (int i = 0; i <= 30; i++) {
        g_autoptr(Look) look = stock(100 * i + 1, 100000000, 2, 9900,
                                     1000 * i);

        track_add(track, look, 100 * i);
    }
    g_assert_cmpint(track->left_ms, ==, LOOK_UNKNOWN);
}

static void test_history_of_a_long_migration_is_bounded(void)
{
    g_autoptr(Track) track = track_new();

    for (int i = 0; i < 20000; i++) {
        g_autoptr(Look) look = stock(100 * i + 1, 20000 - i, 2, 10, i);

        track_add(track, look, 0);
        g_assert_cmpint(track->points->len, <, TRACK_MAX_POINTS);
    }
    g_assert_cmpint(track->points->len, >=, TRACK_MAX_POINTS / 4);
    for (guint i = 1; i < track->points->len; i++) {
        g_assert_cmpfloat(
            g_array_index(track->points, TrackPoint, i).remaining_bytes, <,
            g_array_index(track->points, TrackPoint, i - 1).remaining_bytes);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/look/stock-reply", test_stock_reply);
    g_test_add_func("/look/reply-with-convergence",
                    test_reply_with_convergence);
    g_test_add_func("/look/onlooker", test_reply_of_an_onlooker);
    g_test_add_func("/look/nonsense-is-unknown", test_nonsense_is_unknown);
    g_test_add_func("/look/statuses", test_statuses);
    g_test_add_func("/track/a-destination-has-no-clock",
                    test_a_destination_has_no_clock);
    g_test_add_func("/track/who-is-late-takes-the-time-from-qemu",
                    test_who_is_late_takes_the_time_from_qemu);
    g_test_add_func("/track/there-is-one-progress-figure",
                    test_there_is_one_progress_figure);
    g_test_add_func("/track/no-progress-where-there-is-no-end",
                    test_no_progress_where_there_is_no_end);
    g_test_add_func("/track/progress-never-falls", test_progress_never_falls);
    g_test_add_func("/track/drain-rate-from-page-counts",
                    test_drain_rate_from_page_counts);
    g_test_add_func("/track/no-estimate-when-outpaced",
                    test_no_estimate_when_outpaced);
    g_test_add_func("/track/history-of-a-long-migration-is-bounded",
                    test_history_of_a_long_migration_is_bounded);
    return g_test_run();
}
