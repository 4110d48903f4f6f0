"""Guard: what must stay sound beside the goal; and what a guard may look at and ask."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tunewright.core.example import Example
from tunewright.core.part import Part
from tunewright.core.report import GuardResult

if TYPE_CHECKING:
    import numpy as np

    from tunewright.models.tunable import TunableModel

Who = Literal["base", "tuned"]
Conversation = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class GuardScene:
    """What a guard may look at, and how it asks the base and the tuned model.

    splits: the rows of each side that ask something. labels: what answers are chosen from; empty where they are free.
    answers: what each contestant answered to the test rows, in their order. confidences: the probability it gave to
    its answer among the labels; None where nothing was chosen from labels. grade: by the deciding grader; None where a
    row lacks what it compares with. seed: the recipe's. folder: where the guard may keep files of its own.

    ask: puts conversations to a model through the engine, under a name that is the guard's own; answers are kept as
    they come, and the same question is never asked twice. free: token by token even where the task chooses from labels,
    and without the task's system message. most: the longest answer in tokens, the recipe's when left out.
    logprobs: for each example the summed log-prob (nats) of its answer after its prompt, or of its document, and the
    number of tokens; nan and 0 where nothing is learned. open: the model itself, opened once. poll: tells how far a
    long look is (what, done, total), and raises when asked to stop.
    """

    splits: Mapping[str, Sequence[Example]]
    labels: Sequence[str]
    answers: Mapping[str, Sequence[str]]
    confidences: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    grade: Callable[[Sequence[Example], Sequence[str]], list[float | None]]
    ask: Asks
    logprobs: Callable[[Who, Sequence[Example]], tuple[np.ndarray, np.ndarray]]
    open: Callable[[Who], TunableModel]
    folder: Path
    seed: int = 0
    poll: Callable[[str, int, int], None] = lambda what, done, total: None
    notes: dict[str, Any] = field(default_factory=dict)


if TYPE_CHECKING:
    from typing import Protocol

    class Asks(Protocol):
        """How conversations are put to a model."""

        def __call__(
            self,
            who: Who,
            conversations: Sequence[Conversation],
            *,
            name: str,
            free: bool = False,
            most: int | None = None,
        ) -> list[str]:
            """One answer a conversation. Raises Stopped."""


class Guard(Part):
    """Measures one thing that tuning may have harmed. Its options set bounds; without one it is told and gates nothing.

    Handed a scene; never imports a stage.
    """

    family: ClassVar[str] = "guards"
    question: ClassVar[str]  # what it answers, in one short sentence

    @abstractmethod
    def measure(self, scene: GuardScene) -> GuardResult:
        """Measure the tuned model, and the base where a change is what counts."""
