"""Looking at data: the card of a prepared run or of a raw file, and rows of it as the model will see them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tunewright.core import catalog
from tunewright.core.errors import NotThere, TunewrightError, unknown
from tunewright.core.example import Example
from tunewright.core.recipe import DataOptions, ModelOptions, Recipe
from tunewright.core.report import Finding, Report
from tunewright.core.run import Run
from tunewright.data import clean, sources
from tunewright.data.intake import Taker, take
from tunewright.data.split import SIDES
from tunewright.stages import showing, versions
from tunewright.stages.showing import Piece, ShownRow

RAW = "rows"  # the only side of a file that is not prepared
CARD = ("labels", "lengths", "turns", "languages", "language", "imbalance", "quarantine", "format")


@dataclass
class _Seen:
    """What is counted of a raw file while it is read, and a sample in which each row is equally likely (Vitter 1985,
    algorithm R).
    """

    num_rows: int
    draw: random.Random
    labels: Counter[str] = field(default_factory=Counter)
    lengths: dict[str, list[int]] = field(default_factory=lambda: {"prompt": [], "answer": []})
    sample: list[tuple[int, Example]] = field(default_factory=list)
    count: int = 0

    def keep(self, example: Example) -> None:
        """Count a row."""
        if example.label is not None:
            self.labels[example.label] += 1
        self.lengths["prompt"].append(len(clean.prompt_text(example)))
        if example.answer is not None:
            self.lengths["answer"].append(len(example.answer))
        place = self.draw.randrange(self.count + 1) if self.count >= self.num_rows else len(self.sample)
        if place == len(self.sample) < self.num_rows:
            self.sample.append((self.count, example))
        elif place < self.num_rows:
            self.sample[place] = (self.count, example)
        self.count += 1


def show(
    source: str | Path | None = None,
    *,
    runs: str | Path = "runs",
    side: str = "train",
    num_rows: int = 20,
    seed: int = 0,
    model: str | None = None,
) -> Report:
    """The card of a run, a version or a file, with random rows (`numbers.examples`) as the model will see them.

    source: left out, the newest version. model: whose chat template a file's rows are shown in; a run's is its own.
    Raises NotThere, DataError.
    """
    if source is not None and _is_data_file(Path(source)):
        return _show_file(Path(source), num_rows, seed, model)
    held = versions.find(_run_of(source, runs), runs=runs)
    if side not in SIDES:
        raise NotThere(unknown("side", side, SIDES))
    run, examples = held.run, held.run.split(side)
    drawn = sorted(random.Random(seed).sample(range(len(examples)), min(num_rows, len(examples))))
    recipe = _recipe(run)
    shown, told = _as_seen([examples[number] for number in drawn], recipe, run, model)
    report = run.report("prepare")
    card = {key: report.numbers[key] for key in CARD if key in report.numbers} if report else {}
    numbers: dict[str, Any] = {
        "source": held.name,
        "rows": report.numbers["rows"] if report else {name: len(run.split(name)) for name in SIDES},
        "side": side,
        **card,
        "examples": [_plain(row) for row in shown],
    }
    if held.version is not None:
        numbers["version"] = held.version.model_dump() | {
            "id": held.version.id,
            "parents": versions.parents_of(held.version),
        }
    findings = [*versions.changed_since(held), *(report.findings if report else []), *told]
    following = None if run.report("choose") else f"tunewright choose {run.folder}"
    return Report(stage="data show", run=run.name, numbers=numbers, findings=findings, next=following)


def sides_of(source: str | Path, *, runs: str | Path = "runs") -> dict[str, Sequence[Example]]:
    """The rows of a run or version by side; of a raw file, all as one side. Raises NotThere, DataError."""
    if not _is_data_file(Path(source)):
        held = versions.find(source, runs=runs)
        return {side: held.run.split(side) for side in SIDES if held.run.path("data", f"{side}.jsonl").exists()}
    version_side = Path(source)
    if version_side.stem in SIDES and (version_side.parent.parent / "run.json").exists():
        return {version_side.stem: Run(version_side.parent.parent).split(version_side.stem)}
    examples: list[Example] = []
    files = sources.files([str(source)])
    taken = take(files, DataOptions(sources=files), sources.names(files), Taker(keep=examples.append))
    taken.refuse_if_bad(str(source), 1.0)
    return {RAW: examples}


def _is_data_file(path: Path) -> bool:
    """A file or folder of rows: neither a run nor a recipe."""
    if path.is_dir():
        return not (path / "run.json").exists()
    return path.is_file() and path.suffix not in (".yaml", ".yml") and not _is_recipe(path)


def _is_recipe(path: Path) -> bool:
    """A JSON file that is a recipe of a run, not rows."""
    if path.suffix != ".json":
        return False
    try:
        Recipe.load(path)
    except (TunewrightError, UnicodeDecodeError):
        return False
    return True


def _run_of(source: str | Path | None, runs: str | Path) -> str:
    if source is None:
        return str(versions.listing(runs).numbers["versions"][-1]["run"])
    return str(showing.find(source, runs=runs).folder) if Path(source).is_file() else str(source)


def _recipe(run: Run) -> Recipe | None:
    for name in ("recipe.yaml", "recipe.given.yaml"):
        if run.path(name).exists():
            return Recipe.load(run.path(name))
    return None


def _as_seen(
    examples: Sequence[Example], recipe: Recipe | None, run: Run | None, model: str | None
) -> tuple[list[ShownRow], list[Finding]]:
    """Rows in the model's chat template, learned tokens apart; without a model, as plain conversations."""
    if recipe is None and model is None:
        return [_conversation(example) for example in examples], []
    from tunewright.models.opening import open_chat
    from tunewright.stages import tuned

    documents = bool(examples) and not examples[0].messages
    plain_objective = catalog.build("objectives", "pretrain" if documents else "sft")
    try:
        if model is not None or recipe is None or run is None:
            chat, longest = open_chat(ModelOptions(base=str(model))), showing.PREVIEW_TOKENS
        else:
            chat = open_chat(tuned.start_options(recipe, run))
            longest = recipe.train.max_tokens or showing.PREVIEW_TOKENS
        objective = recipe.the_objective() if recipe is not None else plain_objective
        return list(showing.encoded(examples, chat, objective, max_tokens=longest)), []
    except (TunewrightError, OSError) as error:
        if model is not None:
            raise
        told = Finding(
            name="shown_plain",
            message=f"Rows are shown as plain conversations: the model's template cannot be used here ({error})",
        )
        return [_conversation(example) for example in examples], [told]


def _conversation(example: Example) -> ShownRow:
    """A row without a template: who says what."""
    if example.text is not None:
        return ShownRow(example.id, [Piece(example.text, True, 0)])
    pieces = []
    for message in example.messages:
        said = message.content or str(message.tool_calls or "")
        pieces.append(Piece(f"{message.role}: ", False, 0))
        pieces.append(Piece(said, message.role == "assistant" and message.weight != 0, 0))
        pieces.append(Piece("\n", False, 0))
    for message in example.rejected or []:
        pieces.append(Piece(f"rejected: {message.content}\n", False, 0))
    return ShownRow(example.id, pieces[:-1])


def _plain(row: ShownRow) -> dict[str, Any]:
    return asdict(row) | {"tokens": row.num_tokens, "learned": row.num_learned}


def _show_file(path: Path, num_rows: int, seed: int, model: str | None) -> Report:
    seen = _Seen(num_rows, random.Random(seed))
    files = sources.files([str(path)])
    taken = take(files, DataOptions(sources=files), sources.names(files), Taker(keep=seen.keep))
    examples = [example for _, example in sorted(seen.sample, key=lambda pair: pair[0])]
    shown, told = _as_seen(examples, None, None, model)
    numbers: dict[str, Any] = {
        "source": str(path),
        "format": " + ".join(taken.formats),
        "rows": {"read": taken.read, "unusable": taken.bad, "usable": taken.usable},
        "quarantine": dict(taken.common_reasons()),
        "lengths": {name: _length(values) for name, values in seen.lengths.items() if values},
        "examples": [_plain(row) for row in shown],
    }
    if seen.labels:
        numbers["labels"] = {label: {RAW: count} for label, count in seen.labels.most_common()}
    findings = [*taken.notes, *_unusable(taken.bad, taken.first_bad), *told]
    return Report(stage="data show", run="", numbers=numbers, findings=findings, next=f"tunewright init --data {path}")


def _unusable(count: int, first: Iterable[dict[str, Any]]) -> list[Finding]:
    example = next((f"{row['file']} line {row['line']}: {row['reason']}" for row in first), None)
    if example is None:
        return []
    return [
        Finding(
            name="unusable_rows",
            severity="warning",
            message=f"{count:,} of the rows cannot be used.",
            count=count,
            example=example,
            remedy="Mend them; preparing puts them aside with their reasons.",
        )
    ]


def _length(values: list[int]) -> dict[str, int]:
    ordered = sorted(values)
    return {"median": ordered[len(ordered) // 2], "p95": ordered[int(0.95 * (len(ordered) - 1))], "max": ordered[-1]}
