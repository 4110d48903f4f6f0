"""Scores of rows by which the best are chosen: from their texts alone, without a language model."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.data import proxy
from tunewright.data.clean import prompt_text

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NEIGHBOURS = 5
FOLDS = 5
MOST_COMPARED = 20_000  # rows that each row's neighbours are sought among
_CHUNK = 512
_LANGUAGE_ROWS = 1_000  # rows that tell the main language
_DAMAGED = re.compile("[\ufffd\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\u00c3[\u0080-\u00bf]|\u00e2\u20ac")
_LEAST_PACKED = 0.15  # compressed to less than this share, a text repeats itself
_PACKABLE = 200  # characters below which compressing tells nothing
Poll = Callable[[int], None]


@dataclass
class Texts:
    """What of some rows is scored."""

    prompts: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)

    @classmethod
    def of(cls, examples: Iterable[Example]) -> Texts:
        """The texts of examples."""
        found = cls()
        for example in examples:
            found.prompts.append(prompt_text(example))
            found.answers.append(example.answer or "")
            found.labels.append(example.label)
        return found

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def whole(self) -> list[str]:
        """Prompt and answer of each row; of labelled rows the prompt alone."""
        pairs = zip(self.prompts, self.answers, self.labels, strict=True)
        return [prompt if label is not None else f"{prompt}\n{answer}" for prompt, answer, label in pairs]


def length(rows: Texts) -> np.ndarray:
    """Characters of the answer; of labelled rows and documents, of the prompt. Long answers are a strong choice (Zhao
    et al. 2024, arXiv 2402.04833).
    """
    found = zip(rows.prompts, rows.answers, rows.labels, strict=True)
    return np.array([len(answer if answer and label is None else prompt) for prompt, answer, label in found], float)


def language(rows: Texts) -> np.ndarray:
    """The probability that a row is in the main language of all rows, by py3langid (Lui and Baldwin 2012)."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    texts = rows.whole
    stride = max(1, len(texts) // _LANGUAGE_ROWS)
    votes = Counter(identifier.classify(text)[0] for text in texts[::stride])
    main = min(votes, key=lambda name: (-votes[name], name))
    return np.array([_share_of(identifier, text, main) for text in texts])


def health(rows: Texts) -> np.ndarray:
    """1 for a text without damage: falls with damaged characters, with what is no letter, and with repetition (Rae et
    al. 2021, arXiv 2112.11446, table A1).
    """
    return np.array([_health(text) for text in rows.whole])


def relevance(rows: Texts, inputs: Sequence[str]) -> np.ndarray:
    """How like each row's input the nearest of the given inputs are: the mean TF-IDF cosine of five."""
    if not inputs:
        raise DataError(
            "relevance compares with inputs, and there are none. Give validation rows, or a file of inputs."
        )
    both = features([*rows.prompts, *inputs])
    return _nearest(both[: len(rows)], both[len(rows) :])


def density(rows: Texts) -> np.ndarray:
    """How like each row's input its five nearest neighbours are: near 1 among copies."""
    own = features(rows.prompts)
    stride = max(1, -(-len(rows) // MOST_COMPARED))
    return _nearest(own, own[::stride], themselves=np.arange(0, len(rows), stride))


def agreement(rows: Texts) -> np.ndarray:
    """The probability that a proxy which has not seen the row gives its label (Northcutt et al. 2021)."""
    return _out_of_fold(rows)[0]


def quality(rows: Texts) -> np.ndarray:
    """What speaks against no row: health, main language and usual length; of labelled rows, that a proxy which has not
    seen it finds its label likely. The product, from 0 to 1.
    """
    found: np.ndarray = health(rows) * language(rows) * _usual(length(rows))
    if rows.labels and all(label is not None for label in rows.labels):
        own, best = _out_of_fold(rows)
        found = found * own / np.maximum(best, 1e-12)
    return found


def features(texts: Sequence[str]) -> csr_matrix:
    """TF-IDF of words and pairs of words, each row of length one."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", dtype=np.float32)
    try:
        return vectors.fit_transform(texts).tocsr()
    except ValueError:  # no word in any of them
        from scipy.sparse import csr_matrix

        return csr_matrix((len(texts), 1), dtype=np.float32)


def _nearest(rows: csr_matrix, others: csr_matrix, *, themselves: np.ndarray | None = None) -> np.ndarray:
    """The mean cosine of the nearest others. themselves: which row each of the others is."""
    transposed = others.T.tocsc()
    found = np.zeros(rows.shape[0])
    count = min(NEIGHBOURS, others.shape[0] - (themselves is not None))
    if count < 1:
        return found
    place = {} if themselves is None else {row: at for at, row in enumerate(themselves.tolist())}
    for start in range(0, rows.shape[0], _CHUNK):
        likeness = (rows[start : start + _CHUNK] @ transposed).toarray()
        for at in range(len(likeness)):
            if start + at in place:
                likeness[at, place[start + at]] = -1
        found[start : start + len(likeness)] = -np.sort(-likeness, axis=1)[:, :count].mean(axis=1)
    return found


def _out_of_fold(rows: Texts) -> tuple[np.ndarray, np.ndarray]:
    from tunewright.data.subsets import nested_order

    labels = [label for label in rows.labels if label is not None]
    if len(labels) < len(rows):
        raise DataError(
            f"agreement asks whether a row's label is likely, and {len(rows) - len(labels):,} of {len(rows):,} rows "
            "have none. Choose by quality, or another score."
        )
    order = nested_order(rows.prompts, labels)
    folds = np.empty(len(rows), int)
    folds[order] = np.arange(len(rows)) % FOLDS
    return proxy.out_of_fold(rows.prompts, labels, folds)


def _share_of(identifier: Any, text: str, language: str) -> float:
    if not any(character.isalpha() for character in text):
        return 0.0
    return float(dict(identifier.rank(text)).get(language, 0.0))


def _health(text: str) -> float:
    if not text.strip():
        return 0.0
    damaged = 1 - min(1.0, 10 * len(_DAMAGED.findall(text)) / len(text))
    letters = sum(character.isalnum() or character.isspace() for character in text) / len(text)
    share = 1.0
    if len(text) >= _PACKABLE:
        encoded = text.encode("utf-8", "replace")
        share = min(1.0, len(zlib.compress(encoded)) / len(encoded) / _LEAST_PACKED)
    return damaged * min(1.0, letters / 0.7) * share


def _usual(lengths: np.ndarray) -> np.ndarray:
    """1 between the 5 % and the 99 % quantile of the lengths; outside, the ratio to the nearer one."""
    low, high = np.quantile(lengths, [0.05, 0.99]) if len(lengths) else (1.0, 1.0)
    found: np.ndarray = np.minimum(1.0, lengths / max(low, 1.0)) * np.minimum(
        1.0, max(high, 1.0) / np.maximum(lengths, 1.0)
    )
    return found
