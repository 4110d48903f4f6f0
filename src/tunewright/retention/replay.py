"""replay: earlier rows are read again among the new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from tunewright.core.parts import Keeping, Loss, Past, Retention

if TYPE_CHECKING:
    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel


class Replay(Retention):
    """Mixes rows of earlier runs, or general ones, into each step: the surest way, where those rows may be kept.

    Of all rows of a step, `share` are earlier ones: with a batch of 16 and a share of 0.2, four beside the 16 new ones.
    They are learned by their answers (documents: by every token), whatever the objective of the new rows is. Experience
    replay: Robins 1995, "Catastrophic forgetting, rehearsal and pseudorehearsal"; Chaudhry et al. 2019 (arXiv
    1902.10486). Neighbours: `ewc` and `orthogonal` (need no rows), `anchor` (keeps outputs, not answers).
    """

    sources: list[str] = Field([], description="files of general rows, of any format; also without earlier runs")
    share: float = Field(0.2, gt=0, lt=1, description="of the rows of a step: more keeps more and learns more slowly")
    rows: int | None = Field(
        None, ge=1, description="at most this many rows of each run, and of the sources; all when left out"
    )
    weight: float = Field(1.0, gt=0, description="how much an earlier row counts against a new one")

    @property
    def files(self) -> list[str]:
        """Its sources."""
        return self.sources

    def keep(self, past: Past) -> Keeping:
        """Choose the rows that may be drawn."""
        return Replaying(self, past)


class Replaying(Keeping):
    """Draws every earlier row once before any of them again, in an order that is a function of the seed."""

    def __init__(self, part: Replay, past: Past) -> None:
        self.part, self.seed = part, past.seed
        self.groups = past.units()
        self.members = [
            (group, int(row))
            for group, units in enumerate(self.groups)
            for row in _order(past.seed, group, len(units))[: part.rows]
        ]
        self.a_step = past.batch * part.share / (1 - part.share)

    def units(self, step: int, new: Sequence[Sequence[Row]]) -> Sequence[Sequence[Row]]:
        """So many that all steps to this one together have had their share, to the whole row."""
        first, last = (int(self.a_step * number + 0.5) for number in (step - 1, step))
        return [self._drawn(number) for number in range(first, last)]

    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """The learned tokens."""
        return {"replay": sum(row.num_learned for row in rows)}

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """Summed negative log-prob; weighted so that an earlier token counts like a new one in the step's mean."""
        share = self.part.share
        return Loss({"replay": (model.loss_sum(forest), self.part.weight * share / (1 - share))})

    def _drawn(self, number: int) -> Sequence[Row]:
        """The unit that is drawn as this one of all, from 0."""
        turn, place = divmod(number, len(self.members))
        order = _order(self.seed, len(self.groups) + turn, len(self.members))
        group, row = self.members[int(order[place])]
        return self.groups[group][row]


def _order(seed: int, turn: int, count: int) -> Sequence[int]:
    import numpy as np

    draw = np.random.Generator(np.random.Philox(key=[seed, 2**32 + turn]))
    order: list[int] = draw.permutation(count).tolist()
    return order
