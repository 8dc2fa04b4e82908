# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# The summary as one HTML page that needs nothing beside it.

import json
from html import escape

import svg
import text

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #232a35; margin: 0;
       background: #fff; }
main { max-width: 960px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 26px; margin: 8px 0 4px; }
h2 { font-size: 19px; margin: 38px 0 4px; }
p { margin: 6px 0; max-width: 74ch; }
.host { color: #5b6675; font-size: 13px; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 18px 0; }
.card { border: 1px solid #dde2ea; border-radius: 8px; padding: 10px 14px;
        flex: 1 1 200px; }
.card b { display: block; font-size: 23px; }
.card span { color: #5b6675; font-size: 13px; }
.three { display: grid; grid-template-columns: repeat(auto-fit,
         minmax(280px, 1fr)); gap: 10px; }
svg { width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; margin: 8px 0; }
th, td { padding: 3px 9px; text-align: right; white-space: nowrap;
         border-bottom: 1px solid #e8ebf0; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2)
{ text-align: left; }
tr.first td { border-top: 1px solid #b9c1cd; }
.bad { color: #b3261e; font-weight: 600; }
"""

GROUPS = [("reference", "The two reference guests"), ("shape", "Shapes"),
          ("link", "Three links"), ("vcpus", "One to four vCPUs"),
          ("program", "Real programs"), ("ladder", "Ladder")]


def variants_of(summary):
    import results

    names = {v for w in summary["workloads"] for v in w["variants"]}
    return sorted(names, key=results.order_of)


def paragraph(what):
    return f"<p>{what}</p>"


def card(big, small):
    return f'<div class="card"><b>{big}</b><span>{small}</span></div>'


def cards(summary):
    told = []
    for policy, c in summary["claims"].items():
        if c["speedup_median"]:
            sign = "&ge; " if c["speedup_is_bound"] else ""
            told.append(card(
                f'{sign}{c["speedup_median"]:.1f} &times;',
                f'faster than stock with <i>{policy}</i>: median of the '
                f'{c["speedup_of"]} workloads where stock takes more than '
                f'2&nbsp;F'))
    for policy, c in summary["claims"].items():
        told.append(card(f'{c["within_downtime"]} of {c["runs"]}',
                         f'<i>{policy}</i>: completed, with a downtime '
                         f'within the limit'))
    for policy, c in summary["claims"].items():
        if c["reader_held_pct_worst"] is not None:
            told.append(card(
                f'&le; {c["reader_held_pct_worst"]:.1f} %',
                f'of the time is what vCPUs that do not write stood still '
                f'with <i>{policy}</i>, in its worst workload'))
    if summary["stock_lost_guests"]:
        told.append(card(f'{summary["stock_lost_guests"]} of '
                         f'{summary["stock_runs"]}',
                         'stock: QEMU said &ldquo;completed&rdquo;, and the '
                         'guest was dead at its destination. Such a run '
                         'keeps the time that QEMU told'))
    return '<div class="cards">' + "".join(told) + "</div>"


def bar_of(v, f_s):
    total = v["total_s"]
    return (total["median"] / f_s, total["min"] / f_s, total["max"] / f_s,
            total["bound"])


def total_bars(summary):
    parts = []
    for group, title in GROUPS:
        chosen = [w for w in summary["workloads"] if w["group"] == group]
        if not chosen or group == "ladder":
            continue
        rows = [(w["name"], {n: bar_of(v, w["f_s"])
                             for n, v in w["variants"].items()})
                for w in chosen]
        names = [n for n in variants_of(summary)
                 if any(n in values for _, values in rows)]
        parts.append(f"<h3>{title}</h3>")
        parts.append(svg.bars(rows, names, "x F", f"total time, {title}",
                              reference=1))
    return "".join(parts)


def ladder(summary):
    sets = {}
    for w in summary["workloads"]:
        if w["group"] == "ladder":
            mib, times = w["name"].split("-")[1:3]
            sets.setdefault(int(mib), []).append((float(times), w))
    parts = []
    for mib, rungs in sorted(sets.items()):
        most = max(v["total_s"]["median"] for _, w in rungs
                   for v in w["variants"].values())
        ticks = svg.ticks_to(most)
        frame = svg.Frame(310, 250, (0.4, 25), (0, ticks[-1]), log_x=True)
        inner = [frame.axes([0.5, 1, 2, 5, 20], ticks, "dirty rate / link",
                            "total s", f"{mib} MiB")]
        for name in variants_of(summary):
            points = [(times, w["variants"][name]["total_s"]["median"],
                       w["variants"][name]["total_s"]["bound"],
                       f'{name}: {text.seconds(w["variants"][name]["total_s"])}'
                       ' s') for times, w in rungs if name in w["variants"]]
            if points:
                inner.append(svg.curve(frame, points, name))
        floor = sorted((times, w["f_s"]) for times, w in rungs)
        path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}"
                        for x, y in floor)
        inner.append(f'<polyline points="{path}" fill="none" '
                     'stroke="#c0392b" stroke-dasharray="4 3"/>')
        parts.append(svg.svg(310, 250, inner, f"ladder, {mib} MiB"))
    return '<div class="three">' + "".join(parts) + "</div>" if parts else ""


def but_ladder(summary):
    """The ladder's 15 rungs would drown the rest; the table has them."""
    return [w for w in summary["workloads"] if w["group"] != "ladder"]


def reader_bars(summary):
    rows = []
    for w in but_ladder(summary):
        values = {n: (v["reader_held_pct"],) * 3 + (False,)
                  for n, v in w["variants"].items()
                  if v["reader_held_pct"] is not None}
        if values:
            rows.append((w["name"], values))
    return svg.bars(rows, variants_of(summary), "%",
                    "of the time vCPUs that do not write stand still",
                    reference=3) \
        if rows else ""


def downtimes(summary):
    """All of a workload's downtimes against the limit, on a log scale."""
    rows = [w for w in summary["workloads"]]
    height = 50 + 16 * len(rows)
    frame = svg.Frame(900, height, (0.5, 3000), (0, 1), log_x=True)
    frame.left = 130
    parts = [svg.legend(130, 14, variants_of(summary))]
    for tick in (1, 3, 10, 30, 100, 300, 1000):
        x = frame.x(tick)
        parts.append(svg.line(x, 22, x, height - 26))
        parts.append(svg.text(x, height - 10, tick, "middle", 11))
    parts.append(svg.text(896, height - 10, "ms", "end", 11))
    for i, w in enumerate(rows):
        row = 32 + 16 * i
        parts.append(svg.text(122, row + 4, w["name"], "end"))
        for k, (name, v) in enumerate(w["variants"].items()):
            y = row + 3 * (k - (len(w["variants"]) - 1) / 2)
            down = v["downtime_ms"]
            if not down:
                continue
            low, high = (frame.x(max(down[end], 0.6))
                         for end in ("min", "max"))
            parts.append(svg.line(low, y, high, y, svg.colour(name), 1.4))
            parts.append(svg.dot(frame.x(max(down["median"], 0.6)), y,
                                 svg.colour(name),
                                 f'{name}: {down["median"]:.0f} ms',
                                 radius=2.6))
        limit = frame.x(w["variants"][next(iter(w["variants"]))]
                        ["downtime_limit_ms"])
        parts.append(svg.line(limit, row - 8, limit, row + 8, "#c0392b",
                              1.4))
    return svg.svg(900, height, parts, "downtime against its limit")


def forecasts(summary):
    parts = []
    for policy, moments in summary["prediction"].items():
        settled = moments.get("settled") or moments.get("converging")
        if not settled:
            continue
        points = [p for p in settled["points"] if p[1] > 0.05 and p[2] > 0]
        if not points:
            continue
        most = max(max(p[1], p[2]) for p in points) * 1.05
        ticks = [t for t in svg.ticks_to(most) if t <= most]
        frame = svg.Frame(310, 280, (0, most), (0, most))
        inner = [frame.axes(ticks, ticks, "s that remained", "s foretold",
                            policy)]
        for factor, dash in ((1, ""), (0.8, "3 3"), (1.2, "3 3")):
            x = min(most, most / factor)
            inner.append(svg.line(frame.x(0), frame.y(0), frame.x(x),
                                  frame.y(x * factor), "#9aa3b0", 1,
                                  f'stroke-dasharray="{dash}"'))
        inner += [svg.dot(frame.x(real), frame.y(min(told, most)),
                          svg.colour(policy), f"{name}: {told} s foretold, "
                          f"{real} s remained", radius=3)
                  for name, real, told in points]
        parts.append(svg.svg(310, 280, inner, f"forecast of {policy}"))
    return '<div class="three">' + "".join(parts) + "</div>"


def forecast_table(summary):
    rows = ["<tr><th>policy<th>forecast taken<th>runs<th>p50 %<th>p90 %"
            "<th>p90, % of total</tr>"]
    for policy, moments in summary["prediction"].items():
        for moment, f in moments.items():
            rows.append(f'<tr><td>{policy}<td>{moment}<td>{f["runs"]}'
                        f'<td>{f["p50_pct"]:.0f}<td>{f["p90_pct"]:.0f}'
                        f'<td>{f["p90_of_total_pct"]:.0f}</tr>')
    return '<div class="scroll"><table>' + "".join(rows) + "</table></div>"


def latency_bars(summary):
    rows = []
    for w in but_ladder(summary):
        of = "program" if w["name"] == "redis" else text.reader_of(w)
        values = {n: (v["latency"][of]["p99_ms"],) * 3 + (False,)
                  for n, v in w["variants"].items() if of in v["latency"]}
        if values:
            name = "redis answers" if of == "program" else w["name"]
            rows.append((name, values))
    return svg.bars(rows, variants_of(summary), "ms, p99",
                    "latency in the guest") if rows else ""


def cell(value, bad=False):
    mark = ' class="bad"' if bad else ""
    return f"<td{mark}>{value}"


def big_table(summary):
    rows = ["<tr><th>workload<th>QEMU<th>done<th>total s<th>min&ndash;max"
            "<th>of F<th>down ms<th>sent MB<th>throttle<th>lost s, each vCPU"
            "<th>still %<th>timer p50 / p99 ms<th>undisturbed</tr>"]
    for w in summary["workloads"]:
        for i, (name, v) in enumerate(w["variants"].items()):
            total, down = v["total_s"], v["downtime_ms"]
            late = v["latency"].get(text.reader_of(w))
            told = f'{late["p50_ms"]:.2f} / {late["p99_ms"]:.1f}' \
                if late else "-"
            before = f'{late["before_p50_ms"]:.2f} / ' \
                     f'{late["before_p99_ms"]:.1f}' if late else "-"
            title = escape(f'{w["what"]}; load={w["load"]}; F = '
                           f'{w["f_s"]:.1f} s')
            rows.append(
                f'<tr{" class=first" if not i else ""}>'
                f'<td title="{title}">{w["name"] if not i else ""}'
                f'<td>{name}' +
                cell(f'{v["completed"]}/{v["runs"]}',
                     v["completed"] < v["runs"]) +
                cell(text.seconds(total)) +
                cell(f'{total["min"]:.1f}&ndash;{total["max"]:.1f}') +
                cell(text.ratio(v)) +
                cell(f'{down["median"]:.0f}' if down else "-",
                     bool(down) and down["max"] > v["downtime_limit_ms"]) +
                cell(f'{v["sent_mb"]:.0f}') +
                cell(f'{v["max_throttle_pct"]} %') +
                cell(text.slashed(v["lost_s"])) +
                cell(text.held(v)) + cell(told) +
                cell(before) + "</tr>")
    return '<div class="scroll"><table>' + "".join(rows) + "</table></div>"


def section(title, *parts):
    return f"<h2>{title}</h2>" + "".join(parts)


def html(summary):
    method = "".join(f"<li>{escape(m)}</li>" for m in text.method(summary))
    body = [
        "<h1>Live migration: stock QEMU and ours, side by side</h1>",
        "".join(f'<p class="host">{escape(h)}</p>'
                for h in text.host_lines(summary)),
        f'<p class="host">{escape(text.when(summary))}; source, '
        'destination and guest share the host. Variants took turns run by '
        'run, the first one another each time.</p>', cards(summary),
        section("Total time, as a multiple of F",
                paragraph("F is what stopping the guest after the first pass "
                          "over its memory would take (dashed). A bar with a "
                          "ragged end was called off: its time is a lower "
                          "bound. Thin lines: least and most of all runs."),
                total_bars(summary)),
        section("Dirty rate from half to 20 times the link",
                paragraph("Hollow: called off. Dashed: F."),
                ladder(summary)),
        section("How long vCPUs stand still that do not write",
                paragraph("Share of the migration in which the worst of them "
                          "neither ran nor waited for a CPU of the host; "
                          "dashed: 3 %. The ladder's are in the table below."),
                reader_bars(summary)),
        section("Downtime against its limit",
                paragraph("Medians, least and most; red: the limit."),
                downtimes(summary),
                "".join(paragraph(escape(told))
                        for told in text.downtimes(summary))),
        section("Latency in the guest",
                paragraph("How late a timer of 4 ms fires on the last vCPU "
                          "that does not write, 99th percentile over the "
                          "migration; for redis, how late it answers."),
                latency_bars(summary)),
        section("What the engine foretold",
                paragraph("Remaining time foretold once the throttle had "
                          "settled, against what remained; dashed: 20 % "
                          "off."), forecasts(summary),
                forecast_table(summary)),
        section("All figures", paragraph("Medians. Hover over a name for its "
                                         "load."), big_table(summary)),
        section("How it was measured", f"<ul>{method}</ul>",
                paragraph("<code>make bench</code> does the same on your "
                          "host.")),
    ]
    return ("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
            "<meta name=\"viewport\" content=\"width=device-width\">"
            f"<title>Benchmark</title><style>{STYLE}</style></head><body>"
            "<main>" + "\n".join(body) + "</main></body></html>\n")


def markdown(summary, picture_page):
    """For readers of the repository: the same figures as a table."""
    lines = ["# Benchmark", "", f"The same with plots: [{picture_page}]"
             f"({picture_page}). Written by `scripts/bench-docs`.", ""]
    lines += [f"* {h}" for h in text.host_lines(summary)]
    lines += ["", "```", text.table(summary).rstrip(), "```", "",
              "## How it was measured", ""]
    lines += [f"* {m}" for m in text.method(summary)] + [""]
    return "\n".join(lines)


def dump(summary):
    """JSON with a line for each workload, so that differences can be read."""
    parts = []
    for key, value in summary.items():
        if isinstance(value, list):
            inner = ",\n  ".join(json.dumps(v) for v in value)
            parts.append(f'"{key}": [\n  {inner}\n]')
        else:
            parts.append(f'"{key}": {json.dumps(value)}')
    return "{" + ",\n".join(parts) + "}\n"
