"""What the objectives share that compare two answers to one prompt: their rows, and sums by answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from tunewright.core.example import Example
from tunewright.core.parts import Objective

if TYPE_CHECKING:
    import torch

    from tunewright.models.chat import Chat
    from tunewright.models.forest import Row
    from tunewright.models.turns import Turn

CHOSEN, REJECTED = 0, 1  # slots


class Pairs(Objective):
    """Learns from pairs: an example's last answer is better than its rejected one."""

    needs: ClassVar[tuple[str, ...]] = ("messages", "rejected")
    after_sft: ClassVar[bool] = True
    rate_share: ClassVar[float] = 0.1
    usual_epochs: ClassVar[float | None] = 1.0
    tested: ClassVar[bool] = True

    def encode(self, example: Example, chat: Chat, *, max_tokens: int) -> list[Row]:
        """The rows of the chosen answer (slot 0) and of the rejected one (slot 1), one for each assistant turn.

        An answer that is too long loses its end; the pair is left out when the prompt fills the row, or when nothing
        is left in which the two differ.
        """
        return pair_rows(example, chat, max_tokens)

    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """The pairs."""
        return {self.kind: num_pairs(rows)}


def pair_rows(example: Example, chat: Chat, max_tokens: int) -> list[Row]:
    """As `Pairs.encode`."""
    chosen = answer_rows(chat.chosen_turns(example), example.id, CHOSEN, max_tokens)
    rejected = answer_rows(chat.rejected_turns(example), example.id, REJECTED, max_tokens)
    differ = [row.items for row in chosen] != [row.items for row in rejected]
    return [*chosen, *rejected] if chosen and rejected and differ else []


def answer_rows(turns: Sequence[Turn], name: str, slot: int, max_tokens: int) -> list[Row]:
    """A row for each turn of an answer that has a token within the limit; what does not fit is cut off the end."""
    from tunewright.models.forest import Row

    rows: list[Row] = []
    for turn in turns:
        whole = [*turn.prompt, *turn.answer]
        items = whole[:max_tokens]
        num_learned = len(items) - len(turn.prompt)
        if num_learned > 0:
            weights = [0.0] * len(turn.prompt) + [turn.weight] * num_learned
            rows.append(Row(items, weights, name, slot=slot, cut=len(items) < len(whole)))
    if rows and len(rows) < len(turns):
        rows[-1] = replace(rows[-1], cut=True)
    return rows


def num_pairs(rows: Sequence[Row]) -> int:
    """How many examples the rows belong to."""
    return len({row.example for row in rows})


def by_answer(values_R: torch.Tensor, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of a value over the rows of each chosen and of each rejected answer, P and P, in the order of the rows."""
    import torch

    places: dict[str, int] = {}
    at = [2 * places.setdefault(row.example, len(places)) + row.slot for row in rows]
    index = torch.tensor(at, device=values_R.device)
    chosen, rejected = values_R.new_zeros(2 * len(places)).index_add(0, index, values_R).view(-1, 2).unbind(1)
    return chosen, rejected


def lengths(logp_R: torch.Tensor, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Learned tokens (their weights) of each chosen and of each rejected answer, P and P."""
    return by_answer(logp_R.new_tensor([row.num_learned for row in rows]), rows)


def figures(chosen: torch.Tensor, rejected: torch.Tensor) -> dict[str, tuple[float, float]]:
    """Metrics of the rewards (P) of both answers: their means, their distance, and how often the better one leads."""
    chosen, rejected, count = chosen.detach(), rejected.detach(), float(len(chosen))
    return {
        "rewards/chosen": (float(chosen.sum()), count),
        "rewards/rejected": (float(rejected.sum()), count),
        "margin": (float((chosen - rejected).sum()), count),
        "accuracy": (float((chosen > rejected).sum()), count),
    }
