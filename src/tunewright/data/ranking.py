"""Lexical search: which texts are nearest to a question by BM25."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Sequence
from typing import Any

from tunewright.core.errors import MissingPackage
from tunewright.data.words import features, features_of, words

PACKAGE = "bm25s"
K1, B = 1.2, 0.75  # BM25's usual saturation and length correction


class Ranking:
    """BM25 (Robertson and Zaragoza 2009, as Lucene weighs it) over words and runs of four letters of some texts.

    The index is the bm25s library's (Lu 2024, arXiv 2407.03618). Raises MissingPackage.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        if importlib.util.find_spec(PACKAGE) is None:
            raise MissingPackage(PACKAGE, needed_for="Retrieval")
        import bm25s

        self.num_texts = len(texts)
        self._number: dict[str, int] = {}  # of each feature
        of_word: dict[str, list[int]] = {}
        self._index: Any = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy", csc_backend="scipy")
        ids = [[number for word in words(text) for number in self._numbers(word, of_word)] for text in texts]
        self._index.index((ids, self._number), show_progress=False)

    def _numbers(self, word: str, of_word: dict[str, list[int]]) -> list[int]:
        """The numbers of a word's features; new ones are numbered."""
        found = of_word.get(word)
        if found is None:
            numbers = self._number
            found = of_word[word] = [numbers.setdefault(one, len(numbers)) for one in features_of(word)]
        return found

    def best(
        self, query: str, count: int, *, without: Collection[int] = (), among: Collection[int] | None = None
    ) -> list[int]:
        """The numbers of the nearest texts that share a word with the query, nearest first; ties go to the earlier.

        among: rank these alone.
        """
        import numpy as np

        known = [self._number[feature] for feature in features(query) if feature in self._number]
        if not known:
            return []
        scores = self._index.get_scores_from_ids(known)
        wanted = count + len(without)
        if among is not None:
            near = np.array(sorted(among), dtype=np.int64)
        elif 0 < wanted < self.num_texts:
            least = np.partition(scores, self.num_texts - wanted)[self.num_texts - wanted]
            near = np.flatnonzero(scores >= least)
        else:
            near = np.arange(self.num_texts)
        near = near[scores[near] > 0]
        ordered = near[np.argsort(-scores[near], kind="stable")]
        return [number for number in ordered.tolist() if number not in without][:count]
