"""robustness: how much is lost when the same is asked less tidily?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from tunewright.core.endpoint import Endpoint
from tunewright.core.example import Example
from tunewright.core.guarding import EditChoice, Guard, GuardScene, Who
from tunewright.core.report import Finding, GuardResult, Measure
from tunewright.data import disturb
from tunewright.guards._compared import asked, difference, drawn, missing

Kind = Literal[
    "typos", "casing", "punctuation", "synonyms", "dropout", "order", "sentences", "options", "longer", "paraphrase"
]
_EDITS: dict[str, EditChoice] = {
    "typos": {"kind": "typos", "rate": 0.05},
    "casing": "casing",
    "punctuation": "punctuation",
    "synonyms": "synonyms",
    "dropout": "dropout",
    "order": {"kind": "order", "rate": 0.15},
    "paraphrase": "paraphrase",
}
_OWN: dict[str, Callable[[Example, int], Example | None]] = {
    "sentences": disturb.sentences_moved,
    "options": disturb.options_moved,
    "longer": disturb.surrounded,
}
_PLAIN: tuple[Kind, ...] = (
    "typos", "casing", "punctuation", "synonyms", "dropout", "order", "sentences", "options", "longer"
)  # fmt: skip
_FEWEST = 10  # rows that a kind must be able to change to be measured


class Robustness(Guard):
    """Test rows disturbed so that the right answer stays the same: what the mean grade by the deciding grader loses.

    Each row is compared with itself, undisturbed. typos, casing, punctuation, synonyms, dropout and order are the
    edits of those names; sentences and options come in another order (an answer that is an option's letter moves
    along); longer puts text about other things before or behind the question; paraphrase asks a model. The kinds follow
    CheckList (Ribeiro et al. 2020, arXiv 2005.04118) and, for text that distracts, Shi et al. 2023 (arXiv 2302.00093).
    """

    question: ClassVar[str] = "How much is lost when the same is asked less tidily?"

    kinds: list[Kind] | None = Field(
        None, min_length=1, description="what is done to the questions; left out: all, paraphrase where asked for"
    )
    lost: float | dict[Kind, float] | None = Field(
        None, description="most of the mean grade that may be lost to each kind; a mapping bounds the kinds it names"
    )
    rows: int = Field(200, ge=20, description="test rows taken, at most: more are sharper, and cost more")
    base: bool = Field(True, description="ask the base, too, so that what it loses stands beside")
    paraphrase: Endpoint | None = Field(None, description="the server that says questions in other words")

    @model_validator(mode="after")
    def _can_be_done(self) -> Robustness:
        if self.kinds is not None and "paraphrase" in self.kinds and self.paraphrase is None:
            raise ValueError("kinds: 'paraphrase' asks a model, so give paraphrase: {url: ..., model: ...}")
        if isinstance(self.lost, dict) and (unused := [kind for kind in self.lost if kind not in self._kinds()]):
            raise ValueError(f"lost: bounds {', '.join(unused)}, which is not among the kinds")
        return self

    def unmeasured(self, measures: Sequence[Measure]) -> list[str]:
        """Kinds that the recipe names and bounds, and that change too few rows."""
        named = self.lost if isinstance(self.lost, dict) else self.kinds if self.lost is not None else None
        known = {one.name for one in measures}
        return [f"lost to {kind}" for kind in named or () if f"lost to {kind}" not in known]

    def _kinds(self) -> Sequence[Kind]:
        asking: list[Kind] = ["paraphrase"] if self.paraphrase else []
        return self.kinds or [*_PLAIN, *asking]

    def measure(self, scene: GuardScene) -> GuardResult:
        """Ask every row as it is and disturbed."""
        rows = drawn(scene.splits["test"], self.rows, scene.seed)
        whos: list[Who] = ["tuned", "base"] if self.base else ["tuned"]
        plain = {who: self._graded(scene, who, rows, "plain") for who in whos}
        measures, findings, samples = [], [], []
        for kind in self._kinds():
            changed = self._disturbed(scene, kind, rows)
            places = [at for at, row in enumerate(changed) if row is not None and plain["tuned"][1][at] is not None]
            if len(places) < _FEWEST:
                findings.append(_few(kind, len(places), len(rows), named=self.kinds is not None))
                continue
            other = [row for at in places if (row := changed[at]) is not None]
            said = {who: self._graded(scene, who, other, kind) for who in whos}
            grades = {who: [plain[who][1][at] for at in places] for who in whos}
            measures.append(self._lost(kind, grades, {who: said[who][1] for who in whos}))
            samples += _samples(kind, other, places, plain["tuned"], said["tuned"])
        return GuardResult(
            guard=self.kind, question=self.question, measures=measures, findings=findings, samples=samples
        )

    def _disturbed(self, scene: GuardScene, kind: Kind, rows: Sequence[Example]) -> list[Example | None]:
        if kind in _OWN:
            return [_OWN[kind](row, scene.seed) for row in rows]
        return scene.edited(rows, _EDITS[kind], endpoint=self.paraphrase if kind == "paraphrase" else None)

    def _graded(
        self, scene: GuardScene, who: Who, rows: Sequence[Example], name: str
    ) -> tuple[list[str], list[float | None]]:
        answers = scene.ask(who, [asked(row) for row in rows], name=name, tools=[row.tools for row in rows])
        return answers, scene.grade(rows, answers)

    def _lost(
        self, kind: Kind, plain: dict[Who, list[float | None]], disturbed: dict[Who, list[float | None]]
    ) -> Measure:
        found = {
            who: difference([one or 0.0 for one in plain[who]], [one or 0.0 for one in disturbed[who]]) for who in plain
        }
        tuned, n = found["tuned"], len(plain["tuned"])
        bound = self.lost.get(kind) if isinstance(self.lost, dict) else self.lost
        return Measure(
            name=f"lost to {kind}",
            **tuned.plain(),
            n=n,
            base=found["base"].value if "base" in found else None,
            tuned=tuned.value,
            bound=bound,
            need=missing(tuned.value, tuned.error, n, bound),
        )


def _few(kind: str, count: int, total: int, *, named: bool) -> Finding:
    message = f"Only {count} of {total} test rows can be changed by '{kind}', so what is lost to it is not measured."
    return Finding(
        name="too few rows to disturb", severity="warning" if named else "info", message=message, count=count
    )


def _samples(
    kind: str,
    rows: Sequence[Example],
    places: Sequence[int],
    plain: tuple[list[str], list[float | None]],
    disturbed: tuple[list[str], list[float | None]],
) -> list[dict[str, Any]]:
    """The two rows of a kind that lost most."""
    lost = np.array([(plain[1][at] or 0.0) - (disturbed[1][to] or 0.0) for to, at in enumerate(places)])
    return [
        {
            "kind": kind,
            "asked": asked(rows[to])[-1]["content"],
            "expected": rows[to].answer,
            "undisturbed": plain[0][places[to]],
            "tuned": disturbed[0][to],
        }
        for to in np.argsort(-lost, kind="stable")[:2].tolist()
        if lost[to] > 0
    ]
