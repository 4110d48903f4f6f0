"""bleu: word sequences shared with the expected text, over the whole test set."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.parts import Grade, Grader

if TYPE_CHECKING:
    import numpy as np
    from sacrebleu.metrics.bleu import BLEU, BLEUScore


class Bleu(Grader):
    """A row's grade is sentence BLEU / 100; the value is corpus BLEU / 100, with a bootstrap interval over the rows.

    Needs the expected answer (one reference). Figures are sacreBLEU's (exponential smoothing, order 4); its signature
    is reported. Sources: Papineni et al. 2002; Post 2018; bootstrap as in Koehn 2004.
    Neighbours: `chrf` (letters), `rouge` (recall too), `exact`.
    """

    tokenize: Literal["13a", "intl", "char", "zh"] = Field("13a", description="13a for spaced scripts, else zh or char")
    lowercase: bool = Field(False, description="ignore case; not comparable with published figures")

    def grade(self, example: Example, answer: str) -> Grade:
        """Sentence BLEU with effective order, 0 to 1."""
        score = self._sentence(example, answer).score / 100
        return Grade(score=min(max(score, 0.0), 1.0))

    def tally(self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]) -> np.ndarray:
        """Lengths of answer and reference, then shared and possible n-grams for n = 1 to 4: [rows, 10]."""
        import numpy as np

        scores = [self._sentence(example, answer or "") for example, answer in zip(examples, answers, strict=True)]
        return np.array([[score.sys_len, score.ref_len, *score.counts, *score.totals] for score in scores], dtype=float)

    def value(self, totals: np.ndarray) -> np.ndarray:
        """Corpus BLEU / 100: brevity penalty times the geometric mean of the four precisions."""
        import numpy as np

        answered, expected = totals[..., 0], totals[..., 1]
        shared, possible = totals[..., 2:6], totals[..., 6:10]
        misses = np.cumsum((shared < 0.5) & (possible > 0.5), axis=-1)
        smoothed = np.where(shared > 0.5, shared, 0.5**misses)  # an order without a match counts 1/2, the next 1/4 ...
        whole = (possible > 0.5).all(axis=-1) & (shared > 0.5).any(axis=-1)
        mean_log = np.log(smoothed / np.maximum(possible, 1)).mean(axis=-1)
        brevity = np.minimum(0.0, 1 - expected / np.maximum(answered, 1))
        return np.where(whole, np.exp(mean_log + brevity), 0.0)

    def summarise(
        self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]
    ) -> dict[str, Any]:
        """sacreBLEU's own corpus score, the brevity penalty, and the signature that makes it comparable."""
        metric = _metric(self.tokenize, self.lowercase, False)
        references = [example.answer or "" for example in examples]
        score = metric.corpus_score([answer or "" for answer in answers], [references])
        return {"bleu": score.score, "brevity_penalty": score.bp, "signature": str(metric.get_signature())}

    def _sentence(self, example: Example, answer: str) -> BLEUScore:
        return _metric(self.tokenize, self.lowercase, True).sentence_score(answer, [example.answer or ""])


@cache
def _metric(tokenize: str, lowercase: bool, effective_order: bool) -> BLEU:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenize, lowercase=lowercase, effective_order=effective_order)
