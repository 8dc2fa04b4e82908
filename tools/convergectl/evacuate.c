/*
 * Emptying a host: guests, their plan, and how far they are
 *
 *   look at all guests; measure what they write; plan
 *   each half second:
 *       look at those that run; see what the link carries
 *       take note of those that have ended; try again, or leave them
 *       begin the next ones, share the link: evacuation.h has the rule
 *       plan again from where things are
 *
 * evacuate-guests.c looks and measures, evacuate-link.c sees to the link.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 */

#include "evacuate-internal.h"

#include "message.h"

#include <libvirt/virterror.h>

#define LOOK_MS 500

/* Until the first guest has told: 10 Gb/s, which one migration about fills. */
#define LINK_BYTES_PER_S 1.25e9
#define STREAM_BYTES_PER_S 1.5e9
#define SETUP_S 1.5
#define FINISH_S 0.5

/*
 * One that takes so many times what was foreseen, and this long at least, is
 * set aside for the others, which wait for it.
 */
#define STUCK_TIMES 4
#define STUCK_S 30
#define MAX_TRIES 3
/* What failed at once would fail at once again. */
#define RETRY_S 2

/* libvirtd may be away for that long. */
#define RECONNECT_S 60

static void say_why(EvacuateGuest *guest, const char *why)
{
    char *copy = g_strdup(why);

    g_free(guest->why);
    guest->why = copy;
}

static gint64 by_monotonic_s(const Evacuation *e)
{
    return e->options->by_us
        ? (e->options->by_us - g_get_real_time()) / G_USEC_PER_SEC : 0;
}

/* From where things are. */
static void plan_again(Evacuation *e)
{
    guint n = e->guests->len;
    g_autofree EvacuationGuest *known = g_new0(EvacuationGuest, n + 1);

    for (guint i = 0; i < n; i++) {
        known[i] = GUEST(e, i)->known;
        if (GUEST(e, i)->fate > EVACUATE_RUNS) {
            known[i].stage = EVACUATION_GONE;
        }
    }
    g_clear_pointer(&e->plan, evacuation_plan_free);
    if (!e->options->parallel) {
        e->terms.parallel = 0;
        evacuation_choose(&e->terms, known, n);
    }
    e->plan = evacuation_plan(&e->terms, known, n,
                              MAX(by_monotonic_s(e), 0));
    e->planned_us = g_get_monotonic_time();
}

/* A job that was there before us, or libvirtd was away: ours again */
static void adopt(Evacuation *e, EvacuateShow *show)
{
    for (guint i = 0; i < e->guests->len; i++) {
        EvacuateGuest *guest = GUEST(e, i);
        DomainLook look;

        if (guest->fate == EVACUATE_WAITS &&
            domain_look(guest->domain, &look) && look.migrates) {
            guest->fate = EVACUATE_RUNS;
            guest->known.stage = EVACUATION_BULK;
            guest->known.left_bytes = guest->known.data_bytes;
            guest->began_us = guest->sends_us = g_get_monotonic_time();
            guest->tries++;
            evacuate_show_event(show, e, guest, "is on its way already");
        }
    }
}

static void begin(Evacuation *e, EvacuateShow *show, EvacuateGuest *guest)
{
    const EvacuateOptions *options = e->options;
    DomainMoveOptions how = {
        .source_uri = options->connect,
        .destination_uri = options->destinations[guest->known.destination - 1],
        .migrate_uri = options->migrate_uri,
        .downtime_ms = options->downtime_ms,
        .unsafe = options->unsafe,
        .bytes_per_s = e->links_bytes_per_s[0],
    };

    if (options->policy &&
        !domain_set_policy(guest->domain, options->policy) &&
        !guest->tries) {
        evacuate_show_event(show, e, guest,
                            "its QEMU knows no policies and uses its own "
                            "auto-converge");
    }
    guest->fate = EVACUATE_RUNS;
    guest->tries++;
    guest->cancelled = FALSE;
    guest->takes = 1;
    guest->rate_bytes_per_s = 0;
    guest->look = (DomainLook) { 0 };
    guest->allowed_bytes_per_s = how.bytes_per_s;
    guest->known.stage = EVACUATION_SETUP;
    guest->known.left_bytes = guest->known.data_bytes;
    guest->known.stage_s = 0;
    guest->began_us = g_get_monotonic_time();
    guest->sends_us = 0;
    guest->move = domain_move(guest->uuid, &how);
    evacuate_show_event(show, e, guest, "begins to move to %s",
                        how.destination_uri);
}

/* The average of set-ups, and so on, as they are seen */
static void learn(double *mean_s, double seen_s)
{
    *mean_s += (seen_s - *mean_s) * 0.5;
}

static void look_at(Evacuation *e, EvacuateGuest *guest, double s)
{
    DomainLook look;
    double sent_bytes;

    guest->known.stage_s = seconds_since(guest->sends_us ?: guest->began_us);
    if (!domain_look(guest->domain, &look) || !look.migrates) {
        return;
    }
    sent_bytes = MAX(look.sent_bytes - guest->look.sent_bytes, 0);
    guest->look = look;
    if (!(look.sent_bytes > 0)) {
        return;
    }
    if (!guest->sends_us) {
        guest->sends_us = g_get_monotonic_time();
        learn(&e->terms.setup_s,
              (guest->sends_us - guest->began_us) / 1e6 - LOOK_MS / 2000.0);
    }
    guest->rate_bytes_per_s += (sent_bytes / s - guest->rate_bytes_per_s) / 2;
    guest->takes += (CLAMP(guest->rate_bytes_per_s /
                           MAX(guest->allowed_bytes_per_s, 1), 0.02, 1) -
                     guest->takes) / 2;
    if (look.pass > 1) {
        guest->known.stage = EVACUATION_TAIL;
        guest->known.left_bytes = look.remaining_bytes;
    } else {
        /* What remains has pages in it that were never touched. */
        guest->known.stage = EVACUATION_BULK;
        guest->known.left_bytes = MIN(look.remaining_bytes,
            guest->known.data_bytes * look.remaining_bytes /
            MAX(look.total_bytes, 1));
    }
    guest->known.stage_s = seconds_since(guest->sends_us);
}

static void leave(Evacuation *e, EvacuateShow *show, EvacuateGuest *guest,
                  const char *why)
{
    guest->fate = EVACUATE_LEFT;
    say_why(guest, why);
    evacuate_show_event(show, e, guest, "is left: %s", why);
}

/* It comes after those that wait, and to another destination if there is. */
static void try_again(Evacuation *e, EvacuateShow *show, EvacuateGuest *guest,
                      const char *why)
{
    guint n = g_strv_length(e->options->destinations), at = 0;

    if (guest->tries >= MAX_TRIES || e->stopping) {
        leave(e, show, guest, why);
        return;
    }
    g_ptr_array_find(e->guests, guest, &at);
    g_ptr_array_add(e->guests, g_ptr_array_steal_index(e->guests, at));
    guest->fate = EVACUATE_WAITS;
    guest->known.stage = EVACUATION_WAITING;
    guest->known.destination = guest->known.destination % n + 1;
    say_why(guest, why);
    evacuate_show_event(show, e, guest, "is set aside: %s", why);
}

/* It ended: by itself, by us, or by what happened to one of its hosts */
static void note_end(Evacuation *e, EvacuateShow *show, EvacuateGuest *guest,
                     const char *error)
{
    guest->ended_us = g_get_monotonic_time();
    if (!error) {
        guest->fate = EVACUATE_MOVED;
        guest->known.stage = EVACUATION_GONE;
        say_why(guest, "");
        evacuate_show_event(show, e, guest, "has moved, in %.1f s",
                            (guest->ended_us - guest->began_us) / 1e6);
    } else if (virConnectIsAlive(e->source) == 1 &&
               !domain_is_running(guest->domain)) {
        guest->fate = EVACUATE_ENDED;
        guest->known.stage = EVACUATION_GONE;
        say_why(guest, "it was shut down meanwhile");
        evacuate_show_event(show, e, guest, "no longer runs: %s", error);
    } else {
        try_again(e, show, guest, guest->cancelled && *guest->why
                                  ? guest->why : error);
    }
}

/* Somebody else's: it is gone from here, or has no job any more. */
static gboolean adopted_ended(EvacuateGuest *guest, char **error)
{
    DomainLook look;

    *error = NULL;
    if (!domain_is_running(guest->domain)) {
        return TRUE;
    }
    if (domain_look(guest->domain, &look) && !look.migrates) {
        *error = g_strdup("its migration ended, and it is still here");
        return TRUE;
    }
    return FALSE;
}

static void see_ends(Evacuation *e, EvacuateShow *show)
{
    /* Those that are tried again go to the end: from there on. */
    for (guint i = e->guests->len; i-- > 0; ) {
        EvacuateGuest *guest = GUEST(e, i);
        g_autofree char *error = NULL;
        gboolean ended;

        if (guest->fate != EVACUATE_RUNS) {
            continue;
        }
        ended = guest->move ? domain_move_ended(guest->move, &error)
                            : adopted_ended(guest, &error);
        if (ended) {
            g_clear_pointer(&guest->move, domain_move_free);
            note_end(e, show, guest, error);
        }
    }
}

static guint count(const Evacuation *e, EvacuateFate fate)
{
    guint n = 0;

    for (guint i = 0; i < e->guests->len; i++) {
        n += GUEST(e, i)->fate == fate;
    }
    return n;
}

/*
 * One that keeps others from the link for long goes after them; one that nobody
 * waits for may take thrice the time, and is left.
 */
static void see_stuck(Evacuation *e, EvacuateShow *show)
{
    gboolean last = !count(e, EVACUATE_WAITS);

    for (guint i = 0; i < e->guests->len; i++) {
        EvacuateGuest *guest = GUEST(e, i);
        double limit_s = MAX(STUCK_S, STUCK_TIMES * guest->foreseen_s);
        g_autofree char *reason = NULL;
        gboolean stuck;

        if (guest->fate != EVACUATE_RUNS || guest->cancelled ||
            guest->known.stage != EVACUATION_TAIL ||
            seconds_since(guest->began_us) < limit_s * (last ? 3 : 1)) {
            continue;
        }
        reason = domain_reason(guest->domain, &stuck);
        say_why(guest, *reason ? reason :
                "it writes more than the link carries");
        guest->cancelled = TRUE;
        guest->tries = last ? MAX_TRIES : guest->tries;
        virDomainAbortJob(guest->domain);
    }
}

static void begin_next(Evacuation *e, EvacuateShow *show)
{
    g_autofree EvacuationRun *runs = g_new(EvacuationRun, e->guests->len);
    g_autofree guint *who = g_new(guint, e->guests->len);
    guint n = evacuate_make_runs(e, runs, who);

    for (unsigned k = 0; k < e->plan->n && !e->stopping; k++) {
        unsigned i = e->plan->order[k];
        EvacuateGuest *guest = GUEST(e, i);

        if (guest->fate != EVACUATE_WAITS ||
            (guest->tries && seconds_since(guest->ended_us) < RETRY_S)) {
            continue;
        }
        if ((!e->link_known && n) ||
            !evacuation_may_start(&e->terms, runs, n, 0,
                                  guest->known.destination)) {
            break;
        }
        guest->foreseen_s = e->plan->times[i].end_s -
                            e->plan->times[i].start_s;
        begin(e, show, guest);
        n = evacuate_make_runs(e, runs, who);
    }
    evacuate_share_link(e, runs, who, n);
}

static gboolean reconnect(Evacuation *e, EvacuateShow *show)
{
    gint64 began_us = g_get_monotonic_time();

    evacuate_show_event(show, e, NULL, "libvirt is away: %s",
                        domain_last_error());
    virConnectClose(e->source);
    e->source = NULL;
    while (!e->source && seconds_since(began_us) < RECONNECT_S) {
        g_usleep(LOOK_MS * 1000);
        e->source = virConnectOpen(e->options->connect);
    }
    if (!e->source) {
        return FALSE;
    }
    for (guint i = 0; i < e->guests->len; i++) {
        EvacuateGuest *guest = GUEST(e, i);
        virDomainPtr domain = virDomainLookupByUUIDString(e->source,
                                                          guest->uuid);

        if (domain) {
            virDomainFree(guest->domain);
            guest->domain = domain;
        }
    }
    evacuate_show_event(show, e, NULL, "libvirt is back after %.0f s",
                        seconds_since(began_us));
    return TRUE;
}

static void cancel_all(Evacuation *e)
{
    for (guint i = 0; i < e->guests->len; i++) {
        EvacuateGuest *guest = GUEST(e, i);

        if (guest->fate == EVACUATE_RUNS && !guest->cancelled) {
            guest->cancelled = TRUE;
            say_why(guest, "it was cancelled");
            virDomainAbortJob(guest->domain);
        }
    }
}

static void obey(Evacuation *e, EvacuateShow *show, EvacuateAnswer answer)
{
    if (answer == EVACUATE_FINISH && !e->stopping) {
        e->stopping = TRUE;
        evacuate_show_event(show, e, NULL, "no other guest is begun; those "
                            "under way go on");
    } else if (answer == EVACUATE_CANCEL) {
        e->stopping = TRUE;
        cancel_all(e);
        evacuate_show_event(show, e, NULL, "those under way are cancelled");
    }
}

/* Moves on by one look. */
static void step(Evacuation *e, EvacuateShow *show)
{
    double s = MAX(seconds_since(e->looked_us), 0.05);

    e->looked_us = g_get_monotonic_time();
    for (guint i = 0; i < e->guests->len; i++) {
        if (GUEST(e, i)->fate == EVACUATE_RUNS) {
            look_at(e, GUEST(e, i), s);
        }
    }
    see_ends(e, show);
    evacuate_see_link(e, show, s);
    see_stuck(e, show);
    plan_again(e);
    begin_next(e, show);
}

static ExitStatus follow_all(Evacuation *e, EvacuateShow *show)
{
    e->looked_us = g_get_monotonic_time();
    adopt(e, show);
    while (count(e, EVACUATE_RUNS) ||
           (count(e, EVACUATE_WAITS) && !e->stopping)) {
        if (virConnectIsAlive(e->source) != 1) {
            if (!reconnect(e, show)) {
                return EXIT_LOST;
            }
            /* What libvirtd did before it went is not ours to guess. */
            see_ends(e, show);
            adopt(e, show);
        }
        step(e, show);
        evacuate_show_look(show, e);
        obey(e, show, evacuate_show_wait(show, e, LOOK_MS));
    }
    for (guint i = 0; i < e->guests->len; i++) {
        if (GUEST(e, i)->fate == EVACUATE_WAITS) {
            leave(e, show, GUEST(e, i), *GUEST(e, i)->why
                  ? GUEST(e, i)->why : "it was not begun any more");
        }
    }
    return count(e, EVACUATE_LEFT) == 0 ? EXIT_COMPLETED :
           count(e, EVACUATE_MOVED) ? EXIT_SOME_LEFT : EXIT_FAILED;
}

static void silent(void *opaque, virErrorPtr error)
{
    /* It is told where it matters. */
}

/* One that cannot be reached is found before anything is moved. */
static gboolean reach_destinations(const EvacuateOptions *options)
{
    for (int d = 0; options->destinations[d]; d++) {
        virConnectPtr destination = virConnectOpen(options->destinations[d]);

        if (!destination) {
            g_autofree char *said = domain_last_error();

            message_error("%s: %s", options->destinations[d], said);
            return FALSE;
        }
        virConnectClose(destination);
    }
    return TRUE;
}

static ExitStatus run(Evacuation *e, EvacuateShow *show)
{
    ExitStatus status = EXIT_COMPLETED;

    evacuate_measure_guests(e);
    plan_again(e);
    e->first_end_s = e->plan->end_s;
    e->first_error_s = e->plan->error_s;
    evacuate_show_plan(show, e);
    if (e->options->dry_run) {
        return EXIT_COMPLETED;
    }
    e->began_us = g_get_monotonic_time();
    status = follow_all(e, show);
    evacuate_show_end(show, e, status);
    return status;
}

ExitStatus evacuate(const EvacuateOptions *options)
{
    unsigned n_links = g_strv_length(options->destinations) + 1;
    g_autofree double *links = g_new(double, n_links);
    g_autoptr(GPtrArray) guests =
        g_ptr_array_new_with_free_func(evacuate_guest_free);
    g_autoptr(GError) error = NULL;
    g_autoptr(EvacuateShow) show = NULL;
    Evacuation e = {
        .options = options, .guests = guests, .links_bytes_per_s = links,
        .terms = {
            .links_bytes_per_s = links, .n_links = n_links,
            .stream_bytes_per_s = STREAM_BYTES_PER_S, .setup_s = SETUP_S,
            .finish_s = FINISH_S, .link_error = 0.05,
            .downtime_s = (options->downtime_ms ?: 300) / 1000.0,
            .parallel = options->parallel,
        },
    };
    ExitStatus status = EXIT_LOST;

    evacuate_set_link(&e, options->link_bytes_per_s ?: LINK_BYTES_PER_S);
    e.link_known = e.link_found = options->link_bytes_per_s > 0;
    virSetErrorFunc(NULL, silent);
    e.source = virConnectOpen(options->connect);
    if (!e.source || !evacuate_find_guests(&e)) {
        g_autofree char *said = domain_last_error();

        message_error("%s: %s", options->connect ?: "libvirt", said);
    } else if (reach_destinations(options)) {
        show = evacuate_show_new(options, &error);
        if (show) {
            status = run(&e, show);
        } else {
            message_error("%s", error->message);
            status = EXIT_FAILED;
        }
    }
    g_clear_pointer(&e.plan, evacuation_plan_free);
    g_ptr_array_set_size(guests, 0);
    if (e.source) {
        virConnectClose(e.source);
    }
    return status;
}
