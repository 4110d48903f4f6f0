"""Stage prepare: from the user's files to three clean, leak-free sides and a data card."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tunewright.core import checks, storage
from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.example_files import ExampleFiles
from tunewright.core.recipe import DataOptions, Recipe
from tunewright.core.report import Finding, Report
from tunewright.core.run import Run
from tunewright.data import clean, formats, profile, sources, split, twins
from tunewright.data.intake import Intake, Taker, take
from tunewright.data.retrieval import Grounding
from tunewright.data.spool import Spool, classes, digest, firsts

_HELD_OUT_NAME = re.compile(r"(^|[/._-])(test|eval)([._-][^/]*)?$", re.IGNORECASE)


@dataclass(frozen=True)
class _Sorted:
    """What became of the rows, by number."""

    rows: np.ndarray  # of the sources, without copies
    given: dict[str, np.ndarray | None]  # rows of the files for test and validation
    asked: np.ndarray  # of each row, the class of those that ask the same
    parted: split.Parted
    num_held_out: int = 0  # twins of test rows that the whole run of a phase is judged by: dropped


def prepare(recipe: Recipe, run: Run) -> Report:
    """Read, convert, clean and split the data; write data/*.jsonl and the quarantine. Raises DataError.

    Rows wait in a folder of the run until all are read; in memory there are some bytes of each.
    """
    data = recipe.data
    formats.check_format(data.format)
    lacking = checks.Lacking(recipe.the_objective())
    with (
        storage.scratch(run.path("prepare")) as folder,
        Spool(folder, data.split, has_test=bool(data.test), has_validation=bool(data.validation)) as spool,
    ):
        grounding = Grounding(data) if data.retrieval is not None else None
        taken = _take_into(spool, data, run, folder / "quarantine.jsonl", lacking, grounding)
        for what, intake in taken.items():
            intake.refuse_if_bad(f"data.{what}", data.max_bad)
        lacking.refuse()
        run.stop_if_asked()
        found, held_out = _without_held_out(_sort_out(spool, taken, data), spool, run)
        grouped = _group_findings(found.rows, spool, data.split.group)
        sides = found.parted.sides
        _forget_gone(sides["train"], spool, run)
        card = profile.card(sides, spool)
        if grounding is not None:
            card["meta_columns"] = [name for name in card["meta_columns"] if name not in grounding.columns]
        _write(sides, spool, grounding, run)
        counts = _counts(taken, found)
        order = np.concatenate(list(sides.values()))
        findings = [
            *(note for intake in taken.values() for note in intake.notes),
            *_name_findings(data),
            *_quarantine_findings(taken, counts),
            *_duplicate_findings(counts["duplicates"]),
            *_leak_findings(found, spool, data),
            *held_out,
            *grouped,
            *profile.findings(sides, card, data.split.model_dump(include=set(split.SIDES)), spool),
            *twins.findings(order, found.asked, spool, _poll(run, "comparing twins", len(order))),
            *(grounding.findings() if grounding is not None else []),
        ]
    numbers: dict[str, Any] = {
        "sources": sources.fingerprint(data),
        "format": " + ".join(dict.fromkeys(name for intake in taken.values() for name in intake.formats)),
        "rows": counts,
        "shares": {name: round(counts[name] / counts["kept"], 4) for name in split.SIDES},
        "quarantine": dict(sum((intake.common_reasons() for intake in taken.values()), Counter[str]())),
        **card,
    }
    if grounding is not None:
        numbers["retrieval"] = grounding.numbers()
    return Report(
        stage="prepare", run=run.name, numbers=numbers, findings=findings, next=f"tunewright choose {run.folder}"
    )


def take_all(
    data: DataOptions, taker: Callable[[str], Taker] = lambda what: Taker(), *, first: int | None = None
) -> dict[str, Intake]:
    """Takes in the rows of the sources and of the files given for test and validation, which are never sources too.

    taker: for "sources", "test" and "validation", where their rows go. first: only so many of each. Raises NotThere
    and DataError.
    """
    apart = _apart(data)
    held_out = {file for group in apart.values() for file in group}
    own = [file for file in sources.files(data.sources) if file not in held_out]
    if not own:
        raise DataError("data.sources holds nothing but the test or validation file. Name other files to learn from.")
    names = sources.names([*own, *dict.fromkeys(file for group in apart.values() for file in group)])
    taken = {"sources": take(own, data, names, taker("sources"), limit=first or data.limit)}
    for name, group in apart.items():
        taken[name] = take(group, data, names, taker(name), limit=first)
    return taken


def _apart(data: DataOptions) -> dict[str, list[str]]:
    """The files given for test and validation."""
    given = (("test", data.test), ("validation", data.validation))
    return {name: sources.files([path]) for name, path in given if path}


def _write(sides: dict[str, np.ndarray], spool: Spool, grounding: Grounding | None, run: Run) -> None:
    """Write the sides, each row with its passages where there are any."""
    for name, side in sides.items():
        lines = spool.lines(side, _poll(run, f"writing {name} rows", len(side)))
        if grounding is not None:
            lines = grounding.lines(name, lines, run.stop_if_asked)
        storage.write_lines(run.path("data", f"{name}.jsonl"), lines, point="data")


def _take_into(
    spool: Spool, data: DataOptions, run: Run, aside: Path, lacking: checks.Lacking, grounding: Grounding | None
) -> dict[str, Intake]:
    """Read all rows into the spool and data/quarantine.jsonl; `aside`: where the latter grows."""

    def seen(file: str, rows: int) -> None:
        if rows % 256 == 0:
            run.progress("prepare", done=rows, what=f"reading {file.rpartition('/')[2]}: {rows:,} rows")

    def put_aside(what: str, row: dict[str, Any]) -> None:
        bad.write(json.dumps({"from": what, **row}, ensure_ascii=False).encode("utf-8") + b"\n")

    def keep(what: str, example: Example) -> None:
        if what != "test":
            lacking.see(example)
        if grounding is not None:
            grounding.refuse(example)
        spool.add(example, given=what != "sources")

    def taker(what: str) -> Taker:
        return Taker(keep=partial(keep, what), put_aside=partial(put_aside, what), seen=seen)

    with aside.open("w+b") as bad:
        taken = take_all(data, taker)
        spool.close()
        bad.seek(0)
        storage.write_lines(run.path("data", "quarantine.jsonl"), [bad], point="data")
    return taken


def _sort_out(spool: Spool, taken: dict[str, Intake], data: DataOptions) -> _Sorted:
    """Drop copies among the sources, and part the rows. Raises DataError when no training rows are left.

    Rows of different groups may fall on different sides, so only copies inside one group count as such.
    """
    given: dict[str, np.ndarray | None] = {"test": None, "validation": None}
    begin = 0
    for what, intake in taken.items():
        if what in given:
            given[what] = np.arange(begin, begin + intake.usable)
        begin += intake.usable
    rows = firsts(classes(spool.column("exact")[: taken["sources"].usable]))
    asked = classes(spool.column("twin"))
    found = _Sorted(rows, given, asked, split.part(rows, spool.column("side")[rows], asked, **given))
    _refuse_empty(found, spool)
    return found


def _refuse_empty(found: _Sorted, spool: Spool) -> None:
    if not len(found.parted.sides["train"]):
        raise DataError(
            f"No training rows are left of {len(spool):,} usable ones. Add rows, or give data.split.train a "
            "larger share."
        )


def _without_held_out(found: _Sorted, spool: Spool, run: Run) -> tuple[_Sorted, list[Finding]]:
    """Without the rows to learn from that are twins of data/held_out.jsonl: test rows of the run this is a phase of."""
    path = run.path("data", "held_out.jsonl")
    if not path.exists():
        return found, []
    held = {digest(clean.twin_key(example)) for example in ExampleFiles(path)}
    asked = spool.column("twin")
    sides, gone = dict(found.parted.sides), np.empty(0, np.int64)
    for name in ("train", "validation"):
        twin = np.array([asked[number].tobytes() in held for number in sides[name]], bool)
        gone = np.append(gone, sides[name][twin])
        sides[name] = sides[name][~twin]
    if not len(gone):
        return found, []
    found = replace(found, parted=replace(found.parted, sides=sides), num_held_out=len(gone))
    _refuse_empty(found, spool)
    told = Finding(
        name="twins_of_held_out",
        severity="warning",
        message=f"{len(gone):,} rows ask what a test row of the whole run asks, and were dropped.",
        count=len(gone),
        example=spool[gone[0]].id,
        remedy="Nothing to do; without this the measured quality would flatter the model.",
    )
    return found, [told]


def _forget_gone(train: np.ndarray, spool: Spool, run: Run) -> None:
    """Take copies and dropped twins out of what was counted of the training rows while they were read."""
    own = np.flatnonzero(spool.column("side") == split.SIDES.index("train"))
    gone = np.setdiff1d(own, train, assume_unique=True)
    spool.train_columns.take_away(spool.examples(gone, _poll(run, "leaving out copies", len(gone))))


def _poll(run: Run, what: str, total: int) -> Callable[[int], None]:
    """Tells how many rows of a piece of work are done."""
    return lambda done: run.progress("prepare", done=done, total=total, what=what)


def _counts(taken: dict[str, Intake], found: _Sorted) -> dict[str, int]:
    """Rows by fate and side."""
    sides = {name: len(numbers) for name, numbers in found.parted.sides.items()}
    counts = {
        "read": sum(intake.read for intake in taken.values()),
        "kept": sum(sides.values()),
        "quarantined": sum(intake.bad for intake in taken.values()),
        "duplicates": taken["sources"].usable - len(found.rows),
        "twins_dropped": len(found.parted.dropped) + found.num_held_out,
    }
    assert counts["read"] == sum(counts.values()) - counts["read"], "every row has one fate"
    return {**counts, **sides}


def _name_findings(data: DataOptions) -> list[Finding]:
    """Files that look like a held-out set but are mixed with the rest."""
    if data.test is not None:
        return []
    mixed = [file for file in sources.files(data.sources) if _HELD_OUT_NAME.search(file)]
    if not mixed:
        return []
    return [
        Finding(
            name="test_file_among_sources",
            severity="warning",
            message=f"{len(mixed)} of the sources look like test files; their rows are split like all others.",
            example=mixed[0],
            remedy=f"If it is the official test set, give it as data.test: {mixed[0]}",
        )
    ]


def _quarantine_findings(taken: dict[str, Intake], counts: dict[str, int]) -> list[Finding]:
    first = next((row for intake in taken.values() for row in intake.first_bad), None)
    if first is None:
        return []
    return [
        Finding(
            name="quarantined",
            severity="warning",
            message=f"{counts['quarantined']:,} of {counts['read']:,} rows cannot be used and were put aside.",
            count=counts["quarantined"],
            example=f"{first['file']} line {first['line']}: {first['reason']}",
            remedy="data/quarantine.jsonl lists each with its line and reason; mend them and prepare again.",
        )
    ]


def _duplicate_findings(num_duplicates: int) -> list[Finding]:
    if not num_duplicates:
        return []
    return [
        Finding(
            name="duplicates",
            message=f"{num_duplicates:,} rows repeat another to the letter; the first of each is kept.",
            count=num_duplicates,
            remedy="Nothing to do. To let a row count more, word it in other ways.",
        )
    ]


def _leak_findings(found: _Sorted, spool: Spool, data: DataOptions) -> list[Finding]:
    """Copies that were dropped for a twin, and twins between two files that were given."""
    told = []
    parted, asked = found.parted, found.asked
    for name in ("test", "validation"):
        side = parted.sides[name]
        at = np.flatnonzero(_stands_on(side, parted.twins, spool, data))
        if not len(at):
            continue
        copies = parted.dropped[at]
        num_twins = int(np.isin(asked[side], asked[copies]).sum())
        copy, twin = spool[copies[0]], spool[parted.twins[at[0]]]
        told.append(
            Finding(
                name=f"twins_of_{name}",
                severity="warning",
                message=(
                    f"{num_twins:,} {name} rows have twins (equal but for case, punctuation and spaces) among the rows "
                    f"to learn from; those {len(copies):,} copies were dropped, the {name} rows stay."
                ),
                count=len(copies),
                example=f"{copy.id} is a twin of {twin.id}: {clean.prompt_text(copy)[:120]}",
                remedy="Nothing to do; without this the measured quality would flatter the model.",
            )
        )
    test, validation = found.given["test"], found.given["validation"]
    if test is not None and validation is not None:
        both = validation[np.isin(asked[validation], asked[test])]
        if len(both):
            first = spool[both[0]]
            told.append(
                Finding(
                    name="validation_meets_test",
                    severity="warning",
                    message=f"{len(both):,} validation rows are twins of test rows. Both files are used as given.",
                    count=len(both),
                    example=f"{first.id}: {clean.prompt_text(first)[:120]}",
                    remedy="Take them out of the validation file: it picks the checkpoint that the test judges.",
                )
            )
    return told


def _stands_on(side: np.ndarray, rows: np.ndarray, spool: Spool, data: DataOptions) -> np.ndarray:
    """Which rows are on a side. A file that is given twice is on both, so there the ids count."""
    apart = _apart(data)
    if not set(apart.get("test", ())) & set(apart.get("validation", ())):
        return np.isin(rows, side)
    ids = {example.id for example in spool.examples(side)}
    return np.array([spool[number].id in ids for number in rows], bool)


def _group_findings(rows: np.ndarray, spool: Spool, group: str | None) -> list[Finding]:
    if group is None:
        return []
    without = rows[~spool.column("grouped")[rows]]
    if len(without) == len(rows):
        columns = ", ".join(spool.columns_of(rows)) or "none"
        raise DataError(f"data.split.group: no row has a column '{group}'. Columns to choose from: {columns}.")
    if not len(without):
        return []
    return [
        Finding(
            name="rows_without_group",
            severity="warning",
            message=f"{len(without):,} rows have no '{group}'; each of them stands alone in the split.",
            count=len(without),
            example=spool[without[0]].id,
            remedy=f"Fill in '{group}' where rows belong together.",
        )
    ]
