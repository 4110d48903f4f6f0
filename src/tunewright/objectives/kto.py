"""KTO: learn from answers that are judged one by one, good or bad."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PrivateAttr

from tunewright.core.example import Example
from tunewright.core.parts import Loss, Objective
from tunewright.objectives._pairs import CHOSEN, REJECTED, answer_rows, pair_rows

if TYPE_CHECKING:
    from tunewright.models.chat import Chat
    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel

GOOD = ("true", "1", "1.0", "yes", "good", "desirable", "chosen", "up", "thumbs_up", "positive")
BAD = ("false", "0", "0.0", "-1", "no", "bad", "undesirable", "rejected", "down", "thumbs_down", "negative")


class Kto(Objective):
    """Makes good answers likelier and bad ones less likely than the reference has them, each with a loss that flattens
    where the model has moved far already (Ethayarajh et al. 2024, arXiv 2402.01306, eq. 8).

    Needs messages, and either rejected (a pair is two answers that are judged) or a column that says whether the last
    answer is desirable. The point from which gain and loss are counted is the model's distance to the reference, the
    mean log-ratio of answers put behind the prompts of other examples of the step, at least 0: it is estimated once a
    step, without gradient. It is 0 where a step has a single example. Neighbours: dpo (needs pairs), sft.
    """

    needs: ClassVar[tuple[str, ...]] = ("messages",)
    uses_reference: ClassVar[bool] = True
    after_sft: ClassVar[bool] = True
    rate_share: ClassVar[float] = 0.1
    usual_epochs: ClassVar[float | None] = 1.0
    tested: ClassVar[bool] = True

    beta: float = Field(
        0.1, gt=0, description="How strongly the reference holds: lower moves further away from it, and learns more."
    )
    desirable: float = Field(
        1.0, gt=0, description="Weight of good answers; with few of them, raise it until good and bad weigh the same."
    )
    undesirable: float = Field(1.0, gt=0, description="Weight of bad answers.")
    column: str = Field(
        "label",
        description="The column that judges the answer of a row that is no pair: true/false, 1/0, good/bad. Where "
        "it is missing, kto_tag does.",
    )

    _distance: float = PrivateAttr(0.0)  # KL to the reference, in nats

    def lacks(self, example: Example) -> str | None:
        """A pair, or a judgement."""
        if not example.messages or example.num_answer_messages == 0:
            return "an answer of the assistant"
        judged = bool(example.rejected) or self._judgement(example) is not None
        return None if judged else f"'rejected' (or a column '{self.column}' that says true or false)"

    def imitates(self, example: Example) -> bool:
        """Not the answers judged bad."""
        return bool(example.rejected) or self._judgement(example) is not False

    def _judgement(self, example: Example) -> bool | None:
        column = self.column if self.column in example.meta else "kto_tag"
        word = str(example.meta.get(column)).strip().lower()
        return True if word in GOOD else False if word in BAD else None

    def encode(self, example: Example, chat: Chat, *, max_tokens: int) -> list[Row]:
        """The rows of each judged answer: slot 0 is good, slot 1 is bad. Too long ones are treated as in dpo."""
        if example.rejected:
            return pair_rows(example, chat, max_tokens)
        slot = CHOSEN if self._judgement(example) else REJECTED
        return answer_rows(chat.chosen_turns(example), example.id, slot, max_tokens)

    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """The judged answers."""
        return {self.kind: len({(row.example, row.slot) for row in rows})}

    def for_step(
        self, model: TunableModel, units: Sequence[Sequence[Row]], *, micro_tokens: int, share: bool
    ) -> Objective:
        """With the distance to the reference as the whole step sees it."""
        assert model.reference is not None, "the loop puts it there"
        total, count = 0.0, 0
        for rows in model.micro_batches(list(_mismatched(units)), micro_tokens, share=share):
            forest = model.forest(rows, share=share)
            total += float((model.logprobs(forest) - model.reference.logprobs(forest)).sum())
            count += len(rows)
        measured = self.model_copy()
        measured._distance = max(0.0, total / count) if count else 0.0
        return measured

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """The loss summed over judged answers."""
        import torch

        assert model.reference is not None, "the loop puts it there"
        places: dict[tuple[str, int], int] = {}
        at = [places.setdefault((row.example, row.slot), len(places)) for row in forest.rows]
        ratio_R = model.logprobs(forest) - model.reference.logprobs(forest)
        ratio_A = ratio_R.new_zeros(len(places)).index_add(0, torch.tensor(at, device=ratio_R.device), ratio_R)
        good_A = torch.tensor([slot == CHOSEN for _, slot in places], device=ratio_R.device)
        gain_A = self.beta * torch.where(good_A, ratio_A - self._distance, self._distance - ratio_A)
        weight_A = torch.where(good_A, self.desirable, self.undesirable)
        loss = (weight_A * (1 - gain_A.sigmoid())).sum()
        rewards, num_good, count = self.beta * ratio_A.detach(), float(good_A.sum()), float(len(places))
        metrics = {
            "rewards/chosen": (float(rewards[good_A].sum()), num_good),
            "rewards/rejected": (float(rewards[~good_A].sum()), count - num_good),
            "accuracy": (float((gain_A > 0).sum()), count),
            "kl": (self._distance * count, count),
        }
        return Loss({self.kind: (loss, 1.0)}, metrics)


def _mismatched(units: Sequence[Sequence[Row]]) -> Iterator[list[Row]]:
    """Each example's answers behind the prompt of the next one, none longer than the longest row of the step."""
    from tunewright.models.forest import Row

    if len(units) < 2:
        return
    longest = max(len(row.items) for unit in units for row in unit)
    for number, unit in enumerate(units):
        other = units[(number + 1) % len(units)][0]
        prompt = other.items[: _num_context(other)]
        firsts = {row.slot: row for row in reversed(unit)}  # of an answer with several turns, the first
        rows = []
        for slot, row in firsts.items():
            start = _num_context(row)
            items = [*prompt, *row.items[start:]][:longest]
            weights = [*[0.0] * len(prompt), *row.weights[start:]][:longest]
            rows.append(Row(items, weights, row.example, slot=slot))
        yield rows


def _num_context(row: Row) -> int:
    return next(number for number, weight in enumerate(row.weights) if weight > 0)
