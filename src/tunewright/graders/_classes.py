"""Figures of classes from counts: right, expected and answered. Arrays end with one place for each class."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def macro_f1(hits: np.ndarray, expected: np.ndarray, got: np.ndarray) -> np.ndarray:
    """The mean of 2 tp / (expected + answered) over the classes that occur in either."""
    import numpy as np

    occurs = expected + got > 0.5
    f1 = 2 * hits / np.where(occurs, expected + got, 1)
    mean: np.ndarray = f1.sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1)
    return mean


def figures(hits: float, expected: float, got: float) -> dict[str, float]:
    """Precision, recall and F1 of one class, 0 where they have no denominator, and how often it is expected."""
    return {
        "precision": hits / got if got else 0.0,
        "recall": hits / expected if expected else 0.0,
        "f1": 2 * hits / (expected + got) if expected + got else 0.0,
        "n": int(expected),
    }


def means(of_classes: list[dict[str, float]]) -> dict[str, float]:
    """Macro precision, recall and F1."""
    count = max(len(of_classes), 1)
    return {name: sum(one[name] for one in of_classes) / count for name in ("precision", "recall", "f1")}
