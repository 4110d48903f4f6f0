"""Takes personal data out of the rows of any file (`data scrub`), and tells what was done and what may remain."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunewright.core import storage
from tunewright.core.errors import DataError, RecipeError
from tunewright.core.recipe import DataOptions
from tunewright.core.report import Finding, Report
from tunewright.core.scrubbing import Scrub
from tunewright.data import lineage, sources
from tunewright.data.lineage import Step
from tunewright.privacy import mapping
from tunewright.privacy.found import Found
from tunewright.privacy.scrub import FIRST_ROWS, Scrubber

# Recall on the test rows of presidio's synthetic set, by characters and whatever the type (benchmarks/pii.py).
RECALL = 0.97
LABELS = ("label", "labels", "category", "intent", "class")  # columns that are looked at only when they are named
_SAMPLE = 200
SMALL = 10**7  # numbers below are counts and prices
Listener = Callable[[dict[str, Any]], None]


def scrub(
    paths: str | list[str],
    out: str | Path,
    options: Scrub | dict[str, Any] | None = None,
    *,
    fields: list[str] | None = None,
    spans: bool = False,
    replace: bool = False,
    listeners: Sequence[Listener] = (),
) -> Report:
    """Write the rows of files without personal data, or, with `spans`, as they are and with what was found in them.

    paths: files, folders, globs or Hub names. options: as under `data.scrub` of a recipe. fields: the columns that are
    looked at; all texts when left out. Raises DataError, NotThere, RecipeError.
    """
    started, out = time.monotonic(), Path(out)
    paths = [paths] if isinstance(paths, str) else paths
    options = checked(options or {})
    if spans and (fields is None or len(fields) != 1):
        raise RecipeError("--spans tells places in one text. Name the column: --field NAME, once.")
    files = sources.files(paths)
    if any(Path(file).resolve() == out.resolve() for file in files if not file.startswith(sources.HUB)):
        raise RecipeError(f"{out} is read from, so it cannot be written to. Name another file with --out.")
    if out.exists() and not replace:
        raise RecipeError(f"{out} is there already. Name another file with --out, or say --replace to write over it.")
    if options.mapping_for is not None:
        mapping.refuse_unreadable(options.mapping_for)
    job = _FileJob(files, options, fields, spans, listeners)
    for listener in listeners:
        listener({"event": "stage_begins", "stage": "scrub"})
    written = storage.write_jsonl(out, job.rows())
    if not job.read:
        raise DataError(f"{', '.join(paths)}: there are no rows. Give files with at least one.")
    keep_mapping(job.scrubber)
    step = Step(what="scrub", before={"rows": job.read}, after={"rows": written}, about=job.numbers())
    lineage.record(out, sources=sources.fingerprint(DataOptions(sources=files)), steps=[step])
    seconds = max(time.monotonic() - started, 1e-9)
    figures = {
        "read": job.read,
        "written": written,
        "unreadable": job.unreadable,
        "rows_per_second": round(job.read / seconds),
    }
    told_of = [] if spans else findings(job.scrubber)
    return Report(
        stage="scrub",
        run=str(out),
        seconds=seconds,
        numbers={"rows": figures, "scrub": job.numbers(), "out": str(out)},
        findings=[*job.notes, *told_of, *job.findings()],
    )


@dataclass(frozen=True)
class _Text:
    """The place of a text of a row, by number; a card or an account may be written as a number."""

    number: int
    is_number: bool


class _FileJob:
    """The rows of files on their way to another file."""

    def __init__(
        self, files: list[str], options: Scrub, fields: list[str] | None, spans: bool, listeners: Sequence[Listener]
    ) -> None:
        self.scrubber = Scrubber(options)
        self.read = self.unreadable = self.lacking = self.with_spans = 0
        self.notes: list[Finding] = []
        self.counts: Counter[str] = Counter()
        self._first_bad: str | None = None
        self._files, self._fields, self._spans, self._listeners = files, fields, spans, listeners

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows as they are written."""
        if not self._spans:
            first = (raw.values for raw in sources.read(self._files, limit=FIRST_ROWS) if raw.values is not None)
            self.scrubber.look(list(_strings(row, self._looks_at)) for row in first)
        for raw in sources.read(self._files, notes=self.notes):
            self.read += 1
            if self.read % 256 == 0:
                self._tell(raw.file.rpartition("/")[2])
            if raw.values is None:
                self.unreadable += 1
                self._first_bad = self._first_bad or f"{raw.file} line {raw.line}: {raw.problem}"
                continue
            if self._fields is not None and not any(name in raw.values for name in self._fields):
                self.lacking += 1
            row = self._marked(raw.values) if self._spans else self._scrubbed(raw.values)
            if row is not None:
                yield row
        if self.read and self.lacking == self.read - self.unreadable:
            columns = ", ".join(self._fields or [])
            raise DataError(f"No row has a column '{columns}'. Check the name given with --field.")

    def _tell(self, file: str) -> None:
        event = {"event": "progress", "stage": "scrub", "done": self.read, "total": 0}
        for listener in self._listeners:
            listener({**event, "what": f"{file}: {self.read:,} rows"})

    def _marked(self, values: dict[str, Any]) -> dict[str, Any]:
        assert self._fields is not None
        text = values.get(self._fields[0])
        found: list[Found] = self.scrubber.found(text, self._fields[0]) if isinstance(text, str) else []
        self.counts.update(one.type for one in found)
        self.with_spans += bool(found)
        told = [{"start": one.start, "end": one.end, "type": one.type} for one in found]
        return {**values, "spans": told}

    def _looks_at(self, column: str) -> bool:
        return column.lower() not in LABELS if self._fields is None else column in self._fields

    def _scrubbed(self, values: dict[str, Any]) -> dict[str, Any] | None:
        texts: list[str] = []
        columns: list[str] = []

        def take(value: Any, column: str) -> Any:
            if isinstance(value, str) or (isinstance(value, int) and abs(value) > SMALL):
                texts.append(str(value))
                columns.append(column)
                return _Text(len(texts) - 1, isinstance(value, int))
            if isinstance(value, dict):
                return {name: inner if name == "role" else take(inner, str(name)) for name, inner in value.items()}
            return [take(inner, column) for inner in value] if isinstance(value, list) else value

        shape = {name: take(value, name) if self._looks_at(name) else value for name, value in values.items()}
        done = self.scrubber.row(texts, columns=columns)
        if done is None:
            return None

        def back(value: Any) -> Any:
            if isinstance(value, _Text):
                new = done[value.number].text
                return int(new) if value.is_number and new.removeprefix("-").isdecimal() else new
            if isinstance(value, dict):
                return {name: back(inner) for name, inner in value.items()}
            return [back(inner) for inner in value] if isinstance(value, list) else value

        return {name: back(value) for name, value in shape.items()}

    def numbers(self) -> dict[str, Any]:
        """What was found or done."""
        if not self._spans:
            return numbers(self.scrubber)
        return {
            "found": sum(self.counts.values()),
            "types": dict(self.counts.most_common()),
            "rows_with_some": self.with_spans,
        }

    def findings(self) -> list[Finding]:
        """Rows that could not be read or had none of the columns."""
        found = []
        if self.unreadable:
            found.append(
                Finding(
                    name="unreadable_rows",
                    severity="warning",
                    message=f"{self.unreadable:,} of {self.read:,} rows cannot be read and were not written.",
                    count=self.unreadable,
                    example=self._first_bad,
                    remedy="Mend them in the source and scrub again.",
                )
            )
        if self.lacking:
            found.append(
                Finding(
                    name="rows_without_the_column",
                    severity="warning",
                    message=f"{self.lacking:,} of {self.read:,} rows have none of the columns "
                    f"{', '.join(self._fields or [])}; nothing was looked for in them.",
                    count=self.lacking,
                    remedy="Name the column that holds their text with --field as well.",
                )
            )
        return found


def _strings(value: Any, looks_at: Callable[[str], bool]) -> Iterator[str]:
    """Every text in the columns that are looked at."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one, looks_at)
    elif isinstance(value, dict):
        for name, one in value.items():
            if looks_at(str(name)):
                yield from _strings(one, lambda name: name != "role")


def checked(options: Scrub | dict[str, Any]) -> Scrub:
    """Options that are known and make sense. Raises RecipeError with a sentence for each that is not."""
    if isinstance(options, Scrub):
        return options
    try:
        return Scrub.model_validate(options)
    except ValidationError as error:
        raise RecipeError([_sentence(one) for one in error.errors()]) from None


def _sentence(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"] if part not in ("list[str]", "literal['all']"))
    said = problem["msg"].removeprefix("Value error, ")
    return f"scrub{'.' if where else ''}{where}: {said}{'' if said.endswith('.') else '.'}"


def numbers(scrubber: Scrubber) -> dict[str, Any]:
    """Counts by type, and the rows that were changed or dropped."""
    return {
        "replaced": sum(scrubber.counts.values()),
        "types": dict(scrubber.counts.most_common()),
        "rows_changed": scrubber.rows_touched,
        "rows_dropped": scrubber.rows_dropped,
    }


def findings(scrubber: Scrubber) -> list[Finding]:
    """What was done, with what may remain, and what a thrown-away key means."""
    total, options = sum(scrubber.counts.values()), scrubber.options
    remaining = math.ceil(total * (1 - RECALL) / RECALL)
    told = [
        Finding(
            name="personal_data",
            severity="warning",
            message=(
                f"{total:,} pieces of personal data in {scrubber.rows_touched:,} rows were replaced, and "
                f"{scrubber.rows_dropped:,} rows dropped. Rules find about {RECALL:.0%} of what is there (measured on "
                f"made-up English texts), so some {remaining:,} more may remain: names in lower case and in other "
                "languages first."
            ),
            count=scrubber.rows_touched,
            example=", ".join(f"{type} {count:,}" for type, count in scrubber.counts.most_common(5)) or None,
            remedy=f"Read {_SAMPLE} rows before you share this data or a model that learned from it.",
        )
    ]
    if scrubber.common:
        told.append(
            Finding(
                name="template_words",
                severity="warning",
                message=(
                    f"{', '.join(scrubber.common[:12])} stood in at least half of the first rows: words of a template "
                    "or names of classes rather than of people. They stay."
                ),
                remedy="If one of them is a name to hide, take it out of the source.",
            )
        )
    drawn = {options.action, *options.actions.values()} & {"surrogate", "hash"}
    if options.key is None and drawn and total:
        told.append(
            Finding(
                name="key_thrown_away",
                message=(
                    "Surrogates and hashes follow from a key that was made for this time alone: the next time they "
                    "differ."
                ),
                remedy="To have the same ones again, keep a key in a file or a variable and name it as scrub.key.",
            )
        )
    return told


def keep_mapping(scrubber: Scrubber) -> None:
    """Write what was replaced by what, where the options ask for it."""
    options = scrubber.options
    if options.keep_mapping is not None and options.mapping_for is not None:
        mapping.write(Path(options.keep_mapping).expanduser(), scrubber.mapping, options.mapping_for)
