"""A cheap stand-in for a tuned model where answers are labels: TF-IDF features and logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

NAME = "proxy (TF-IDF and logistic regression)"
STRENGTH = 10.0  # inverse of the pull to zero
MOST_FEATURES = 50_000


class Proxy:
    """Learns labels of texts in seconds. Words and pairs of words, weighted by TF-IDF (Salton and Buckley 1988)."""

    def __init__(self) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._features = TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, max_features=MOST_FEATURES, token_pattern=r"(?u)\b\w+\b"
        )
        self._model: Any = None
        self.labels: list[str] = []

    def learn(self, texts: Sequence[str], labels: Sequence[str]) -> Proxy:
        """Fit to texts and their labels; one label alone is answered always."""
        from sklearn.linear_model import LogisticRegression

        self.labels = sorted(set(labels))
        if len(self.labels) > 1:
            features = self._features.fit_transform(texts)
            self._model = LogisticRegression(C=STRENGTH, max_iter=300, tol=1e-3).fit(features, list(labels))
        return self

    def answers(self, texts: Sequence[str]) -> list[str]:
        """The likeliest label of each text."""
        if self._model is None:
            return self.labels * len(texts)
        return [str(label) for label in self._model.predict(self._features.transform(texts))]

    def shares(self, texts: Sequence[str]) -> np.ndarray:
        """The probability of each label: [texts, labels]."""
        import numpy as np

        if self._model is None:
            return np.ones((len(texts), len(self.labels)))
        found: np.ndarray = self._model.predict_proba(self._features.transform(texts))
        return found


def out_of_fold(texts: Sequence[str], labels: Sequence[str], folds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row the probability of its own label and that of the likeliest one, by a proxy that learned from the
    other folds alone; 0 for a label that they lack (Northcutt et al. 2021, arXiv 1911.00068, self-confidence).
    """
    import numpy as np

    own, best = np.zeros(len(texts)), np.ones(len(texts))
    for fold in np.unique(folds).tolist():
        inside, outside = np.flatnonzero(folds == fold).tolist(), np.flatnonzero(folds != fold).tolist()
        if not outside:
            continue
        learned = Proxy().learn([texts[row] for row in outside], [labels[row] for row in outside])
        shares, place = (
            learned.shares([texts[row] for row in inside]),
            {name: n for n, name in enumerate(learned.labels)},
        )
        best[inside] = shares.max(axis=1)
        for at, row in enumerate(inside):
            own[row] = shares[at, place[labels[row]]] if labels[row] in place else 0.0
    return own, best
