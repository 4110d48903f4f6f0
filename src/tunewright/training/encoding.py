"""From Examples to units of rows: what one optimizer step counts as an example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.parts import Objective
from tunewright.models.chat import Chat
from tunewright.models.forest import Row


@dataclass(frozen=True)
class Encoded:
    """Units in the order of the data. unlearned: ids of examples without a learned token; cut: ids that lost their
    end.
    """

    units: list[list[Row]]
    unlearned: list[str]
    cut: list[str]

    @property
    def ids(self) -> list[str]:
        """The id of each unit: an example, or a piece `id#k` of a document."""
        return [unit[0].example for unit in self.units]


def encode(
    examples: Sequence[Example],
    objective: Objective,
    chat: Chat,
    *,
    max_tokens: int,
    poll: Callable[[], None] = lambda: None,
) -> Encoded:
    """Encode a split. Raises DataError when an example lacks what the objective needs, or when nothing can be
    learned.
    """
    lacking = [e for e in examples if any(not getattr(e, need) for need in objective.needs)]
    if lacking:
        need = " and ".join(objective.needs)
        raise DataError(
            f"Objective '{objective.kind}' needs '{need}' in every example; {len(lacking)} of {len(examples)} lack it. "
            f"First: {lacking[0].id}. Bring data of that shape, or choose another objective."
        )
    units: dict[str, list[Row]] = {}
    unlearned, cut = [], []
    for number, example in enumerate(examples):
        if number % 256 == 0:
            poll()
        rows = [row for row in objective.encode(example, chat, max_tokens=max_tokens) if row.num_learned > 0]
        if not rows:
            unlearned.append(example.id)
        for row in rows:
            units.setdefault(row.example, []).append(row)
        if any(row.cut for row in rows):
            cut.append(example.id)
    if not units:
        raise DataError(
            f"None of the {len(examples)} examples has a learned token within {max_tokens} tokens. "
            "Raise train.max_tokens, or check that the answers are not empty."
        )
    return Encoded(list(units.values()), unlearned, cut)
