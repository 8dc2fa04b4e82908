# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# The summary as plain text, and as the rows that README shows.

BEGIN = "<!-- benchmark rows: scripts/bench-docs writes them -->"
END = "<!-- end of benchmark rows -->"
HEADLINE = ["paced", "flat-out"]
README_VARIANTS = ["dirty-limit", "predictive", "stock"]


METHOD = [
    "One guest after another: source and destination are two processes of the "
    "same QEMU on one host, the link is QEMU's max-bandwidth. Each run boots "
    "the guest anew and watches its load undisturbed for 1.5 s; that is what "
    "its work during the migration is held against.",
    "Variants take turns run by run, stock first in run 1, the next one first "
    "in run 2, and so on. Loads are the same in each run: their random "
    "numbers start from fixed seeds.",
    "F is measured per workload with stock QEMU: the time of the first pass "
    "over memory, and what is dirty then over the bandwidth. A migration is "
    "called off after so many times F as the table's '>' tell.",
    "Where the host has two CPUs or more, vCPUs that only compute have its "
    "last CPU for themselves, for all variants alike; everything else shares "
    "the others. So what such a vCPU loses, it loses to the throttle and not "
    "to its neighbours.",
    "A run beside which others took 5 % or more of the host's CPUs is made "
    "once more, and the less disturbed of the two counts.",
    "Work lost: how long a vCPU would need, undisturbed, for what it did not "
    "get done during the migration. Negative where the host ran faster then.",
    "Stood still: the share of the migration in which a vCPU's thread neither "
    "ran nor waited for a CPU of the host, of the worst vCPU that does not "
    "write and always has something to do. A migration that slows down nobody "
    "shows some 2 %: waits for QEMU's lock, and what the host itself takes. "
    "The host's CPUs are twice as fast at one moment as at another, which this "
    "does not show, and work does.",
    "Completed is only who is seen at work at the destination: the guest's "
    "own reports must come from there.",
]

OVER_A_WIRE = \
    "A workload over a wire goes over TCP, through a proxy that passes on so " \
    "much a second, with the kernel's own buffers; QEMU has no cap there. Its " \
    "downtime is what the guest felt: the longest time between two of its own " \
    "reports around the switch-over, which counts as within the limit up to " \
    "50 ms beyond it."


def method(summary):
    """How it was measured, a paragraph each."""
    wired = any(w.get("wire") for w in summary["workloads"])
    return METHOD + ([OVER_A_WIRE] if wired else [])


def seconds(total):
    return ("> " if total["bound"] else "") + f'{total["median"]:.1f}'


def held(variant):
    pct = variant["reader_held_pct"]
    return "-" if pct is None else f"{pct:.1f}"


def ratio(variant):
    return ("> " if variant["total_s"]["bound"] else "") + \
        f'{variant["of_f"]:.2f}'


def slashed(values, form="{:.1f}"):
    return "/".join(form.format(v) for v in values)


def latency(variant, of, field):
    found = variant["latency"].get(of)
    return f"{found[field]:.1f}" if found else "-"


def reader_of(workload):
    """The last vCPU that has a clock and does not write, as a string."""
    kinds = [item.split(":")[0] for item in workload["load"].split(",")]
    calm = [i for i, kind in enumerate(kinds[:4])
            if kind in ("compute", "read", "syscall")]
    return str(calm[-1]) if calm else "0"


def host_lines(summary):
    told = []
    for host in summary["hosts"]:
        line = (f'{host["cpu"]}, {host["cpus"]} CPUs, '
                f'{host["memory_mib"] // 1024} GiB; {host["system"]}, Linux '
                f'{host["kernel"]}; {host["accel"].upper()}; '
                f'ours: {host["ours"]}; stock: {host["stock"]}')
        if line not in told:
            told.append(line)
    return told


def when(summary):
    """A date, or two: a benchmark may be made in parts."""
    dates = [host["date"] for host in summary["hosts"]]
    if len(dates) > 1:
        return f"{dates[0]} to {dates[-1]}, in {len(dates)} parts"
    return dates[0] if dates else "no date"


def table(summary):
    lines = host_lines(summary) + [when(summary)]
    lines.append("")
    head = (f'{"workload":<16} {"qemu":<12} {"done":>5} {"total s":>8} '
            f'{"min-max":>11} {"x F":>7} {"down ms":>8} {"limit":>5} '
            f'{"sent MB":>8} {"lost s, each vCPU":>18} {"still %":>7} '
            f'{"p50 ms":>7} '
            f'{"p99 ms":>7}')
    lines.append(head)
    for w in summary["workloads"]:
        for name, v in w["variants"].items():
            down = f'{v["downtime_ms"]["median"]:.0f}' \
                if v["downtime_ms"] else "-"
            total = v["total_s"]
            extent = f'{total["min"]:.1f}-{total["max"]:.1f}'
            done = f'{v["completed"]}/{v["runs"]}'
            of = reader_of(w)
            lines.append(
                f'{w["name"]:<16} {name:<12} {done:>5} '
                f'{seconds(total):>8} {extent:>11} {ratio(v):>7} {down:>8} '
                f'{v["downtime_limit_ms"]:>5} {v["sent_mb"]:>8.0f} '
                f'{slashed(v["lost_s"]):>18} {held(v):>7} '
                f'{latency(v, of, "p50_ms"):>7} '
                f'{latency(v, of, "p99_ms"):>7}')
    lines += ["", "Medians. '>': called off, or failed, before its end: a "
              "lower bound.", "still: share of the time in which the worst "
              "vCPU that does not write stood still.", "p50, p99: lateness of "
              "timers on the last vCPU that does not write."]
    lines += claims(summary)
    return "\n".join(lines) + "\n"


def downtimes(summary):
    """Lines on the campaign of many short migrations."""
    lines = []
    for policy, limits in summary["downtimes"].items():
        for limit, row in limits.items():
            lines.append(f'{policy}: {row["within"]} of {row["runs"]} short '
                         f'migrations within {limit} ms, the longest '
                         f'downtime was {row["worst_ms"]} ms')
    return lines


def policy_claims(c):
    """What a policy comes to over all workloads, a phrase each."""
    said = []
    if c["speedup_median"]:
        mark = "at least " if c["speedup_is_bound"] else ""
        said.append(f'{mark}{c["speedup_median"]:.1f} times faster in the '
                    f'median of the {c["speedup_of"]} workloads where stock '
                    f'takes more than 2 F')
    if c["worst_ratio"]:
        said.append(f'{c["worst_ratio"]:.2f} of stock\'s time in its worst '
                    f'workload, {c["worst_workload"]}')
    said.append(f'{c["completed"]} of {c["runs"]} runs completed, '
                f'{c["within_downtime"]} within the downtime limit')
    if c["reader_held_pct_worst"] is not None:
        said.append(f'vCPUs that do not write stood still for at most '
                    f'{c["reader_held_pct_worst"]:.1f} % of the time')
    return said


def claims(summary):
    lines = [""] + downtimes(summary)
    if summary["busy_runs"]:
        lines.append(f'in {summary["busy_runs"]} of {summary["runs"]} runs '
                     f'others took 5 % or more of the host\'s CPUs')
    if summary["stock_lost_guests"]:
        lines.append(f'stock: in {summary["stock_lost_guests"]} of '
                     f'{summary["stock_runs"]} runs QEMU said "completed" '
                     f'and the guest was dead at its destination; such a run '
                     f'has the time that QEMU told, and is not "done"')
    for policy, c in summary["claims"].items():
        lines += [f"{policy}: {said}" for said in policy_claims(c)]
        for moment, f in summary["prediction"].get(policy, {}).items():
            lines.append(f'{policy}: forecast, {moment}: off by '
                         f'{f["p50_pct"]:.0f} % (p50), {f["p90_pct"]:.0f} % '
                         f'(p90) of the time that remained, '
                         f'{f["runs"]} runs')
    return lines


def readme_row(workload, name, first):
    v = workload["variants"][name]
    guest = f'{workload["what"]}, F = {workload["f_s"]:.1f} s' if first else ""
    who = "stock" if name == "stock" else f"ours, `{name}`"
    cut = "not done after " if v["total_s"]["bound"] else ""
    of_f = f'> {v["of_f"]:.1f}' if cut else f'{v["of_f"]:.2f}'
    down = f'{v["downtime_ms"]["median"]:.0f} ms' if v["downtime_ms"] else "-"
    lost = " / ".join(f"{s:.1f} s" for s in v["lost_s"])
    still = "-" if v["reader_held_pct"] is None else f"{held(v)} %"
    return (f'| {guest} | {who} | {cut}{v["total_s"]["median"]:.1f} s | '
            f'{of_f} | {lost} | {still} | {down} |')


def readme_claims(summary):
    """What the whole of the benchmark comes to, a line for each policy."""
    lines = [f'Of all {len(summary["workloads"])} workloads:', ""]
    for policy in README_VARIANTS:
        if policy in summary["claims"]:
            said = "; ".join(policy_claims(summary["claims"][policy]))
            lines.append(f"* `{policy}`: {said}.")
    return [""] + lines


def readme_rows(summary):
    """What stands between the two marks in README.md, marks included."""
    by_name = {w["name"]: w for w in summary["workloads"]}
    runs = max(v["runs"] for w in by_name.values()
               for v in w["variants"].values())
    lines = [BEGIN,
             f"Medians of {runs} runs each, {when(summary)}, on "
             f"{summary['hosts'][0]['cpu']} with "
             f"{summary['hosts'][0]['cpus']} CPUs:", "",
             "| guest | QEMU | total | of F | work lost, writer / reader | "
             "reader stood still | downtime |",
             "|---|---|---|---|---|---|---|"]
    for name in HEADLINE:
        workload = by_name[name]
        shown = [v for v in README_VARIANTS if v in workload["variants"]]
        for i, variant in enumerate(shown):
            lines.append(readme_row(workload, variant, i == 0))
    lines += readme_claims(summary)
    lines.append(END)
    return "\n".join(lines)


def replace_rows(readme, rows):
    """README's text with the new rows; None if it has no marks for them."""
    begin, end = readme.find(BEGIN), readme.find(END)
    if begin < 0 or end < begin:
        return None
    return readme[:begin] + rows + readme[end + len(END):]
