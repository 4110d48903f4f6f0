"""The figures as pictures: SVG that reads on light and dark pages, with no fonts from elsewhere."""

from __future__ import annotations

import math
from typing import Any
from xml.sax.saxutils import escape

from cases import OURS

WIDTH = 760
LEFT, SCALE = 250, 380  # where bars begin, and how long the whole ceiling is
ROW, GAP = 22, 30
STYLE = """<style>
text { font: 12px system-ui, "Segoe UI", "Helvetica Neue", "Liberation Sans", sans-serif; fill: #1e1d1a; }
.dim { fill: #6d6a62; } .title { font-weight: 600; } .end { text-anchor: end; } .mid { text-anchor: middle; }
.paper { fill: #fcfbf8; } .ours { fill: #0d6a63; } .peer { fill: #8d8980; } .rule { stroke: #e3dfd5; }
.limit { stroke: #1e1d1a; stroke-dasharray: 3 3; } .line { stroke: #0d6a63; fill: none; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
text { fill: #e9e6de; } .dim { fill: #9b978c; }
.paper { fill: #171816; } .ours { fill: #63c0b4; } .peer { fill: #8b877d; } .rule { stroke: #32332f; }
.limit { stroke: #e9e6de; } .line { stroke: #63c0b4; }
}
</style>"""


def bars(cases: dict[str, dict[str, Any]], names: dict[str, str]) -> str:
    """A bar for every contender of every training case: its share of the ceiling, with tokens a second at its end."""
    parts: list[str] = []
    y = 36
    for case in cases.values():
        parts.append(_text(16, y, case["title"], "title"))
        y += 10
        for name, row in case["contenders"].items():
            share = row["share_of_limit"]
            parts.append(_text(LEFT - 10, y + 15, _short(names[name]), "end"))
            kind, long = "ours" if name == OURS else "peer", SCALE * share
            parts.append(f'<rect class="{kind}" x="{LEFT}" y="{y + 3}" width="{long:.1f}" height="{ROW - 6}"/>')
            parts.append(_text(LEFT + long + 6, y + 15, f"{row['speed']:,.0f} tokens/s", "dim"))
            y += ROW
        y += GAP
    bottom = y - GAP + 6
    grid = [
        f'<line class="{"limit" if tenth == 4 else "rule"}" x1="{x}" y1="24" x2="{x}" y2="{bottom}"/>'
        + _text(x, bottom + 16, f"{25 * tenth} %" if tenth < 4 else "ceiling", "dim mid")
        for tenth in range(5)
        for x in [LEFT + SCALE * tenth / 4]
    ]
    return _svg(bottom + 28, "Tokens a second and share of the ceiling of matrix products", [*grid, *parts])


def curves(sweeps: list[dict[str, Any]], title: str = "How time and memory grow") -> str:
    """A small line chart for each sweep: the first of its figures over what was grown."""
    parts: list[str] = []
    width, height = WIDTH // 2, 190
    for number, sweep in enumerate(sweeps):
        x0, y0 = number % 2 * width, number // 2 * height
        key, unit = next(iter(sweep["units"].items()))
        points = sweep["points"]
        right, top = max(point["at"] for point in points), max(point[key] for point in points)
        places = [
            (x0 + 30 + (width - 90) * point["at"] / right, y0 + height - 40 - (height - 96) * point[key] / top)
            for point in points
        ]
        parts.append(_text(x0 + 16, y0 + 24, sweep["title"], "title"))
        floor = y0 + height - 40
        parts.append(f'<line class="rule" x1="{x0 + 30}" y1="{floor}" x2="{x0 + width - 60}" y2="{floor}"/>')
        parts.append(f'<polyline class="line" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>')
        for point, (x, y) in zip(points, places, strict=True):
            parts.append(f'<circle class="ours" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
            parts.append(_text(x, floor + 16, f"{point['at']:g}", "dim mid"))
        parts.append(_text(places[-1][0], places[-1][1] - 9, f"{points[-1][key]:,.3g} {unit}", "mid"))
        parts.append(_text(x0 + 30, floor + 32, sweep["what"], "dim"))
    return _svg((len(sweeps) + 1) // 2 * height, title, parts)


def scattered(points: list[dict[str, Any]], title: str, below: str) -> str:
    """A dot with its interval and name for each point: value over `at`, which runs by powers of ten.

    Names that would touch an earlier one are moved away from it.
    """
    height, left, right, top = 420, 60, WIDTH - 90, 50
    floor = height - 50
    first = math.floor(math.log10(min(point["at"] for point in points)))
    last = math.ceil(math.log10(max(point["at"] for point in points)))

    def across(at: float) -> float:
        return left + (right - left) * (math.log10(at) - first) / (last - first)

    def up(value: float) -> float:
        return floor - (floor - top) * value

    parts = [_text(16, 24, title, "title"), _text((left + right) / 2, height - 12, below, "dim mid")]
    for tenth in range(0, 11, 2):
        y = up(tenth / 10)
        parts.append(f'<line class="rule" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(_text(left - 8, y + 4, f"{tenth / 10:.1f}", "dim end"))
    parts += [_text(across(10**power), floor + 18, f"{10**power:,}", "dim mid") for power in range(first, last + 1)]
    taken: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda one: -one["value"]):
        x, y = across(point["at"]), up(point["value"])
        parts.append(
            f'<line class="line" x1="{x:.1f}" y1="{up(point["low"]):.1f}" x2="{x:.1f}" y2="{up(point["high"]):.1f}"/>'
        )
        parts.append(f'<circle class="ours" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>')
        line = y + 4
        while any(abs(x - other) < 80 and abs(line - place) < 13 for other, place in taken):
            line += 1
        taken.append((x, line))
        parts.append(_text(x + 8, line, point["name"], ""))
    return _svg(height, title, parts)


def _short(name: str) -> str:
    return name.replace(", PEFT", "").replace("flattening collator", "flattening")


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def _svg(height: float, title: str, parts: list[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img">'
    paper = f'<rect class="paper" width="{WIDTH}" height="{height:.0f}"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", STYLE, paper, *parts, "</svg>", ""])
