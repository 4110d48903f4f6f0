"""Nested subsets of rows: the smaller inside the larger, labels in proportion, decided by hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def nested_order(keys: Sequence[str], labels: Sequence[str | None], *, draw: int = 0, seed: int = 0) -> np.ndarray:
    """An order of the rows of which every beginning is a sample: its first k rows are the subset of k.

    keys: what a row is known by; its hash decides, so that rows added later hardly change the order of the others.
    labels: of each row; every beginning holds each label in proportion (systematic sampling within the labels).
    """
    hashed = np.array([_point(f"{seed}\x1f{draw}\x1f{key}") for key in keys])
    positions = np.empty(len(keys))
    rows_of: dict[str | None, list[int]] = {}
    for row, label in enumerate(labels):
        rows_of.setdefault(label, []).append(row)
    for label, rows in rows_of.items():
        own = np.array(rows)[np.argsort(hashed[rows], kind="stable")]
        shift = _point(f"{seed}\x1f{draw}\x1flabel:{label}")  # else all labels would begin together
        positions[own] = (np.arange(len(own)) + shift) / len(own)
    order: np.ndarray = np.lexsort((hashed, positions))
    return order


def doubling_sizes(num_rows: int, *, points: int, least: int) -> list[int]:
    """At most so many sizes, each twice the one before, up to all rows; none below the least."""
    sizes = [round(num_rows / 2**step) for step in range(points)]
    return sorted(size for size in sizes if size >= least)


def _point(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "big") / 2**64
