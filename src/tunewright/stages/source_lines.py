"""Lines of source files that hold rows to be deleted: found, tied to prepared rows, and emptied."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from tunewright.core import storage
from tunewright.core.errors import TunewrightError
from tunewright.core.run import Run
from tunewright.data import sources
from tunewright.stages.deletion_plan import Found, InRun, InSource

REWRITTEN = (".jsonl", ".ndjson", ".csv", ".tsv")  # whose lines can be emptied
POINT = "forget.source"


def stems(run: Run) -> dict[str, str]:
    """The beginnings of a run's ids, each with the source file it stands for."""
    return {stem: file for file, stem in sources.names(list(_digests(run))).items()}


def meant(found: Found, every: list[InRun], homes: list[Path]) -> list[InSource]:
    """The lines of source files that are asked for, as far as the files are still there; the ids of the rows that were
    made of them are told to `found`, where a file is what it was then. Files inside runs are looked through as such.
    """
    hits: dict[str, set[int]] = {}
    for one in every:
        of_ids = stems(one.run)
        twins = Counter(re.sub(r"-\d+$", "", stem) for stem in of_ids)
        for stem, file in of_ids.items():
            if file not in hits and _is_outside(Path(file), homes):
                hits[file] = {row.line for row in raw_rows(file) if _is_meant(found, row)}
            if not hits.get(file) or twins[re.sub(r"-\d+$", "", stem)] > 1:
                continue  # of two files with one name the beginnings of ids could be taken for each other
            if _digests(one.run)[file] == storage.sha256(Path(file)):
                found.by_source.setdefault(one.name, set()).update(f"{stem}:{line}" for line in hits[file])
    return _listed(hits)


def of_ids(every: list[InRun], homes: list[Path]) -> list[InSource]:
    """The lines of source files that the rows which go were made of."""
    hits: dict[str, set[int]] = {}
    for one in every:
        for file, line in one.places:
            if _is_outside(Path(file), homes):
                hits.setdefault(file, set()).add(line)
    return _listed(hits)


def empty(found: Found) -> dict[str, int]:
    """Empty the lines of the source files that hold the rows; the numbers of all other lines stay what they are.

    Files of other kinds are left, and those in which another row would be read otherwise. Returns how many lines of
    each file were emptied.
    """
    changed = {}
    for source in found.sources:
        if source.can_change:
            path, gone = Path(source.file), set(source.lines)
            content = _emptied(path, gone)
            if _is_all_that_changed(path, content, gone):
                storage.write_bytes(path, content, point=POINT)
                changed[source.file] = len(source.lines)
    return changed


def raw_rows(file: str) -> Iterator[sources.RawRow]:
    """The rows of a source file, each with its line."""
    try:
        yield from sources.read([file])
    except TunewrightError:
        return  # no longer of a kind that can be read: preparing says so


def _digests(run: Run) -> dict[str, str]:
    report = run.report("prepare")
    return dict(report.numbers.get("fingerprint", {})) if report else {}


def _is_outside(path: Path, homes: list[Path]) -> bool:
    return path.is_file() and not any(path.resolve().is_relative_to(home) for home in homes)


def _is_meant(found: Found, row: sources.RawRow) -> bool:
    return found.asked.matches_raw(row.raw) if row.values is None else found.asked.matches_values(row.values)


def _listed(hits: dict[str, set[int]]) -> list[InSource]:
    return [InSource(file, sorted(lines), _has_plain_lines(Path(file))) for file, lines in hits.items() if lines]


def _has_plain_lines(path: Path) -> bool:
    """Whether single lines can be emptied: a table or JSON lines, in UTF-8, with the usual ends of lines."""
    if path.suffix.lower() not in REWRITTEN:
        return False
    content = path.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\x00" not in content and content.count(b"\r") == content.count(b"\r\n")


def _emptied(path: Path, gone: set[int]) -> bytes:
    """The file with some rows emptied. A row of a table may go over several lines: all of them are emptied."""
    lines = path.read_bytes().split(b"\n")
    if path.suffix.lower() in (".csv", ".tsv"):
        begins = [row.line for row in raw_rows(str(path))]
        ends = dict(zip(begins, [*begins[1:], len(lines) + 1], strict=True))
    else:
        ends = {number: number + 1 for number in gone}
    for number in gone:
        for line in range(number, min(ends.get(number, number + 1), len(lines) + 1)):
            lines[line - 1] = b""
    return b"\n".join(lines)


def _is_all_that_changed(path: Path, content: bytes, gone: set[int]) -> bool:
    """Whether a file with this content is read as before, but for these lines."""
    with storage.scratch(path) as folder:
        trial = folder / path.name
        storage.write_bytes(trial, content)
        before = ((row.line, row.values) for row in raw_rows(str(path)) if row.line not in gone)
        after = ((row.line, row.values) for row in raw_rows(str(trial)))
        return all(one == other for one, other in zip_longest(before, after))
