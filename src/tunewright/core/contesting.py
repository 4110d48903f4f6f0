"""Contestant: what the tuned model is measured against; and what it may look at and try before the test is asked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from tunewright.core.endpoint import Endpoint, Question, Reply
from tunewright.core.example import Example
from tunewright.core.part import Part

if TYPE_CHECKING:
    from tunewright.core.endpoint import Messages
    from tunewright.core.recipe import Recipe

Answerer = Literal["base", "tuned"] | Endpoint | Path  # a path is that of a release
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$"


@dataclass(frozen=True)
class Tried:
    """What came of trying a contestant on some rows: an answer a row, and the seconds that they took."""

    answers: list[str]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a contestant may look at, and try, before the test rows are asked. No test row is among it.

    validation: rows to try on, each with an answer that the deciding grader can grade. labels: what answers are chosen
    from; empty where they are free. trial: asks rows as a contestant would ask them; answers are kept in the run, under
    a name that tells trials apart. value: the deciding grader's figure over rows and answers to them. ask: puts
    questions to a server, replies kept likewise. poll: tells how far it is (what, done, total); raises Stopped.
    """

    training: Sequence[Example]
    validation: Sequence[Example]
    labels: Sequence[str]
    grader: str
    trial: Callable[[Contestant, Sequence[Example], str], Tried]
    value: Callable[[Sequence[Example], Sequence[str]], float]
    ask: Callable[[Endpoint, Sequence[Question]], list[Reply]]
    poll: Callable[[str, int, int], None] = lambda what, done, total: None


@dataclass(frozen=True)
class Rehearsed:
    """The contestant as it will ask, and what the report tells of how it came to be."""

    contestant: Contestant
    told: dict[str, Any] = field(default_factory=dict)


class Contestant(Part):
    """What the tuned model is measured against: what is sent for each example, and who answers it."""

    family: ClassVar[str] = "contestants"
    name: str | None = Field(None, pattern=NAME, description="how reports and goal.beat call it; the kind if left out")

    @property
    def label(self) -> str:
        """The name in reports."""
        return self.name or self.kind

    @property
    def who(self) -> Answerer:
        """Who answers: the base, the tuned model, a release by its folder or name, or a server."""
        return "base"

    @property
    def asks_as_base(self) -> bool:
        """Whether it asks what `base` does where `data.retrieval` puts passages beside every question."""
        return False

    def problems(self, runs: Path | None, *, grounded: bool) -> list[str]:
        """What it names and cannot be had, each as one sentence. runs: the folder in which runs have names;
        None where it is not known, and names are not looked up. grounded:
        the rows have passages beside their questions.
        """
        return []

    def try_on(self, training: Sequence[Example]) -> None:
        """Raise DataError, before anything is trained, where training rows that it names are not there."""

    def rehearse(self, scene: Rehearsal) -> Rehearsed:
        """The contestant as it will ask the test rows; most need no trying. Raises DataError, Stopped."""
        return Rehearsed(self)

    @property
    def rehearses(self) -> bool:
        """Whether it tries something out on validation rows first."""
        return False

    @abstractmethod
    def prompts(self, examples: Sequence[Example], training: Sequence[Example]) -> list[Messages]:
        """The messages to send for each example (system, examples to imitate, the question)."""


def problems(recipe: Recipe, contestants: Sequence[Part | None], runs: Path | None) -> list[str]:
    """What is wrong with the contestants of a recipe; their options are right."""
    found: list[str] = []
    grounded = recipe.data.retrieval is not None
    parts = [part for part in contestants if isinstance(part, Contestant)]
    for part in parts:
        found += [f"evaluate.against: {part.label}: {one}" for one in part.problems(runs, grounded=grounded)]
        if part.label == "tuned":
            found.append("evaluate.against: 'tuned' is the tuned model itself. Give the contestant another name.")
    first = next((part for part in parts if part.asks_as_base), None)
    if first is not None and grounded and any(part.kind == "base" for part in parts):
        found.append(
            f"evaluate.against: with data.retrieval 'base' is given the passages too, so '{first.label}' asks the "
            f"same. Name one of them, or give '{first.label}' documents of its own."
        )
    return found
