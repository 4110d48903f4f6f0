"""Part: something picked by name in a recipe. The families and what each must be able to do.

A part is a frozen pydantic model: its fields are its YAML options, its `kind` is the name of its file. Parts import
torch and other heavy libraries inside their functions, so that recipes can be checked in a moment.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from tunewright.core.contesting import Contestant
from tunewright.core.example import Example
from tunewright.core.learning import Collected, Head, Keeping, Layout, Loss, Objective, Past, Retention, Reward
from tunewright.core.part import Part
from tunewright.core.report import Finding, ProofResult

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from tunewright.core.endpoint import Endpoint, Question, Reply
    from tunewright.data.changes import Change
    from tunewright.models.chat import Chat
    from tunewright.models.forest import Row
    from tunewright.models.tunable import TunableModel

__all__ = [
    "Collected",
    "Contestant",
    "Desk",
    "Edit",
    "Exporter",
    "Grade",
    "Grader",
    "Head",
    "Keeping",
    "Layout",
    "LogProb",
    "Loss",
    "Method",
    "Objective",
    "Part",
    "Past",
    "Proof",
    "Retention",
    "Reward",
    "Subject",
]


class Method(Part):
    """Which weights change, and how they are kept."""

    family: ClassVar[str] = "methods"
    has_adapter: ClassVar[bool]  # the result is a small file beside the base
    fits_encoder_decoders: ClassVar[bool] = False  # whether it trains nets with an encoder and a decoder
    starts_as_base: ClassVar[bool] = True  # attached and not trained, it answers like the base
    thaws: ClassVar[bool] = False  # everything trains in the end, but the embeddings not from the first step on

    @property
    def root_tokens(self) -> int:
        """How many positions it takes before every row (models/roots.py)."""
        return 0

    @property
    def rates(self) -> str:
        """Whose learning rates fit it: its own kind's, where `choose` knows any, or another's."""
        return self.kind

    @property
    def draws(self) -> bool:
        """Whether training draws random numbers in the forward pass (dropout): rows are then computed apart."""
        return False

    @property
    def quantised(self) -> bool:
        """Whether training keeps the base in fewer bits. Evaluation and release stand on the base as it was before."""
        return False

    @property
    def mergeable(self) -> bool:
        """Whether the result can become plain weights; else `merge` raises CannotMerge."""
        return True

    def quantise(self, net: nn.Module) -> None:
        """Bring a base into the form in which it is trained on, in place; nothing for most methods."""

    @abstractmethod
    def attach(self, net: nn.Module, name: str = "default", *, seed: int = 0) -> nn.Module:
        """Make the net trainable by this method: freeze, replace or add modules. Returns the net (changed in place)."""

    @abstractmethod
    def merge(self, net: nn.Module, name: str = "default") -> nn.Module:
        """Fold the result into plain weights, in place, so that the net is what `from_pretrained` would give."""

    def hand_on(self, net: nn.Module) -> None:
        """Make the net what a later training starts from: merged, unless something of the result can stay beside."""
        self.merge(net)

    @abstractmethod
    def save(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Write what was trained into the folder (safetensors and JSON), in PEFT's layout where one exists."""

    @abstractmethod
    def load(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Put saved weights into a net to which this method is attached. Raises DataError when a key is missing or
        left over.
        """

    def export(self, net: nn.Module, folder: Path) -> None:
        """Write what a release carries: what `save` writes, without what only further training needs."""
        self.save(net, folder)

    def groups(self, net: nn.Module, lr: float) -> list[dict[str, Any]]:
        """Parameter groups for the optimizer: {params, lr, decay}. Vectors (norms, biases) are not decayed."""
        trained = [p for p in net.parameters() if p.requires_grad]
        return [
            {"params": [p for p in trained if p.dim() >= 2], "lr": lr, "decay": True},
            {"params": [p for p in trained if p.dim() < 2], "lr": lr, "decay": False},
        ]

    def at(self, net: nn.Module, *, step: int, total: int, per_epoch: int) -> None:
        """Called before each step with its number from 1, the number of steps, and that of an epoch's steps: here a
        method may change what trains.
        """
        return None

    @contextmanager
    def off(self, net: nn.Module) -> Iterator[None]:
        """The net as it was before this method changed it. Raises CannotMerge when the method has no such switch."""
        from tunewright.core.errors import CannotMerge

        raise CannotMerge(f"Method '{self.kind}' changes the base's own weights and cannot be switched off.")
        yield


class Grade(BaseModel):
    """One answer's grade: 0 is worst, 1 is best; `why` in a few words.

    facts: figures behind the score, which `tally` and `summarise` need again.
    """

    model_config = ConfigDict(frozen=True)

    score: float = Field(ge=0, le=1)
    why: str = ""
    facts: Mapping[str, float] = {}


@dataclass(frozen=True)
class LogProb:
    """The summed log-prob (nats) of a text that ends an exchange, with its end of turn, and its number of tokens."""

    total: float
    num_tokens: int


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What a grader may use while it grades one contestant's answers to the test rows.

    contestant: whose answers they are. answers: every contestant's, by test row's id, for graders that compare them.
    models: the name of each contestant's model. confidences: how sure it was of its answer, by test row's id; None
    where it did not choose from labels. logprobs: of texts, some for each row, said in place of its answer after what
    it was sent; None for a row where they do not fit its context. None itself where it has no model here that says
    texts. kept: what else a grader wants kept in the run, under keys of its own: what was there before a stop is there
    again. ask: puts questions to a server; replies are kept in the run, so that
    nothing is asked twice; a question that the server refuses has a reply that ended as `refused`. poll: tells how far
    a long grading is (what, done, total), and raises when asked to stop.

    The grader leaves what it found beside the grades: notes (figures for the report), findings, and doubts: each a
    sentence that says why its figure must not decide.
    """

    contestant: str = "tuned"
    answers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    confidences: Mapping[str, float | None] = field(default_factory=dict)
    logprobs: LogProbs | None = None
    ask: Callable[[Endpoint, Sequence[Question]], list[Reply]]
    kept: MutableMapping[str, Any] = field(default_factory=dict)
    poll: Callable[[str, int, int], None] = lambda what, done, total: None
    notes: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


LogProbs = Callable[[Sequence[Example], Sequence[Sequence[str]]], list[list[LogProb] | None]]


class Grader(Part):
    """How good an answer is, compared with the example's expected one.

    `evaluate` cuts both the expected answer (`example.answer`) and the answer to `field` before any method sees them.
    """

    family: ClassVar[str] = "graders"
    paired: ClassVar[str] = "bootstrap"  # `mcnemar` where each grade is right or wrong and the value is their mean
    needs_expected: ClassVar[bool] = True
    asks: ClassVar[bool] = False  # may ask a model on a server: many answers at once, and its reasons are kept
    needs_model: ClassVar[bool] = False  # grades what the model finds likely, not what it said
    name: str | None = Field(None, description="how reports call it; the kind when left out")
    field: str | None = Field(None, description="grade this field of a JSON answer (or of `field: value` lines)")

    @property
    def label(self) -> str:
        """The name in reports."""
        return self.name or self.kind

    @abstractmethod
    def grade(self, example: Example, answer: str) -> Grade:
        """Grade one answer against `example.answer`."""

    def tally(self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]) -> np.ndarray:
        """What each row adds to the totals that `value` is made from: [rows, parts]. None is an answer without the
        field.
        """
        import numpy as np

        return np.array([[grade.score, 1.0] for grade in grades])

    def value(self, totals: np.ndarray) -> np.ndarray:
        """The reported figure (0 worst, 1 best) from totals [..., parts]; the mean grade unless the grader says
        otherwise.
        """
        return totals[..., 0] / totals[..., 1]

    @property
    def doubt(self) -> str | None:
        """Why its figure must not decide a goal, as far as its options tell; None where it may."""
        return None

    def problems(self, contestants: Sequence[str]) -> list[str]:
        """What is wrong with its options beside these contestants, each one sentence."""
        return []

    def compares(self, expected: str) -> bool:
        """Whether it can hold an answer against this expected one; a row with another is left out."""
        return True

    def try_on(self, example: Example) -> None:
        """Find out, before anything is trained, whether it can grade such a row: by its own expected answer. Raises
        what grading would.
        """
        if not (self.asks or self.needs_model):
            self.grade(example, example.answer or "")

    def grade_all(self, examples: Sequence[Example], answers: Sequence[str], desk: Desk) -> Sequence[Grade | None]:
        """One grade an answer. Graders that ask a model, or work on many answers at once, do so here. None: it could
        not be graded, which the grader tells at its desk; the row is left out.
        """
        return [self.grade(example, answer) for example, answer in zip(examples, answers, strict=True)]

    def summarise(
        self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]
    ) -> dict[str, Any]:
        """Figures over all answers beyond the value (per class, confusion ...). Empty for most graders."""
        return {}


class Edit(Part):
    """One way to make a row from another, without changing what is right to answer."""

    family: ClassVar[str] = "edits"
    whole_row: ClassVar[bool] = False  # changes what is said and what is answered alike; else only what is asked
    num_questions: ClassVar[int] = 0  # how often a model is asked for each row, one after the other

    @abstractmethod
    def change(self, texts: Sequence[str], draw: Random, replies: Sequence[str] = ()) -> list[list[Change]] | None:
        """The changes of each text of a row; None when nothing can be changed. Everything random comes from `draw`.

        texts: what the user says, message by message (with `whole_row`, all that is said); only the last one where a
        model is asked. replies: what it said.
        """

    def question(self, text: str, replies: Sequence[str], draw: Random) -> list[dict[str, Any]]:
        """The messages of the next question to a model, after its replies so far. Called `num_questions` times."""
        raise AssertionError(f"edit '{self.kind}' asks no model")


class Exporter(Part):
    """One format of a release."""

    family: ClassVar[str] = "exporters"
    merges: ClassVar[bool]  # changes the model it is handed: such exporters come last
    proves: ClassVar[bool] = False  # compares what it wrote with the model

    def fits(self, base: str) -> None:
        """Raise DataError where a base cannot be written in this format, MissingPackage where a package is."""
        return None

    @abstractmethod
    def export(self, method: Method, model: TunableModel, folder: Path) -> None:
        """Write the tuned model into an empty folder."""

    def prove(self, model: TunableModel, folder: Path, probes: Sequence[list[int]]) -> ProofResult | None:
        """Whether what was written says the same as the (merged) model after each of some token ids; None where nothing
        can be measured. Asked only of those that prove.
        """
        return None


class Proof(Part):
    """A claim about the user's own model and data, and its measurement. Handed a subject; never imports a stage."""

    family: ClassVar[str] = "proofs"
    claim: ClassVar[str]
    when: ClassVar[str]  # "before" training, or "after"

    @abstractmethod
    def prove(self, subject: Subject) -> ProofResult:
        """Measure the claim."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a proof may look at: the run's parts, some probe examples, and callables that make models."""

    method: Method
    objective: Objective
    examples: list[Example]  # probes: a few training examples
    splits: Mapping[str, Sequence[Example]] = field(default_factory=dict)
    max_tokens: int
    micro_tokens: int
    seed: int = 0
    folder: Path
    trained: Path | None = None  # folder written by Method.save; None before training
    frozen_before: dict[str, str] | None = None  # digest of each frozen tensor when training began
    open_chat: Callable[[], Chat]
    encoded: Callable[[], Iterable[tuple[Example, list[Row]]]]  # every training example with its rows
    open_base: Callable[[], TunableModel]  # a fresh model as the phase started, float32
    gradients: Callable[..., Any]  # training.step.gradients: adds up a step's gradients over micro-batches
    open_tuned: Callable[[], TunableModel] | None = None
    open_as_trained: Callable[[], TunableModel] | None = None  # what was learned on the base as it was trained on
    served_ids: Callable[[Chat, list[dict[str, Any]]], list[int]] | None = None  # how the server encodes messages
