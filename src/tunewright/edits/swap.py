"""swap: the same row about another gender, origin, nationality, religion, age or disability."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar, Literal

from pydantic import Field

from tunewright.core.parts import Edit
from tunewright.data.changes import Change
from tunewright.data.swaps import swapped_alike


class Swap(Edit):
    """English words and names of one group of people become those of another, in question and answer alike.

    Teaches that the answer does not hang on who asks. Rows that do not speak of the group, and rows in which the swap
    would change a label, give none. Counterfactual data augmentation (Lu et al. 2018, arXiv 1807.11714). Neighbours:
    the other edits change how something is said, this one about whom.
    """

    whole_row: ClassVar[bool] = True

    group: Literal["gender", "ethnicity", "nationality", "religion", "age", "disability"] = Field(
        "gender", description="whose words are swapped: he and she, names, origins, religions, ages ..."
    )

    def change(self, texts: Sequence[str], draw: Random, replies: Sequence[str] = ()) -> list[list[Change]] | None:
        """One of the possible swaps, the same in all texts."""
        swaps = swapped_alike(texts, self.group)
        return draw.choice(swaps).changes if swaps else None
