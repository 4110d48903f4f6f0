"""retrieval: the untuned model, given passages that a search found for the question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.parts import Contestant
from tunewright.core.retrieval import Shown


class Retrieval(Contestant, Shown):
    """The model before tuning with the passages nearest to each question: what search reaches without training.

    Needs messages, and documents; without documents of its own it takes the passages that `data.retrieval` put beside
    each question. Source: retrieval-augmented generation (Lewis et al. 2020, arXiv 2005.11401), with BM25 as
    the search. Neighbours: `base` (asked exactly as the tuned model), `few_shot` (shown solved examples instead).
    """

    paths: ClassVar[tuple[str, ...]] = ("documents",)
    packages: ClassVar[tuple[str, ...]] = ("bm25s",)

    def prompts(self, examples: Sequence[Example], training: Sequence[Example]) -> list[list[dict[str, Any]]]:
        """Each example's messages before its answer, with passages in the last of the user's. Raises DataError."""
        if self.documents:
            from tunewright.data.retrieval import Library, question_of

            library = Library(self)
            examples = [library.asked(example, library.find(question_of(example))) for example in examples]
        if without := [example.id for example in examples if example.question is None]:
            raise DataError(
                f"Contestant 'retrieval' has no passages for row {without[0]}. Give it documents, or data.retrieval in "
                "the recipe."
            )
        return [[message.for_template() for message in example.prompt] for example in examples]
