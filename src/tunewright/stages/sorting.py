"""What becomes of rows: copies are dropped, near twins stay together, and each row goes to a side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tunewright.core.errors import DataError
from tunewright.core.recipe import DataOptions
from tunewright.core.report import Finding, Place
from tunewright.data import clean, near, split
from tunewright.data.spool import Spool, classes, firsts

SHOWN = 1000
GIVEN = ("test", "validation")
NOTHING = np.empty(0, np.int64)
Poll = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Sorted:
    """What became of the rows of a spool, by number."""

    sides: dict[str, np.ndarray]
    rows: np.ndarray  # of the sources, without copies
    given: dict[str, np.ndarray]  # rows of the files for test and validation
    asked: np.ndarray  # of each row, the class of those that ask the same
    pairs: near.Pairs  # of near twins: each the first row of its class
    copies: np.ndarray  # rows of the sources that repeat another to the letter
    dropped: np.ndarray  # copies on the side to learn from of rows that measure
    twins: np.ndarray  # of each dropped copy, the row it is a twin of
    joined: np.ndarray = field(default_factory=lambda: NOTHING)  # dropped, for a later row is near two sides
    held_out: np.ndarray = field(default_factory=lambda: NOTHING)  # twins of test rows of the run this is a phase of
    unselected: np.ndarray = field(default_factory=lambda: NOTHING)  # training rows that data.select leaves out

    @property
    def num_kept(self) -> int:
        """Rows on all sides."""
        return sum(len(side) for side in self.sides.values())


def sort_out(spool: Spool, num: Mapping[str, int], data: DataOptions, poll: Poll) -> Sorted:
    """Drop copies among the sources, find near twins, and part the rows. Raises DataError when no training rows are
    left.

    num: how many rows of the spool are of the sources, and of each file given for a side, in that order.
    """
    given, begin = {}, 0
    for what, count in num.items():
        if what in GIVEN:
            given[what] = np.arange(begin, begin + count)
        begin += count
    num_sources = num.get("sources", 0)
    rows = firsts(classes(spool.column("exact")[:num_sources]))
    asked = classes(spool.column("twin"))
    kept = np.sort(np.concatenate([rows, *given.values()]))
    pairs = _near(spool, kept, asked, poll)
    own, joined = _own_sides(spool, rows, asked, pairs, data, given)
    standing = ~np.isin(asked[rows], joined)
    test, validation = given.get("test"), given.get("validation")
    parted = split.part(rows[standing], own[standing], asked, test=test, validation=validation)
    found = Sorted(
        sides=parted.sides,
        rows=rows,
        given=given,
        asked=asked,
        pairs=pairs,
        copies=np.setdiff1d(np.arange(num_sources), rows, assume_unique=True),
        dropped=parted.dropped,
        twins=parted.twins,
        joined=rows[~standing],
    )
    refuse_empty(found, len(spool))
    return found


def refuse_empty(found: Sorted, num_rows: int) -> None:
    """Raise DataError when there is nothing to learn from."""
    if not len(found.sides["train"]):
        raise DataError(
            f"No training rows are left of {num_rows:,} usable ones. Add rows, or give data.split.train a larger share."
        )


def without(found: Sorted, gone: np.ndarray) -> Sorted:
    """Without rows to learn from that are twins of rows held out elsewhere."""
    sides = {name: side if name == "test" else side[~np.isin(side, gone)] for name, side in found.sides.items()}
    return replace(found, sides=sides, held_out=gone)


def _near(spool: Spool, kept: np.ndarray, asked: np.ndarray, poll: Poll) -> near.Pairs:
    """Near twins among the first rows of each class."""
    first = kept[np.sort(np.unique(asked[kept], return_index=True)[1])]
    return near.pairs(
        spool.signatures,
        first,
        len(spool),
        spool.examples,
        lambda done, total: poll("comparing near twins", done, total),
    )


def _own_sides(
    spool: Spool,
    rows: np.ndarray,
    asked: np.ndarray,
    pairs: near.Pairs,
    data: DataOptions,
    given: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """The side of each of the rows before copies are looked at, and the classes that are dropped for being near two."""
    if data.split.time:
        when = spool.column("time")[rows]
        if np.isnan(when).all():
            raise DataError(
                f"data.split.time: no row has a date in the column '{data.split.time}'. Name a column of dates "
                "(2026-03-31, 31.03.2026 ...) or numbers."
            )
        return split.by_time(when, data.split, has_test="test" in given, has_validation="validation" in given), NOTHING
    own = spool.column("side")[rows]
    if data.split.group:
        return own, NOTHING
    # rows of one class have one side: that of the first
    of_class = np.zeros(int(asked.max(initial=-1)) + 1, np.int8)
    of_class[asked[rows[::-1]]] = own[::-1]
    fixed = np.isin(asked[np.stack([pairs.first, pairs.second])], asked[np.concatenate([NOTHING, *given.values()])])
    free = ~fixed.any(axis=0)
    sides, dropped = split.joined(of_class, asked[pairs.first[free]], asked[pairs.second[free]])
    return sides[asked[rows]], np.flatnonzero(dropped)


def places(spool: Spool, files: Mapping[str, str], numbers: np.ndarray) -> list[Place]:
    """Source and line of rows, the first SHOWN of them. files: beginning of ids -> file."""
    names = [files[name] for name in spool.sources]
    shown = np.sort(np.asarray(numbers, np.int64))[:SHOWN]
    records = spool.records(shown)
    found = zip(records["source"].tolist(), records["line"].tolist(), strict=True)
    return [Place(source=names[source], line=line) for source, line in found]


def findings(found: Sorted, spool: Spool, files: Mapping[str, str]) -> list[Finding]:
    """What was dropped, and why."""

    def told(name: str, message: str, rows: np.ndarray, remedy: str, example: str | None = None) -> Finding:
        return Finding(
            name=name, severity="info" if name == "duplicates" else "warning", message=message, count=len(rows),
            rows=places(spool, files, rows), example=example, remedy=remedy,
        )  # fmt: skip

    flatter = "Nothing to do; without this the measured quality would flatter the model."
    all_told = []
    if len(found.copies):
        message = f"{len(found.copies):,} rows repeat another to the letter; the first of each is kept."
        remedy = "Nothing to do. To let a row count more, word it in other ways."
        all_told.append(told("duplicates", message, found.copies, remedy, spool[found.copies[0]].id))
    if len(found.joined):
        message = (
            f"{len(found.joined):,} rows to learn from are near a later row that is also near a row that measures; "
            "they were dropped, so that near twins stay on one side."
        )
        all_told.append(told("near_two_sides", message, found.joined, flatter, spool[found.joined[0]].id))
    if len(found.held_out):
        message = f"{len(found.held_out):,} rows ask what a test row of the whole run asks, and were dropped."
        all_told.append(told("twins_of_held_out", message, found.held_out, flatter, spool[found.held_out[0]].id))
    for name in GIVEN if len(found.dropped) else ():
        side = found.sides[name]
        at = np.flatnonzero(_stands_on(side, found.twins, spool))
        if not len(at):
            continue
        copies = found.dropped[at]
        num_twins = int(np.isin(found.asked[side], found.asked[copies]).sum())
        copy, twin = spool[copies[0]], spool[found.twins[at[0]]]
        message = (
            f"{num_twins:,} {name} rows have twins (equal but for case, punctuation and spaces) among the rows "
            f"to learn from; those {len(copies):,} copies were dropped, the {name} rows stay."
        )
        example = f"{copy.id} is a twin of {twin.id}: {clean.prompt_text(copy)[:120]}"
        all_told.append(told(f"twins_of_{name}", message, copies, flatter, example))
    return all_told + _between_given(found, spool, files)


def _between_given(found: Sorted, spool: Spool, files: Mapping[str, str]) -> list[Finding]:
    """Twins between two files that were given."""
    if not all(name in found.given for name in GIVEN):
        return []
    test, validation = (found.given[name] for name in GIVEN)
    both = validation[np.isin(found.asked[validation], found.asked[test])]
    if not len(both):
        return []
    first = spool[both[0]]
    return [
        Finding(
            name="validation_meets_test",
            severity="warning",
            message=f"{len(both):,} validation rows are twins of test rows. Both files are used as given.",
            count=len(both),
            rows=places(spool, files, both),
            example=f"{first.id}: {clean.prompt_text(first)[:120]}",
            remedy="Take them out of the validation file: it picks the checkpoint that the test judges.",
        )
    ]


def _stands_on(side: np.ndarray, rows: np.ndarray, spool: Spool) -> np.ndarray:
    """Which of some rows stand on a side. A file given twice is on both, so its place counts rather than its number."""
    key = (spool.column("source").astype(np.int64) << 40) + spool.column("line")
    return np.isin(key[rows], key[side])
