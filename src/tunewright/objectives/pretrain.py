"""Continued pretraining: read plain documents of a domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from tunewright.core.example import Example
from tunewright.core.parts import Loss, Objective

if TYPE_CHECKING:
    from tunewright.models.chat import Chat
    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel


class Pretrain(Objective):
    """Learns every token of a text given the tokens before it (Gururangan et al. 2020, arXiv 2004.10964).

    Needs `text`. A long document becomes pieces `id#k`, each an example of its own; a piece begins with the last token
    of the one before as context, so that every token is learned exactly once. Neighbours: sft (answers only).
    """

    needs: ClassVar[tuple[str, ...]] = ("text",)

    def encode(self, example: Example, chat: Chat, *, max_tokens: int) -> list[Row]:
        """Pieces of at most `max_tokens`."""
        from tunewright.models.forest import Row

        ids = chat.text_ids(example.text or "")
        rows = []
        for number, start in enumerate(range(0, max(1, len(ids) - 1), max_tokens - 1)):
            items = ids[start : start + max_tokens]
            if len(items) > 1:
                rows.append(Row(items, [0.0] + [1.0] * (len(items) - 1), f"{example.id}#{number}"))
        return rows

    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """The learned tokens."""
        return {"nll": sum(row.num_learned for row in rows)}

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """Summed negative log-prob of the tokens."""
        return Loss({"nll": (model.loss_sum(forest), 1.0)})
