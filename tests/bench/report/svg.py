# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Plots as SVG text, to stand in a page by themselves: bars, curves, points.
# A value without an end (a migration that was called off) is drawn with a
# ragged end or a hollow mark, never as if it were one.

import math
from html import escape

COLOURS = {"stock": "#8b93a1", "step": "#c58a1c", "predictive": "#2c6fd6",
           "dirty-limit": "#16855f", "auto": "#8151b8"}
GRID = "#e3e7ee"
TEXT = "#3a4250"


def colour(variant):
    return COLOURS.get(variant, "#444")


def text(x, y, what, anchor="start", size=12, fill=TEXT, extra=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" '
            f'text-anchor="{anchor}" {extra}>{escape(str(what))}</text>')


def line(x1, y1, x2, y2, stroke=GRID, width=1, extra=""):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{stroke}" stroke-width="{width}" {extra}/>')


def rect(x, y, width, height, fill, title=""):
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" '
            f'height="{height:.1f}" fill="{fill}" rx="1.5">'
            f'<title>{escape(title)}</title></rect>')


def dot(x, y, fill, title="", hollow=False, radius=4):
    inner = "#fff" if hollow else fill
    return (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{inner}" '
            f'stroke="{fill}" stroke-width="1.6">'
            f'<title>{escape(title)}</title></circle>')


def svg(width, height, parts, label):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
            f'aria-label="{escape(label)}" viewBox="0 0 {width} {height}" '
            f'font-family="system-ui, sans-serif">' + "".join(parts) +
            '</svg>')


def nice_step(span, about=5):
    raw = span / about
    power = 10 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= raw)


def ticks_to(top):
    step = nice_step(top)
    return [i * step for i in range(int(math.ceil(top / step - 1e-9)) + 1)]


def number(value):
    return f"{value:g}"


def legend(x, y, variants):
    parts = []
    for variant in variants:
        parts.append(rect(x, y - 9, 11, 11, colour(variant)))
        parts.append(text(x + 16, y, variant))
        x += 34 + 7 * len(variant)
    return "".join(parts)


def bars(groups, variants, unit, label, reference=None):
    """Lying bars. @groups: (name, {variant: (value, low, high, open)})."""
    left, right, bar, gap, top = 130, 70, 11, 12, 34
    width = 900
    most = max((v[2] for _, values in groups for v in values.values()),
               default=1)
    ticks = ticks_to(most)
    scale = (width - left - right) / ticks[-1]
    parts, y = [legend(left, 14, variants)], top
    height = top + 26 + sum(gap + bar * len(v) for _, v in groups)
    for tick in ticks:
        x = left + tick * scale
        parts.append(line(x, top - 6, x, height - 22))
        parts.append(text(x, height - 8, number(tick), "middle", 11))
    parts.append(text(width - 4, height - 8, unit, "end", 11))
    for name, values in groups:
        parts.append(text(left - 8, y + bar * len(values) / 2 + 4, name,
                          "end"))
        for variant in (v for v in variants if v in values):
            value, low, high, is_open = values[variant]
            end = left + value * scale
            told = ("> " if is_open else "") + \
                (f"{value:.2f}" if value < 10 else f"{value:.0f}")
            parts.append(rect(left, y, end - left, bar - 2, colour(variant),
                              f"{name}, {variant}: {told} {unit}"))
            if is_open:
                parts.append(f'<path d="M{end - 5:.1f} {y} l5 2.2 -4 2.3 4 '
                             '2.3 -5 2.2" fill="none" stroke="#fff" '
                             'stroke-width="1.6"/>')
            if high > low:
                parts.append(line(left + low * scale, y + bar / 2 - 1,
                                  left + high * scale, y + bar / 2 - 1,
                                  "#1c2430", 1))
            parts.append(text(max(end, left + high * scale) + 4, y + bar - 3,
                              told, size=10))
            y += bar
        y += gap
    if reference is not None:
        x = left + reference * scale
        parts.append(line(x, top - 6, x, height - 22, "#c0392b", 1.2,
                          'stroke-dasharray="4 3"'))
    return svg(width, height, parts, label)


class Frame:
    """Axes of a plot of points; either may be logarithmic."""

    def __init__(self, width, height, xs, ys, log_x=False, log_y=False):
        self.width, self.height = width, height
        self.left, self.right, self.top, self.bottom = 46, 12, 26, 36
        self.xs, self.ys, self.log_x, self.log_y = xs, ys, log_x, log_y

    @staticmethod
    def part(value, ends, log):
        low, high = ends
        if log:
            value, low, high = (math.log(v) for v in (value, low, high))
        return (value - low) / (high - low)

    def x(self, value):
        return self.left + self.part(value, self.xs, self.log_x) * \
            (self.width - self.left - self.right)

    def y(self, value):
        return self.height - self.bottom - \
            self.part(value, self.ys, self.log_y) * \
            (self.height - self.top - self.bottom)

    def axes(self, x_ticks, y_ticks, x_name, y_name, title):
        parts = [text(self.left, 14, title, size=13,
                      extra='font-weight="600"')]
        for tick in y_ticks:
            y = self.y(tick)
            parts.append(line(self.left, y, self.width - self.right, y))
            parts.append(text(self.left - 6, y + 4, number(tick), "end", 11))
        for tick in x_ticks:
            parts.append(text(self.x(tick), self.height - self.bottom + 15,
                              number(tick), "middle", 11))
        parts.append(text(self.width - self.right, self.height - 5, x_name,
                          "end", 11))
        if y_name:
            parts.append(text(self.width - self.right, 14, y_name, "end", 11))
        return "".join(parts)


def curve(frame, points, variant):
    """@points: (x, y, open, title), joined in order of x."""
    points = sorted(points)
    path = " ".join(f"{frame.x(p[0]):.1f},{frame.y(p[1]):.1f}"
                    for p in points)
    return (f'<polyline points="{path}" fill="none" '
            f'stroke="{colour(variant)}" stroke-width="2"/>' +
            "".join(dot(frame.x(x), frame.y(y), colour(variant), title,
                        is_open) for x, y, is_open, title in points))
