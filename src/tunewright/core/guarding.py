"""Guard: what must stay sound beside the goal; and what a guard may look at and ask."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tunewright.core.endpoint import Endpoint
from tunewright.core.example import Example
from tunewright.core.part import Part
from tunewright.core.report import GuardResult, Measure

if TYPE_CHECKING:
    import numpy as np

    from tunewright.models.tunable import TunableModel

Who = Literal["base", "tuned"]
Conversation = Sequence[Mapping[str, Any]]
EditChoice = str | dict[str, Any]  # an edit by name, or with its options


def _not_here(*_: object, **__: object) -> Any:
    raise AssertionError("this scene does not offer what the guard asks for")


@dataclass(frozen=True, kw_only=True)
class GuardScene:
    """What a guard may look at, and how it asks the base and the tuned model.

    splits: the rows of each side that ask something; those of data.canaries under "canaries" alone.
    labels: what answers are chosen from; empty where they are free.
    answers: what each contestant answered to the test rows, in their order. confidences: the probability it gave to
    its answer among the labels; None where nothing was chosen from labels. grade: by the deciding grader; None where a
    row lacks what it compares with. seed: the recipe's. folder: where the guard may keep files of its own.

    ask: puts conversations to a model through the engine, under a name that is the guard's own; answers are kept as
    they come, and the same question is never asked twice. free: token by token even where the task chooses from labels,
    and without the task's system message. most: the longest answer in tokens, the recipe's when left out.
    logprobs: for each example the summed log-prob (nats) of its answer after its prompt, or of its document, and the
    number of tokens; nan and 0 where nothing is learned. open: the model itself, opened once. poll: tells how far a
    long look is (what, done, total), and raises when asked to stop.
    sure: as `ask` where answers are labels: for each conversation the likeliest labels with their shares of the
    probability, the answer first; nothing where the question did not fit. edited: each example as an edit makes it,
    None where the edit changes nothing; `copy` draws another one, an endpoint is for edits that ask a model.
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
    sure: Sures = _not_here
    edited: Edits = _not_here
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
            tools: Sequence[list[dict[str, Any]] | None] | None = None,
            free: bool = False,
            most: int | None = None,
        ) -> list[str]:
            """One answer a conversation. Raises Stopped."""

    class Sures(Protocol):
        """How sure a model is of the labels that it chooses."""

        def __call__(self, who: Who, conversations: Sequence[Conversation], *, name: str) -> list[Mapping[str, float]]:
            """Shares of the likeliest labels, one mapping a conversation. Raises Stopped."""

    class Edits(Protocol):
        """How rows are made from rows."""

        def __call__(
            self, examples: Sequence[Example], edit: EditChoice, *, copy: int = 0, endpoint: Endpoint | None = None
        ) -> list[Example | None]:
            """One row an example. Raises EndpointError, Stopped."""


class Guard(Part):
    """Measures one thing that tuning may have harmed. Its options set bounds; without one it is told and gates nothing.

    Handed a scene; never imports a stage.
    """

    family: ClassVar[str] = "guards"
    question: ClassVar[str]  # what it answers, in one short sentence
    files: ClassVar[tuple[str, ...]] = ()  # options whose files must be there
    bounds: ClassVar[Mapping[str, str]] = {}  # options that bound figures, with words of those figures' names

    def missing_files(self) -> list[str]:
        """Files that its options name and that are not there, each with its option."""
        named = [(name, getattr(self, name)) for name in self.files]
        paths = [(name, path) for name, value in named for path in (value if isinstance(value, list) else [value])]
        return [f"{name}: {path}" for name, path in paths if path and not Path(path).exists()]

    def fits(self, labels: Sequence[str]) -> bool:
        """Whether it is worth its cost where the recipe names no guards. labels: what answers are chosen from."""
        return True

    def unmeasured(self, measures: Sequence[Measure]) -> list[str]:
        """Options that bound figures of which none could be measured: such a bound stays open."""
        return [
            option
            for option, words in self.bounds.items()
            if getattr(self, option) is not None and not any(words in one.name for one in measures)
        ]

    @abstractmethod
    def measure(self, scene: GuardScene) -> GuardResult:
        """Measure the tuned model, and the base where a change is what counts."""
