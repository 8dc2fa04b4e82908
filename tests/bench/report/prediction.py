# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# How good the engine's own forecast was. Time lines hold what it foretold at
# each look (ten a second); against it stands the end that came. The error is
# that of the time that remains, in percent of the time that did remain:
#
#   error = |foretold end - end| / (end - moment of the forecast)
#
# There is no one right moment to take a forecast at, so there are several:
#
#   first      the first that the engine gave at all
#   converging the first in state "converging"
#   settled    the first in state "converging" ("watching" where the guest was
#              never slowed) from which on the throttle moves by no more than
#              2 points until the end; in control engineering, the settling time
#   half       at half of the time from "settled" to the end
#
# "settled" counts with half a second or more to go, as in the simulator, and
# "half" only where "settled" does: of a guest that is slowed in the last look
# before the end, the forecast is right to some milliseconds, and its error in
# percent says nothing.
#
# Also kept: the error as a part of the whole migration's time.

import statistics

SETTLED_POINTS = 2
SETTLED_LEAST_MS = 500


def foretold(sample):
    return sample.get("predicted_total_ms")


def first(timeline):
    return next((s for s in timeline if foretold(s)), None)


def converging(timeline):
    return next((s for s in timeline
                 if foretold(s) and s.get("state") == "converging"), None)


def settled(timeline):
    """In the longest tail of even throttle."""
    slowed = any(s.get("state") not in ("off", "watching") for s in timeline)
    calm = "converging" if slowed else "watching"
    first_even = len(timeline)
    throttles = []
    for i in range(len(timeline) - 1, -1, -1):
        throttles.append(timeline[i]["throttle_pct"])
        if max(throttles) - min(throttles) > SETTLED_POINTS:
            break
        first_even = i
    return next((s for s in timeline[first_even:]
                 if foretold(s) and s.get("state") == calm), None)


def halfway(timeline, end_ms):
    start = settled(timeline)
    if not start:
        return None
    middle_ms = (start["at_ms"] + end_ms) / 2
    return next((s for s in timeline
                 if foretold(s) and s["at_ms"] >= middle_ms), None)


def error_of(sample, end_ms):
    remains_ms = end_ms - sample["at_ms"]
    off_ms = abs(foretold(sample) - end_ms)
    if remains_ms <= 0:
        return None
    return {"at_s": sample["at_ms"] / 1e3, "remains_s": remains_ms / 1e3,
            "foretold_s": (foretold(sample) - sample["at_ms"]) / 1e3,
            "error_pct": 100 * off_ms / remains_ms,
            "error_of_total_pct": 100 * off_ms / end_ms}


def errors_of(run):
    end_ms = run["total_ms"]
    timeline = [s for s in run["timeline"] if s["at_ms"] < end_ms]
    moments = {"first": first(timeline), "converging": converging(timeline),
               "settled": settled(timeline),
               "half": halfway(timeline, end_ms)}
    start = moments["settled"]
    if start and end_ms - start["at_ms"] < SETTLED_LEAST_MS:
        del moments["settled"], moments["half"]
    return {name: error_of(sample, end_ms)
            for name, sample in moments.items() if sample}


def percentile(values, pct):
    """Nearest rank, so that it is a value that was measured."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * pct // 100) - 1)]


def summarise(runs):
    found = {}
    for run in runs:
        if not run["policy"] or run["outcome"] != "completed":
            continue
        for moment, error in errors_of(run).items():
            if error:
                error["workload"] = run["workload"]
                found.setdefault(run["policy"], {}) \
                     .setdefault(moment, []).append(error)
    return {policy: {moment: describe(errors)
                     for moment, errors in moments.items()}
            for policy, moments in found.items()}


def describe(errors):
    relative = [e["error_pct"] for e in errors]
    total = [e["error_of_total_pct"] for e in errors]
    return {
        "runs": len(errors),
        "p50_pct": statistics.median(relative),
        "p90_pct": percentile(relative, 90),
        "p90_of_total_pct": percentile(total, 90),
        "points": [[e["workload"], round(e["remains_s"], 2),
                    round(e["foretold_s"], 2)] for e in errors],
    }
