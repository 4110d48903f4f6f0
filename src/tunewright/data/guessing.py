"""What a quick classifier would say to rows that it has not learned from: out-of-fold scores and probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FOLDS = 5
_SMOOTHING = 0.1  # rows of each feature that every class is taken to have besides its own
_TEMPERATURES = np.geomspace(0.003, 100, 64)
_TABLE = 2**23  # numbers of a table of features by classes, at most


def clusters(asked: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The cluster of each row: rows that ask the same, and near twins of them, are in one.

    asked: the class of each row. first, second: the rows of each near pair.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = int(asked.max(initial=-1)) + 1
    edges = coo_matrix((np.ones(len(first), bool), (asked[first], asked[second])), shape=(count, count))
    return np.asarray(connected_components(edges, directed=False)[1])[asked]


def folds(cluster: np.ndarray, seed: int = 0) -> np.ndarray:
    """A fold for each row: rows of one cluster are in one fold."""
    draw = np.random.default_rng(seed)
    known, at = np.unique(cluster, return_inverse=True)
    return (draw.permutation(len(known)) % FOLDS)[at]


def features_for(classes: int) -> int:
    """How many features of each kind there may be, so that a table of them by classes stays small."""
    return int(min(2**16, max(2**10, 2 ** int(np.log2(_TABLE / max(1, classes))))))


def bayes_scores(features: csr_matrix, label: np.ndarray, classes: int, fold: np.ndarray) -> np.ndarray:
    """Scores of naive Bayes on weighted features (Rennie et al. 2003, section 4), each row's by a model without its
    fold. Fold -1 is learned from by none.

    Learning is adding up, so that all folds cost one pass over the rows.
    """
    from scipy.sparse import csr_matrix as made

    rows = np.arange(len(label))
    known = made((np.ones(len(label), np.float32), (rows, label)), shape=(len(label), classes))
    parts = [np.asarray((known[fold == one].T @ features[fold == one]).todense()) for one in range(FOLDS)]
    total = np.sum(parts, axis=0)
    scores = np.zeros((len(label), classes), np.float32)
    for one in (*range(FOLDS), -1):
        own = fold == one
        if own.any():
            counts = (total - parts[one] if one >= 0 else total).clip(0) + np.float32(_SMOOTHING)
            scores[own] = features[own] @ np.log(counts / counts.sum(axis=1, keepdims=True)).T
    return scores


def ridge_scores(vectors: np.ndarray, label: np.ndarray, classes: int, fold: np.ndarray) -> np.ndarray:
    """Scores of regularised least squares on dense vectors (Rifkin & Klautau 2004, section 3), as `bayes_scores`.

    The matrices of the folds are added up once and each fold's is taken away in turn.
    """
    spread = np.concatenate([vectors, np.ones((len(vectors), 1), vectors.dtype)], axis=1).astype(np.float64)
    wanted = np.zeros((len(label), classes))
    wanted[np.arange(len(label)), label] = 1
    learned = fold >= 0
    square, product = spread[learned].T @ spread[learned], spread[learned].T @ wanted[learned]
    scores = np.zeros((len(label), classes))
    for one in (*range(FOLDS), -1):
        own = fold == one
        if own.any():
            a, b = square + np.eye(len(square)), product
            if one >= 0:
                a, b = a - spread[own].T @ spread[own], b - spread[own].T @ wanted[own]
            scores[own] = spread[own] @ np.linalg.solve(a, b)
    return scores


def probabilities(scores: np.ndarray, label: np.ndarray, learned: np.ndarray) -> np.ndarray:
    """Probabilities of the classes: softmax at the temperature that suits the labels best (Guo et al. 2017, section
    4.2). learned: the rows that choose it.
    """
    own = scores[learned].astype(np.float64)
    own = own - own.max(axis=1, keepdims=True)
    at = np.arange(len(own)), label[learned]

    def loss(temperature: float) -> float:
        return float((np.log(np.exp(own / temperature).sum(axis=1)) - own[at] / temperature).mean())

    best = min(_TEMPERATURES, key=loss)
    spread = np.exp((scores - scores.max(axis=1, keepdims=True)) / best)
    return np.asarray(spread / spread.sum(axis=1, keepdims=True))


def area(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: how often a positive row scores above a negative one; ties count half."""
    from scipy.stats import rankdata

    num = int(positive.sum())
    ranks = rankdata(scores)[positive].sum()
    return float((ranks - num * (num + 1) / 2) / (num * (len(scores) - num)))
