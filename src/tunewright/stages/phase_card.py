"""What the report page shows of phases: each with its figures, and how the tasks of a sequence changed each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.stages import wording


@dataclass(frozen=True)
class PhaseRow:
    """One phase."""

    name: str
    link: str | None  # its own page, relative to this one
    what: str
    before: float | None
    after: float | None
    seconds: float | None
    state: str


@dataclass(frozen=True)
class TaskMatrix:
    """rows: after what, and the value on each task; `own` is the place of the task that was just learned."""

    tasks: list[tuple[str, str, int]]
    rows: list[tuple[str, list[float], int | None]]
    facts: list[tuple[str, str]]


def phase_rows(run: Run, recipe: dict[str, Any]) -> list[PhaseRow]:
    """The phases of a run in their order, done or not."""
    if not recipe.get("phases"):
        return []
    from tunewright.core import phases as core_phases
    from tunewright.core.recipe import Recipe
    from tunewright.stages import phases

    whole = Recipe.parse(recipe, folder=run.folder)
    return [
        _row(str(values["name"]), Run(run.path("children", folder)), phases.figures)
        for values, folder in zip(whole.phases, core_phases.folder_names(whole), strict=True)
    ]


def _row(name: str, child: Run, figures: Any) -> PhaseRow:
    page = child.path("report.html")
    link = f"children/{child.name}/report.html" if page.exists() else None
    found = figures(name, child) if child.path("recipe.yaml").exists() else None
    if found is None:
        state = str(child.facts().get("state", "new"))
        return PhaseRow(name, link, "", None, None, None, {"new": "not begun", "done": "prepared"}.get(state, state))
    kept = f", keeping by {' and '.join(found['retention'])}" if found["retention"] else ""
    what = f"{found['objective']} with {found['method']}{kept}"
    return PhaseRow(name, link, what, found["before"], found["after"], found["seconds"], "trained")


def task_matrix(judged: Report | None) -> TaskMatrix | None:
    """The tasks of a sequence, where they were compared."""
    found = judged.numbers.get("continual") if judged else None
    if not found:
        return None
    rows: list[tuple[str, list[float], int | None]] = [("before any", found["before"], None)]
    rows += [
        (f"after {name}", values, place)
        for place, (name, values) in enumerate(zip(found["tasks"], found["matrix"], strict=True))
    ]
    facts = [
        ("average after the last", wording.figure(found["average"])),
        ("backward transfer", wording.signed(found["backward"])),
        ("forward transfer", wording.signed(found["forward"])),
    ]
    return TaskMatrix(list(zip(found["tasks"], found["graders"], found["rows"], strict=True)), rows, facts)
