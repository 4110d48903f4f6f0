"""Comparisons of two answers in both orders: what they come to, and what place and length have to do with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunewright.core.length_effect import length_effect
from tunewright.core.parts import Desk, Grade
from tunewright.core.report import Finding
from tunewright.core.statistics import wilson
from tunewright.graders._judging import Better

_MANY_FLIPS = 0.25  # more contradictions than this, and the verdicts hang on the order
_LEVEL = 0.01  # several contestants are looked at
_TOLD = {1.0: "better in both orders", 0.0: "worse in both orders", 0.5: "no clear winner"}


@dataclass(frozen=True)
class Pair:
    """What a judge says of an answer beside another one: shown first (`forth`) and shown second (`back`)."""

    forth: Better
    back: Better
    reason: str = ""
    asked: bool = True

    @property
    def score(self) -> float:
        """1 for a win in both orders, 0 for a loss in both, else 0.5."""
        if (self.forth, self.back) == ("first", "second"):
            return 1.0
        return 0.0 if (self.forth, self.back) == ("second", "first") else 0.5

    @property
    def flips(self) -> bool:
        """Whether the judge says the contrary when the order is changed."""
        return self.forth == self.back != "tie"

    @property
    def grade(self) -> Grade:
        """With the reason given in the first order."""
        if not self.asked:
            return Grade(score=0.5, why="the same answer")
        told = "the order decided" if self.flips else _TOLD[self.score]
        return Grade(score=self.score, why=f"{told}: {self.reason}" if self.reason else told)


EQUAL = Pair("tie", "tie", asked=False)


def note(pairs: Sequence[Pair | None], answers: Sequence[str], others: Sequence[str], desk: Desk) -> None:
    """Leave at the desk: flip rate, how often the first place wins, wins by length; warnings where they are large."""
    judged = [
        (pair, len(mine) - len(other))
        for pair, mine, other in zip(pairs, answers, others, strict=True)
        if pair is not None and pair.asked
    ]
    if not judged:
        return
    flips = wilson(sum(pair.flips for pair, _ in judged), len(judged))
    desk.notes["flip_rate"] = flips.plain(6)
    sides = [side for pair, _ in judged for side in (pair.forth, pair.back) if side != "tie"]
    if sides:
        desk.notes["first_preferred"] = wilson(sides.count("first"), len(sides)).plain(6)
    desk.notes["ties"] = sum(pair.score == 0.5 for pair, _ in judged)
    if flips.value > _MANY_FLIPS:
        _warn(
            desk,
            "order decides",
            f"The judge contradicts itself on {flips.value:.0%} of the pairs of {desk.contestant} when their order is "
            "changed; they count as ties.",
            sum(pair.flips for pair, _ in judged),
            "Take a stronger judge, or sharper criteria.",
        )
    effect = length_effect([pair.score for pair, _ in judged], [gap for _, gap in judged])
    if effect is None:
        return
    desk.notes["length"] = {
        "slope": effect.slope.plain(6),
        "p": round(effect.p, 6),
        "win_rate_at_equal_length": effect.controlled.plain(6),
        "longer_by": round(effect.more, 1),
    }
    if effect.p < _LEVEL:
        which = "Longer" if effect.slope.value > 0 else "Shorter"
        raw = sum(pair.score for pair, _ in judged) / len(judged)
        _warn(
            desk,
            "length counts",
            f"{which} answers win more often: {desk.contestant} wins {raw:.3f} of the pairs, and about "
            f"{effect.controlled.value:.3f} between answers of equal length.",
            len(judged),
            "See whether length is worth anything here; if not, say so in 'task' or 'criteria'.",
        )


def _warn(desk: Desk, name: str, message: str, count: int, remedy: str) -> None:
    desk.findings.append(Finding(name=name, severity="warning", message=message, count=count, remedy=remedy))


def length_of_grades(grades: Sequence[Grade | None], answers: Sequence[str]) -> dict[str, Any]:
    """Spearman's correlation of grades with the length of answers; empty where either is all alike."""
    from scipy.stats import spearmanr

    known = [(grade.score, len(answer)) for grade, answer in zip(grades, answers, strict=True) if grade is not None]
    if len({score for score, _ in known}) < 2 or len({size for _, size in known}) < 2:
        return {}
    found = spearmanr([score for score, _ in known], [size for _, size in known])
    return {"length": {"correlation": round(float(found.statistic), 6), "p": round(float(found.pvalue), 6)}}
