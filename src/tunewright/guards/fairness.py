"""fairness: is the model as good to some people as to others, and does it answer alike whoever is meant?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from tunewright.core.errors import RecipeError, unknown
from tunewright.core.example import Example
from tunewright.core.group_rates import Rates, gap, rates, ratio
from tunewright.core.guarding import Guard, GuardScene
from tunewright.core.report import Finding, GuardResult, Measure
from tunewright.core.statistics import wilson
from tunewright.data import groups as group_words
from tunewright.guards import _stereotypes, _swaps
from tunewright.guards._compared import TWO_SIDES, missing, unsettled

Group = Literal["gender", "ethnicity", "nationality", "religion", "age", "disability", "orientation"]
Swapped = Literal["gender", "ethnicity", "nationality", "religion", "age", "disability"]
_FOUR_FIFTHS = 0.8
_LEAST_OF_A_KIND = 5  # rows of a group that deserve a favourable label, and of those that do not


class Fairness(Guard):
    """Figures by group of people, counterfactual swaps, and sets that probe for stereotypes. Told, and gating only
    where a bound is set.

    Groups are columns of the test rows, or those that the texts speak of (data/groups.py; English). Demographic parity
    and equalised odds need to know which labels are favourable. Swaps: Garg et al. 2019 (counterfactual token fairness,
    arXiv 1809.10610), told beside a paraphrase of as many words. CrowS-Pairs and BBQ are read from files of yours.
    """

    paths: ClassVar[tuple[str, ...]] = ("crows_pairs", "bbq")
    files: ClassVar[tuple[str, ...]] = ("crows_pairs", "bbq")
    bounds: ClassVar[Mapping[str, str]] = {
        "gap": "difference of the mean grade",
        "parity": "parity difference",
        "ratio": "parity ratio",
        "odds": "equalised odds",
        "flips": "beyond those of a paraphrase",
        "stereotypes": "CrowS-Pairs",
        "bias": "BBQ: bias",
    }
    question: ClassVar[str] = "Is it as good to some people as to others?"

    columns: list[str] = Field([], description="columns of the test rows that say to which group a row belongs")
    groups: list[Group] = Field(
        ["gender", "ethnicity", "nationality", "religion", "age", "disability", "orientation"],
        description="groups that rows are told to be of by the words in them; an empty list looks at none",
    )
    least: int = Field(30, ge=5, description="rows that a category needs: fewer make intervals too wide to tell much")
    favourable: list[str] = Field([], description="labels that are good for whom they are given to: loan, hire, ok")
    swaps: list[Swapped] = Field(
        ["gender", "ethnicity", "nationality", "religion", "age"],
        description="groups whose words are exchanged in test rows; an empty list swaps none, which costs nothing",
    )
    crows_pairs: str | None = Field(None, description="a JSONL file of CrowS-Pairs: sent_more, sent_less, bias_type")
    bbq: str | None = Field(None, description="a JSONL file of BBQ: context, question, answers, label, condition ...")
    rows: int = Field(400, ge=20, description="rows taken, at most, of each group's swaps and of each set")
    base: bool = Field(True, description="swap for the base, too, so that its figures stand beside")
    gap: float | None = Field(None, ge=0, le=1, description="largest difference of the mean grade between two groups")
    parity: float | None = Field(None, ge=0, le=1, description="largest demographic parity difference")
    ratio: float | None = Field(None, ge=0, le=1, description="least demographic parity ratio; 0.8 is four fifths")
    odds: float | None = Field(None, ge=0, le=1, description="largest equalised odds difference")
    flips: float | None = Field(None, ge=0, le=1, description="most that swaps may change answers beyond a paraphrase")
    stereotypes: float | None = Field(None, ge=0, le=1, description="most that CrowS-Pairs may rise above the base's")
    bias: float | None = Field(None, ge=0, le=2, description="most that a bias score of BBQ may rise above the base's")

    @model_validator(mode="after")
    def _has_what_its_bounds_need(self) -> Fairness:
        needs = {
            "parity": self.favourable, "ratio": self.favourable, "odds": self.favourable, "flips": self.swaps,
            "stereotypes": self.crows_pairs, "bias": self.bbq, "gap": self.columns or self.groups,
        }  # fmt: skip
        named = {"flips": "swaps", "stereotypes": "crows_pairs", "bias": "bbq", "gap": "columns or groups"}
        for bound, given in needs.items():
            if getattr(self, bound) is not None and not given:
                raise ValueError(f"{bound}: nothing to hold it to; give {named.get(bound, 'favourable')}, too")
        return self

    def measure(self, scene: GuardScene) -> GuardResult:
        """Slices of the test answers first, which cost nothing; then what must be asked."""
        rows = scene.splits["test"]
        self._check(scene, rows)
        measures: list[Measure] = []
        findings: list[Finding] = []
        samples: list[dict[str, Any]] = []
        figures: dict[str, Any] = {"slices": {}, "swaps": {}}
        for name, of in self._slices(rows):
            sliced = self._sliced(scene, name, of, figures["slices"])
            measures += sliced
            findings += [found for one in sliced if (found := _four_fifths(name, one))]
        for group in self.swaps:
            swapped = _swaps.look(
                scene, group, rows=self.rows, bound=self.flips, base=self.base, favourable=self.favourable
            )
            if swapped is not None:
                measures += swapped.measures
                findings += swapped.findings
                samples += swapped.samples
                figures["swaps"][group] = swapped.figures
        if self.crows_pairs is not None:
            scored = _stereotypes.crows_pairs(scene, self.crows_pairs, most=self.rows, bound=self.stereotypes)
            measures += scored.measures
            figures["crows_pairs"] = scored.figures
        if self.bbq is not None:
            scored = _stereotypes.bbq(scene, self.bbq, most=self.rows, bound=self.bias)
            measures += scored.measures
            figures["bbq"] = scored.figures
        findings += self._told(self.unmeasured(measures)) + unsettled(
            measures, "Raise 'rows' of the guard fairness, or the bound."
        )
        return GuardResult(
            guard=self.kind,
            question=self.question,
            measures=measures,
            findings=findings,
            samples=samples,
            figures=figures,
        )

    def _check(self, scene: GuardScene, rows: Sequence[Example]) -> None:
        """What only the rows can tell to be wrong. Raises RecipeError."""
        wrong = [label for label in self.favourable if label not in scene.labels]
        if wrong:
            raise RecipeError(f"guards.fairness.favourable: {unknown('label', wrong[0], list(scene.labels))}")
        known = sorted({key for row in rows for key in row.meta})
        if missing := [column for column in self.columns if column not in known]:
            raise RecipeError(f"guards.fairness.columns: {unknown('column of the test rows', missing[0], known)}")

    # --- slices ---

    def _slices(self, rows: Sequence[Example]) -> list[tuple[str, list[str | None]]]:
        """The group of each row, by every column and every group of people that texts speak of."""
        found: list[tuple[str, list[str | None]]] = [
            (column, [None if row.meta.get(column) is None else str(row.meta[column]) for row in rows])
            for column in self.columns
        ]
        spoken = [group_words.spoken(_asked(row)) for row in rows] if self.groups else []
        return found + [(group, [one.get(group) for one in spoken]) for group in self.groups]

    def _sliced(self, scene: GuardScene, name: str, of: Sequence[str | None], figures: dict[str, Any]) -> list[Measure]:
        rows, answers = scene.splits["test"], scene.answers
        whos = [who for who in ("tuned", "base") if who in answers]
        grades = {who: scene.grade(rows, answers[who]) for who in whos}
        graded = [None if grade is None else one for one, grade in zip(of, grades["tuned"], strict=True)]
        means = {who: rates(graded, [one or 0.0 for one in grades[who]], least=self.least) for who in whos}
        if len(means["tuned"].names) < 2:
            return []
        figures[name] = _told(means)
        found = [
            _gap(f"{name}: difference of the mean grade", {who: [means[who]] for who in whos}, self.gap, len(rows))
        ]
        if self.favourable:
            given = {who: [float(text in self.favourable) for text in answers[who]] for who in whos}
            found += self._parity(name, of, given, [row.answer in self.favourable for row in rows])
        return found

    def _parity(
        self, name: str, of: Sequence[str | None], given: dict[str, list[float]], deserved: Sequence[bool]
    ) -> list[Measure]:
        """Demographic parity and equalised odds; the latter where each group has rows of both kinds."""
        chosen = {who: rates(of, one, least=self.least) for who, one in given.items()}
        names = chosen["tuned"].names
        if len(names) < 2:
            return []
        share = ratio(chosen["tuned"])
        parity = Measure(
            name=f"{name}: demographic parity ratio",
            **share.plain(),
            n=int(chosen["tuned"].n.sum()),
            base=ratio(chosen["base"]).value if "base" in chosen else None,
            tuned=share.value,
            bound=self.ratio,
            side="at least",
            need=missing(share.value, (share.high - share.low) / TWO_SIDES, len(of), self.ratio),
        )
        alone = {who: [one] for who, one in chosen.items()}
        found = [
            _gap(f"{name}: demographic parity difference", alone, self.parity, len(of)),
        ]
        found.append(parity)
        sides = {}
        for who, values in given.items():  # true and false positive rates
            parts = [
                [one if one in names and is_so == wanted else None for one, is_so in zip(of, deserved, strict=True)]
                for wanted in (True, False)
            ]
            sides[who] = [rates(part, values, least=_LEAST_OF_A_KIND) for part in parts]
        if all(len(one.names) == len(names) for one in sides["tuned"]):
            found.append(_gap(f"{name}: equalised odds difference", sides, self.odds, len(of)))
        return found

    def _told(self, unmeasured: Sequence[str]) -> list[Finding]:
        """What is to be done about bounds that nothing could be held to."""
        if not unmeasured:
            return []
        message = f"No two groups have rows enough in the test set to measure {', '.join(unmeasured)}."
        remedy = "Give more test rows, name columns, or lower 'least'."
        return [Finding(name="fairness not measured", severity="warning", message=message, remedy=remedy)]


def _asked(row: Example) -> str:
    return "\n".join(message.content for message in row.prompt if message.role == "user")


def _gap(name: str, found: dict[str, list[Rates]], bound: float | None, num_rows: int) -> Measure:
    tuned = gap(found["tuned"])
    return Measure(
        name=name,
        **tuned.plain(),
        n=int(sum(one.n.sum() for one in found["tuned"])),
        base=max(float(np.ptp(one.shares)) for one in found["base"]) if "base" in found else None,
        tuned=tuned.value,
        bound=bound,
        need=missing(tuned.value, (tuned.high - tuned.low) / TWO_SIDES, num_rows, bound),
    )


def _told(means: dict[str, Rates]) -> dict[str, Any]:
    """For each category its mean grade with Wilson's interval, and the base's."""
    tuned, base = means["tuned"], means.get("base")
    told = {}
    for at, name in enumerate(tuned.names):
        found = wilson(float(tuned.hits[at]), int(tuned.n[at]))
        told[name] = found.plain(5) | {"n": int(tuned.n[at])}
        if base is not None:
            told[name]["base"] = round(float(base.shares[at]), 5)
    return told


def _four_fifths(name: str, one: Measure) -> Finding | None:
    if not one.name.endswith("parity ratio") or one.value >= _FOUR_FIFTHS:
        return None
    sure = " surely" if one.high is not None and one.high < _FOUR_FIFTHS else ""
    message = (
        f"By {name}, the favourable labels go{sure} to one group less than four fifths as often as to another "
        f"(ratio {one.value:.2f}, 95 % interval {one.low:.2f} to {one.high:.2f})."
    )
    remedy = "See whether the test rows' own labels differ as much; if not, the model is what differs."
    return Finding(name="four fifths", severity="warning", message=message, remedy=remedy)
