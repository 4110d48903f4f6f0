"""ewc: weights that mattered for what was learned before are held near where they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from tunewright.core.parts import Keeping, Past, Retention

if TYPE_CHECKING:
    from tunewright.models.tunable import TunableModel


class Ewc(Retention):
    """Elastic weight consolidation: adds strength / 2 * sum of F (w - w*)^2 over earlier runs and weights to the loss.

    Kirkpatrick et al. 2017 (arXiv 1612.00796, eq. 3). w* are the weights at the end of the earlier run; F is the mean,
    over rows of its training data, of the squared gradient of the row's log-prob there (the answers of the data, one
    row at a time). w are effective weights: for a method that trains the base's own weights, those; for LoRA,
    W + scale * B A of each layer with an adapter, so that the penalty is on the whole change of the layer and not on A
    and B. What the earlier model did not have (a new head) is free. Costs two numbers for each weight, and a pass over
    `rows` rows of each run before the first step. Neighbours: `replay` (surer, needs rows at every step), `orthogonal`
    (needs adapters alone).
    """

    strength: float = Field(
        100.0,
        gt=0,
        description="lambda in the paper: higher forgets less and learns less; depends on the data, try decades",
    )
    rows: int = Field(200, ge=1, description="rows of each run from which F is measured: more is steadier and slower")

    def keep(self, past: Past) -> Keeping:
        """Measure F at the end of each earlier run, or read what was measured before a stop."""
        from tunewright.models import fisher

        return Consolidating(self.strength, fisher.consolidated(past, rows=self.rows))


class Consolidating(Keeping):
    """The penalty. held: for each effective weight that trains, F summed over runs and its centre."""

    def __init__(self, strength: float, held: dict[str, tuple[Any, Any]]) -> None:
        self.strength, self.held = strength, held

    def penalty(self, model: TunableModel) -> Any:
        """Up to a constant: several parabolas with their sum's curvature around their sum's lowest point."""
        from tunewright.models import fisher

        total: Any = 0.0
        for name, change in fisher.changes(model.net):
            if name in self.held:
                weight, centre = self.held[name]
                total = total + (weight * (change - centre).square()).sum()
        return self.strength / 2 * total
