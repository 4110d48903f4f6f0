"""ranking: a list in order, by nDCG, the first hit, or how many of the relevant ones it holds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.parts import Grade, Grader
from tunewright.graders._folding import fold
from tunewright.graders._listed import listed

if TYPE_CHECKING:
    import numpy as np

FIGURES = ("ndcg", "mrr", "recall")
_NUMBERED = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+")


class Ranking(Grader):
    """The answer lists items, best first: a JSON list, or one a line (numbers and dashes before them fall away).

    Needs an expected answer: a list of relevant items in any order, or a JSON object {item: relevance} with relevance
    of 0 or more. Of the first `k` items, each counted once: ndcg, the discounted relevance over the best possible
    (gain as given, discount log2(place + 1)); mrr, 1 / the place of the first relevant one; recall, the share of the
    relevant ones. The value is the mean of `figure`. Sources: Jarvelin and Kekalainen 2002 (equation 1); Voorhees 1999.
    Neighbour: `multi_label`, where order does not count.
    """

    figure: Literal["ndcg", "mrr", "recall"] = Field(
        "ndcg", description="ndcg weighs every place, mrr looks at the first hit alone, recall ignores order"
    )
    k: int = Field(10, ge=1, description="items of the answer that are looked at")
    normalise: bool = Field(True, description="case, spacing and punctuation at the ends don't count")

    def grade(self, example: Example, answer: str) -> Grade:
        """The row's figure."""
        figures = self._figures(example, answer)
        return Grade(score=figures[self.figure], facts=figures)

    def summarise(
        self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]
    ) -> dict[str, Any]:
        """The means of all three."""
        every = [self._figures(example, answer or "") for example, answer in zip(examples, answers, strict=True)]
        return {f"{name}@{self.k}": sum(one[name] for one in every) / len(every) for name in FIGURES}

    def _figures(self, example: Example, answer: str) -> dict[str, float]:
        import numpy as np

        relevance = self._relevant(example.answer or "")
        ranked = list(dict.fromkeys(self._key(item) for item in _lines(answer)))[: self.k]
        gains = np.array([relevance.get(item, 0.0) for item in ranked])
        best = np.array(sorted(relevance.values(), reverse=True)[: self.k])
        hits = np.flatnonzero(gains > 0)
        relevant = sum(one > 0 for one in relevance.values())
        if not relevant:
            return dict.fromkeys(FIGURES, 0.0 if ranked else 1.0)
        return {
            "ndcg": min(1.0, _discounted(gains) / _discounted(best)),
            "mrr": 1 / (1 + int(hits[0])) if len(hits) else 0.0,
            "recall": len(hits) / relevant,
        }

    def _relevant(self, text: str) -> Mapping[str, float]:
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if isinstance(found, dict):
            return {self._key(str(item)): max(0.0, float(relevance)) for item, relevance in found.items()}
        return {self._key(item): 1.0 for item in _lines(text)}

    def _key(self, text: str) -> str:
        return fold(text) if self.normalise else text


def _discounted(gains: np.ndarray) -> float:
    import numpy as np

    return float((gains / np.log2(np.arange(len(gains)) + 2)).sum())


def _lines(text: str) -> list[str]:
    return [_NUMBERED.sub("", entry) for entry in listed(text, "\n")]
