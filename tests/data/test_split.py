"""Sides: decided by content, stable under added rows, free of twins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tunewright.core.example import Example
from tunewright.core.recipe import Split
from tunewright.data.clean import twin_key
from tunewright.data.formats import to_example
from tunewright.data.split import SIDES, part, side, unit


def rows(*texts: str, group: str | None = None, start: int = 0, stem: str = "a") -> list[Example]:
    values = [{"text": text, "label": "x"} | ({"customer": group} if group else {}) for text in texts]
    return [to_example("labels", row, {}, f"{stem}:{start + number}") for number, row in enumerate(values)]


@dataclass(frozen=True)
class Sides:
    """What came out, as examples."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]
    dropped: list[tuple[Example, Example]]


def parted(examples: list[Example], shares: Split, **given: list[Example]) -> Sides:
    everything = [*examples, *(example for side in given.values() for example in side)]
    keys = [twin_key(example) for example in everything]
    has = {f"has_{name}": True for name in given}
    own = [SIDES.index(side(unit(e, key, shares.group), shares, **has)) for e, key in zip(examples, keys, strict=False)]
    numbers, begin = {}, len(examples)
    for name, rows_of in given.items():
        numbers[name] = np.arange(begin, begin + len(rows_of))
        begin += len(rows_of)
    twins = np.unique(keys, return_inverse=True)[1]
    found = part(np.arange(len(examples)), np.array(own), twins, **numbers)
    pairs = zip(found.dropped, found.twins, strict=True)
    return Sides(
        **{name: [everything[number] for number in found.sides[name]] for name in SIDES},
        dropped=[(everything[copy], everything[twin]) for copy, twin in pairs],
    )


def where(result: Sides) -> dict[str, str]:
    return {example.id: side for side in SIDES for example in getattr(result, side)}


def test_shares_are_met_about_and_every_row_has_one_side() -> None:
    result = parted(rows(*(f"question {number}" for number in range(2000))), Split())
    assert sum(len(getattr(result, side)) for side in SIDES) == 2000
    assert abs(len(result.train) - 1400) < 80
    assert abs(len(result.test) - 300) < 60


def test_added_rows_move_no_old_row() -> None:
    old = rows(*(f"question {number}" for number in range(300)))
    new = rows(*(f"Question {number}!" for number in range(200, 500)), start=1000)
    before, after = where(parted(old, Split())), where(parted([*new, *old], Split()))
    assert all(after[id] == side for id, side in before.items())


def test_the_order_of_rows_changes_nothing_and_the_seed_does() -> None:
    examples = rows(*(f"question {number}" for number in range(300)))
    assert where(parted(examples, Split())) == where(parted(examples[::-1], Split()))
    assert where(parted(examples, Split())) != where(parted(examples, Split(seed=1)))


def test_twins_never_straddle() -> None:
    examples = [
        *rows(*(f"question {n}" for n in range(300))),
        *rows(*(f"QUESTION {n}?" for n in range(300)), start=1000),
    ]
    sides = where(parted(examples, Split()))
    assert all(sides[f"a:{number}"] == sides[f"a:{1000 + number}"] for number in range(300))


def test_groups_stay_together_and_copies_across_groups_leave_training() -> None:
    shares = Split(group="customer")
    examples = [
        example
        for customer in range(100)
        for example in rows("hello", f"mine {customer}", f"also {customer}", group=f"c{customer}", start=10 * customer)
    ]
    result = parted(examples, shares)
    sides = where(result)
    for customer in range(100):
        assert sides[f"a:{10 * customer + 1}"] == sides[f"a:{10 * customer + 2}"]
    hello = {id: side for id, side in sides.items() if id.endswith("0")}
    assert set(hello.values()) == {"test"}
    assert len(result.dropped) == 100 - len(hello)
    assert {twin.id for _, twin in result.dropped} <= set(hello)


def test_given_files_are_used_as_they_are_and_their_twins_leave_training() -> None:
    test = rows("question 1", "question 1", "apart", stem="test")
    result = parted(rows(*(f"Question {number}." for number in range(1000))), Split(), test=test)
    assert result.test == test
    assert [copy.id for copy, _ in result.dropped] == ["a:1"]
    assert abs(len(result.validation) - 999 * 0.15 / 0.85) < 45
    both = parted(rows("a", "b"), Split(), test=test, validation=rows("apart", stem="v"))
    assert [len(getattr(both, side)) for side in SIDES] == [2, 1, 3]
