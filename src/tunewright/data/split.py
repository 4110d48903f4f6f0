"""Which side a row is on: a hash of what it asks (or of its group) and the seed decides; added rows move no old one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tunewright.core.example import Example
from tunewright.core.recipe import Split

SIDES = ("train", "validation", "test")


@dataclass(frozen=True)
class Parted:
    """The sides, and the copies that were dropped because a twin stands on a side that measures."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]
    dropped: list[tuple[Example, Example]]  # (the dropped copy, its twin)


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
    examples: list[Example],
    keys: dict[str, str],
    shares: Split,
    *,
    test: list[Example] | None = None,
    validation: list[Example] | None = None,
) -> Parted:
    """Part the examples; `keys`: example id -> twin key. Given test and validation rows are used as they are.

    No twin straddles: where one is on a side that measures, the copies on the sides before it are dropped.
    """
    sides: dict[str, list[Example]] = {name: [] for name in SIDES}
    for example in examples:
        where = side(
            unit(example, keys[example.id], shares.group),
            shares,
            has_test=test is not None,
            has_validation=validation is not None,
        )
        sides[where].append(example)
    taken: dict[str, Example] = {}
    dropped: list[tuple[Example, Example]] = []
    kept: dict[str, list[Example]] = {}
    for name, given in (("test", test), ("validation", validation), ("train", None)):
        rows = sides[name]
        if given is None:
            kept[name] = [example for example in rows if keys[example.id] not in taken]
            dropped += [(example, taken[keys[example.id]]) for example in rows if keys[example.id] in taken]
        else:
            kept[name] = given
        for example in kept[name]:
            taken.setdefault(keys[example.id], example)
    return Parted(kept["train"], kept["validation"], kept["test"], dropped)
