"""Monitor: what is watched of a served release; what a monitor may look at, and the figures that it hands back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from tunewright.core.budget import Budget
from tunewright.core.example import Example
from tunewright.core.part import Part
from tunewright.core.report import Finding
from tunewright.core.traffic import Exchanged

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix

MOST_TESTS = 25  # in one look, so that permutations are many enough for the smallest level that Holm asks for
FEWEST = 30  # requests, and rows of the reference, that a test needs
MOST_EXAMPLES = 200  # requests that a finding names


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A question and its answer: of the traffic, or of what it is compared with. None: not known.

    question: the last message of the user. answer: what the model said. right: the deciding grade of a test row.
    """

    id: str
    question: str | None = None
    num_messages: int | None = None
    answer: str | None = None
    confidence: float | None = None
    right: float | None = None
    completion_tokens: int | None = None
    finish: str | None = None


class Figure(BaseModel):
    """One figure of a window, with its 95 % interval where it has one.

    reference: the same of what the traffic is compared with. bound: what it must not exceed. usual: what chance stays
    below in 95 of 100 windows. p: of "nothing has changed", or of "the bound is kept"; None where it is told only.
    worth: whether what was found is large enough to act on. seen: the smallest shift that so many requests show with
    80 % power. adjusted, alarm: set by the look that the figure is of, over all its figures together. told, remedy,
    examples: of the finding that an alarm becomes.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int
    reference: float | None = None
    bound: float | None = None
    usual: float | None = None
    p: float | None = None
    worth: bool = True
    seen: float | None = None
    adjusted: float | None = None
    alarm: bool = False
    told: str = ""
    remedy: str | None = None
    examples: list[str] = []


class MonitorResult(BaseModel):
    """What a monitor found: its question, its figures, and findings beside them that are no alarms.

    need: requests that would show the shift that is asked for, where more are needed.
    """

    model_config = ConfigDict(frozen=True)

    monitor: str
    question: str
    figures: list[Figure] = []
    findings: list[Finding] = []
    need: int | None = None


@dataclass(frozen=True, kw_only=True)
class MonitorScene:
    """What a monitor may look at.

    traffic: the requests of the window, in the order in which they came. training: questions that the model learned
    from. inputs, outputs: what questions and answers are compared with. held_out: of the questions compared with, those
    that the model did not learn from. tested: the test rows as evaluated. labels: what answers are chosen from; empty
    where they are free. figures: of the tuned model in the evaluation, by name. schema: a JSON schema that the recipe
    holds answers to. temperature: under which confidences mean what they say; None where nobody measured it. level: of
    this look, all tests together. shift: what must be seen. vectors: texts as vectors, by an encoder where one is
    named.
    """

    traffic: Sequence[Exchanged]
    inputs: Sequence[Turn] = ()
    outputs: Sequence[Turn] = ()
    held_out: Sequence[Turn] = ()
    tested: Sequence[Turn] = ()
    training: Sequence[str] = ()
    labels: Sequence[str] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget | None = None
    schema: dict[str, Any] | None = None
    temperature: float | None = None
    level: float = 0.05
    shift: float = 0.2
    vectors: Callable[[Sequence[str], str | None], np.ndarray | csr_matrix]
    seed: int = 0

    @cached_property
    def turns(self) -> list[Turn]:
        """The traffic as questions and answers."""
        return [turn_of(one) for one in self.traffic]

    @property
    def most(self) -> int:
        """Permutations of a test: enough for its p to fall below the level, whichever place Holm gives it."""
        return int(2 * MOST_TESTS / self.level)


class Monitor(Part):
    """Watches one thing of a release that is served. Handed a scene; never imports a stage."""

    family: ClassVar[str] = "monitors"
    question: ClassVar[str]  # what it answers, in one short sentence

    @abstractmethod
    def watch(self, scene: MonitorScene) -> MonitorResult:
        """Look at a window of traffic."""


def turn_of(one: Exchanged) -> Turn:
    """A logged answer as a question and its answer."""
    messages = one.messages or []
    users = [message for message in messages if message.get("role") == "user"]
    return Turn(
        id=one.id,
        question=_text(users[-1].get("content")) if users else None,
        num_messages=len([m for m in messages if m.get("role") not in ("system", "developer")]) or None,
        answer=one.answer,
        confidence=one.confidence,
        completion_tokens=one.completion_tokens,
        finish=one.finish,
    )


def turn_of_row(row: Example) -> Turn:
    """A row's question, as a client would send it."""
    users = [message.content for message in row.asked if message.role == "user"]
    asked = [message for message in row.prompt if message.role not in ("system", "developer")]
    return Turn(id=row.id, question=users[-1] if users else None, num_messages=len(asked) or None)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
