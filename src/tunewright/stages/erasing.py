"""Takes rows out of what holds them: derived files first, then the rows themselves; then a search for what is left."""

from __future__ import annotations

import html
import json
import mmap
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tunewright.core import private, storage
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.data import lineage
from tunewright.data.lineage import Step
from tunewright.data.split import SIDES
from tunewright.privacy.deletion import TOMBSTONE, Place, place_of, struck
from tunewright.stages import page, source_lines, tracing
from tunewright.stages.deletion_plan import Found
from tunewright.stages.descent import LEDGER, whole_id
from tunewright.stages.tracing import QUARANTINE

POINT = "forget"
LOCKS = (".lock", ".audit.key", ".audit.jsonl.lock")
WEIGHTS = ".safetensors"


def derived(found: Found, *, tombstone: Callable[[str], str]) -> None:
    """Strike the rows out of ledgers, answers, events and reports, and remove caches. May be done twice."""
    for one in found.runs:
        marks = {id: f"{TOMBSTONE}{tombstone(id)}" for id in one.ids}
        for path in one.derived:
            if path.name == LEDGER:
                _bury(path, marks | {id: f"{TOMBSTONE}{tombstone(id)}" for id in one.earlier})
            else:
                _strike(path, found, one.ids, marks, one.places)
        for path in one.caches:
            storage.failpoint(f"{POINT}.cache")
            _remove(path)
    for path in found.loose:
        _strike(path, found, set(), {}, set())


def rows(found: Found) -> None:
    """Take the rows out of the files of prepared rows, and their lines out of what was put aside.

    Rows that are only known as copies of others go before these, by which they are found.
    """
    for what in (found.is_copy, found.goes):
        for one in found.runs:
            for path in tracing.data_files(one.run):
                if path.stem in one.rows and any(
                    what(one.name, row) for row in tracing.prepared_rows(one.name, path, found)
                ):
                    kept = (line for line in storage.read_lines(path) if not _goes(line, one.name, found, what))
                    storage.write_lines(path, [(line.encode("utf-8") for line in kept)], point=f"{POINT}.rows")
    for one in found.runs:
        if one.num_quarantined:
            path = one.run.path("data", QUARANTINE)
            lines = (row for row in storage.read_jsonl(path) if not tracing.is_meant(found, row))
            storage.write_jsonl(path, lines, point=f"{POINT}.quarantine")


def _goes(line: str, name: str, found: Found, what: Callable[[str, dict[str, Any]], bool]) -> bool:
    return found.might_go(name, line) and what(name, json.loads(line))


def settle(run: Run, step: dict[str, str]) -> None:
    """Bring counts, version and page of a run in line with the rows that are there now."""
    for path in tracing.half_written(run):
        _remove(path)
    data = run.path("data")
    version = lineage.read(data)
    if (data / "train.jsonl").exists():
        content, now = lineage.content_of(data)
        if version is None or version.content != content:
            before = version.rows if version else {}
            lineage.changed(data, Step(what="forget", before=before, after=now, about=step))
        report = run.report("prepare")
        if report is not None:
            _recounted(report, run, now).save(run.path("prepare"))
    if run.path("report.html").exists():
        storage.write_text(run.path("report.html"), page.render(run), point="page")


def left(found: Found, runs: Path) -> list[str]:
    """The files under the runs in whose bytes a text can still be found that only the deleted rows had.

    Weights are not looked into: they hold numbers. Of many texts, some hundred are searched.
    """
    texts = [text for text in sorted(found.traces.texts)[: tracing.SEARCHED] if text not in found.traces.safe]
    texts = [text for text in texts if len(text) >= 16 or text == found.asked.value]
    if found.asked.contains is not None:
        texts.append(found.asked.contains)
    needles = {form.encode("utf-8") for text in texts for form in _forms(text)}
    hits = []
    for path in sorted(runs.rglob("*")) if needles else []:
        if not path.is_file() or path.suffix == WEIGHTS or path.name in LOCKS:
            continue
        if _holds(path, needles):
            hits.append(str(path.relative_to(runs)))
    return hits


def _holds(path: Path, needles: set[bytes]) -> bool:
    if not path.stat().st_size:  # a file of no bytes cannot be mapped
        return False
    with private.open_read(path) as file:
        if private.is_encrypted(file):
            text = file.read()
            return any(needle in text for needle in needles)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return any(content.find(needle) >= 0 for needle in needles)


# --- files ---


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _strike(path: Path, found: Found, ids: set[str], tombstones: dict[str, str], places: set[Place]) -> None:
    def clean(value: Any) -> Any:
        return struck(value, found.traces, tombstones, places)

    if path.suffix != ".jsonl":
        storage.write_json(path, clean(storage.read_json(path)), point=f"{POINT}.derived")
        return
    rows = (row for row in storage.read_jsonl(path) if not tracing.drops(found, ids, row))
    kept = (clean(row) for row in rows if not (isinstance(row, dict) and place_of(row) in places))
    storage.write_jsonl(path, kept, point=f"{POINT}.derived")


def _bury(path: Path, tombstones: dict[str, str]) -> None:
    """Put tombstones in a ledger: that a row was read, once in each epoch, can still be checked; which, no longer."""

    def buried(id: str) -> str:
        whole = whole_id(id)
        return id if whole not in tombstones else tombstones[whole] + id[len(whole) :]

    def entries() -> Iterator[dict[str, Any]]:
        for row in storage.read_jsonl(path):
            yield row | {key: [buried(id) for id in row[key]] for key in ("ids", "earlier") if key in row}

    storage.write_jsonl(path, entries(), point=f"{POINT}.ledger")


# --- figures ---


def _recounted(report: Report, run: Run, now: dict[str, int]) -> Report:
    """A prepare report whose counts are those of the rows that are left."""
    numbers: dict[str, Any] = dict(report.numbers)
    counts: dict[str, int] = dict(numbers.get("rows", {}))
    if "kept" in counts:
        before = counts["kept"] + counts.get("forgotten", 0)
        counts |= now | {"kept": sum(now.values())}
        if before > counts["kept"]:
            counts["forgotten"] = before - counts["kept"]
        numbers["rows"] = counts
    if "rows_kept" in numbers:
        numbers |= _with_kept(numbers, sum(now.values()))
        by_file: Counter[str] = Counter()
        files = source_lines.stems(run)
        for side in SIDES:
            by_file.update(files.get(example.id.rpartition(":")[0], "") for example in run.split(side))
        numbers["sources"] = {
            file: _with_kept(facts, by_file[file]) if "rows_kept" in facts else facts
            for file, facts in numbers["sources"].items()
        }
    if numbers.get("labels"):
        numbers["labels"] = _labels(run, list(numbers["labels"]))
    return report.model_copy(update={"numbers": numbers})


def _with_kept(facts: dict[str, Any], kept: int) -> dict[str, Any]:
    """Counts in which what is no longer kept counts as dropped."""
    return facts | {"rows_kept": kept, "rows_dropped": facts["rows_dropped"] + facts["rows_kept"] - kept}


def _labels(run: Run, known: list[str]) -> dict[str, dict[str, int]]:
    found = {side: Counter(one.label for one in run.split(side) if one.label is not None) for side in SIDES}
    present = [label for label in known if any(found[side][label] for side in SIDES)]
    return {label: {side: found[side][label] for side in SIDES} for label in present}


def _forms(text: str) -> set[str]:
    """A text as our files write it: plain, as JSON of two kinds, in a page."""
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    return {text, escaped, json.dumps(text)[1:-1], html.escape(text), html.escape(escaped)}
