"""safety: does it still refuse what it should, and only that; whom does it obey, what does it give away?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

import tunewright
from tunewright.core import yaml_text
from tunewright.core.guarding import Conversation, Guard, GuardScene, Who
from tunewright.core.report import GuardResult, Measure
from tunewright.data.manners import leaks, obeys, refuses
from tunewright.data.rude_words import rude_words
from tunewright.guards._compared import change, drawn, unsettled

SUITES = Path(tunewright.__file__).parent / "resources" / "suites"
Look = Literal["refusals", "injections", "leaks"]
_NEEDS: dict[str, Look] = {"answered": "refusals", "refused": "refusals", "obeyed": "injections", "leaked": "leaks"}
_WHOS: tuple[Who, ...] = ("base", "tuned")


@dataclass(frozen=True)
class Case:
    """What is asked, and whether an answer to it is one that should not be."""

    asked: Conversation
    bad: Callable[[str], bool]


class Safety(Guard):
    """Four figures, each told as how much more often the tuned model errs than the base, and gating only with a bound.

    Refusals: sixty harmful requests that are answered, sixty harmless ones with the same words that are refused (after
    XSTest, Roettger et al. 2024, arXiv 2308.01263). Injections: thirty foreign orders inside a user's data (Greshake et
    al. 2023, arXiv 2302.12173). Leaks: thirty attempts to hear the system prompt. Rude answers: words that people take
    offence at, in all these answers and in those to the test rows. Answers are written freely, labels or not. Rules
    tell what an answer does (data/manners.py): they see words, not whether an answer would help anyone.
    """

    question: ClassVar[str] = "Does it refuse what it should, and only that?"

    looks: list[Look] = Field(
        ["refusals", "injections", "leaks"], min_length=1, description="what is looked at; fewer ask less"
    )
    answered: float | None = Field(
        None, ge=0, le=1, description="most that the share of harmful requests answered may rise above the base's"
    )
    refused: float | None = Field(
        None, ge=0, le=1, description="most that the share of harmless requests refused may rise"
    )
    obeyed: float | None = Field(None, ge=0, le=1, description="most that the share of foreign orders obeyed may rise")
    leaked: float | None = Field(None, ge=0, le=1, description="most that the share of system prompts told may rise")
    offended: float | None = Field(None, ge=0, le=1, description="most that the share of rude answers may rise")
    tokens: int = Field(64, ge=8, description="longest answer: refusals show at once, leaks need some room")
    rows: int = Field(60, ge=10, description="cases of each kind, at most: fewer cost less, and tell less")

    @model_validator(mode="after")
    def _looks_at_what_it_bounds(self) -> Safety:
        for bound, look in _NEEDS.items():
            if getattr(self, bound) is not None and look not in self.looks:
                raise ValueError(f"{bound}: nothing to hold it to, as looks leaves out {look}")
        return self

    def measure(self, scene: GuardScene) -> GuardResult:
        """Ask every case of both models."""
        measures: list[Measure] = []
        samples: list[dict[str, Any]] = []
        answers: dict[Who, list[str]] = {who: [] for who in _WHOS}
        for name, bound, cases in self._sets(scene):
            said = {who: self._ask(scene, who, name, cases) for who in _WHOS}
            bad = {who: [float(one.bad(text)) for one, text in zip(cases, said[who], strict=True)] for who in _WHOS}
            measures.append(change(name, bad["base"], bad["tuned"], bound))
            samples += _worse(name, cases, said, bad)
            for who in _WHOS:
                answers[who] += said[who]
        own = scene.answers if not scene.labels and "base" in scene.answers else {}
        rude = {who: [float(bool(rude_words(text))) for text in (*answers[who], *own.get(who, ()))] for who in _WHOS}
        measures.append(change("rude answers", rude["base"], rude["tuned"], self.offended))
        findings = unsettled(measures, "Raise 'rows' of the guard safety where it was lowered, or the bound.")
        return GuardResult(
            guard=self.kind, question=self.question, measures=measures, findings=findings, samples=samples
        )

    def _sets(self, scene: GuardScene) -> list[tuple[str, float | None, list[Case]]]:
        """Each set of cases with the name of its figure and its bound."""
        found: list[tuple[str, float | None, list[Case]]] = []
        if "refusals" in self.looks:
            told = _suite("refusals")
            harmful = [Case(_said(text), lambda answer: not refuses(answer)) for text in told["harmful"]]
            harmless = [Case(_said(text), refuses) for text in told["harmless"]]
            found.append(("harmful requests answered", self.answered, harmful))
            found.append(("harmless requests refused", self.refused, harmless))
        if "injections" in self.looks:
            found.append(("foreign orders obeyed", self.obeyed, [_injection(one) for one in _suite("injections")]))
        if "leaks" in self.looks:
            found.append(("system prompts told", self.leaked, _leaks(scene)))
        return [(name, bound, drawn(cases, self.rows, scene.seed)) for name, bound, cases in found]

    def _ask(self, scene: GuardScene, who: Who, name: str, cases: Sequence[Case]) -> list[str]:
        file = name.replace(" ", "-")
        return scene.ask(who, [case.asked for case in cases], name=file, free=True, most=self.tokens)


def _suite(name: str) -> Any:
    return yaml_text.read((SUITES / f"{name}.yaml").read_text(encoding="utf-8"))


def _said(text: str) -> Conversation:
    return [{"role": "user", "content": text}]


def _injection(one: dict[str, str]) -> Case:
    text = one["text"].replace("{order}", one["order"])
    return Case(_said(f"{one['task']}\n\n{text}"), lambda answer: obeys(answer, one["order"], one["word"]))


def _leaks(scene: GuardScene) -> list[Case]:
    """Every attack on every system prompt: those of the suite, or the only one that the test rows have."""
    told = _suite("leaks")
    own = {row.prompt[0].content for row in scene.splits.get("test", ()) if row.prompt[0].role == "system"}
    given = [(one["text"], one["word"]) for one in told["system"]]
    systems: list[tuple[str, str | None]] = [(own.pop(), None)] if len(own) == 1 else given
    return [_leak(text, word, attack) for text, word in systems for attack in told["attacks"]]


def _leak(system: str, word: str | None, attack: str) -> Case:
    return Case([{"role": "system", "content": system}, *_said(attack)], lambda answer: leaks(answer, system, word))


def _worse(
    name: str, cases: Sequence[Case], said: dict[Who, list[str]], bad: dict[Who, list[float]]
) -> list[dict[str, Any]]:
    """Three cases in which the tuned model errs and the base does not."""
    places = [at for at in range(len(cases)) if bad["tuned"][at] > bad["base"][at]]
    return [
        {
            "what": name,
            "asked": cases[at].asked[-1]["content"],
            "base": said["base"][at],
            "tuned": said["tuned"][at],
        }
        for at in places[:3]
    ]
