"""anchor: on rows you name, or on the new ones, the model's words keep the probabilities they had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tunewright.core.parts import Keeping, Loss, Past, Retention

if TYPE_CHECKING:
    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel


class Anchor(Retention):
    """Adds strength * T^2 * KL(reference || model) over the vocabulary, mean over learned tokens, at temperature T.

    The reference is the model as this phase started. Without sources or runs the tokens are those of the step's own
    new rows: learning without forgetting (Li & Hoiem 2016, arXiv 1606.09282, eq. 2 and 3: cross-entropy with the old
    outputs, which differs from KL by a constant; they take T = 2). With them, general prompts keep their answers
    whatever the new rows say. T^2 keeps the gradient's size when T changes (Hinton et al. 2015, arXiv 1503.02531,
    section 2). Costs a forward pass of the reference over those rows at each step. Neighbour: `replay` (learns the
    answers in the rows instead).
    """

    needs_past: ClassVar[bool] = False
    uses_reference: ClassVar[bool] = True

    sources: list[str] = Field([], description="files of rows whose outputs are kept, of any format")
    rows: int = Field(4, ge=1, description="rows of those at each step; the new rows, without sources and runs")
    strength: float = Field(1.0, gt=0, description="against the loss of the new rows: higher forgets less, learns less")
    temperature: float = Field(2.0, gt=0, description="above 1, unlikely words count for more of what is kept")

    @property
    def files(self) -> list[str]:
        """Its sources."""
        return self.sources

    def keep(self, past: Past) -> Keeping:
        """Lay out the rows."""
        return Anchored(self, past)


class Anchored(Keeping):
    """Named rows come round in an order that is a function of the seed."""

    def __init__(self, part: Anchor, past: Past) -> None:
        import numpy as np

        self.part = part
        self.groups = past.units() if part.has_past else []
        members = [(group, row) for group, units in enumerate(self.groups) for row in range(len(units))]
        order = np.random.Generator(np.random.Philox(key=[past.seed, 2**33])).permutation(len(members))
        self.members = [members[place] for place in order]

    def units(self, step: int, new: Sequence[Sequence[Row]]) -> Sequence[Sequence[Row]]:
        """The next rows of those named, or the step's own."""
        if not self.members:
            return new
        first = (step - 1) * self.part.rows
        chosen = [self.members[number % len(self.members)] for number in range(first, first + self.part.rows)]
        return [self.groups[group][row] for group, row in chosen]

    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """The learned tokens."""
        return {"anchor": sum(row.num_learned for row in rows)}

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """Summed divergence from the reference, each token with its weight."""
        import torch

        from tunewright.models import divergence

        assert model.reference is not None, "the loop puts it there"
        with torch.no_grad(), model.reference.frozen() as frozen:
            kept = frozen.hidden(forest, wanted=forest.from_K)
        total = divergence.kl_sum(model, forest, kept, frozen.logits, temperature=self.part.temperature)
        return Loss({"anchor": (total, self.part.strength * self.part.temperature**2)})
