"""Finds everything under the runs that came from some rows: versions, files derived from them, caches, weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.errors import DataError
from tunewright.core.run import Run
from tunewright.data.split import SIDES
from tunewright.privacy import audit_log
from tunewright.privacy.deletion import SHORTEST, Asked, Traces, folded, ids_in, leaves, media_of, places_in, texts_of
from tunewright.stages import descent, quarantined, source_lines, versions
from tunewright.stages.deletion_plan import Found, InRun, said
from tunewright.stages.descent import LEDGER

BINARY = ("encoded", "checkpoints", "releases", "base", "children")  # folders of a run without texts of rows to strike
CACHES = ("encoded", "retention", "train/reference", "evaluate/guards")  # made again when they are needed
OURS = ("run.json", "version.json", "manifest.json", quarantined.FILE, audit_log.NAME)
FIRST = 100  # rows of each file whose columns are named where no row is found
SEARCHED = 200  # texts that are looked for byte by byte when all is done
QUARANTINE, FINDINGS = "quarantine.jsonl", "findings.jsonl"


def trace(asked: Asked, runs: Path) -> Found:
    """Look through all runs. Raises DataError when an id means different rows."""
    found = Found(asked, Traces(asked))
    every = [InRun(Run(folder), folder.relative_to(runs).as_posix()) for folder in versions.folders(runs)]
    homes = [one.run.folder.resolve() for one in every]
    if not asked.ids:
        found.sources = source_lines.meant(found, every, homes)
    _find_same(found, every)
    _find_rows(found, every)
    descent.find_earlier(every)
    if asked.ids:
        found.sources = source_lines.of_ids(every, homes)
    _find_quarantined(found, every)
    found.traces.finish()
    _find_derived(found, every, runs)
    descent.find_trained(every)
    for one in every:
        if one.rows or one.earlier:
            one.caches = [path for name in CACHES if (path := one.run.folder / name).exists()]
        one.caches += _own_media(found, one)
        one.caches += [path for path in half_written(one.run) if one.rows or _holds_value(asked, path)]
    found.runs = [one for one in every if one.rows or one.num_quarantined or one.derived or one.caches or one.because]
    return found


def _own_media(found: Found, one: InRun) -> list[Path]:
    """Images and sounds in the run's folder that only rows have which go."""
    gone: set[str] = set()
    kept: set[str] = set()
    for path in data_files(one.run) if one.rows else []:
        for line in storage.read_lines(path):
            if '"media"' in line:
                row = json.loads(line)
                (gone if found.goes(one.name, row) else kept).update(media_of(row))
    home = one.run.folder.resolve()
    inside = [Path(name) for name in sorted(gone - kept) if Path(name).is_absolute() and Path(name).is_file()]
    return [path for path in inside if path.resolve().is_relative_to(home)]


def half_written(run: Run) -> list[Path]:
    """What a killed process left of a file or folder it was writing."""
    return [path for path in sorted(run.folder.rglob(".*.tmp")) if "children" not in path.relative_to(run.folder).parts]


def _holds_value(asked: Asked, path: Path) -> bool:
    files = [path] if path.is_file() else [inner for inner in path.rglob("*") if inner.is_file()]
    value = folded(asked.value or "")
    return bool(value) and any(value in folded(file.read_bytes().decode("utf-8", "ignore")) for file in files)


def data_files(run: Run) -> list[Path]:
    """The files of prepared rows: the sides, and what is held out for the run of phases."""
    return [path for name in (*SIDES, "held_out") if (path := run.path("data", f"{name}.jsonl")).exists()]


def prepared_rows(name: str, path: Path, found: Found, *, first: int = 0) -> Iterator[dict[str, Any]]:
    """The first rows of a data file, and all that may be meant. Raises DataError where a line of these is none."""
    try:
        for number, line in enumerate(storage.read_lines(path)):
            if number < first or found.might_go(name, line):
                yield json.loads(line)
    except ValueError as error:
        raise DataError(f"{path} holds a line that is no row ({error}). Mend it, or prepare the run again.") from None


# --- rows ---


def _find_same(found: Found, every: list[InRun]) -> None:
    if found.asked.contains is not None and not found.by_source:
        return
    by_id: dict[str, dict[str, str]] = {}
    columns: set[str] = set()
    for one in every:
        for path in data_files(one.run):
            for row in prepared_rows(one.name, path, found, first=FIRST):
                columns.update(row.get("meta") or {})
                if found.is_asked(one.name, row):
                    digest = said(row)
                    found.same.add(digest)
                    if row.get("id") in found.asked.ids:
                        by_id.setdefault(str(row["id"]), {}).setdefault(digest, one.name)
    for id, digests in by_id.items():
        if len(digests) > 1:
            which = " or ".join(f"--id {name}/{id}" for name in digests.values())
            raise DataError(f"The id {id} means {len(digests)} different rows. Say of which run: {which}.")
    if found.asked.where is not None and not found.same:
        found.hint = f"Columns that rows have: {', '.join(sorted(columns)) or 'none'}."


def _find_rows(found: Found, every: list[InRun]) -> None:
    for one in every:
        for path in data_files(one.run):
            for row in prepared_rows(one.name, path, found):
                if found.goes(one.name, row):
                    one.rows[path.stem] = one.rows.get(path.stem, 0) + 1
                    if path.stem in SIDES:
                        one.ids.add(str(row.get("id")))
                    found.traces.add(row)
        files = source_lines.stems(one.run) if one.ids else {}
        for id in one.ids:
            stem, _, line = id.rpartition(":")
            if stem in files and line.isdigit():
                one.places.add((files[stem], int(line)))


def _find_quarantined(found: Found, every: list[InRun]) -> None:
    for one in every:
        path = one.run.path("data", QUARANTINE)
        one.num_quarantined = sum(is_meant(found, row) for row in storage.read_jsonl(path))


def is_meant(found: Found, row: dict[str, Any]) -> bool:
    """Whether a quarantined line is one of the rows: by its place in a source, or by how it begins."""
    of_source = any(one.file == row.get("file") and row.get("line") in one.lines for one in found.sources)
    begins = str(row.get("row", ""))
    return of_source or found.asked.matches_raw(begins) or any(found.asked.in_text(text) for text in leaves(row))


# --- what was made of them ---


def derived_files(folder: Path) -> Iterator[Path]:
    """Files of a run, below its folder, that may quote rows: reports, answers, events, the ledger."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in (*BINARY, "data") and not path.name.startswith("."):
            yield from (inner for inner in sorted(path.rglob("*.json*")) if _quotes(inner))
        elif path.name == "data" and (path / FINDINGS).exists():
            yield path / FINDINGS
        elif _quotes(path):
            yield path


def drops(found: Found, ids: set[str], row: Any) -> bool:
    """Whether a row of a derived file is about a deleted row as a whole."""
    if not isinstance(row, dict):
        return False
    if str(row.get("id")) in ids:
        return True
    return ("messages" in row or "text" in row) and (found.asked.matches(row) or found.asked.matches_values(row))


def values_of(path: Path) -> Iterator[Any]:
    """The rows of JSON lines, or the value of a JSON file."""
    try:
        if path.suffix == ".jsonl":
            yield from storage.read_jsonl(path)
        else:
            yield storage.read_json(path)
    except ValueError:
        return  # no file of ours; the search at the end looks into it all the same


def _quotes(path: Path) -> bool:
    return path.is_file() and path.suffix in (".json", ".jsonl") and path.name not in OURS and path.name[0] != "."


def _find_derived(found: Found, every: list[InRun], runs: Path) -> None:
    """Which files quote the rows. A text that a row which stays has too does not count."""
    quoted: dict[Path, tuple[InRun | None, set[str]]] = {}
    homes = {one.run.folder for one in every}
    loose = [path for path in runs.iterdir() if path not in homes]
    files = [(one, path) for one in every for path in derived_files(one.run.folder)]
    outside = (inner for path in loose for inner in ([path] if path.is_file() else sorted(path.rglob("*.json*"))))
    for one, path in [*files, *((None, path) for path in outside if not _in_run(path, homes) and _quotes(path))]:
        regions: set[str] = set()
        for value in values_of(path):
            if _names(found, one, path, value):
                regions.add("")  # not to be found in any row that stays
            for text in leaves(value):
                regions |= found.traces.regions(text)
                if found.asked.in_text(text):
                    regions.add("")
        if regions:
            quoted[path] = (one, regions)
    candidates = set().union(*(regions for _, regions in quoted.values())) - {""}
    _look_at_kept(found, every, candidates)
    for path, (owner, regions) in quoted.items():
        if regions - found.traces.safe:
            (owner.derived if owner is not None else found.loose).append(path)


def _in_run(path: Path, homes: set[Path]) -> bool:
    return any(path.is_relative_to(home) for home in homes)


def _names(found: Found, one: InRun | None, path: Path, value: Any) -> bool:
    """Whether a value holds an id of a deleted row, or is a row about one."""
    ids = one.ids if one is not None else set()
    if path.name == LEDGER and one is not None:
        ids = ids | one.earlier
    elif path.suffix == ".jsonl" and drops(found, ids, value):
        return True
    if one is not None and any(place in one.places for place in places_in(value)):
        return True
    return bool(ids) and any(id in ids for text in leaves(value) for id in ids_in(text))


def _look_at_kept(found: Found, every: list[InRun], candidates: set[str]) -> None:
    value = found.asked.where[1] if found.asked.where is not None else ""
    mention = folded(value) if len(value) >= SHORTEST else ""
    candidates |= set(sorted(found.traces.texts)[:SEARCHED])
    if not any(one.rows for one in every):
        return
    for one in every:
        for path in data_files(one.run):
            for line in storage.read_lines(path):
                read = json.loads(line) if "\\" in line or found.might_go(one.name, line) else None
                if read is not None and found.goes(one.name, read):
                    continue
                words = line if read is None else "\n".join(texts_of(read))
                if candidates:
                    found.traces.keep(words, candidates)
                if mention and mention in folded(words) and _mentions(read or json.loads(line), mention):
                    found.num_mentions += 1


def _mentions(row: dict[str, Any], mention: str) -> bool:
    """Whether a row names the value outside the column; in the column it would have gone."""
    return any(mention in folded(text) for text in texts_of(row))
