"""Versions of prepared data: recorded by prepare, found again by looking through the runs, compared row by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.core.errors import DataError, NotThere
from tunewright.core.recipe import DataOptions
from tunewright.core.report import Finding, Report
from tunewright.core.run import Run
from tunewright.data import lineage
from tunewright.data.lineage import Parent, Step, Version
from tunewright.data.split import SIDES

SHORTEST_ID = 4  # digits by which a version may be named


@dataclass(frozen=True)
class Held:
    """A run that holds prepared data, and what is recorded of it (None: prepared before versions were recorded)."""

    run: Run
    name: str  # the run's folder below the runs, such as desk or desk/children/01-first
    version: Version | None


def of_prepared(data: DataOptions, run: Run, numbers: dict[str, Any], *more: Step) -> Version:
    """Record what prepare has just written. more: steps between reading and splitting, in their order."""
    return lineage.record(run.path("data"), sources=numbers["fingerprint"], steps=_steps(data, numbers, more))


def holding(runs: Path) -> Iterator[Held]:
    """Every run that holds prepared data: those put aside and the phases of others too, by name."""
    for folder in folders(runs):
        if (folder / "data" / "train.jsonl").exists():
            name = folder.relative_to(runs).as_posix() if folder.is_relative_to(runs) else folder.name
            yield Held(Run(folder), name, lineage.read(folder / "data"))


def folders(runs: Path) -> list[Path]:
    """The folders of all runs, phases among them."""
    return sorted(path.parent for path in runs.rglob("run.json"))


def listing(runs: str | Path = "runs") -> Report:
    """Every version under the runs, oldest first: where, when, rows by side, parents, steps. Raises NotThere."""
    runs = Path(runs)
    held = sorted(holding(runs), key=lambda one: one.version.created if one.version else "")
    if not held:
        raise NotThere(f"No run in {runs} holds prepared data. Prepare some with: tunewright prepare RECIPE")
    versions = [_listed(one) for one in held]
    twice = len(versions) - len({one["content"] for one in versions})
    newest = versions[-1]["run"]
    return Report(
        stage="data list",
        run="",
        numbers={"versions": versions, "equal": twice},
        next=f"tunewright data show {newest}",
    )


def find(name: str | Path, *, runs: str | Path = "runs") -> Held:
    """The run of a name, a folder, or the first digits of a version. Raises NotThere, DataError."""
    runs, name = Path(runs), str(name)
    for folder in (Path(name), runs / name):
        if (folder / "run.json").exists():
            if not (folder / "data" / "train.jsonl").exists():
                raise NotThere(f"Run '{name}' holds no prepared data yet. Prepare it with: tunewright prepare {folder}")
            return Held(Run(folder), name, lineage.read(folder / "data"))
    held = list(holding(runs))
    found = [
        one for one in held if len(name) >= SHORTEST_ID and one.version and one.version.content.startswith(name.lower())
    ]
    if len({one.version.content for one in found if one.version}) > 1:
        raise DataError(f"'{name}' begins several versions. Give more digits: tunewright data list --runs {runs}")
    if found:
        return found[0]
    known = ", ".join(one.name for one in held) or "none"
    raise NotThere(f"There is no run, version or file '{name}' (runs in {runs}: {known}). Check the name, or --runs.")


def changed_since(held: Held) -> list[Finding]:
    """A finding where the rows are no longer those that were recorded."""
    if held.version is None or lineage.content_of(held.run.path("data"))[0] == held.version.content:
        return []
    return [
        Finding(
            name="changed_rows",
            severity="warning",
            message=f"The rows of {held.name} have changed since version {held.version.id} was recorded.",
            remedy="Fine after a change by hand; else prepare again.",
        )
    ]


def parents_of(version: Version) -> list[str]:
    """Each parent in a few words."""
    return [_parent(parent) for parent in version.parents]


def _parent(parent: Parent) -> str:
    name = Path(parent.name).name if not parent.name.startswith("hub:") else parent.name
    of = f"version {parent.version}" if parent.version else f"sha256 {(parent.sha256 or '')[: lineage.SHOWN]}"
    return f"{name} ({of})"


def _listed(held: Held) -> dict[str, Any]:
    version = held.version
    rows = version.rows if version else _counted(held.run)
    return {
        "id": version.id if version else None,
        "content": version.content if version else lineage.content_of(held.run.path("data"))[0],
        "run": held.name,
        "when": version.created if version else None,
        "rows": rows,
        "parents": parents_of(version) if version else [],
        "steps": [step.what for step in version.steps] if version else [],
    }


def _counted(run: Run) -> dict[str, int]:
    return {side: len(run.split(side)) for side in SIDES if run.path("data", f"{side}.jsonl").exists()}


def _steps(data: DataOptions, numbers: dict[str, Any], more: tuple[Step, ...]) -> list[Step]:
    """What prepare did, as its counts tell: each fate of rows takes some away, then the kept ones are parted."""
    rows: dict[str, int] = numbers["rows"]
    steps = [Step(what="read", after={"rows": rows["read"]}, about={"format": numbers.get("format")})]
    left = rows["read"]
    for fate, count in rows.items():
        if fate in ("read", "kept", *SIDES) or not count:
            continue
        steps.append(Step(what=fate, before={"rows": left}, after={"rows": left - count}))
        left -= count
    fixes: dict[str, dict[str, int]] = numbers.get("fixes", {})
    steps += [
        Step(what=f"fix {name}", before={"rows": left}, after={"rows": left}, about=counts)
        for name, counts in fixes.items()
    ]
    if "scrub" in numbers:
        steps.append(Step(what="scrub", before={"rows": left}, after={"rows": left}, about=numbers["scrub"]))
    parted = {side: rows[side] for side in SIDES}
    about = data.split.model_dump(exclude_none=True)
    steps += [*more, Step(what="split", before={"rows": sum(parted.values())}, after=parted, about=about)]
    if "training_rows" in numbers:
        made = {key: numbers[key] for key in ("more", "augment", "canaries") if key in numbers}
        after = {"train": numbers["training_rows"]}
        steps.append(Step(what="more rows", before={"train": parted["train"]}, after=after, about=made))
    return steps
