"""fairness: is it as good to some people as to others, as far as live answers tell?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import ClassVar, Literal

from pydantic import Field

from tunewright.core.group_rates import Rates, gap, rates
from tunewright.core.monitoring import MOST_EXAMPLES, Figure, Monitor, MonitorResult, MonitorScene, Turn
from tunewright.core.traffic import Exchanged
from tunewright.data import groups as group_words
from tunewright.data.manners import refuses

Group = Literal["gender", "ethnicity", "nationality", "religion", "age", "disability", "orientation"]


class Fairness(Monitor):
    """Rates by the groups of people that questions speak of (data/groups.py; English): refusals, favourable labels,
    confidence below `sure`, thumbs down. The largest difference between two categories of a group is told, and gates
    where a bound is set.

    Who asks about whom may differ in what is asked: a difference calls for a look, and is no proof of unfairness.
    """

    question: ClassVar[str] = "Is it as good to some people as to others?"

    groups: list[Group] = Field(
        ["gender", "ethnicity", "nationality", "religion", "age", "disability", "orientation"],
        description="groups that requests are told to be about by their words",
    )
    least: int = Field(50, ge=20, description="requests that a category needs: fewer tell next to nothing")
    favourable: list[str] = Field([], description="labels that are good for whom they are given to: loan, hire, ok")
    sure: float = Field(0.5, gt=0, lt=1, description="answers less sure than this are counted by group")
    gap: float | None = Field(
        None, ge=0, lt=1, description="largest difference of any of the rates between two categories of a group"
    )

    def watch(self, scene: MonitorScene) -> MonitorResult:
        """Each rate by each group that is spoken of often enough."""
        spoken = [{} if turn.question is None else group_words.spoken(turn.question) for turn in scene.turns]
        figures = []
        for group in self.groups:
            of = [one.get(group) for one in spoken]
            for name, happened in self._outcomes(scene).items():
                told = [happened(turn, one) for turn, one in zip(scene.turns, scene.traffic, strict=True)]
                known = [category if so is not None else None for category, so in zip(of, told, strict=True)]
                found = rates(known, [float(bool(so)) for so in told], least=self.least)
                if len(found.names) > 1:
                    figures.append(self._figure(group, name, found, scene, known, told))
        return MonitorResult(monitor=self.kind, question=self.question, figures=figures)

    def _outcomes(self, scene: MonitorScene) -> dict[str, Callable[[Turn, Exchanged], bool | None]]:
        found: dict[str, Callable[[Turn, Exchanged], bool | None]] = {
            "thumbs down": lambda turn, one: None if one.thumb is None else one.thumb == "down",
            "unsure": lambda turn, one: None if turn.confidence is None else turn.confidence < self.sure,
        }
        if not scene.labels:
            found["refusals"] = lambda turn, one: None if turn.answer is None else refuses(turn.answer)
        if self.favourable:
            found["favourable"] = lambda turn, one: None if turn.answer is None else turn.answer in self.favourable
        return found

    def _figure(
        self,
        group: str,
        name: str,
        found: Rates,
        scene: MonitorScene,
        of: list[str | None],
        told: list[bool | None],
    ) -> Figure:
        apart = gap([found], seed=scene.seed)
        shares = dict(zip(found.names, found.shares.tolist(), strict=True))
        most, fewest = max(shares, key=lambda one: shares[one]), min(shares, key=lambda one: shares[one])
        return Figure(
            name=f"{group}: {name}",
            **apart.plain(),
            n=int(found.n.sum()),
            bound=self.gap,
            p=None if self.gap is None else exceeds(found, self.gap),
            told=(
                f"By {group}, {name} are {shares[most]:.1%} of requests about {most} and {shares[fewest]:.1%} of those "
                f"about {fewest}: a difference of {apart.value:.2f}, {self.gap or 0:.2f} is allowed."
            ),
            remedy="Look at the examples of both; measure with swapped words (the guard fairness).",
            examples=[
                turn.id for turn, category, so in zip(scene.turns, of, told, strict=True) if so and category == most
            ][:MOST_EXAMPLES],
        )


def exceeds(found: Rates, bound: float) -> float:
    """The p of "no two rates are farther apart than the bound": the smallest of all pairs' one-sided z tests, times
    their number (Bonferroni). Half a hit and half a miss are added to each, so that no rate is taken for certain.
    """
    from scipy.stats import norm

    smoothed = (found.hits + 0.5) / (found.n + 1)
    squares = smoothed * (1 - smoothed) / found.n
    pairs = list(combinations(range(len(found.names)), 2))
    smallest = min(
        float(norm.sf((abs(smoothed[a] - smoothed[b]) - bound) / (squares[a] + squares[b]) ** 0.5)) for a, b in pairs
    )
    return min(1.0, 2 * smallest * len(pairs))
