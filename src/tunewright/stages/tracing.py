"""Finds everything under the runs that came from some rows: versions, files derived from them, caches, weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tunewright.core import storage
from tunewright.core.errors import DataError, TunewrightError
from tunewright.core.run import Run
from tunewright.data import sources
from tunewright.data.split import SIDES
from tunewright.privacy import audit_log
from tunewright.privacy.deletion import SHORTEST, Asked, Traces, folded, ids_in, leaves, texts_of
from tunewright.stages import quarantined, versions

BINARY = ("encoded", "checkpoints", "releases", "base", "children")  # folders of a run without texts of rows to strike
CACHES = ("encoded", "retention", "train/reference")  # made again from the rows when they are needed
OURS = ("run.json", "version.json", "manifest.json", quarantined.FILE, audit_log.NAME)
REWRITTEN = (".jsonl", ".ndjson", ".csv", ".tsv")  # source files whose lines can be emptied
SEARCHED = 200  # texts that are looked for byte by byte when all is done
LEDGER, QUARANTINE = "ledger.jsonl", "quarantine.jsonl"


@dataclass
class InRun:
    """What a run holds of the rows. rows: how many go, by file. ids: of its own rows; earlier: of runs it replays."""

    run: Run
    name: str
    rows: dict[str, int] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    earlier: set[str] = field(default_factory=set)
    num_quarantined: int = 0
    derived: list[Path] = field(default_factory=list)
    caches: list[Path] = field(default_factory=list)
    num_trained: int = 0
    num_steps: int = 0
    because: str | None = None  # why its weights are marked

    @property
    def num_rows(self) -> int:
        """Rows that go, over all files."""
        return sum(self.rows.values())


@dataclass(frozen=True)
class InSource:
    """A source file and its lines that hold such rows."""

    file: str
    lines: list[int]
    can_change: bool


@dataclass
class Found:
    """All that a request is about."""

    asked: Asked
    traces: Traces
    runs: list[InRun] = field(default_factory=list)
    loose: list[Path] = field(default_factory=list)  # files under the runs that belong to none, such as traffic
    sources: list[InSource] = field(default_factory=list)
    same: set[str] = field(default_factory=set)  # digests of what the rows say, to know them in other versions
    num_mentions: int = 0
    hint: str = ""

    @property
    def num_rows(self) -> int:
        """Prepared rows that go."""
        return sum(one.num_rows for one in self.runs)

    def goes(self, name: str, row: dict[str, Any]) -> bool:
        """Whether a prepared row of a run is meant."""
        return asked_for(self.asked, name, row) or self.is_copy(name, row)

    def is_copy(self, name: str, row: dict[str, Any]) -> bool:
        """Whether a row is not asked for itself but says what one says that is: a version may lack the column."""
        if asked_for(self.asked, name, row) or (self.asked.where is not None and self.asked.has_column(row)):
            return False
        return bool(self.same) and said(row) in self.same


def trace(asked: Asked, runs: Path) -> Found:
    """Look through all runs. Raises DataError when an id means different rows."""
    found = Found(asked, Traces(asked))
    every = [InRun(Run(folder), folder.relative_to(runs).as_posix()) for folder in versions.folders(runs)]
    _find_same(found, every)
    _find_rows(found, every)
    _find_earlier(every)
    found.sources = _in_sources(found, every)
    _find_quarantined(found, every)
    found.traces.finish()
    _find_derived(found, every, runs)
    _find_trained(every)
    for one in every:
        if one.rows or one.earlier:
            one.caches = [path for name in CACHES if (path := one.run.folder / name).exists()]
        one.caches += [path for path in half_written(one.run) if one.rows or _holds_value(asked, path)]
    found.runs = [one for one in every if one.rows or one.num_quarantined or one.derived or one.caches or one.because]
    return found


def half_written(run: Run) -> list[Path]:
    """What a killed process left of a file or folder it was writing."""
    return [path for path in sorted(run.folder.rglob(".*.tmp")) if "children" not in path.relative_to(run.folder).parts]


def _holds_value(asked: Asked, path: Path) -> bool:
    files = [path] if path.is_file() else [inner for inner in path.rglob("*") if inner.is_file()]
    value = folded(asked.value or "")
    return bool(value) and any(value in folded(file.read_bytes().decode("utf-8", "ignore")) for file in files)


def data_files(run: Run) -> list[Path]:
    """The files of prepared rows: the sides, and what is held out for the run of phases."""
    return [path for path in sorted(run.path("data").glob("*.jsonl")) if path.name != QUARANTINE]


def prepared_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a data file. Raises DataError where a line is none: what it says cannot be told."""
    try:
        yield from storage.read_jsonl(path)
    except ValueError as error:
        raise DataError(f"{path} holds a line that is no row ({error}). Mend it, or prepare the run again.") from None


def asked_for(asked: Asked, name: str, row: dict[str, Any]) -> bool:
    """Whether a row of a run is meant by itself: by what it holds, or by its id, alone or as RUN/ID."""
    if asked.ids:
        return row.get("id") in asked.ids or f"{name}/{row.get('id')}" in asked.ids
    return asked.matches(row)


def said(row: dict[str, Any]) -> str:
    """A digest of what a row asks and answers."""
    return storage.digest([row.get(key) for key in ("messages", "rejected", "text")])


# --- rows ---


def _find_same(found: Found, every: list[InRun]) -> None:
    if found.asked.contains is not None:
        return
    by_id: dict[str, dict[str, str]] = {}
    columns: set[str] = set()
    for one in every:
        for path in data_files(one.run):
            for row in prepared_rows(path):
                columns.update(row.get("meta") or {})
                if asked_for(found.asked, one.name, row):
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
            for row in prepared_rows(path):
                if found.goes(one.name, row):
                    one.rows[path.stem] = one.rows.get(path.stem, 0) + 1
                    if path.stem in SIDES:
                        one.ids.add(str(row.get("id")))
                    found.traces.add(row)


def _in_sources(found: Found, every: list[InRun]) -> list[InSource]:
    """The lines of source files, as far as these are still there. Files inside runs are looked through as such."""
    hits: dict[str, set[int]] = {}
    homes = [one.run.folder.resolve() for one in every]
    for one in every:
        report = one.run.report("prepare")
        files = list(report.numbers.get("sources", {})) if report else []
        for file, stem in sources.names(files).items():
            path = Path(file)
            if not path.is_file() or any(path.resolve().is_relative_to(home) for home in homes):
                continue
            lines = hits.setdefault(file, set())
            for row in raw_rows(file):
                if found.asked.ids:
                    meant = f"{stem}:{row.line}" in one.ids
                elif row.values is None:
                    meant = found.asked.matches_raw(row.raw)
                else:
                    meant = found.asked.matches_values(row.values)
                if meant:
                    lines.add(row.line)
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


def raw_rows(file: str) -> Iterator[sources.RawRow]:
    """The rows of a source file, each with its line."""
    try:
        yield from sources.read([file])
    except TunewrightError:
        return  # no longer of a kind that can be read: preparing says so


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
    return bool(ids) and any(id in ids for text in leaves(value) for id in ids_in(text))


def _look_at_kept(found: Found, every: list[InRun], candidates: set[str]) -> None:
    value = found.asked.where[1] if found.asked.where is not None else ""
    mention = folded(value) if len(value) >= SHORTEST else ""
    candidates |= set(sorted(found.traces.texts)[:SEARCHED])
    if not any(one.rows for one in every):
        return
    for one in every:
        for path in data_files(one.run):
            for row in storage.read_jsonl(path):
                if found.goes(one.name, row):
                    continue
                if candidates:
                    found.traces.keep(row, candidates)
                if mention and any(mention in folded(text) for text in texts_of(row)):
                    found.num_mentions += 1


# --- weights ---


def _find_earlier(every: list[InRun]) -> None:
    """Rows of other runs that a run may have read again."""
    by_folder = {one.run.folder.resolve(): one for one in every}
    for one in every:
        for folder in _paths(one.run, by_folder):
            one.earlier |= by_folder[folder].ids


def _find_trained(every: list[InRun]) -> None:
    """Which runs' weights learned from the rows: by their own ledger, or by what they go on from."""
    for one in every:
        learned: set[str] = set()
        for row in storage.read_jsonl(one.run.path(LEDGER)):
            seen = {whole for id in row.get("ids", []) if (whole := whole_id(id)) in one.ids}
            seen |= {whole for id in row.get("earlier", []) if (whole := whole_id(id)) in one.earlier}
            learned |= seen
            one.num_steps += bool(seen)
        one.num_trained = len(learned)
        if learned:
            one.because = f"it learned from them in {one.num_steps:,} steps"
    by_folder = {one.run.folder.resolve(): one for one in every}
    while _spread(every, by_folder):
        pass


def whole_id(id: str) -> str:
    """The id of the row that a piece `id#k` of a document is of."""
    whole, mark, number = id.rpartition("#")
    return whole if mark and number.isdigit() else id


def _spread(every: list[InRun], by_folder: dict[Path, InRun]) -> bool:
    """Mark runs that go on from marked ones; whether any was found."""
    spread = False
    for one in every:
        if one.because is not None or not _has_weights(one.run):
            continue
        before = [by_folder[folder] for folder in _paths(one.run, by_folder)]
        marked = next((other for other in before if other.because is not None), None)
        phase = next((o for o in every if o.because and o.run.folder.parent == one.run.path("children")), None)
        if marked is not None:
            one.because = f"it goes on from {marked.name}"
        elif phase is not None:
            one.because = f"its phase {phase.run.name} learned from them"
        spread |= one.because is not None
    return spread


def _has_weights(run: Run) -> bool:
    folders = [run.path(name) for name in ("checkpoints", "base", "children")]
    return any(folder.is_dir() and any(folder.iterdir()) for folder in folders)


def _paths(run: Run, by_folder: dict[Path, InRun]) -> set[Path]:
    """The runs that a recipe names outside its data: what it starts from, replays, is rewarded by or taught by."""
    path = run.path("recipe.yaml")
    if not path.exists():
        return set()
    values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    texts = {text for key, value in values.items() if key != "data" for text in leaves(value) if "/" in text}
    resolved = [Path(text.partition(":")[0]).resolve() for text in texts]
    return {
        folder
        for folder in by_folder
        if folder != run.folder.resolve() and any(one == folder or folder in one.parents for one in resolved)
    }
