"""Looks at general text while a training goes on, to tell what is forgotten when. Changes no weight, makes no draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tunewright.core import catalog
from tunewright.core.example import Example
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.data import probing

if TYPE_CHECKING:
    from tunewright.models.forest import Row
    from tunewright.models.tunable import TunableModel

EVENT = "general_text"
PARAGRAPHS = 8  # of the bundled ones: some 900 tokens, which cost a look little


class Watch:
    """The bundled general text as rows of this model; none where the model does not go on with texts."""

    def __init__(self, recipe: Recipe, run: Run, model: TunableModel) -> None:
        self.run, self.model, self.rows = run, model, list[list["Row"]]()
        objective = recipe.the_objective()
        if not recipe.train.watch or objective.by_head or not objective.asks_base or model.is_encoder:
            return
        assert recipe.train.micro_tokens and recipe.train.max_tokens
        self.micro_tokens = recipe.train.micro_tokens
        longest = min(recipe.train.max_tokens, model.longest())
        read = catalog.build("objectives", "pretrain")
        for number, text in enumerate(probing.general_texts()[:PARAGRAPHS]):
            self.rows.append(read.encode(Example(id=f"text:{number}", text=text), model.chat, max_tokens=longest))

    def look(self, step: int, poll: Callable[[], None]) -> None:
        """Log the nats a token of general text after a step."""
        import torch

        if not self.rows:
            return
        total = 0.0
        with torch.no_grad():
            for batch in self.model.micro_batches(self.rows, self.micro_tokens):
                poll()
                total += float(self.model.loss_sum(self.model.forest(batch)))
        tokens = sum(row.num_learned for rows in self.rows for row in rows)
        self.run.log(EVENT, step=step, nats=total / tokens)

    def numbers(self) -> dict[str, Any]:
        """The looks so far, for the report: steps and nats a token."""
        looks = series(self.run)
        return {EVENT: {"steps": list(looks), "nats": [round(nats, 5) for nats in looks.values()]}} if looks else {}


def series(run: Run) -> dict[int, float]:
    """Nats a token of general text by step."""
    return {row["step"]: row["nats"] for row in run.events(EVENT)}
