"""What people said, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Numbers = dict[str, Any]


def lines(numbers: Numbers) -> Iterator[str]:
    """Each pair, the strengths, how far raters can be trusted, the gate, and the bars."""
    people, gate = numbers.get("people"), numbers.get("gate")
    if not people and not gate:
        yield "nothing has been rated yet"
    if people:
        yield from _people(people)
    if gate:
        yield from _gate(gate)
    for bar in numbers.get("bars") or []:
        yield f"{bar['state']}: {bar['name']} ({bar['words']})"


def _people(people: Numbers) -> Iterator[str]:
    for pair in people["pairs"]:
        said = f"{pair['first_better']} to {pair['second_better']}, {pair['both_good'] + pair['both_bad']} ties"
        share = pair["share"]
        figure = f"share {_figure(share)}, {_p(pair)}" if share else "no share yet: some kind of row has no rating"
        yield (
            f"{pair['first']} against {pair['second']}: {said} in {pair['ratings']} ratings of {pair['rated_rows']} "
            f"rows; {figure}"
        )
        if pair["same_rows"]:
            yield f"  {pair['same_rows']} rows with the same answer count as ties without being shown"
    for one in people.get("criteria", []):
        counts = f"{one['first_better']} to {one['second_better']}, {one['same']} the same"
        yield f"  {one['criterion']}, {one['first']} against {one['second']}: {counts}"
    if people.get("strengths"):
        yield "strengths: " + ", ".join(f"{name} {_figure(one)}" for name, one in people["strengths"].items())
    if people.get("alpha"):
        yield f"raters agree (Krippendorff's alpha): {_figure(people['alpha'])}, {people['alpha']['items']} items"
    if again := people.get("self_agreement"):
        yield f"raters agree with themselves: {again['agreed']} of {again['n']}, {_figure(again)}"
    if bias := people.get("side_bias"):
        yield f"left answer preferred: {bias['left']} of {bias['n']}, {_figure(bias)}, p = {bias['p']:.3f}"
    for one in people.get("raters", []):
        yield f"rater {one['rater']}: {one['ratings']} ratings, {one['comments']} comments"
    if people["skipped"]:
        yield f"skipped: {people['skipped']}"


def _gate(gate: Numbers) -> Iterator[str]:
    share = f", {_figure(gate['share'])} by the exact interval" if gate["share"] else ""
    whole = f"{gate['cases']} cases, by {gate['by']}"
    yield f"gate: {gate['passed']} of {gate['judged']} judged cases pass{share} ({whole})"
    if critical := gate["critical"]:
        yield f"critical failures: {critical['count']}, at most {critical['high']:.3f} by the exact upper bound"
    for one in gate.get("criteria", []) if gate["judged"] else []:
        yield f"  {one['criterion']}: {one['passed']} of {one['n']}"
    if gate["failed"]:
        yield f"failed: {', '.join(gate['failed'])}"


def _figure(one: Numbers) -> str:
    interval = "" if one.get("low") is None else f" ({one['low']:.3f} to {one['high']:.3f})"
    return f"{one['value']:.3f}{interval}"


def _p(pair: Numbers) -> str:
    return f"{pair['test']} p < 0.0001" if pair["p"] < 0.0001 else f"{pair['test']} p = {pair['p']:.4f}"
