/*
 * Convergence engine: what the link does between two samples
 *
 * The model's link rate is smoothed over 0.7 s, which is what policies want
 * and too slow for a switch-over: a link that has just become ten times slower
 * makes a downtime of 300 ms one of 3 s.  So the link is looked at about ten
 * times a second, and right before the switch-over.
 *
 *   carried   what has left the sender's queue, between two looks; not what was
 *             handed to it: a queue of 4 MB takes a second's worth of a link of
 *             4 MB/s at once
 *   limited   bytes stood unsent at both looks: it is the link that was slow.
 *             Else the sender may have had no more to send, and what was
 *             carried is a lower bound of what the link can do.
 *
 * From the windows in which the link was the limit:
 *
 *   recent    what it carried in the last 500 ms, or in the last window alone
 *             if that is less.  The switch-over reckons with no more.
 *   low       the least over 300 ms of all that is remembered, some seconds.
 *             Whoever shares the link takes as much again at any time.
 *
 * And where max-bandwidth holds the stream back, but not the switch-over:
 *
 *   burst     bytes carried in the time for which the link had something to
 *             carry.  QEMU sends what a window of 100 ms allows at once, then
 *             sleeps, so these are bursts at the wire's own rate.  A shaper may
 *             let a burst pass that it would not let go on: two thirds of what
 *             was seen are relied on, and no more than four times the cap.  To
 *             lift the cap for a trial was rejected: who set it had a reason.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "convergence-internal.h"

/* A shorter window tells more of the kernel's clocks than of the link. */
#define MIN_WINDOW_NS (50 * NS_PER_MS)
#define RECENT_NS (500 * NS_PER_MS)
#define LOW_NS (300 * NS_PER_MS)
#define BURSTS_NS (2 * NS_PER_S)
/* Two of them may be luck. */
#define MIN_BURSTS 5
#define BURST_RELIED_ON (2.0 / 3)
#define BURST_CAPS 4
/* Less than this tells nothing of a link, where no queue does. */
#define MIN_CARRIED_BYTES (64 * 1024)
/* The stream does what max-bandwidth allows, or next to it. */
#define CAPPED 0.8
/* The kernel counts the time for which a socket was busy in ticks, like this */
#define BUSY_TICK_NS (10 * NS_PER_MS)

void convergence_link_init(ConvergenceLink *link)
{
    *link = (ConvergenceLink) { 0 };
}

static uint64_t carried_since(const ConvergenceLinkLook *from,
                              const ConvergenceLinkLook *to)
{
    int64_t sent = to->sent_bytes - from->sent_bytes;
    int64_t queued = (int64_t)to->queued_bytes - (int64_t)from->queued_bytes;

    return sent > queued ? sent - queued : 0;
}

static bool is_capped(const ConvergenceLinkLook *from,
                      const ConvergenceLinkLook *to)
{
    return to->cap_bytes_per_s &&
           convergence_rate(to->sent_bytes - from->sent_bytes,
                            to->now_ns - from->now_ns) >
           to->cap_bytes_per_s * CAPPED;
}

static ConvergenceLinkWindow make_window(const ConvergenceLinkLook *from,
                                         const ConvergenceLinkLook *to)
{
    ConvergenceLinkWindow window = {
        .end_ns = to->now_ns,
        .span_ns = to->now_ns - from->now_ns,
        .carried_bytes = carried_since(from, to),
        .busy_ns = from->busy_ns >= 0 && to->busy_ns >= from->busy_ns ?
                   to->busy_ns - from->busy_ns : -1,
        .capped = is_capped(from, to),
    };

    window.limited = to->queue_known ?
                     from->unsent_bytes && to->unsent_bytes :
                     !window.capped &&
                     window.carried_bytes >= MIN_CARRIED_BYTES;
    return window;
}

void convergence_link_look(ConvergenceLink *link,
                           const ConvergenceLinkLook *look)
{
    if (!link->known) {
        link->known = true;
        link->last_look = *look;
        return;
    }
    if (look->now_ns < link->last_look.now_ns + MIN_WINDOW_NS) {
        return;
    }
    link->last = (link->last + 1) % CONVERGENCE_LINK_WINDOWS;
    link->windows[link->last] = make_window(&link->last_look, look);
    link->last_look = *look;
}

/* The @i-th before the last one; NULL if there was none. */
static const ConvergenceLinkWindow *window_before(const ConvergenceLink *link,
                                                  unsigned i)
{
    const ConvergenceLinkWindow *window;

    if (i >= CONVERGENCE_LINK_WINDOWS) {
        return NULL;
    }
    window = &link->windows[(link->last + CONVERGENCE_LINK_WINDOWS - i) %
                            CONVERGENCE_LINK_WINDOWS];
    return window->span_ns ? window : NULL;
}

/*
 * Where the queue ran empty in between, during a sync, the link had nothing to
 * carry for that while.
 */
static int64_t carrying_ns(const ConvergenceLinkWindow *window)
{
    return window->busy_ns < 0 ? window->span_ns :
           MIN(window->busy_ns + BUSY_TICK_NS, window->span_ns);
}

/* Over limited windows alone, from the @i-th on; 0 if there is not so much. */
static double rate_over(const ConvergenceLink *link, unsigned i,
                        int64_t at_least_ns, int64_t not_before_ns)
{
    const ConvergenceLinkWindow *window;
    uint64_t carried_bytes = 0;
    int64_t span_ns = 0, ns = 0;

    for (; span_ns < at_least_ns && (window = window_before(link, i)); i++) {
        if (window->end_ns < not_before_ns) {
            break;
        }
        if (window->limited) {
            carried_bytes += window->carried_bytes;
            ns += carrying_ns(window);
            span_ns += window->span_ns;
        }
    }
    /* A link that carries nothing is slow, not unknown. */
    return ns ? MAX(convergence_rate(carried_bytes, ns), 1) : 0;
}

static double recent_rate(const ConvergenceLink *link, int64_t now_ns)
{
    const ConvergenceLinkWindow *last = window_before(link, 0);
    double rate = rate_over(link, 0, RECENT_NS, now_ns - RECENT_NS);

    if (last && last->limited && rate > 0) {
        rate = MIN(rate, rate_over(link, 0, 1, 0));
    }
    return rate;
}

static double low_rate(const ConvergenceLink *link)
{
    double low = 0;

    for (unsigned i = 0; window_before(link, i); i++) {
        double rate = window_before(link, i)->limited ?
                      rate_over(link, i, LOW_NS, 0) : 0;

        if (rate > 0 && (!(low > 0) || rate < low)) {
            low = rate;
        }
    }
    return low;
}

static double burst_rate(const ConvergenceLink *link, int64_t now_ns)
{
    const ConvergenceLinkWindow *window;
    uint64_t carried_bytes = 0;
    int64_t busy_ns = 0, span_ns = 0;
    unsigned n = 0;

    for (unsigned i = 0; (window = window_before(link, i)) &&
                         window->end_ns > now_ns - BURSTS_NS; i++) {
        if (window->limited && window->end_ns > now_ns - RECENT_NS) {
            /* The wire is what holds the stream back, or was just before. */
            return 0;
        }
        if (window->busy_ns >= 0 && (window->capped || window->limited)) {
            carried_bytes += window->carried_bytes;
            busy_ns += window->limited ? window->span_ns : window->busy_ns;
            span_ns += window->span_ns;
            n++;
        }
    }
    return n < MIN_BURSTS ? 0 :
           MIN(convergence_rate(carried_bytes, busy_ns + BUSY_TICK_NS) *
               BURST_RELIED_ON,
               convergence_rate(carried_bytes, span_ns) * BURST_CAPS);
}

ConvergenceLinkView convergence_link_view(const ConvergenceLink *link,
                                          int64_t now_ns)
{
    return (ConvergenceLinkView) {
        .recent_bytes_per_s =
            convergence_to_u64(recent_rate(link, now_ns)),
        .low_bytes_per_s = convergence_to_u64(low_rate(link)),
        .burst_bytes_per_s = convergence_to_u64(burst_rate(link, now_ns)),
    };
}
