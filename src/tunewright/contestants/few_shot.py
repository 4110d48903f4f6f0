"""few_shot: the model, shown some solved examples before the question."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from tunewright.contestants._shown import Shows, before
from tunewright.core.contesting import Answerer
from tunewright.core.endpoint import Endpoint
from tunewright.core.example import Example
from tunewright.core.parts import Contestant


class FewShot(Contestant, Shows):
    """The model before tuning with k solved examples in its prompt: what good prompting reaches without training.

    Needs messages, and training examples (or a file of examples) to show. `similar` shows the training examples nearest
    to the question, the nearest last; it is usually the stronger contestant. Source of the ranking: BM25 (Robertson and
    Zaragoza 2009), over words and runs of four letters. `fixed` shows the same ones to every question, of different
    labels where there are labels; their part of the prompt is computed once for all. Neighbours: `base`, and `prompt`,
    which also says what to do.
    """

    paths: ClassVar[tuple[str, ...]] = ("examples",)

    model: Literal["base", "tuned"] | Endpoint = Field("base", description="who answers: base, tuned, or an endpoint")

    @property
    def who(self) -> Answerer:
        """The base, unless the recipe says who."""
        return self.model

    def problems(self, runs: Path | None, *, grounded: bool) -> list[str]:
        """A file of examples that is not there."""
        return [f"examples: there is no file {path}." for path in self.missing_files()]

    def try_on(self, training: Sequence[Example]) -> None:
        """Raise DataError where an example that is named is not there."""
        self.find_named(training)

    def prompts(self, examples: Sequence[Example], training: Sequence[Example]) -> list[list[dict[str, Any]]]:
        """System messages of the question, the shown conversations, then the question."""
        shown = self.lines_for(examples, training)
        return [before(example, picks) for example, picks in zip(examples, shown, strict=True)]
