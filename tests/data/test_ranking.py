"""The nearest texts are those of BM25's formula, ties in order."""

from __future__ import annotations

import importlib.util
import math
import random
from collections import Counter

import pytest

from tunewright.core.errors import MissingPackage
from tunewright.data.ranking import K1, B, Ranking
from tunewright.data.words import features

DRAW = random.Random(3)
WORDS = [f"{a}{b}" for a in ("ka", "lo", "mir", "tes") for b in ("n", "rat", "velo", "i")]
TEXTS = [" ".join(DRAW.choices(WORDS, k=DRAW.randint(3, 30))) for _ in range(60)]
QUERIES = [" ".join(DRAW.choices(WORDS, k=4)) for _ in range(20)]


def by_formula(query: str, texts: list[str]) -> list[float]:
    """BM25 with Lucene's weights: idf = ln(1 + (N - n + 1/2) / (n + 1/2)); tf / (tf + k1 (1 - b + b length / mean))."""
    counts = [Counter(features(text)) for text in texts]
    mean = sum(sum(count.values()) for count in counts) / len(counts)
    scores = [0.0] * len(texts)
    for word in features(query):
        num_with = sum(word in count for count in counts)
        rarity = math.log(1 + (len(texts) - num_with + 0.5) / (num_with + 0.5))
        for number, count in enumerate(counts):
            slack = K1 * (1 - B + B * sum(count.values()) / mean)
            scores[number] += rarity * count[word] / (count[word] + slack)
    return scores


@pytest.mark.parametrize("query", QUERIES)
def test_the_nearest_are_those_of_the_formula(query: str) -> None:
    scores = by_formula(query, TEXTS)
    ranking = Ranking(TEXTS)
    ordered = [n for n in sorted(range(len(TEXTS)), key=lambda n: (-round(scores[n], 4), n)) if scores[n] > 0]
    assert ranking.best(query, 7) == ordered[:7]
    assert ranking.best(query, 1000) == ordered
    assert ranking.best(query, 5, without=ordered[:3]) == ordered[3:8]
    assert ranking.best(query, 2, among=ordered[4:9]) == ordered[4:6]
    assert ranking.best(query, 0) == []


def test_ties_go_to_the_earlier_text_and_strangers_are_not_found() -> None:
    ranking = Ranking(["red fox", "blue fox", "red fox", "green hen"])
    assert ranking.best("red fox", 1) == [0]
    assert ranking.best("red fox", 4) == [0, 2, 1]
    assert ranking.best("zebra", 4) == []
    assert Ranking(["a badger sleeps", "no such animal", "two badgers"]).best("BADGERS!", 4) == [2, 0]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match="pip install bm25s"):
        Ranking(["a"])
