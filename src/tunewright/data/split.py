"""Which side a row is on: a hash of what it asks (or of its group) and the seed decides; added rows move no old one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from tunewright.core.example import Example
from tunewright.core.recipe import Split

SIDES = ("train", "validation", "test")
CLUSTER = 50  # near twins that always stay together


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


def joined(own: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sides of classes of which some are near each other, and those of them that are dropped.

    own: the side of each class by its own hash, a number in SIDES; classes are numbered as they first appear. first,
    second: pairs of near classes, first < second. A class joins the cluster, and so the side, of those before it that
    it is near to, so that a class appended later moves none. Where they stand on two sides, it goes to the one that
    measures, and the near ones on the sides before it are dropped. A cluster of a tenth of all classes so far (and of
    CLUSTER at least) takes no more: rows of one template would all fall on one side.
    """
    sides, dropped = own.copy(), np.zeros(len(own), bool)
    cluster, size = np.arange(len(own)), np.ones(len(own), np.int64)
    order = np.lexsort((first, second))
    first, second = first[order], second[order]
    begins = np.flatnonzero(np.diff(second, prepend=-1))
    for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(second)], strict=False):
        new, near = second[begin], first[begin:end]
        near = near[~dropped[near] & (size[cluster[near]] < max(CLUSTER, new // 10))]
        if not len(near):
            continue
        side = sides[near].max()
        sides[new] = side
        dropped[near[sides[near] < side]] = True
        cluster[new] = cluster[near[np.argmax(sides[near])]]
        size[cluster[new]] += 1
    return sides, dropped


def by_time(when: np.ndarray, shares: Split, *, has_test: bool, has_validation: bool) -> np.ndarray:
    """Sides by time: the earliest rows are learned from, the latest are the test. Rows without a time (NaN) are learned
    from. Ties stay together.
    """
    known = np.sort(when[~np.isnan(when)])
    sides = np.zeros(len(when), np.int8)
    total = shares.train + (0 if has_validation else shares.validation) + (0 if has_test else shares.test)
    share = shares.train / total if total else 1.0
    for name, part in (("validation", shares.validation), ("test", shares.test)):
        if not len(known) or (has_validation if name == "validation" else has_test) or not part:
            continue
        begin = known[min(len(known) - 1, round(share * len(known)))]
        sides[when >= begin] = SIDES.index(name)
        share += part / total
    return sides


class Rare:
    """Keeps the first row of each label to learn from: a label that fell to the test alone could not be learned.

    While more than half of the rows bring a new label (from 20 on) labels are answers rather than classes.
    """

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.num_rows = 0

    def first(self, label: str | None) -> bool:
        """Whether this row is the first of its label."""
        if label is None:
            return False
        self.num_rows += 1
        if label in self.known:
            return False
        self.known.add(label)
        return len(self.known) <= max(20, self.num_rows // 2)


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
