"""chrf: runs of letters (and of words) shared with the expected text, over the whole test set."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.parts import Grade, Grader

if TYPE_CHECKING:
    import numpy as np
    from sacrebleu.metrics.chrf import CHRF

LETTERS = 6  # the longest runs
BETA = 2.0  # recall weighs twice as much


class Chrf(Grader):
    """A row's grade is sentence chrF / 100; the value is corpus chrF / 100, with a bootstrap interval over the rows.

    Needs the expected answer (one reference). F2 of runs of 1 to 6 letters, with `words: 2` of single words and pairs
    as well (chrF++); sacreBLEU's figures, its signature is reported. Kinder than `bleu` to endings and compounds.
    Sources: Popovic 2015 and 2017; Post 2018. Neighbours: `bleu` (words alone), `rouge`.
    """

    words: Literal[0, 2] = Field(0, description="0 is chrF, 2 is chrF++, which minds word order more")
    lowercase: bool = Field(False, description="ignore case; not comparable with published figures")

    def grade(self, example: Example, answer: str) -> Grade:
        """Sentence chrF, 0 to 1."""
        score = _metric(self.words, self.lowercase).sentence_score(answer, [example.answer or ""]).score / 100
        return Grade(score=min(max(score, 0.0), 1.0))

    def tally(self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]) -> np.ndarray:
        """Runs in the answer, in the reference and in both, for each length: [rows, 3 x lengths]."""
        import numpy as np

        metric = _metric(self.words, self.lowercase)
        references = [example.answer or "" for example in examples]
        counts = metric._extract_corpus_statistics([answer or "" for answer in answers], [references])
        return np.array(counts, dtype=float)

    def value(self, totals: np.ndarray) -> np.ndarray:
        """Corpus chrF / 100: F2 of mean precision and mean recall over the lengths that occur on both sides."""
        import numpy as np

        got, expected, shared = np.moveaxis(totals.reshape(*totals.shape[:-1], -1, 3), -1, 0)
        counts = (got > 0.5) & (expected > 0.5)
        lengths = np.maximum(counts.sum(axis=-1), 1)
        precision = (shared / np.maximum(got, 1) * counts).sum(axis=-1) / lengths
        recall = (shared / np.maximum(expected, 1) * counts).sum(axis=-1) / lengths
        both = BETA**2 * precision + recall
        score: np.ndarray = (1 + BETA**2) * precision * recall / np.where(both > 0, both, 1)
        return score

    def summarise(
        self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]
    ) -> dict[str, Any]:
        """sacreBLEU's own corpus score, and the signature that makes it comparable."""
        metric = _metric(self.words, self.lowercase)
        score = metric.corpus_score([answer or "" for answer in answers], [[one.answer or "" for one in examples]])
        return {"chrf": score.score, "signature": str(metric.get_signature())}


@cache
def _metric(words: int, lowercase: bool) -> CHRF:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF(char_order=LETTERS, word_order=words, lowercase=lowercase)
