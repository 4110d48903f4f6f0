"""Confident learning (Northcutt, Jiang & Chuang 2021): which labels are likely wrong, by out-of-fold probabilities."""

from __future__ import annotations

import numpy as np

CLEAR = 20.0  # so many times as probable as the own label: wrong although no class is reached with confidence


def thresholds(probability: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Of each class, the mean probability of it among the rows that are labelled so (equation 2)."""
    classes = probability.shape[1]
    own = probability[np.arange(len(label)), label]
    sizes = np.bincount(label, minlength=classes)
    sums = np.bincount(label, own, minlength=classes)
    return np.where(sizes > 0, sums / np.maximum(1, sizes), np.inf)


def counted_as(probability: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """The class each row is counted in, whatever its label: the most probable of those whose threshold it reaches
    (equation 1); -1 for none.
    """
    reached = np.where(probability >= threshold, probability, -1.0)
    best = reached.argmax(axis=1)
    return np.where(reached[np.arange(len(best)), best] >= 0, best, -1)


def doubtful(probability: np.ndarray, label: np.ndarray, threshold: np.ndarray, odds: float) -> np.ndarray:
    """The class that each row should rather have, -1 where its label stands.

    Rows off the diagonal of the confident joint, where the other class is at least `odds` times as probable as the
    label; and rows where that is CLEAR.
    """
    counted = counted_as(probability, threshold)
    rows = np.arange(len(label))
    own = probability[rows, label]
    likely = probability.argmax(axis=1)
    off = (counted >= 0) & (counted != label)
    rather = np.where(off, counted, likely)
    other = probability[rows, rather]
    wrong = (rather != label) & (other >= own * np.where(off, odds, max(odds, CLEAR)))
    return np.where(wrong, rather, -1)


def wrong_share(probability: np.ndarray, label: np.ndarray, threshold: np.ndarray) -> float:
    """The share of labels that the confident joint holds for wrong, its rows made to add up to the labels' counts
    (equation 3).
    """
    counted = counted_as(probability, threshold)
    classes = probability.shape[1]
    joint = np.zeros((classes, classes))
    np.add.at(joint, (label[counted >= 0], counted[counted >= 0]), 1)
    sizes = np.bincount(label, minlength=classes)
    sums = joint.sum(axis=1)
    right = np.where(sums > 0, joint.diagonal() / np.maximum(1, sums), 1.0)
    return float(1 - (right * sizes).sum() / max(1, sizes.sum()))
