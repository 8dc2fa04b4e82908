# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# From single runs (runs.jsonl of bench-suite) to a summary for each workload
# and variant. A migration that was called off or failed has no total time,
# only a lower bound: it sorts above all that completed, and a median that
# falls on one is itself a lower bound, marked so.

import json
import statistics

FORMAT = 3
# Who is compared with: stock QEMUs, and the guest stopped or left alone
PEERS = ["stock", "stock-7.2-fixed", "stock-10.0", "stock-11.1", "stopped",
         "nothing"]
ORDER = PEERS + ["step", "predictive", "dirty-limit", "auto"]

# From here on others' share of the host's CPUs disturbs what is measured
BUSY_HOST_PCT = 5.0

# Over a wire it is the guest that tells how long it was away, and its reports
# come that far apart
FELT_MARGIN_MS = 50

# What bench-downtime calls its runs: many short ones, which have no F
CAMPAIGN = "downtime"


def load_runs(paths):
    """All runs of some files, the hosts they name, and what names mean."""
    runs, hosts, described = [], [], {}
    for path in paths:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                item = json.loads(line)
                if "host" in item:
                    hosts.append(item["host"])
                elif "describes" in item:
                    described[item["describes"]] = item
                else:
                    item["part"] = len(hosts)
                    runs.append(item)
    return least_disturbed(runs), hosts, described


def others_pct(run):
    return run.get("host_others_pct", 0)


def least_disturbed(runs):
    """Of a run that was made again, as the host was busy, the best try."""
    best = {}
    for number, run in enumerate(runs):
        key = (run["part"], run["workload"], variant_of(run), run["run"],
               number if run["workload"] == CAMPAIGN else None)
        if key not in best or others_pct(run) < others_pct(best[key]):
            best[key] = run
    return list(best.values())


def variant_of(run):
    return run["policy"] or run["label"]


def spread(values):
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values),
            "max": max(values)}


def downtime_of(run):
    """In ms; over a wire as the guest felt it, None if it is not known."""
    if run.get("wire") and run.get("felt_downtime_ms") is not None:
        return run["felt_downtime_ms"]
    return run["downtime_ms"]


def is_within(run):
    limit = run["downtime_limit_ms"]
    margin = FELT_MARGIN_MS if run.get("wire") else 0
    return run["outcome"] == "completed" and \
        downtime_of(run) is not None and downtime_of(run) <= limit + margin


def is_lost(run):
    """QEMU said that it was done, and the guest was not seen alive."""
    return run["outcome"] == "failed" and \
        (run.get("why") or "").startswith("QEMU says completed")


def total_of(runs):
    """Times of all runs: median, least, most; which of them are bounds.

    A migration that lost its guest has the time that QEMU told, so that no
    comparison gains by it; it is counted as not completed elsewhere.
    """
    ended = [r["outcome"] == "completed" or is_lost(r) for r in runs]
    done = sorted(r["total_ms"] / 1e3 for r, e in zip(runs, ended) if e)
    bounds = sorted(float(r["cap_s"])
                    for r, e in zip(runs, ended) if not e)
    values = done + bounds
    return {
        "median": statistics.median(values),
        "min": min(values), "max": max(values),
        # The middle one, or the upper of the two, has no end
        "bound": len(done) <= len(values) // 2,
    }


def readers_of(run):
    """vCPUs that do not write: what they lose, they lose to others."""
    kinds = [item.split(":")[0] for item in run["load"].split(",")]
    return [i for i, kind in enumerate(kinds)
            if kind in ("compute", "read", "syscall")]


def of_vcpus(runs, field):
    count = min(len(r["guest_vcpus"]) for r in runs)
    return [statistics.median(r["guest_vcpus"][i][field] for r in runs)
            for i in range(count)]


def reader_held(runs):
    """Share of its time that the worst vCPU without writes stood still, in %.

    Its thread neither ran nor waited for a host CPU, though it always has
    something to do. Its work is no measure of this: a host's CPUs are twice
    as fast at one moment as at another.
    """
    told = [r for r in runs
            if all("held_pct" in v for v in r["guest_vcpus"])]
    if not told:
        return None
    held = of_vcpus(told, "held_pct")
    return max((held[i] for i in readers_of(told[0]) if i < len(held)),
               default=None)


def latencies_of(runs):
    """Medians over runs of each histogram's quantiles, in milliseconds."""
    found = {}
    for run in runs:
        for late in run.get("guest_latencies", []):
            found.setdefault(str(late["of"]), []).append(late)
    fields = ("p50_us", "p99_us", "max_us", "before_p50_us", "before_p99_us")
    return {of: {f.replace("_us", "_ms"):
                 statistics.median(late[f] for late in all_of) / 1e3
                 for f in fields}
            for of, all_of in sorted(found.items())}


def summarise_variant(runs, f_s):
    total = total_of(runs)
    done = [r for r in runs if r["outcome"] == "completed"]
    downs = [downtime_of(r) for r in done if downtime_of(r) is not None]
    limit = runs[0]["downtime_limit_ms"]
    lost_s = of_vcpus(runs, "lost_s")
    return {
        "runs": len(runs), "completed": len(done),
        "failed": sum(r["outcome"] == "failed" for r in runs),
        "lost_guests": sum(is_lost(r) for r in runs),
        "total_s": total,
        "of_f": total["median"] / f_s,
        "downtime_ms": spread(downs), "downtime_limit_ms": limit,
        "downtime_within": sum(is_within(r) for r in runs),
        "sent_mb": statistics.median(r["sent_bytes"] for r in runs) / 1e6,
        "max_throttle_pct": max(r["max_throttle_pct"] for r in runs),
        "lost_s": lost_s, "reader_held_pct": reader_held(runs),
        "silence_ms": max(r["max_silence_ms"] for r in runs),
        "bad_pages": max(r["bad_pages"] for r in runs),
        "host_others_pct": max(others_pct(r) for r in runs),
        "latency": latencies_of(runs),
    }


def summarise_workload(name, runs, described):
    first = runs[0]
    floors = [r["floor"] for r in runs if "floor" in r]
    f_s = statistics.median(f["f_s"] for f in floors)
    by_variant = {}
    for run in runs:
        by_variant.setdefault(variant_of(run), []).append(run)
    variants = {v: summarise_variant(by_variant[v], f_s)
                for v in sorted(by_variant, key=order_of)}
    return {
        "name": name, "group": described.get(name, {}).get("group", ""),
        "what": described.get(name, {}).get("what", first["load"]),
        "load": first["load"], "mem_mib": first["mem_mib"],
        "vcpus": first["vcpus"], "pinned": first.get("pinned", False),
        "wire": first.get("wire", False),
        "bandwidth_mb_per_s": first["bandwidth_bytes_per_s"] / 1e6,
        "f_s": f_s, "c_s": statistics.median(f["c_s"] for f in floors),
        "variants": variants,
    }


def order_of(variant):
    return ORDER.index(variant) if variant in ORDER else len(ORDER)


def speedups(workloads, variant):
    """How many times faster than stock, where stock took more than 2 F."""
    found = []
    for w in workloads:
        stock, ours = w["variants"].get("stock"), w["variants"].get(variant)
        if stock and ours and stock["of_f"] > 2:
            found.append({
                "workload": w["name"],
                "factor": stock["total_s"]["median"] /
                          ours["total_s"]["median"],
                "bound": stock["total_s"]["bound"] and
                         not ours["total_s"]["bound"],
            })
    return found


def slowest(workloads, variant):
    """The workload on which stock comes out best, as ours / stock."""
    ratios = [(w["variants"][variant]["total_s"]["median"] /
               w["variants"]["stock"]["total_s"]["median"], w["name"])
              for w in workloads
              if variant in w["variants"] and "stock" in w["variants"]]
    return max(ratios) if ratios else None


def judge(workloads, variant, errors):
    """What was claimed for a policy of ours against what was measured."""
    mine = [w["variants"][variant] for w in workloads
            if variant in w["variants"]]
    faster = speedups(workloads, variant)
    worst = slowest(workloads, variant)
    readers = [v["reader_held_pct"] for v in mine
               if v["reader_held_pct"] is not None]
    return {
        "speedup_median": statistics.median(f["factor"] for f in faster)
        if faster else None,
        "speedup_is_bound": any(f["bound"] for f in faster),
        "speedup_of": len(faster),
        "worst_ratio": worst[0] if worst else None,
        "worst_workload": worst[1] if worst else None,
        "lost_guests": sum(v["lost_guests"] for v in mine),
        "runs": sum(v["runs"] for v in mine),
        "completed": sum(v["completed"] for v in mine),
        "within_downtime": sum(v["downtime_within"] for v in mine),
        "reader_held_pct_worst": max(readers) if readers else None,
        "prediction_p90_pct": errors,
    }


def count_downtimes(runs):
    """By policy and limit: how many kept to it, and the longest."""
    found = {}
    for run in runs:
        row = found.setdefault(variant_of(run), {}).setdefault(
            str(run["downtime_limit_ms"]),
            {"runs": 0, "within": 0, "worst_ms": 0})
        row["runs"] += 1
        if run["outcome"] == "completed":
            row["within"] += is_within(run)
            row["worst_ms"] = max(row["worst_ms"], downtime_of(run))
    return found


def summarise(paths):
    import prediction

    everything, hosts, described = load_runs(paths)
    runs = [r for r in everything if r["workload"] != CAMPAIGN]
    by_workload = {}
    for run in runs:
        by_workload.setdefault(run["workload"], []).append(run)
    workloads = [summarise_workload(name, of, described)
                 for name, of in by_workload.items()]
    forecasts = prediction.summarise(runs)
    policies = sorted({variant_of(r) for r in runs} - set(PEERS),
                      key=order_of)
    return {
        "format": FORMAT, "hosts": hosts,
        "stock_lost_guests": sum(is_lost(r) for r in runs
                                 if variant_of(r) == "stock"),
        "runs": len(runs),
        "busy_runs": sum(others_pct(r) >= BUSY_HOST_PCT for r in runs),
        "stock_runs": sum(variant_of(r) == "stock" for r in runs),
        "workloads": workloads,
        "downtimes": count_downtimes(r for r in everything
                                     if r["workload"] == CAMPAIGN),
        "prediction": forecasts,
        "claims": {p: judge(workloads, p, forecasts.get(p, {})
                            .get("settled", {}).get("p90_pct"))
                   for p in policies},
    }
