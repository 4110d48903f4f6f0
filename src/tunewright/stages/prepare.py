"""Stage prepare: from the user's files to three clean, leak-free sides and a data card."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tunewright.core import checks, private, storage
from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.example_files import ExampleFiles
from tunewright.core.recipe import DataOptions, Recipe, Split
from tunewright.core.report import Finding, Place, Report
from tunewright.core.run import Run
from tunewright.data import augment, clean, formats, media, profile, sources, split
from tunewright.data.intake import Intake, Taker, take
from tunewright.data.retrieval import Grounding
from tunewright.data.spool import Spool, digest
from tunewright.privacy.scrub import FIRST_ROWS
from tunewright.stages import mending, more_rows, planting, preview, selecting, sorting, token_lengths, versions
from tunewright.stages.mending import Mended
from tunewright.stages.scrubbed_rows import RowScrubber
from tunewright.stages.sorting import Sorted

_HELD_OUT_NAME = re.compile(r"(^|[/._-])(test|eval)([._-][^/]*)?$", re.IGNORECASE)


@dataclass
class _Taken:
    """What was read: of the sources and of each file given for a side."""

    intakes: dict[str, Intake] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # beginning of ids -> file
    bad_rows: list[Place] = field(default_factory=list)  # the first of them

    @property
    def num(self) -> dict[str, int]:
        """Usable rows."""
        return {what: intake.usable for what, intake in self.intakes.items()}

    def by_file(self) -> dict[str, Counter[str]]:
        """rows_read and rows_quarantined of each file."""
        found: dict[str, Counter[str]] = {}
        for intake in self.intakes.values():
            for file, counts in intake.by_file.items():
                found.setdefault(file, Counter()).update(counts)
        return found


def prepare(recipe: Recipe, run: Run) -> Report:
    """Read, convert, clean and split the data; write data/*.jsonl, the quarantine and the findings. Raises DataError.

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
        scrubber = _row_scrubber(data)
        taken = _take_into(spool, data, run, folder / "quarantine.jsonl", lacking, grounding, scrubber)
        for what, intake in taken.intakes.items():
            intake.refuse_if_bad(f"data.{what}", data.max_bad)
        lacking.refuse()
        run.stop_if_asked()
        state = mending.mended(recipe, run, spool, taken.num, partial(_sort_out, data=data, run=run), folder)
        selected = _select(recipe, run, state, taken.files)
        report = _report(recipe, run, taken, state, grounding, scrubber)
        report = report.model_copy(update={"findings": [*report.findings, *selected]})
        report = planting.planted(recipe, run, report)
        versions.of_prepared(data, run, report.numbers)
        if state.spool is not spool:
            state.spool.__exit__()
    preview.write_where_named(recipe, run)
    return report


def _report(
    recipe: Recipe,
    run: Run,
    taken: _Taken,
    state: Mended,
    grounding: Grounding | None,
    scrubber: RowScrubber | None,
) -> Report:
    """Write the sides; tell what they are like and what is wrong with them."""
    data, spool, sides = recipe.data, state.spool, state.found.sides
    card = profile.card(sides, spool)
    if grounding is not None:
        card["meta_columns"] = [name for name in card["meta_columns"] if name not in grounding.columns]
    _write(sides, spool, grounding, run)
    more = more_rows.extend(recipe, run, scrubber)
    counts = _counts(taken, state)
    seen = sum((intake.media for intake in taken.intakes.values()), Counter[str]())
    findings = [
        *(note for intake in taken.intakes.values() for note in intake.notes),
        *media.findings(seen),
        *_name_findings(data),
        *_quarantine_findings(taken, counts),
        *sorting.findings(state.found, spool, taken.files),
        *_missing_findings(state.found.rows, spool, taken, data.split),
        *profile.findings(sides, data.split.model_dump(include=set(split.SIDES))),
        *mending.findings(state, taken.files),
        *token_lengths.findings(recipe, run, state, taken.files, card),
        *(grounding.findings() if grounding is not None else []),
        *more.findings,
        *(scrubber.findings() if scrubber is not None else []),
    ]
    mending.write_rows(state, findings, taken.files, run)
    kept = _kept_by_file(state, taken.files)
    fingerprint = sources.fingerprint(data)
    bad = sum((intake.common_reasons() for intake in taken.intakes.values()), Counter[str]())
    numbers: dict[str, Any] = {
        **_fates(counts["read"], counts["quarantined"], counts["kept"]),
        "sources": _by_file(taken, kept, fingerprint),
        "fingerprint": fingerprint,
        "format": " + ".join(dict.fromkeys(name for intake in taken.intakes.values() for name in intake.formats)),
        "rows": counts,
        "shares": {name: round(counts[name] / counts["kept"], 4) for name in split.SIDES},
        "quarantine": dict(bad),
        **({"fixes": state.done} if state.done else {}),
        **card,
        **state.notes,
        **({"media": dict(seen)} if seen else {}),
        **more.numbers,
    }
    if grounding is not None:
        numbers["retrieval"] = grounding.numbers()
    if scrubber is not None:
        scrubber.close()
        numbers["scrub"] = scrubber.numbers()
    return Report(
        stage="prepare", run=run.name, numbers=numbers, findings=findings, next=f"tunewright choose {run.folder}"
    )


def _by_file(taken: _Taken, kept: Mapping[str, int], fingerprint: dict[str, str]) -> dict[str, Any]:
    return {
        file: {**_fates(read["rows_read"], read["rows_quarantined"], kept[file]), "sha256": fingerprint.get(file)}
        for file, read in taken.by_file().items()
    }


def _fates(read: int, bad: int, kept: int) -> dict[str, int]:
    return {"rows_read": read, "rows_quarantined": bad, "rows_dropped": read - bad - kept, "rows_kept": kept}


def take_all(
    data: DataOptions,
    taker: Callable[[str], Taker] = lambda what: Taker(),
    *,
    first: int | None = None,
    files: dict[str, str] | None = None,
) -> dict[str, Intake]:
    """Takes in the rows of the sources and of the files given for test and validation, which are never sources too.

    taker: for "sources", "test" and "validation", where their rows go. first: only so many of each. files: is
    filled with the file that each beginning of ids stands for. Raises NotThere and DataError.
    """
    apart = _apart(data)
    held_out = {file for group in apart.values() for file in group}
    own = [file for file in sources.files(data.sources) if file not in held_out]
    if not own:
        raise DataError("data.sources holds nothing but the test or validation file. Name other files to learn from.")
    names = sources.names([*own, *dict.fromkeys(file for group in apart.values() for file in group)])
    if files is not None:
        files.update({name: file for file, name in names.items()})
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
        lines = spool.lines(side, partial(_told, run, f"writing {name} rows", len(side)))
        if grounding is not None:
            lines = grounding.lines(name, lines, run.stop_if_asked)
        storage.write_lines(run.path("data", f"{name}.jsonl"), lines, point="data")


def _told(run: Run, what: str, total: int, done: int) -> None:
    run.progress("prepare", done=done, total=total, what=what)


def _row_scrubber(data: DataOptions) -> RowScrubber | None:
    """What takes personal data out of rows; it has seen the first ones."""
    if data.scrub is None:
        return None
    scrubber, first = RowScrubber(data), list[Example]()
    take_all(data, lambda what: Taker(keep=first.append), first=FIRST_ROWS)
    scrubber.look(first)
    return scrubber


def _take_into(
    spool: Spool,
    data: DataOptions,
    run: Run,
    aside: Path,
    lacking: checks.Lacking,
    grounding: Grounding | None,
    scrubber: RowScrubber | None,
) -> _Taken:
    """Read all rows into the spool and data/quarantine.jsonl; `aside`: where the latter grows."""
    taken = _Taken()

    def seen(file: str, rows: int) -> None:
        if rows % 256 == 0:
            run.progress("prepare", done=rows, what=f"reading {file.rpartition('/')[2]}: {rows:,} rows")

    def put_aside(what: str, row: dict[str, Any]) -> None:
        if len(taken.bad_rows) < sorting.SHOWN:
            taken.bad_rows.append(Place(source=row["file"], line=row["line"]))
        row = row if scrubber is None else scrubber.aside(row)
        bad.write(json.dumps({"from": what, **row}, ensure_ascii=False).encode("utf-8") + b"\n")

    def keep(what: str, example: Example) -> None:
        if what != "test":
            lacking.see(example)
        augment.refuse_made(example)
        if grounding is not None:
            grounding.refuse(example)
        spool.add(example, given=what != "sources")

    def taker(what: str) -> Taker:
        to = Taker(partial(keep, what), partial(put_aside, what), seen, store=run.path("data", "media"))
        return to if scrubber is None else replace(to, change=scrubber)

    with private.open_scratch(aside) as bad:
        taken.intakes = take_all(data, taker, files=taken.files)
        if scrubber is not None:
            for intake in taken.intakes.values():
                intake.first_bad = [scrubber.aside(row) for row in intake.first_bad]
        spool.close()
        bad.seek(0)
        storage.write_lines(run.path("data", "quarantine.jsonl"), [bad], point="data")
    return taken


def _sort_out(spool: Spool, num: Mapping[str, int], *, data: DataOptions, run: Run) -> Sorted:
    """Every row to its side, without twins of data/held_out.jsonl: test rows of the run that this is a phase of."""
    found = sorting.sort_out(spool, num, data, mending.poller(run))
    path = run.path("data", "held_out.jsonl")
    if not path.exists():
        return found
    held = {digest(clean.twin_key(example)) for example in ExampleFiles(path)}
    asked = spool.column("twin")
    learned = np.concatenate([found.sides["train"], found.sides["validation"]])
    gone = learned[np.array([twin.tobytes() in held for twin in asked[learned]], bool)]
    if len(gone):
        found = sorting.without(found, gone)
        sorting.refuse_empty(found, len(spool))
    return found


def _select(recipe: Recipe, run: Run, state: Mended, files: Mapping[str, str]) -> list[Finding]:
    """Leave out the training rows that data.select does not keep, where the recipe has it; what to tell about it."""
    if recipe.data.select is None:
        return []
    before = state.found.sides["train"]
    kept, told = selecting.kept_rows(recipe, state.found.sides, state.spool.examples, run)
    gone = np.setdiff1d(before, kept, assume_unique=True)
    state.found = replace(state.found, sides={**state.found.sides, "train": kept}, unselected=gone)
    return [told.model_copy(update={"rows": sorting.places(state.spool, files, gone)})]


def _counts(taken: _Taken, state: Mended) -> dict[str, int]:
    """Rows by fate and side."""
    found = state.found
    sides = {name: len(numbers) for name, numbers in found.sides.items()}
    counts = {
        "read": sum(intake.read for intake in taken.intakes.values()),
        "kept": found.num_kept,
        "quarantined": sum(intake.bad for intake in taken.intakes.values()),
        "duplicates": len(found.copies),
        "twins_dropped": len(found.dropped) + len(found.joined) + len(found.held_out),
        "fixed": len(state.dropped),
        **({"scrubbed_away": scrubbed} if (scrubbed := sum(one.dropped for one in taken.intakes.values())) else {}),
        **({"not_selected": len(found.unselected)} if len(found.unselected) else {}),
    }
    assert counts["read"] == sum(counts.values()) - counts["read"], "every row has one fate"
    return {**counts, **sides}


def _kept_by_file(state: Mended, files: Mapping[str, str]) -> Counter[str]:
    numbers = np.concatenate(list(state.found.sides.values()))
    times = np.bincount(state.spool.column("source")[numbers], minlength=len(state.spool.sources)).tolist()
    return Counter({files[name]: count for name, count in zip(state.spool.sources, times, strict=True)})


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


def _quarantine_findings(taken: _Taken, counts: dict[str, int]) -> list[Finding]:
    first = next((row for intake in taken.intakes.values() for row in intake.first_bad), None)
    if first is None:
        return []
    return [
        Finding(
            name="quarantined",
            severity="warning",
            message=f"{counts['quarantined']:,} of {counts['read']:,} rows cannot be used and were put aside.",
            count=counts["quarantined"],
            rows=taken.bad_rows,
            example=f"{first['file']} line {first['line']}: {first['reason']}",
            remedy="data/quarantine.jsonl lists each with its line and reason; mend them and prepare again.",
        )
    ]


def _missing_findings(rows: np.ndarray, spool: Spool, taken: _Taken, shares: Split) -> list[Finding]:
    """Rows without a value in the column that parts them."""
    if shares.group is not None:
        column, lack = shares.group, rows[~spool.column("grouped")[rows]]
        what, message = "group", f"have no '{column}'; each of them stands alone in the split"
        if len(lack) == len(rows):
            columns = ", ".join(spool.columns_of(rows)) or "none"
            raise DataError(f"data.split.group: no row has a column '{column}'. Columns to choose from: {columns}.")
    elif shares.time is not None:
        column, lack = shares.time, rows[np.isnan(spool.column("time")[rows])]
        what, message = "time", f"have no date in '{column}'; they are learned from"
    else:
        return []
    if not len(lack):
        return []
    return [
        Finding(
            name=f"rows_without_{what}",
            severity="warning",
            message=f"{len(lack):,} rows {message}.",
            count=len(lack),
            rows=sorting.places(spool, taken.files, lack),
            example=spool[lack[0]].id,
            remedy=f"Fill in '{column}'.",
        )
    ]
