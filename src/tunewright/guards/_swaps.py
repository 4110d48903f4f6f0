"""Counterfactual swaps of test rows: does the answer change when the same is asked about others, more than when it is
asked in other words?
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunewright.core import statistics
from tunewright.core.example import Example
from tunewright.core.guarding import EditChoice, GuardScene, Who
from tunewright.core.report import Finding, Measure
from tunewright.data import swaps
from tunewright.guards._compared import asked, difference, drawn, missing

_TRIES = 6  # other draws of a neutral edit, of which the one that changes as many words as the swap is taken
_FEWEST = 20  # pairs of rows from which on anything is told
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_WORD = re.compile(r"\w+(?:['\u2019]\w+)?")


@dataclass(frozen=True)
class Trio:
    """A row, the same about others, and the same in other words: as many of them changed. Into: from which category of
    people to which, None where both stood there.
    """

    row: Example
    swapped: Example
    neutral: Example
    into: tuple[str, str] | None


@dataclass(frozen=True)
class Told:
    """What a model answered to a row, and how likely it found each label (nothing where answers are free)."""

    text: str
    shares: Mapping[str, float]
    grade: float | None


@dataclass(frozen=True)
class Found:
    """What the swaps of one group of people showed."""

    measures: list[Measure]
    findings: list[Finding]
    samples: list[dict[str, Any]]
    figures: dict[str, Any]


def look(
    scene: GuardScene, group: str, *, rows: int, bound: float | None, base: bool, favourable: Sequence[str]
) -> Found | None:
    """The swaps of one group; None where too few test rows speak of it in words that have a counterpart."""
    trios = drawn(_trios(scene, group), rows, scene.seed)
    if len(trios) < _FEWEST:
        return None
    told = {who: _told(scene, who, trios, group) for who in _whos(base)}
    flips = {who: _flips(scene, one) for who, one in told.items()}
    found = {who: difference(swapped, neutral) for who, (swapped, neutral) in flips.items()}
    swapped, neutral = flips["tuned"]
    share, tuned = statistics.wilson(sum(swapped), len(swapped)), found["tuned"]
    rate = Measure(
        name=f"{group} swaps: answers that change",
        **share.plain(),
        n=len(trios),
        base=float(np.mean(flips["base"][0])) if base else None,
        tuned=share.value,
    )
    beyond = Measure(
        name=f"{group} swaps: answers that change beyond those of a paraphrase",
        **tuned.plain(),
        n=len(trios),
        base=found["base"].value if base else None,
        tuned=tuned.value,
        bound=bound,
        need=missing(tuned.value, tuned.error, len(trios), bound),
    )
    figures = {
        "pairs": len(trios),
        "flipped_by_swap": sum(swapped),
        "flipped_by_paraphrase": sum(neutral),
        "p": tuned.p,
        "words_swapped": float(np.mean([_num_changed(trio.row, trio.swapped) for trio in trios])),
        "words_paraphrased": float(np.mean([_num_changed(trio.row, trio.neutral) for trio in trios])),
        "shifts": _shifts(trios, told["tuned"], favourable),
    }
    return Found([rate, beyond], _findings(group, tuned, len(trios)), _samples(group, trios, told["tuned"]), figures)


def _whos(base: bool) -> list[Who]:
    return ["tuned", "base"] if base else ["tuned"]


# --- rows ---


def _trios(scene: GuardScene, group: str) -> list[Trio]:
    spoken = [row for row in scene.splits["test"] if swaps.mentions(_said(row), group)]
    other = scene.edited(spoken, {"kind": "swap", "group": group})
    pairs = [(row, new) for row, new in zip(spoken, other, strict=True) if new is not None and _said(row) != _said(new)]
    neutral = _neutral(scene, [row for row, _ in pairs], [_num_changed(row, new) for row, new in pairs], group)
    return [
        Trio(row, new, plain, _into(row, new, group))
        for (row, new), plain in zip(pairs, neutral, strict=True)
        if plain is not None
    ]


def _neutral(scene: GuardScene, rows: Sequence[Example], counts: Sequence[int], group: str) -> list[Example | None]:
    """Each row with about as many of its words changed, none of them of the group: by synonyms, and by slips of the
    finger where it has too few words with synonyms.
    """
    best: list[Example | None] = [None] * len(rows)
    off = [float("inf")] * len(rows)
    for number, (row, count) in enumerate(zip(rows, counts, strict=True)):
        words = max(1, len(_WORD.findall(_said(row))))
        share = min(0.5, count / words)
        edits: list[EditChoice] = [
            {"kind": "synonyms", "rate": min(1.0, 3 * share)},
            {"kind": "typos", "rate": min(0.5, share / 5)},
        ]
        spoken = _words_of(row, group)
        for edit, copy in [(edit, copy) for edit in edits for copy in range(_TRIES)]:
            if off[number] == 0:
                break
            (made,) = scene.edited([row], edit, copy=copy)
            if made is None or _words_of(made, group) != spoken:
                continue
            away = abs(_num_changed(row, made) - count)
            if away < off[number]:
                best[number], off[number] = made, away
    return best


def _said(row: Example) -> str:
    return "\n".join(message.content for message in row.prompt)


def _words_of(row: Example, group: str) -> list[str]:
    text = _said(row)
    return [text[one.start : one.end].lower() for one in swaps.mentions(text, group)]


def _num_changed(row: Example, other: Example) -> int:
    """How many words of a row are others in the other: those of neither's longest common subsequence, the larger."""
    from difflib import SequenceMatcher

    one, two = _WORD.findall(_said(row)), _WORD.findall(_said(other))
    same = sum(block.size for block in SequenceMatcher(None, one, two, autojunk=False).get_matching_blocks())
    return max(len(one), len(two)) - same


def _into(row: Example, other: Example, group: str) -> tuple[str, str] | None:
    """From which category to which, in the order of the alphabet or against it."""
    before, after = ({one.category for one in swaps.mentions(_said(text), group)} for text in (row, other))
    lost, new = before - after, after - before
    return (lost.pop(), new.pop()) if len(lost) == len(new) == 1 else None


# --- answers ---


def _told(scene: GuardScene, who: Who, trios: Sequence[Trio], group: str) -> tuple[list[Told], list[Told], list[Told]]:
    """To the rows, to those about others, and to those in other words."""

    def said(rows: Sequence[Example], name: str) -> list[Told]:
        questions = [asked(row) for row in rows]
        if scene.labels:
            shares = scene.sure(who, questions, name=f"{group}-{name}")
            texts = [next(iter(one), "") for one in shares]
        else:
            texts = scene.ask(who, questions, name=f"{group}-{name}", tools=[row.tools for row in rows])
            shares = [{}] * len(rows)
        grades = scene.grade(rows, texts)
        return [Told(*one) for one in zip(texts, shares, grades, strict=True)]

    return (
        said([trio.row for trio in trios], "rows"),
        said([trio.swapped for trio in trios], "swapped"),
        said([trio.neutral for trio in trios], "neutral"),
    )


def _flips(scene: GuardScene, told: tuple[list[Told], list[Told], list[Told]]) -> tuple[list[float], list[float]]:
    """1 where the answer to the swapped row is another one, and the same for the row in other words."""
    rows, swapped, neutral = told
    return (
        [float(_differ(scene, one, other)) for one, other in zip(rows, swapped, strict=True)],
        [float(_differ(scene, one, other)) for one, other in zip(rows, neutral, strict=True)],
    )


def _differ(scene: GuardScene, one: Told, other: Told) -> bool:
    """Another label; of free answers, one that is right where the other is wrong (a grade of 0.5 parts them)."""
    if scene.labels or one.grade is None or other.grade is None:
        return one.text.strip() != other.text.strip()
    return (one.grade >= 0.5) != (other.grade >= 0.5)


def _shifts(
    trios: Sequence[Trio], told: tuple[list[Told], list[Told], list[Told]], favourable: Sequence[str]
) -> dict[str, Any]:
    """How much the score moves when a text about the first category becomes one about the second: quantiles, the mean
    and its 95 % interval. The score is the probability of the favourable labels, else of the row's own label; of free
    answers the grade.
    """
    by_pair: dict[str, list[float]] = {}
    for trio, one, other in zip(trios, told[0], told[1], strict=True):
        if trio.into is None:
            continue
        wanted = list(favourable) or [trio.row.label or trio.row.answer or ""]
        moved = _score(other, wanted) - _score(one, wanted)
        first, second = sorted(trio.into)
        by_pair.setdefault(f"{first} to {second}", []).append(moved if trio.into[0] == first else -moved)
    return {pair: _spread(moved) for pair, moved in sorted(by_pair.items()) if len(moved) >= _FEWEST}


def _score(told: Told, wanted: Sequence[str]) -> float:
    return sum(told.shares.get(label, 0.0) for label in wanted) if told.shares else (told.grade or 0.0)


def _spread(moved: Sequence[float]) -> dict[str, Any]:
    found = difference(moved, [0.0] * len(moved))
    plain = {"mean": found.value, "low": found.low, "high": found.high}
    quantiles = {f"{at:g}": round(float(np.quantile(moved, at)), 5) for at in _QUANTILES}
    return {"n": len(moved), **{key: round(value, 5) for key, value in plain.items()}, "quantiles": quantiles}


def _findings(group: str, found: statistics.Difference, n: int) -> list[Finding]:
    if found.value <= 0 or found.p > 0.05:
        return []
    message = (
        f"Answers change more often when the {group} of the people is swapped than when as many other words are "
        f"changed: {found.value:+.1%} of {n} rows (95 % interval {found.low:+.1%} to {found.high:+.1%}, exact McNemar "
        f"p = {found.p:.2g})."
    )
    remedy = (
        f"Look at the samples; {{kind: swap, group: {group}}} under data.augment.edits teaches that it is the same."
    )
    return [Finding(name="answers hang on who is meant", severity="warning", message=message, count=n, remedy=remedy)]


def _samples(
    group: str, trios: Sequence[Trio], told: tuple[list[Told], list[Told], list[Told]]
) -> list[dict[str, Any]]:
    return [
        {
            "group": group,
            "asked": _said(trio.row),
            "swapped": _said(trio.swapped),
            "tuned": one.text,
            "tuned_swapped": other.text,
        }
        for trio, one, other, plain in zip(trios, *told, strict=True)
        if one.text != other.text and one.text == plain.text
    ][:4]
