"""Detector: what looks for faults in rows; and what a fault is, with the one remedy that `prepare --fix` applies."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.part import Part

if TYPE_CHECKING:
    import numpy as np

    from tunewright.core.recipe import DataOptions

SHOWN_ROWS = 1000  # rows of a finding that its report names; data/findings.jsonl names all


@dataclass(slots=True)
class Seen:
    """A row as a detector sees it: its number, its side (train, validation or test) and what it says."""

    number: int
    side: str
    example: Example
    _said: str | None = field(default=None, init=False, repr=False)

    @property
    def said(self) -> str:
        """All that is said in the row (messages, worse answers, or the document), a line feed between: joined once."""
        if self._said is None:
            one = self.example
            spoken = [*one.messages, *one.rejected] if one.rejected else one.messages
            self._said = one.text if one.text is not None else "\n".join([message.content for message in spoken])
        return self._said


@dataclass(frozen=True)
class Fault:
    """Something wrong with some rows. `name` is the finding's and the fix's.

    rows: the numbers of the faulty rows, each once. drop: those that the fix leaves out. change: what the fix makes of
    each of `rows` (of its `Example`); the same object back means unchanged. fix: what the fix does, in a few words;
    None: only the user can mend it. safe: the fix loses nothing that a reader would miss (`--fix safe`).
    """

    name: str
    message: str
    rows: Sequence[int] | np.ndarray = ()
    count: int | None = None  # where it is not the number of rows
    severity: Literal["info", "warning", "problem"] = "info"
    example: str | None = None
    remedy: str | None = None
    fix: str | None = None
    safe: bool = False
    drop: Sequence[int] | np.ndarray = ()
    change: Callable[[Example], Example] | None = None


class NearPairs(Protocol):
    """Pairs of rows whose texts are nearly the same: first[i] < second[i], and their similarity."""

    @property
    def first(self) -> np.ndarray:
        """Row numbers."""

    @property
    def second(self) -> np.ndarray:
        """Row numbers."""

    @property
    def similarity(self) -> np.ndarray:
        """Jaccard similarity of their runs of characters."""


@dataclass(frozen=True)
class Scene:
    """What is known of the rows before they are looked at one by one. Rows are given by number, sides by name.

    label: by row number, its place in `labels`; -1 for none. asked: by row number, the class of rows that ask the same
    after normalising. near: verified pairs of near twins, each the first row of its class in `asked`. given: the sides
    that the user gave files for. dropped: rows to learn from that were dropped for a twin that measures. examples: of
    rows in ascending order of their numbers. poll: tells how far a long search is (what, done, total), and raises when
    asked to stop. notes: figures for the data card, by detector.
    """

    data: DataOptions
    sides: Mapping[str, np.ndarray]
    labels: Sequence[str]
    label: np.ndarray
    asked: np.ndarray
    near: NearPairs
    given: Mapping[str, np.ndarray]
    dropped: np.ndarray
    examples: Callable[[np.ndarray], Iterator[Example]]
    poll: Callable[[str, int, int], None] = lambda what, done, total: None
    notes: dict[str, object] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        """Rows on all sides."""
        return sum(len(side) for side in self.sides.values())


class Watch(Protocol):
    """One look at all rows: each is shown once, in the order of their numbers, then the faults are asked for."""

    def see(self, row: Seen) -> None:
        """Look at a row."""

    def faults(self) -> Iterable[Fault]:
        """What was found, once all rows were seen."""


class Detector(Part):
    """Looks for one kind of fault. Its options are thresholds; `off` leaves it out."""

    family: ClassVar[str] = "detectors"
    fixes: ClassVar[tuple[str, ...]] = ()  # names of its faults that can be fixed

    off: bool = Field(False, description="leave this check out")

    @abstractmethod
    def watch(self, scene: Scene) -> Watch:
        """Begin a look at rows."""
