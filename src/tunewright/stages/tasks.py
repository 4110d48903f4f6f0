"""Which task a row belongs to, where a recipe balances several of them (`data.mix`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run

if TYPE_CHECKING:
    from tunewright.models.forest import Row
    from tunewright.training.sampler import ShuffledEpochs

SOURCE = "source"  # the word for the file that a row came from


def of_example(example: Example, by: str) -> str:
    """The task of an example: the file it came from, or what it has in a column."""
    if by == SOURCE and SOURCE not in example.meta:
        return example.id.rpartition(":")[0]
    return str(example.meta.get(by, "(none)"))


def of_units(examples: Iterable[Example], units: Sequence[Sequence[Row]], by: str) -> list[str]:
    """The task of each unit of rows."""
    known = {example.id: of_example(example, by) for example in examples}
    ids = (unit[0].example for unit in units)
    return [known[one] if one in known else known[one.rpartition("#")[0]] for one in ids]


def sampler(recipe: Recipe, run: Run, units: Sequence[Sequence[Row]]) -> ShuffledEpochs:
    """The order of the units: shuffled, or with the shares that the recipe gives each task. Raises DataError."""
    from tunewright.training.sampler import MixedEpochs, ShuffledEpochs

    train, mix = recipe.train, recipe.data.mix
    assert train.batch
    options: dict[str, Any] = {
        "batch": train.batch,
        "seed": train.seed,
        "epochs": None if train.steps else train.epochs,
        "steps": train.steps,
    }
    if mix is None:
        return ShuffledEpochs(len(units), **options)
    names = of_units(run.split("train"), units, mix.by)
    refuse_one(names, recipe)
    known = sorted(set(names))
    numbers = np.array([known.index(name) for name in names])
    return MixedEpochs(numbers, temperature=mix.temperature, cap=mix.cap, **options)


def refuse_one(names: Sequence[str], recipe: Recipe) -> None:
    """Raise DataError where rows that are to be mixed all belong to one task."""
    assert recipe.data.mix is not None
    if len(known := set(names)) < 2:
        raise DataError(
            f"data.mix: all rows belong to one task, '{min(known)}' (by '{recipe.data.mix.by}'). Name a column that "
            "parts them in data.mix.by, give several sources, or leave data.mix out."
        )


def parted(run: Run, split: str, units: Sequence[Sequence[Row]], by: str) -> dict[str, list[Sequence[Row]]]:
    """The units of each task."""
    found: dict[str, list[Sequence[Row]]] = {}
    for name, unit in zip(of_units(run.split(split), units, by), units, strict=True):
        found.setdefault(name, []).append(unit)
    return dict(sorted(found.items()))
