/*
 * Convergence engine: from samples of a live migration to decisions
 *
 *   sample --> model --> policy --> decision
 *                |          ^          |
 *                |      deadline       +--> reason (a sentence for a person)
 *
 * The engine is pure C.  It owns no memory, reads no clock and does no I/O:
 * time is a field of the sample, and whoever calls it lends it the arrays.
 * QEMU (migration/convergence.c), the unit tests and the simulator run the
 * very same sources.
 *
 * Threads and locks: none here.  A caller serialises its calls on one engine.
 *
 * Copyright (c) 2026 The Converge developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONVERGENCE_ENGINE_H
#define MIGRATION_CONVERGENCE_ENGINE_H

/* Room for the longest reason, figures and terminating NUL included. */
#define CONVERGENCE_REASON_MAX_BYTES 320

/* What there is to say while no policy acts. */
#define CONVERGENCE_REASON_OFF "auto-converge is off"

/* What the engine thinks of the migration; the names are QAPI's. */
typedef enum ConvergencePhase {
    CONVERGENCE_PHASE_OFF,          /* no policy acts */
    CONVERGENCE_PHASE_WATCHING,     /* measuring; no need to act so far */
    CONVERGENCE_PHASE_THROTTLING,   /* the guest is slowed, more may follow */
    CONVERGENCE_PHASE_CONVERGING,   /* what remains shrinks as it should */
    CONVERGENCE_PHASE_STUCK,        /* nothing allowed can make it converge */
    CONVERGENCE_PHASE_TIMED_OUT,    /* a deadline or stop condition was met */
    CONVERGENCE_PHASE__MAX,
} ConvergencePhase;

/* What a met deadline or stop condition does. */
typedef enum ConvergenceAction {
    CONVERGENCE_ACTION_DOWNTIME,    /* grow the downtime limit */
    CONVERGENCE_ACTION_STOP,        /* switch over now */
    CONVERGENCE_ACTION_POSTCOPY,    /* start postcopy */
    CONVERGENCE_ACTION_ABORT,       /* give up, the guest runs on */
    CONVERGENCE_ACTION__MAX,
} ConvergenceAction;

/* Which stop condition was met first. */
typedef enum ConvergenceStop {
    CONVERGENCE_STOP_NONE,
    CONVERGENCE_STOP_TIMEOUT,
    CONVERGENCE_STOP_ITERATIONS,
    CONVERGENCE_STOP_TRANSFER,
} ConvergenceStop;

typedef struct ConvergenceEngine ConvergenceEngine;
typedef struct ConvergencePolicyOps ConvergencePolicyOps;

/*
 * The user's settings.  May change between two calls; the engine keeps no
 * copy that could go stale.
 */
typedef struct ConvergenceParams {
    bool auto_converge;
    const ConvergencePolicyOps *policy;
    /* The user left the choice to "auto": another one may take its place. */
    bool policy_by_auto;
    uint8_t initial_throttle_pct;
    uint8_t throttle_increment_pct;
    uint8_t max_throttle_pct;
    uint8_t trigger_threshold_pct;
    bool tailslow;
    uint32_t sync_period_ms;
    uint64_t downtime_limit_ms;
    uint64_t timeout_s;                 /* 0: never */
    int64_t timeout_from_ns;            /* when that was set; 0: at the start */
    uint64_t max_downtime_ms;
    uint64_t max_iterations;            /* passes over RAM, 0: never */
    uint64_t max_transfer_pct;          /* of guest RAM, 0: never */
    ConvergenceAction timeout_action;
    uint64_t vcpu_dirty_limit_bytes_per_s;  /* 0: from the bandwidth */
    uint64_t switchover_bytes_per_s;    /* of the wire; 0: as measured */
} ConvergenceParams;

/* A stream as it is seen from outside; all but the rates since it began. */
typedef struct ConvergenceLinkLook {
    int64_t now_ns;
    uint64_t sent_bytes;            /* that the stream was handed */
    uint64_t queued_bytes;          /* of them, still at the sender, now */
    uint64_t unsent_bytes;          /* of them, not on their way yet */
    int64_t busy_ns;                /* it had something to carry; -1: unknown */
    uint64_t cap_bytes_per_s;       /* that the user has set; 0: none */
    bool queue_known;               /* else the two above are zero */
} ConvergenceLinkLook;

typedef struct ConvergenceLinkWindow {
    int64_t end_ns;
    int64_t span_ns;                /* 0: there was none */
    int64_t busy_ns;                /* -1: not known */
    uint64_t carried_bytes;
    bool limited;                   /* by the link */
    bool capped;                    /* by max-bandwidth */
} ConvergenceLinkWindow;

#define CONVERGENCE_LINK_WINDOWS 48

/* What the link did lately: convergence-link.c. */
typedef struct ConvergenceLink {
    ConvergenceLinkWindow windows[CONVERGENCE_LINK_WINDOWS];
    ConvergenceLinkLook last_look;
    unsigned last;
    bool known;
} ConvergenceLink;

/* On the wire, 0 where it is not known. */
typedef struct ConvergenceLinkView {
    uint64_t recent_bytes_per_s;    /* of a link that was busy all the time */
    uint64_t low_bytes_per_s;       /* the least of it in the last seconds */
    uint64_t burst_bytes_per_s;     /* beyond max-bandwidth, with a reserve */
    uint64_t devices_bytes;         /* that a switch-over sends after pages */
} ConvergenceLinkView;

/* Looks that an estimate of who writes rests on, at most. */
#define CONVERGENCE_ESTIMATE_LOOKS 32

/* What the estimate keeps of a vCPU. */
typedef struct ConvergenceVcpuEstimate {
    /* The part of each look for which it ran, 0 to 1. */
    float ran_part[CONVERGENCE_ESTIMATE_LOOKS];
    float busy;                     /* the part that it usually runs */
    bool known;                     /* it was seen to run */
    bool is_out;                    /* of the fit: it writes nothing */
    bool reads;                     /* told: it writes next to nothing */
    bool held;                      /* by the probe under way */
    /* That it dirties at full speed; and with one standard deviation more. */
    double rate_bytes_per_s;
    double most_bytes_per_s;
} ConvergenceVcpuEstimate;

/* One vCPU: measured by the caller, slowed by the engine. */
typedef struct ConvergenceVcpu {
    int id;
    /* In, where the sample is metered: of the interval, as in the sample. */
    uint64_t dirtied_bytes;
    uint64_t touched_bytes;
    /* In, where run times are known: CPU time of its thread in the interval. */
    int64_t ran_ns;
    /* In: the throttle in force, whoever asked for it; out: that decided on. */
    uint8_t throttle_pct;
    /* Out: its part of what all vCPUs would dirty at full speed, 0 to 1. */
    double dirty_share;
    /* In and out: the limit of newly dirtied bytes in force, 0 = none. */
    uint64_t limit_bytes_per_s;
    /* Out, smoothed: different pages written, and of them newly dirtied. */
    uint64_t dirty_rate_bytes_per_s;
    uint64_t new_rate_bytes_per_s;
    /*
     * Out: newly dirtied after all, although the meter took it for free; to be
     * charged now.  A part of dirtied_bytes from then on.
     */
    uint64_t late_bytes;
    /* The engine's own: what of that it still sleeps for, by its limit. */
    double owed_bytes;
    /* What it dirties at full speed, as its meter saw it last. */
    double full_bytes_per_s;
    ConvergenceVcpuEstimate estimate;
    /* And: it writes no more than any vCPU that runs. */
    bool only_rewrites;
} ConvergenceVcpu;

/*
 * What happened between two syncs of the dirty bitmap.  Everything is counted
 * in bytes of guest pages, but for wire_bytes: a zero page or an XBZRLE delta
 * drains a page for a few bytes on the wire.
 */
typedef struct ConvergenceSample {
    int64_t now_ns;
    int64_t interval_ns;
    /* Pages that became dirty while they were clean: these add to the work. */
    uint64_t dirtied_bytes;
    /*
     * Different pages seen written in the interval, those that still waited to
     * be sent included.  When little remains this is what dirtied_bytes
     * becomes, so it is what a policy must plan with.
     */
    uint64_t touched_bytes;
    /*
     * Pages that waited, and of which the dirty log does not tell whether they
     * were written again.  0: touched_bytes is all there is.  Else it is a
     * lower bound, and the guest's dirty rate is not known.
     */
    uint64_t unseen_bytes;
    uint64_t drained_bytes;         /* page bytes sent or skipped */
    uint64_t zero_bytes;            /* the part of them that was zero pages */
    uint64_t wire_bytes;
    uint64_t remaining_bytes;
    /* What the bulk pass sends: all that is plugged and not said to be free. */
    uint64_t ram_bytes;
    uint64_t bulk_remaining_bytes;  /* pages not sent even once */
    /* The part of them that is known to be zero without a look, if any is. */
    uint64_t bulk_empty_bytes;
    uint64_t bandwidth_bytes_per_s; /* cap set by the user, 0 = none */
    /* Of what was sent, at the end of the interval: still at the sender. */
    uint64_t queued_bytes;
    ConvergenceLinkView link;
    int64_t sync_cost_ns;
    /* The part of it in which the sync kept others waiting for its locks. */
    int64_t sync_busy_ns;
    uint8_t throttle_pct;           /* in force during the interval */
    /* All vCPUs, or none where they cannot be told apart. */
    ConvergenceVcpu *vcpus;
    unsigned n_vcpus;
    /* What tells them apart, for people; NULL: nothing does. */
    const char *meter;
    /* It counts the pages of each; else what they dirtied is zero. */
    bool metered;
    bool run_times_known;
    /* One thread runs all vCPUs: none can be slowed without the others. */
    bool one_thread;
    bool bulk_pass;
    /* False: do not learn from this one (paused guest, block bulk phase). */
    bool valid;
} ConvergenceSample;

/* The progress of a migration, known also between two samples. */
typedef struct ConvergenceProgress {
    int64_t now_ns;
    uint64_t passes;                /* completed passes over RAM */
    uint64_t sent_bytes;            /* on the wire, since the start */
    uint64_t ram_bytes;
    uint64_t remaining_bytes;
} ConvergenceProgress;

typedef struct ConvergenceDecision {
    ConvergencePhase phase;         /* what the policy is about */
    ConvergencePhase told;          /* what people are told */
    uint8_t throttle_pct;           /* 0: none; the highest of all vCPUs */
    bool vcpus_throttled;           /* that is not the same for all of them */
    bool vcpus_limited;             /* the limits in the vCPU array hold */
    double level_bytes_per_s;       /* with it: the highest of them */
    double rewritten_bytes;         /* after each look, that no limit lowers */
    /*
     * Have the dirty log show, until the next sync, what is written again
     * while it waits.  It shows that anyway where no log is cleared by hand.
     */
    bool see_rewrites;
    int64_t next_sync_ns;           /* from now */
    /* Forecast; valid only if the flag is set. */
    bool predicted;
    uint64_t predicted_remaining_ms;
    uint64_t predicted_downtime_ms;
    uint8_t predicted_error_pct;
    char reason[CONVERGENCE_REASON_MAX_BYTES];
} ConvergenceDecision;

/* Answer of convergence_engine_deadline(). */
typedef struct ConvergenceDeadline {
    uint64_t downtime_limit_ms;     /* in force */
    ConvergenceStop stop;           /* the condition met, if any */
    ConvergenceAction action;       /* what it asks for, if it was met */
} ConvergenceDeadline;

/* What a guest does and a link carries, smoothed. */
typedef struct ConvergenceModel {
    uint64_t samples;
    int64_t last_sample_ns;
    double dirty_bytes_per_s;       /* different pages, per sync interval */
    bool dirty_known;               /* false: it is at least that */
    double new_bytes_per_s;         /* of them, newly dirtied */
    double wire_bytes_per_s;        /* syncs included */
    double link_bytes_per_s;        /* on the wire while something is sent */
    uint64_t queued_bytes;          /* at the last sample */
    double page_bytes_per_wire_byte;
    double drain_bytes_per_s;       /* pages that are not zero */
    double pass_bytes_per_s;        /* all pages, zero pages included */
    double bulk_data_sent_bytes;    /* in the bulk pass, not zero */
    double device_bytes_per_s;      /* dirtied by no vCPU */
    double sync_cost_ns;
    int64_t least_sync_busy_ns;     /* of all so far, 0: of none */
    /* Mean deviation of the wire rate from one sample to the next, 0 to 1. */
    double wire_deviation;
    /* Of the last seconds, of one pass and with one throttle all along. */
    double steady_s;
    double steady_dirty_bytes;
    double steady_new_bytes;
    unsigned steady_throttle;       /* the sum of all vCPUs' */
    bool steady_bulk_pass;
    bool steady_unseen;
    /* The last interval alone, unsmoothed. */
    int64_t last_interval_ns;
    double last_dirty_bytes_per_s;
    double last_new_bytes_per_s;
    /* Mean relative change of the net drain rate, for the error band. */
    double jitter;
} ConvergenceModel;

typedef struct ConvergenceLook {
    int64_t at_ns;
    double interval_s;
    double bytes_per_s;             /* that were dirtied */
    bool valid;
} ConvergenceLook;

/* Who writes, where nothing counts their pages: convergence-estimate.c. */
typedef struct ConvergenceEstimate {
    ConvergenceLook looks[CONVERGENCE_ESTIMATE_LOOKS];
    unsigned last;
    bool any_look;
    bool probing;                   /* some vCPUs are held for this look */
    bool second_half;
    double usual_bytes_per_s;       /* before the first probe */
    /* In the last look in which those that write were held: by the others. */
    double calm_bytes_per_s;
    unsigned probes;                /* looks so far in which some were held */
    unsigned blind;                 /* looks that were to tell, and did not */
    unsigned void_pairs;
    unsigned pair_untold;           /* vCPUs not told when the pair began */
    unsigned fruitless;             /* pairs in a row that told nothing new */
    unsigned strikes;               /* times that it was found to be wrong */
} ConvergenceEstimate;

/* Whether what devices dirty follows the vCPUs. */
typedef enum ConvergenceDevicesAnswer {
    CONVERGENCE_DEVICES_UNKNOWN,
    CONVERGENCE_DEVICES_FOLLOW,
    CONVERGENCE_DEVICES_DEAF,       /* it does not, or by too little */
} ConvergenceDevicesAnswer;

/* How that is found out: convergence-devices.c. */
typedef struct ConvergenceDevices {
    ConvergenceDevicesAnswer answer;    /* the last one */
    bool trying;                    /* all vCPUs are held to see it */
    bool tried;                     /* they were in the last interval */
    /* They write most: who asks them is estimated, though pages are counted. */
    bool by_run_times;
    int64_t settled_ns, judged_ns;  /* of the trial, so far */
    uint8_t held_pct;               /* all vCPUs, in it */
    double free_bytes_per_s;        /* by devices, before it */
    double judged_bytes_per_s;      /* by devices, in it */
    double held_bytes_per_s;        /* by all, in it */
    /* They were to follow, and have not for so long. */
    int64_t against_ns;
    int64_t deaf_ns;                /* when that was last the answer */
    unsigned times_deaf;
    int64_t not_before_ns;          /* after a trial that told nothing */
} ConvergenceDevices;

/* Looks that reach back some seconds, at four a second. */
#define CONVERGENCE_STATE_LOOKS 24

typedef struct ConvergenceStateLook {
    int64_t at_ns;
    uint64_t remaining_bytes;
    uint64_t sent_bytes;            /* page bytes, since the start */
} ConvergenceStateLook;

/* What people were told, and what it rests on. */
typedef struct ConvergenceStateView {
    ConvergenceStateLook looks[CONVERGENCE_STATE_LOOKS];
    unsigned last, n_looks;
    uint64_t sent_bytes;
    bool known;
    ConvergencePhase told;
    int64_t left_ns[CONVERGENCE_PHASE__MAX];
    unsigned times_left[CONVERGENCE_PHASE__MAX];
    /* Since when the slow-down is as much as these settings allow; 0: not. */
    int64_t most_ns;
    uint8_t most_pct;
    uint64_t most_limit;
} ConvergenceStateView;

/* State of the policies; one is in use at a time. */
typedef struct ConvergenceStepState {
    uint64_t period_dirtied_bytes;
    uint64_t period_drained_bytes;
    int64_t period_ns;
} ConvergenceStepState;

typedef struct ConvergencePredictiveState {
    double lowest_bytes;            /* that remained under the most throttle */
    double least_bytes_per_s;       /* dirty rate under the most throttle */
    double aim_bytes_per_s;         /* that the last change was to lead to */
    unsigned unsure;                /* looks too short to tell */
    int64_t ends_by_ns;             /* what follows the bulk pass; 0: not yet */
    int64_t outpaced_ns;            /* at the most throttle, and too fast */
    int64_t in_vain_ns;             /* since the last lowest mark */
    /* Dirty rate before it was slowed; and what was, at the most throttle. */
    double begin_bytes_per_s;
    double held_bytes;
    int64_t held_ns;
    /* That rate was not known: it runs free for a look, to compare. */
    bool comparing;
    int64_t calm_ns;                /* for so long well below the target */
    int64_t mistaken_ns;            /* those told to read spoil looks */
    /* After it gave up. */
    int64_t given_up_ns;
    double free_bytes_per_s;        /* dirty rate since */
    double drain_bytes_per_s;       /* drain rate then */
    unsigned times_given_up;
    bool was_deaf;                  /* no throttle changed what it dirties */
    bool engaged;
    bool given_up;
} ConvergencePredictiveState;

typedef struct ConvergenceLimitState {
    double level_bytes_per_s;
    unsigned unsure;
    unsigned calm;
    bool engaged;
} ConvergenceLimitState;

/*
 * A policy.  All members are called with the engine serialised by the caller,
 * in QEMU: by the migration thread, BQL held.
 */
struct ConvergencePolicyOps {
    /* Required.  As in the QAPI enum. */
    const char *name;
    /* Optional.  Set the policy's state up; it is all zero by then. */
    void (*init)(ConvergenceEngine *engine);
    /*
     * Required.  Called for each valid sample after the model learned from
     * it.  Sets throttle_pct or the vCPUs' limits, phase and next_sync_ns; what
     * it leaves alone is zero.  The last decision is in @engine.
     */
    void (*decide)(ConvergenceEngine *engine, const ConvergenceParams *params,
                   const ConvergenceSample *sample,
                   ConvergenceDecision *decision);
    /*
     * True: needs the sample to be metered, and limits what single vCPUs dirty,
     * which holds no device.
     */
    bool needs_vcpu_meters;
    /* Required with it: who takes its place where it can do nothing. */
    const ConvergencePolicyOps *instead;
    /* True: throttles single vCPUs, and may hold some to see who writes. */
    bool throttles_vcpus;
    /*
     * Optional.  After it was in vain to slow the guest: what that dirtied at
     * the most throttle.
     */
    double (*least_bytes_per_s)(const ConvergenceEngine *engine);
};

/* Caller-owned; set up with convergence_engine_init(). */
struct ConvergenceEngine {
    ConvergenceModel model;
    ConvergenceEstimate estimate;
    ConvergenceDevices devices;
    const ConvergencePolicyOps *policy;
    /* The policy's own, all zero when it takes over. */
    union {
        ConvergenceStepState step;
        ConvergencePredictiveState predictive;
        ConvergenceLimitState limit;
    } own;
    /* What the policy expects to be dirtied from now on ... */
    double planned_bytes_per_s;
    /* ... which is pages newly dirtied, not different pages written. */
    bool planned_is_new;
    /* It looks for its throttle: syncs may cost more for that while. */
    bool seeking;
    /* It has to know what is written again by the next look. */
    bool wants_rewrites;
    /* In the last interval some vCPUs were held to see who writes. */
    bool probed;
    /* What is known of the link beside the model. */
    ConvergenceLinkView link;
    ConvergenceStateView state;
    /* The last decision stands until the next valid sample. */
    ConvergenceDecision decision;
    /* Deadline */
    int64_t start_ns;
    ConvergenceDeadline deadline;
};

/**
 * convergence_engine_init: start over
 * @engine: memory of the caller
 * @now_ns: begin of the migration, on the clock of all later samples
 */
void convergence_engine_init(ConvergenceEngine *engine, int64_t now_ns);

/**
 * convergence_engine_first_sync_ns: when to look for the first time, from now
 * @engine: just set up
 * @params: the user's settings as they are now
 * @sync_busy_ns: of the sync that found all of RAM dirty
 */
int64_t convergence_engine_first_sync_ns(ConvergenceEngine *engine,
                                         const ConvergenceParams *params,
                                         int64_t sync_busy_ns);

/**
 * convergence_engine_update: learn from a sample and decide
 * @engine: the engine
 * @params: the user's settings as they are now
 * @sample: what happened since the last call; what slows its vCPUs is updated
 *
 * Returns the decision in force: the last one if the sample is not valid.
 * It stays the engine's.
 */
const ConvergenceDecision *
convergence_engine_update(ConvergenceEngine *engine,
                          const ConvergenceParams *params,
                          const ConvergenceSample *sample);

/**
 * convergence_engine_deadline: look at the deadline and stop conditions
 * @engine: the engine
 * @params: the user's settings as they are now
 * @progress: what has been done so far
 *
 * Cheap; to be called often, also between samples.  Works with auto-converge
 * off.  Returns what holds; it stays the engine's.
 */
const ConvergenceDeadline *
convergence_engine_deadline(ConvergenceEngine *engine,
                            const ConvergenceParams *params,
                            const ConvergenceProgress *progress);

/**
 * convergence_engine_see_link: what the link did since the last sample
 * @engine: the engine
 * @view: by convergence_link_view(), and what devices will send
 */
void convergence_engine_see_link(ConvergenceEngine *engine,
                                 const ConvergenceLinkView *view);

/**
 * convergence_engine_threshold_bytes: what may remain at the switch-over
 * @engine: the engine
 * @params: the user's settings as they are now
 * @downtime_limit_ms: in force
 * @bandwidth_bytes_per_s: the caller's latest measurement, for as long as the
 *                         model has none
 * @queued_bytes: that are to go before the first page
 *
 * Returns how many bytes of pages the link drains within the limit, by what it
 * was seen, or said, to do, and after what has to be sent beside them.
 */
uint64_t convergence_engine_threshold_bytes(const ConvergenceEngine *engine,
                                            const ConvergenceParams *params,
                                            uint64_t downtime_limit_ms,
                                            double bandwidth_bytes_per_s,
                                            uint64_t queued_bytes);

/**
 * convergence_link_init: a stream begins
 *
 * convergence_link_look: look at it; often, some ten times a second
 *
 * convergence_link_view: what it did until @now_ns
 *
 * Returns: what can be told of it; devices_bytes is left to the caller.
 */
void convergence_link_init(ConvergenceLink *link);
void convergence_link_look(ConvergenceLink *link,
                           const ConvergenceLinkLook *look);
ConvergenceLinkView convergence_link_view(const ConvergenceLink *link,
                                          int64_t now_ns);

/**
 * convergence_policy_find: look a policy up by its name
 * @name: as in the QAPI enum
 *
 * Returns NULL if there is none of that name.
 */
const ConvergencePolicyOps *convergence_policy_find(const char *name);

/**
 * convergence_policy_nth: walk the registry
 * @index: from 0
 *
 * Returns NULL after the last one.
 */
const ConvergencePolicyOps *convergence_policy_nth(unsigned index);

/**
 * convergence_phase_name: the QAPI name of a phase
 */
const char *convergence_phase_name(ConvergencePhase phase);

/**
 * convergence_format_sample, convergence_format_decision: for the trace
 * @engine: that decided, for the downtime limit in force
 * @buffer, @size: where to; always NUL-terminated
 *
 * All inputs of one decision and its outputs, but for the reason's words, as
 * key=value; vCPUs as v=id:dirtied:touched:ran_ns, their limits as l=id:limit
 * and their throttles as t=id:percentage.  The simulator replays what
 * these write.
 *
 * Return the length that was needed, as snprintf does.
 */
size_t convergence_format_sample(const ConvergenceEngine *engine,
                                 const ConvergenceSample *sample,
                                 const ConvergenceParams *params,
                                 char *buffer, size_t size);
size_t convergence_format_decision(const ConvergenceDecision *decision,
                                   const ConvergenceSample *sample,
                                   char *buffer, size_t size);

/**
 * convergence_stop_describe: say which stop condition was met, with figures
 * @buffer, @size: where to; always NUL-terminated
 */
void convergence_stop_describe(const ConvergenceDeadline *deadline,
                               const ConvergenceParams *params,
                               const ConvergenceProgress *progress,
                               char *buffer, size_t size);

#endif /* MIGRATION_CONVERGENCE_ENGINE_H */
