"""Which side a row is on: a hash of what it asks (or of its group) and the seed decides; added rows move no old one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from tunewright.core.example import Example
from tunewright.core.recipe import Split

SIDES = ("train", "validation", "test")


@dataclass(frozen=True)
class Parted:
    """The rows of each side by number, and the copies that were dropped because a twin stands on a side that
    measures.
    """

    sides: dict[str, np.ndarray]
    dropped: np.ndarray
    twins: np.ndarray  # of each dropped copy, the row it is a twin of


def unit(example: Example, twin_key: str, group: str | None) -> str:
    """What is hashed: the group's value where there is one, else what the row asks. Rows of one unit stay together."""
    value = example.meta.get(group) if group else None
    return twin_key if value is None or value == "" else f"group:{value}"


def side(unit: str, shares: Split, *, has_test: bool = False, has_validation: bool = False) -> str:
    """The side of a unit. A share whose rows come from a file of their own goes to the other sides in proportion."""
    test = 0.0 if has_test else shares.test
    validation = 0.0 if has_validation else shares.validation
    total = shares.train + test + validation
    if total == 0:
        return "train"
    point = int.from_bytes(hashlib.sha256(f"{shares.seed}\x1f{unit}".encode()).digest()[:8], "big") / 2**64 * total
    return "test" if point < test else "validation" if point < test + validation else "train"


def part(
    rows: np.ndarray,
    own: np.ndarray,
    twins: np.ndarray,
    *,
    test: np.ndarray | None = None,
    validation: np.ndarray | None = None,
) -> Parted:
    """Part the rows, given by their numbers. Given test and validation rows are used as they are.

    own: the side of each of `rows` by its own unit, a number in SIDES. twins: by row number, the class of rows that ask
    the same. No twin straddles: where one is on a side that measures, the copies on the sides before it are dropped.
    """
    holder = np.full(int(twins.max(initial=-1)) + 1, -1, np.int64)  # the row that stands for a class
    sides: dict[str, np.ndarray] = {}
    dropped, of = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for name, given in (("test", test), ("validation", validation), ("train", None)):
        if given is None:
            candidates = rows[own == SIDES.index(name)]
            held = holder[twins[candidates]]
            sides[name] = candidates[held < 0]
            dropped.append(candidates[held >= 0])
            of.append(held[held >= 0])
        else:
            sides[name] = given
        classes, first = np.unique(twins[sides[name]], return_index=True)
        free = holder[classes] < 0
        holder[classes[free]] = sides[name][first[free]]
    return Parted({name: sides[name] for name in SIDES}, np.concatenate(dropped), np.concatenate(of))
