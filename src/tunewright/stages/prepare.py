"""Stage prepare: from the user's files to three clean, leak-free sides and a data card."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tunewright.core import checks, storage
from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.recipe import DataOptions, Recipe
from tunewright.core.report import Finding, Report
from tunewright.core.run import Run
from tunewright.data import clean, formats, profile, sources, split
from tunewright.data.intake import Intake, take

_HELD_OUT_NAME = re.compile(r"(^|[/._-])(test|eval)([._-][^/]*)?$", re.IGNORECASE)


def prepare(recipe: Recipe, run: Run) -> Report:
    """Read, convert, clean and split the data; write data/*.jsonl and the quarantine. Raises DataError."""
    data = recipe.data
    formats.check_format(data.format)
    taken = take_all(data, seen=_progress(run))
    _write_quarantine(run, taken)
    for what, intake in taken.items():
        intake.refuse_if_bad(f"data.{what}", data.max_bad)
    given = {name: taken[name].examples if name in taken else None for name in ("test", "validation")}
    everything = [example for intake in taken.values() for example in intake.examples]
    keys = {example.id: clean.twin_key(example) for example in everything}
    learned = (example for name, intake in taken.items() if name != "test" for example in intake.examples)
    if wrong := checks.lacking(recipe.the_objective(), learned):
        raise DataError(wrong)
    run.stop_if_asked()
    rows, num_duplicates = _without_duplicates(taken["sources"].examples, keys, data.split.group)
    parted = split.part(rows, keys, data.split, test=given["test"], validation=given["validation"])
    sides = {"train": parted.train, "validation": parted.validation, "test": parted.test}
    if not parted.train:
        raise DataError(
            f"No training rows are left of {len(everything):,} usable ones. Add rows, or give data.split.train a "
            "larger share."
        )
    card = profile.card(sides)
    num_kept = sum(map(len, sides.values()))
    num_read = sum(intake.read for intake in taken.values())
    num_quarantined = sum(len(intake.quarantined) for intake in taken.values())
    assert num_read == num_kept + num_quarantined + num_duplicates + len(parted.dropped), "every row has one fate"
    for name, examples in sides.items():
        run.stop_if_asked()
        storage.write_jsonl(run.path("data", f"{name}.jsonl"), (example.to_row() for example in examples), point="data")
    findings = [
        *(note for intake in taken.values() for note in intake.notes),
        *_name_findings(data),
        *_quarantine_findings(taken, num_read),
        *_duplicate_findings(num_duplicates),
        *_leak_findings(parted, given, keys),
        *_group_findings(rows, data.split.group),
        *profile.findings(sides, card, data.split.model_dump(include=set(split.SIDES))),
        *clean.findings([example for examples in sides.values() for example in examples], keys),
    ]
    numbers: dict[str, Any] = {
        "sources": sources.fingerprint(data),
        "format": " + ".join(dict.fromkeys(name for intake in taken.values() for name in intake.formats)),
        "rows": {
            "read": num_read,
            "kept": num_kept,
            "quarantined": num_quarantined,
            "duplicates": num_duplicates,
            "twins_dropped": len(parted.dropped),
            **{name: len(examples) for name, examples in sides.items()},
        },
        "shares": {name: round(len(examples) / num_kept, 4) for name, examples in sides.items()},
        "quarantine": _reasons(taken),
        **card,
    }
    return Report(
        stage="prepare", run=run.name, numbers=numbers, findings=findings, next=f"tunewright choose {run.folder}"
    )


def take_all(
    data: DataOptions, *, first: int | None = None, seen: Callable[[str, int], None] = lambda file, rows: None
) -> dict[str, Intake]:
    """The rows of the sources and of the files given for test and validation, which are never sources too.

    first: only so many of each. seen: as in `take`. Raises NotThere and DataError.
    """
    apart = {
        name: sources.files([path]) for name, path in (("test", data.test), ("validation", data.validation)) if path
    }
    held_out = {file for group in apart.values() for file in group}
    own = [file for file in sources.files(data.sources) if file not in held_out]
    if not own:
        raise DataError("data.sources holds nothing but the test or validation file. Name other files to learn from.")
    names = sources.names([*own, *dict.fromkeys(file for group in apart.values() for file in group)])
    taken = {"sources": take(own, data, names, limit=first or data.limit, seen=seen)}
    for name, group in apart.items():
        taken[name] = take(group, data, names, limit=first, seen=seen)
    return taken


def _progress(run: Run) -> Callable[[str, int], None]:
    def seen(file: str, rows: int) -> None:
        if rows % 256 == 0:
            run.progress("prepare", done=rows, what=f"reading {file.rpartition('/')[2]}: {rows:,} rows")

    return seen


def _write_quarantine(run: Run, taken: dict[str, Intake]) -> None:
    rows = [{"from": what, **row} for what, intake in taken.items() for row in intake.quarantined]
    storage.write_jsonl(run.path("data", "quarantine.jsonl"), rows, point="data")


def _reasons(taken: dict[str, Intake]) -> dict[str, int]:
    total: dict[str, int] = {}
    for intake in taken.values():
        for reason, count in intake.reasons().items():
            total[reason] = total.get(reason, 0) + count
    return total


def _without_duplicates(examples: list[Example], keys: dict[str, str], group: str | None) -> tuple[list[Example], int]:
    """The first of each set of rows that are equal to the letter, and how many were dropped.

    Rows of different groups may fall on different sides, so only copies inside one group count here.
    """
    seen: set[tuple[str, str, str]] = set()
    kept = []
    for example in examples:
        key = (split.unit(example, keys[example.id], group), *clean.exact_key(example))
        if key not in seen:
            seen.add(key)
            kept.append(example)
    return kept, len(examples) - len(kept)


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


def _quarantine_findings(taken: dict[str, Intake], num_read: int) -> list[Finding]:
    rows = [row for intake in taken.values() for row in intake.quarantined]
    if not rows:
        return []
    first = rows[0]
    return [
        Finding(
            name="quarantined",
            severity="warning",
            message=f"{len(rows):,} of {num_read:,} rows cannot be used and were put aside.",
            rows=len(rows),
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
            rows=num_duplicates,
            remedy="Nothing to do. To let a row count more, word it in other ways.",
        )
    ]


def _leak_findings(parted: split.Parted, given: dict[str, list[Example] | None], keys: dict[str, str]) -> list[Finding]:
    """Copies that were dropped for a twin, and twins between two files that were given."""
    found = []
    for name in ("test", "validation"):
        measured = {example.id for example in getattr(parted, name)}
        dropped = [(copy, twin) for copy, twin in parted.dropped if twin.id in measured]
        if not dropped:
            continue
        copy, twin = dropped[0]
        their_keys = {keys[gone.id] for gone, _ in dropped}
        num_twins = sum(keys[example.id] in their_keys for example in getattr(parted, name))
        found.append(
            Finding(
                name=f"twins_of_{name}",
                severity="warning",
                message=(
                    f"{num_twins:,} {name} rows have twins (equal but for case, punctuation and spaces) among the rows "
                    f"to learn from; those {len(dropped):,} copies were dropped, the {name} rows stay."
                ),
                rows=len(dropped),
                example=f"{copy.id} is a twin of {twin.id}: {clean.prompt_text(copy)[:120]}",
                remedy="Nothing to do; without this the measured quality would flatter the model.",
            )
        )
    if given["test"] is not None and given["validation"] is not None:
        tested = {keys[example.id] for example in given["test"]}
        both = [example for example in given["validation"] if keys[example.id] in tested]
        if both:
            found.append(
                Finding(
                    name="validation_meets_test",
                    severity="warning",
                    message=f"{len(both):,} validation rows are twins of test rows. Both files are used as given.",
                    rows=len(both),
                    example=f"{both[0].id}: {clean.prompt_text(both[0])[:120]}",
                    remedy="Take them out of the validation file: it picks the checkpoint that the test judges.",
                )
            )
    return found


def _group_findings(rows: list[Example], group: str | None) -> list[Finding]:
    if group is None:
        return []
    without = [example for example in rows if example.meta.get(group) in (None, "")]
    if len(without) == len(rows):
        columns = sorted({name for example in rows for name in example.meta})
        raise DataError(
            f"data.split.group: no row has a column '{group}'. Columns to choose from: {', '.join(columns) or 'none'}."
        )
    if not without:
        return []
    return [
        Finding(
            name="rows_without_group",
            severity="warning",
            message=f"{len(without):,} rows have no '{group}'; each of them stands alone in the split.",
            rows=len(without),
            example=without[0].id,
            remedy=f"Fill in '{group}' where rows belong together.",
        )
    ]
