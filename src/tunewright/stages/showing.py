"""What a run holds, and its rows as the model sees them. Reads only; never trains or changes anything."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import phases as core_phases
from tunewright.core.errors import DataError, NotThere, unknown
from tunewright.core.example import Example
from tunewright.core.parts import Objective
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import STAGES, Run
from tunewright.stages import flow, phases, quarantined

if TYPE_CHECKING:
    from tunewright.models.chat import Chat
    from tunewright.models.forest import Row

SPLITS = ("train", "validation", "test")
PREVIEW_TOKENS = 2048  # longest row shown before `choose` has set train.max_tokens


@dataclass(frozen=True)
class Piece:
    """A stretch of a row: context (learned is False) or learned text."""

    text: str
    learned: bool
    num_tokens: int


@dataclass(frozen=True)
class ShownRow:
    """A row as the model sees it."""

    example: str
    pieces: list[Piece]

    @property
    def num_tokens(self) -> int:
        """Tokens of the whole row."""
        return sum(piece.num_tokens for piece in self.pieces)

    @property
    def num_learned(self) -> int:
        """Tokens that are learned."""
        return sum(piece.num_tokens for piece in self.pieces if piece.learned)


def overview(source: str | Path, *, runs: str | Path = "runs") -> Report:
    """State, stages, verdict and releases of a run, named by itself or by its recipe. Raises NotThere."""
    run = find(source, runs=runs)
    facts = run.facts()
    reports = {stage: report for stage in STAGES if (report := run.report(stage)) is not None}
    judged = reports.get("evaluate")
    stages = {
        stage: {"done": stage in reports, "seconds": reports[stage].seconds if stage in reports else None}
        for stage in STAGES
    }
    numbers: dict[str, Any] = {
        "state": _state(facts),
        "folder": str(run.folder),
        "stage": facts.get("stage"),
        "step": facts.get("step"),
        "total": facts.get("total"),
        "error": facts.get("error"),
        "stages": stages,
        "releases": [str(path) for path in run.releases()],
        "phases": _phases(run),
    }
    following = reports["deploy"].next if "deploy" in reports else None
    return Report(
        stage="show",
        run=run.name,
        verdict=judged.verdict if judged else None,
        reason=judged.reason if judged else None,
        numbers=numbers,
        contestants=judged.contestants if judged else {},
        findings=quarantined.findings(run),
        next=following or (judged.next if judged else f"tunewright run {source}"),
    )


def _phases(run: Run) -> list[dict[str, Any]]:
    """Each phase with its state, and its figures once it is trained."""
    if not run.path("recipe.yaml").exists():
        return []
    recipe = run.recipe()
    found = []
    for values, folder in zip(recipe.phases, core_phases.folder_names(recipe), strict=True):
        child, name = Run(run.path("children", folder)), str(values["name"])
        figures = phases.figures(name, child) if child.path("recipe.yaml").exists() else None
        found.append({"name": name, "folder": str(child.folder), "state": _state(child.facts()), **(figures or {})})
    return found


def judged(run: Run) -> Report:
    """The report of a run's evaluation. Raises NotThere before it."""
    report = run.report("evaluate")
    if report is None:
        raise NotThere(f"Run '{run.name}' has not been evaluated. Do that first: tunewright evaluate {run.folder}")
    return report


def find(source: str | Path, *, runs: str | Path = "runs") -> Run:
    """The run of a name, a folder or a recipe. Raises NotThere when there is none yet."""
    path = Path(source)
    if not path.is_file():
        return Run.open(source, runs=runs)
    run = Run(Path(runs) / Recipe.load(path).name)
    if not run.facts():
        raise NotThere(f"The recipe {path} has no run in {runs} yet. Begin one with: tunewright run {path}")
    return run


def rows(source: str | Path, *, num: int, split: str = "train", runs: str | Path = "runs") -> list[ShownRow]:
    """The first rows of a split, encoded as training does; of a recipe not yet prepared, the first rows of its data."""
    from tunewright.models.opening import open_chat
    from tunewright.stages import tuned

    if split not in SPLITS:
        raise NotThere(unknown("split", split, SPLITS))
    given, folder = flow.given_recipe(source, None, Path(runs))
    run = Run(folder / given.name)
    recipe = run.recipe() if (run.path("recipe.yaml")).exists() else given
    examples = run.split(split) if run.path("data", f"{split}.jsonl").exists() else _unprepared(recipe, split, source)
    chat = open_chat(tuned.start_options(recipe, run))
    longest = recipe.train.max_tokens or PREVIEW_TOKENS
    return list(itertools.islice(encoded(examples, chat, recipe.the_objective(), max_tokens=longest), num))


def encoded(examples: Iterable[Example], chat: Chat, objective: Objective, *, max_tokens: int) -> Iterator[ShownRow]:
    """The rows of examples as training sees them."""
    for example in examples:
        for row in objective.encode(example, chat, max_tokens=max_tokens):
            yield ShownRow(row.example, list(_pieces(row, chat)))


def _unprepared(recipe: Recipe, split: str, source: str | Path) -> Iterator[Example]:
    """Examples straight from the sources, before cleaning and splitting."""
    from tunewright.data import formats, sources

    data = recipe.data
    paths = data.sources if split == "train" else [data.validation if split == "validation" else data.test]
    if not all(paths):
        raise NotThere(f"There are no {split} rows before the data is prepared. Run: tunewright prepare {source}")
    raw = sources.read([str(path) for path in paths])
    first = list(itertools.islice(raw, 50))
    format = recipe.data.format
    if format == "auto":
        format = formats.detect([row.values for row in first if row.values is not None], recipe.data.fields)
    for row in itertools.chain(first, raw):
        try:
            if row.values is not None:
                name = f"{Path(row.file).stem}:{row.line}"
                yield formats.to_example(format, row.values, recipe.data.fields, name, system=recipe.data.system)
        except DataError:
            continue  # preparing quarantines it, with the reason


def _pieces(row: Row, chat: Chat) -> Iterator[Piece]:
    """The row cut where context and learned tokens meet."""
    pairs = zip(row.items, row.weights, strict=True)
    for learned, group in itertools.groupby(pairs, key=lambda pair: pair[1] > 0):
        ids = [item for item, _ in group]
        yield Piece(chat.decode(ids, keep_control=True), learned, len(ids))


def _state(facts: dict[str, Any]) -> str:
    """The state as it is: a run whose process died without saying so counts as stopped."""
    state = str(facts.get("state", "new"))
    return "stopped" if state == "running" and time.time() - facts.get("heartbeat", 0) > 60 else state
