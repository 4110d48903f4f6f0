"""The reference of a run's training: put on the model, its values kept in `train/reference/`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from tunewright.core import storage
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages import tuned

if TYPE_CHECKING:
    from tunewright.models.forest import Row
    from tunewright.models.tunable import TunableModel


def put_on(
    model: TunableModel, recipe: Recipe, run: Run, splits: Sequence[Sequence[Sequence[Row]]], *, untouched: bool
) -> None:
    """Give the model its reference, with the values of every row of these splits.

    The values are those in the run's folder where they were made of the same base and rows, so that a training that
    goes on needs no second model; else they are computed. untouched: nothing has been trained yet. Raises Stopped.
    """
    from tunewright.models.reference import STORED, Reference, Values

    reference = Reference(model, recipe.the_method(), lambda: tuned.open_base(recipe, run))
    folder, key = run.folder / STORED, _key(recipe, run)
    known = Values.load(folder, key)
    if known is not None:
        reference.values = known
    else:
        assert recipe.train.micro_tokens
        total = sum(map(len, splits))

        def poll(done: int) -> None:
            run.progress("train", done=done, total=total, what="asking the reference")

        reference.compute(
            chain.from_iterable(splits), micro_tokens=recipe.train.micro_tokens, untouched=untouched, poll=poll
        )
        reference.values.save(folder, key=key, dtype=str(model.dtype).removeprefix("torch."))
    model.reference = reference


def _key(recipe: Recipe, run: Run) -> str:
    """A hash of all that decides the values: the base, how it computes, and the rows."""
    from tunewright.models.bases import base_folder, weights_digest

    start = tuned.start_options(recipe, run)
    rows = [storage.sha256(path) for path in sorted(run.path("encoded").glob("*/manifest.json"))]
    return storage.digest([weights_digest(base_folder(start.base)), start.revision, recipe.train.dtype, rows])
