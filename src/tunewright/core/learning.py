"""What is learned and what is kept: objectives, retention, and what they hand to the loop."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.part import Part

if TYPE_CHECKING:
    from tunewright.models.chat import Chat
    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel


@dataclass(frozen=True)
class Head:
    """A layer of an objective's own instead of the vocabulary head (models/heads.py).

    pool: which hidden state it reads: of a row's "last" or "first" token, the "mean" of all, or "tokens": of each token
    with a weight. name: what it is for; a result with a head of another kind is not gone on with. unit: the hidden
    state is brought to length 1 first.
    """

    outputs: int
    name: str
    pool: str = "last"
    bias: bool = True
    unit: bool = False


class Objective(Part):
    """What is learned from an example."""

    family: ClassVar[str] = "objectives"
    needs: ClassVar[tuple[str, ...]]  # fields of Example that must be there
    uses_reference: ClassVar[bool] = False  # the loss reads `model.reference`
    on_policy: ClassVar[bool] = False  # learns from the model's own answers, which `collect` samples at each step
    after_sft: ClassVar[bool] = False  # compares answers that the model must be able to give already
    rate_share: ClassVar[float] = 1.0  # its usual learning rate, as a share of what learning answers takes
    usual_epochs: ClassVar[float | None] = None  # None: by the number of rows
    tested: ClassVar[bool] = False  # graded answers tell little of it: its metrics are measured on the test rows too
    fits_encoders: ClassVar[bool] = False  # whether a model that reads both ways can learn it
    fits_encoder_decoders: ClassVar[bool] = False  # whether an encoder with a decoder can learn it

    @property
    def figure(self) -> str | None:
        """Where there is no answer to grade: what the share of `right` examples is called."""
        return None

    @property
    def least_batch(self) -> int:
        """The fewest examples that a step must have."""
        return 1

    @property
    def head(self) -> Head | None:
        """The head that learns; None: the vocabulary head. Labels must be known: see `fitted`."""
        return None

    @property
    def by_head(self) -> bool:
        """Whether the head gives the answers, and no tokens do: a value head only helps to learn them."""
        return self.head is not None and not self.on_policy

    @property
    def asks_base(self) -> bool:
        """Whether the untuned model can be asked for the same: without that it is no contestant."""
        return self.figure is None

    def fitted(self, facts: Mapping[str, Any]) -> Objective:
        """The objective with what only the data and the model tell: `choose` writes it into the frozen recipe.

        facts: the numbers of the prepare report, and `encoder`: whether the model reads both ways. Raises DataError or
        RecipeError when they do not fit.
        """
        return self

    def decoding(self) -> dict[str, Any] | None:
        """How a release answers, as fields of `models.decode.Decode`; None: by the data's labels, or by generating."""
        return None

    @property
    def fitting_graders(self) -> list[str | dict[str, Any]] | None:
        """Graders where the recipe names none; None: by the shape of the answers."""
        return None

    def question(self, example: Example, chat: Chat) -> list[int]:
        """The ids that a release is asked with for this example: what every row of it begins with."""
        return chat.prompt_ids(example.prompt, example.tools)

    def right(self, model: TunableModel, forest: Forest) -> dict[str, float]:
        """For each example of a forest, by its id: 1 when the model is right about it, 0 when not, 0.5 for a draw."""
        raise NotImplementedError(f"objective '{self.kind}' has answers to grade")

    @property
    def draws(self) -> bool:
        """Whether the loss draws random numbers (noise): rows are then computed apart."""
        return False

    @property
    def others(self) -> dict[str, str]:
        """Further models that the loss asks, by a name of its own: each a base, a run or a release."""
        return {}

    def lacks(self, example: Example) -> str | None:
        """What this example does not have and the objective cannot do without, in words; None: nothing is missing."""
        if "messages" in self.needs and not self.on_policy and example.num_answer_messages == 0:
            return "an answer of the assistant"
        return next((f"'{need}'" for need in self.needs if not getattr(example, need)), None)

    def imitates(self, example: Example) -> bool:
        """Whether the example's answer is one to give: others are not compared with what a model answers."""
        return True

    def with_answer(self, example: Example) -> Example:
        """The example with something said where the model's own answers will be, if it asks alone and those are learned
        from: rows and proofs have their shape from it, and nobody learns it.
        """
        return example

    @abstractmethod
    def encode(self, example: Example, chat: Chat, *, max_tokens: int) -> list[Row]:
        """The rows of an example, each at most `max_tokens` long. An empty list: nothing to learn at this length."""

    @abstractmethod
    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """For each loss term, the count it is divided by, over all rows of an optimizer step. Known before the
        forward pass.
        """

    def drawn(self, units: Sequence[list[Row]], data: Sequence[list[Row]], *, seed: int) -> Sequence[list[Row]]:
        """The units of a step (or of a look) with the rows that belong beside them, drawn from the training units."""
        return units

    def settle(self, model: TunableModel, units: Sequence[Sequence[Row]], *, micro_tokens: int) -> None:
        """Before weights that may be kept are saved: fit what is not learned by steps to the training units."""

    def for_step(
        self, model: TunableModel, units: Sequence[Sequence[Row]], *, micro_tokens: int, share: bool
    ) -> Objective:
        """The objective with what all micro-batches of a step must know of the whole step; most need nothing.

        Called before the first of them, without gradient.
        """
        return self

    @abstractmethod
    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """Loss terms of one micro-batch, as sums (never means)."""

    def collect(
        self,
        model: TunableModel,
        prompts: Sequence[tuple[Example, list[int]]],
        *,
        reward: Reward,
        seed: int,
        layout: Layout,
        poll: Callable[[], None],
    ) -> Collected:
        """What an on-policy objective learns from in one step: answers of the model, as it is now, to these prompts.

        seed: the step's own, so that a resumed run samples the same. poll may raise to stop.
        """
        raise NotImplementedError(f"objective '{self.kind}' learns from given rows")

    def greedy_reward(
        self,
        model: TunableModel,
        prompts: Sequence[tuple[Example, list[int]]],
        *,
        reward: Reward,
        layout: Layout,
        poll: Callable[[], None],
    ) -> float:
        """The mean reward of the likeliest answers of an on-policy objective's model: its validation."""
        raise NotImplementedError(f"objective '{self.kind}' is validated by its loss")

    @property
    def repeats(self) -> int:
        """How many rows are learned for each one of `encode`, gradient steps on the same row counted."""
        return 1

    def longest(self, row: Row) -> int:
        """The tokens that a row of `encode` may come to have in training."""
        return len(row.items)


Reward = Callable[[Sequence[Example], Sequence[str]], list[float]]  # of each example's answer: higher is better


@dataclass(frozen=True)
class Layout:
    """How the rows of a step are laid out as forests: as in `training.step`."""

    micro_tokens: int
    max_tokens: int
    share: bool = True


@dataclass(frozen=True)
class Collected:
    """Units of rows made from a model's own answers, how many gradient steps they are good for, and figures to log."""

    units: list[list[Row]]
    updates: int
    figures: dict[str, float]


@dataclass(frozen=True)
class Loss:
    """Terms of a loss over one micro-batch: each a (differentiable sum, weight); the loop divides by the global
    count. metrics: figures to be told, each a (sum, count), so that a step's is the mean over all its micro-batches.
    """

    terms: dict[str, tuple[Any, float]]
    metrics: dict[str, tuple[float, float]] = field(default_factory=dict)


class Retention(Part):
    """How a training keeps what was learned before it.

    needs_past: it keeps what earlier runs learned; in a phase those are the phases it goes on from, elsewhere the run
    of `model.from`. methods: the methods it works with, None for all.
    """

    family: ClassVar[str] = "retention"
    needs_past: ClassVar[bool] = True
    uses_reference: ClassVar[bool] = False
    methods: ClassVar[tuple[str, ...] | None] = None
    runs: list[str] = Field([], description="earlier runs to keep; those that this one goes on from when left out")

    @property
    def files(self) -> list[str]:
        """Files of rows that the options name."""
        return []

    @property
    def has_past(self) -> bool:
        """Whether the options name what is to be kept."""
        return bool(self.runs or self.files)

    @abstractmethod
    def keep(self, past: Past) -> Keeping:
        """Get ready, before the first step of a training and before a stopped one goes on."""


class Keeping:
    """A retention at work. It may add rows to a step with a loss of their own, a penalty on the weights, or both."""

    def units(self, step: int, new: Sequence[Sequence[Row]]) -> Sequence[Sequence[Row]]:
        """The rows of a step (from 1) to which `loss` applies: a function of the seed and the step. new: the step's
        own.
        """
        return []

    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """As in Objective: for each loss term, the count it is divided by, over all rows of a step."""
        return {}

    def for_step(
        self, model: TunableModel, units: Sequence[Sequence[Row]], *, micro_tokens: int, share: bool
    ) -> Keeping:
        """As in Objective: with what all micro-batches of a step must know of the whole step."""
        return self

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """As in Objective: loss terms of one micro-batch, as sums."""
        return Loss({})

    def penalty(self, model: TunableModel) -> Any:
        """A differentiable scalar of the weights alone, or None."""
        return None


@dataclass(frozen=True, kw_only=True)
class Past:
    """What a retention may look at: the model as it starts, the earlier runs, a folder for what is computed once."""

    model: TunableModel  # the method attached, nothing learned yet
    units: Callable[[], Sequence[Sequence[Sequence[Row]]]]  # for each run, then for the sources: its rows by example
    open_runs: Sequence[Callable[[], TunableModel]]  # each run's tuned model as plain weights, float32
    trained: Sequence[Path]  # what Method.save wrote at the end of each run
    batch: int  # examples in an optimizer step
    seed: int
    folder: Path
    poll: Callable[[], None]  # raises Stopped when a stop was asked for
