"""orthogonal: a new adapter works in directions that earlier ones left free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from tunewright.core.parts import Keeping, Past, Retention

if TYPE_CHECKING:
    from tunewright.models.tunable import TunableModel


class Orthogonal(Retention):
    """O-LoRA: adds strength * sum over earlier adapters and layers of |A_old A^T|^2 (every entry squared) to the loss.

    Wang et al. 2023 (arXiv 2310.14152, section 3): the rows of A span the inputs an adapter reads; what the new one
    reads is pushed out of what earlier ones read. Needs no earlier rows: the earlier adapters alone, as their runs left
    them. A layer that an earlier adapter did not touch is free. Only for `lora`, here and in the earlier runs.
    Neighbours: `ewc` (any weights), `replay` (surer, needs rows).
    """

    methods: ClassVar[tuple[str, ...] | None] = ("lora",)

    strength: float = Field(0.5, gt=0, description="higher forgets less and leaves less room to learn")

    def keep(self, past: Past) -> Keeping:
        """Read the A matrices of the earlier adapters. Raises RecipeError where a run has none."""
        from tunewright.models.lora_files import read_adapter

        adapters = [read_adapter(folder) for folder in past.trained]
        return Apart(self.strength, [{path: held.a for path, held in one.items()} for one in adapters])


class Apart(Keeping):
    """The penalty. earlier: for each earlier adapter, A by layer."""

    def __init__(self, strength: float, earlier: list[dict[str, Any]]) -> None:
        self.strength, self.earlier = strength, earlier

    def penalty(self, model: TunableModel) -> Any:
        """Zero when every row of A is orthogonal to every row of the earlier ones."""
        from tunewright.models import lora_layers

        name = model.route.active
        total: Any = 0.0
        for path, layer in lora_layers.layers(model.net, name):
            a, _ = layer.matrices(name)
            for adapter in self.earlier:
                if path in adapter:
                    total = total + (adapter[path].to(a) @ a.t()).square().sum()
        return self.strength * total
