"""Runs that are compared: each opened with what its model answered, and their test rows matched by content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.core import private, storage
from tunewright.core.errors import DataError, NotThere, RunError
from tunewright.core.example import Example
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.stages import answering
from tunewright.stages.lineup import TUNED, conversation

Key = tuple[str, int]  # the hash of what a row asks and expects, and the how-manieth such row it is


@dataclass(frozen=True)
class Row:
    """A test row of one run: what its tuned model answered (each time, where it was asked several), and the grade by
    each grader. prompt: as people read it.
    """

    example: Example
    prompt: str
    answers: list[str]
    grades: dict[str, float]


@dataclass(frozen=True)
class Rival:
    """A run, or the release of one, that takes part in a comparison."""

    name: str
    run: Run
    recipe: Recipe
    report: Report
    rows: dict[Key, Row]


@dataclass(frozen=True)
class Rows:
    """The test rows that all have. same: nobody has others. reused: ids that stand for another row elsewhere."""

    keys: list[Key]
    same: bool
    reused: int


def rivals(names: Sequence[str | Path], *, runs: str | Path = "runs") -> list[Rival]:
    """Runs by name or folder, releases as RUN:NUMBER or folder. Raises NotThere, RunError."""
    opened = [_run_of(name, runs) for name in names]
    folders = [run.folder.resolve() for run in opened]
    if len(folders) < 2 or len(set(folders)) < len(folders):
        raise RunError(
            f"A comparison needs two runs or more, each another one; found {', '.join(map(str, names)) or 'none'}. "
            "For example: tunewright compare desk-a desk-b"
        )
    told = Counter(run.name for run in opened)
    return [_rival(str(name) if told[run.name] > 1 else run.name, run) for name, run in zip(names, opened, strict=True)]


def common(found: Sequence[Rival]) -> Rows:
    """The rows that every rival has, in the order of the first. Raises DataError when there are none."""
    keys = [key for key in found[0].rows if all(key in other.rows for other in found[1:])]
    if not keys:
        sizes = ", ".join(f"{one.name} {len(one.rows)}" for one in found)
        raise DataError(
            f"The runs share no test row (rows: {sizes}), so nothing can be compared. Evaluate them on one test "
            "file: data.test in both recipes."
        )
    contents: dict[str, set[Key]] = {}
    for one in found:
        for key, row in one.rows.items():
            contents.setdefault(row.example.id, set()).add(key)
    reused = sum(len(several) > 1 for several in contents.values())
    return Rows(keys, all(len(one.rows) == len(keys) for one in found), reused)


def is_private(found: Sequence[Rival]) -> bool:
    """Whether any of the runs is encrypted: its texts must not leave it."""
    return any(private.is_private(one.run.folder) for one in found)


def _run_of(name: str | Path, runs: str | Path) -> Run:
    """The run, and of a release the run it was made of, if the answers there are still those it was judged by."""
    if not (Path(name) / "manifest.json").exists() and ":" not in str(name):
        return Run.open(name, runs=runs)
    release = answering.find_release(name, runs=runs)
    run = Run.open(release.resolve().parent.parent)
    report = run.report("evaluate")
    scores = storage.read_json(release / "manifest.json").get("scores")
    if report is not None and scores != report.contestants.get(TUNED, {}):
        raise RunError(
            f"Release {release.name} of '{run.name}' was judged by an earlier evaluation, whose answers are no longer "
            f"kept. Compare the run as it is now: {run.name}"
        )
    return run


def _rival(name: str, run: Run) -> Rival:
    report, table = run.report("evaluate"), run.path("evaluate", "answers.jsonl")
    if report is None or not table.exists():
        raise NotThere(f"Run '{run.name}' has not been evaluated. Do that first: tunewright evaluate {run.folder}")
    examples = {example.id: example for example in run.split("test")}
    rows: dict[Key, Row] = {}
    seen: Counter[str] = Counter()
    for row in storage.read_jsonl(table):
        answers: dict[str, Any] = row.get("answers", {})
        example = examples.get(row["id"])
        if TUNED not in answers or example is None:
            continue
        said = row.get("samples", {}).get(TUNED) or [answers[TUNED]]
        asked = [message.for_template() for message in conversation(example)]
        content = storage.digest([asked, example.answer, example.label, example.tools])
        rows[content, seen[content]] = Row(example, row["prompt"], said, row["grades"].get(TUNED, {}))
        seen[content] += 1
    if not rows:
        raise NotThere(
            f"Run '{run.name}' keeps no answers that could be compared: it was measured by "
            f"{report.numbers.get('grader') or 'no grader'}, on {report.numbers.get('rows', 0)} rows."
        )
    return Rival(name, run, run.recipe(), report, rows)
