"""The encoded rows of a run: made once, for the proofs, for the loop, and for going on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunewright.core.recipe import Recipe
from tunewright.core.run import Run

if TYPE_CHECKING:
    from tunewright.models.chat import Chat
    from tunewright.training.stored_rows import StoredRows


def rows(recipe: Recipe, run: Run, split: str, chat: Chat) -> StoredRows:
    """The rows of a split of a frozen recipe, in `encoded/<split>/`. Raises DataError, CheckpointError, Stopped."""
    from tunewright.training.stored_rows import stored

    assert recipe.train.max_tokens
    examples = run.split(split)
    return stored(
        run.path("encoded", split),
        run.path("data", f"{split}.jsonl"),
        examples,
        recipe.the_objective(),
        chat,
        max_tokens=recipe.train.max_tokens,
        poll=lambda done: run.progress("train", done=done, total=len(examples), what=f"encoding {split} rows"),
    )
