"""Gets the retention of a run's training ready: its earlier runs, their rows, and the reference it compares with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunewright.core import catalog, storage
from tunewright.core.example import Example
from tunewright.core.parts import Objective, Past, Retention
from tunewright.core.recipe import DataOptions, Recipe
from tunewright.core.run import Run
from tunewright.stages import tuned

if TYPE_CHECKING:
    from tunewright.models.chat import Chat
    from tunewright.models.forest import Row
    from tunewright.models.tunable import TunableModel
    from tunewright.training.keeping import Kept

Units = Sequence[Sequence["Row"]]


def begin(recipe: Recipe, run: Run, model: TunableModel) -> Kept:
    """The recipe's retention at work. Raises NotThere, DataError, RecipeError, Stopped."""
    from tunewright.models.reference import Reference
    from tunewright.training.keeping import Kept

    parts = recipe.the_retention()
    if model.reference is None and any(part.uses_reference for part in parts):
        model.reference = Reference(model, recipe.the_method(), lambda: tuned.open_base(recipe, run))
    names = [part.kind if parts.count(part) == 1 else f"{part.kind}_{number}" for number, part in enumerate(parts, 1)]
    return Kept(
        {name: part.keep(_past(name, part, recipe, run, model)) for name, part in zip(names, parts, strict=True)}
    )


def _past(name: str, part: Retention, recipe: Recipe, run: Run, model: TunableModel) -> Past:
    named = part.runs or ([recipe.model.start] if part.needs_past and not part.files and recipe.model.start else [])
    earlier = [_result(Path(folder)) for folder in named]
    folder = run.path("retention", name)
    assert recipe.train.batch
    return Past(
        model=model,
        units=lambda: list(_units(earlier, part.files, folder, recipe, run, model.chat)),
        open_runs=[_opener(of, home) for of, home in earlier],
        trained=[tuned.trained_folder(home) for _, home in earlier],
        batch=recipe.train.batch,
        seed=recipe.train.seed,
        folder=folder,
        poll=run.stop_if_asked,
    )


def _result(folder: Path) -> tuple[Recipe, Run]:
    """The recipe and run whose result a run's is."""
    run = Run.open(folder)
    return tuned.final(run.recipe(), run)


def _opener(recipe: Recipe, run: Run) -> Callable[[], TunableModel]:
    from tunewright.models import new_rows

    def opened() -> TunableModel:
        model = tuned.open_tuned(recipe, run, dtype="float32")
        recipe.the_method().hand_on(model.net)
        new_rows.merge(model.net)
        return model

    return opened


def _units(
    earlier: Sequence[tuple[Recipe, Run]], files: list[str], folder: Path, recipe: Recipe, run: Run, chat: Chat
) -> Iterator[Units]:
    """The training rows of each earlier run, then the rows of the files: answers learned, of documents every token."""
    for number, (of, home) in enumerate(earlier, 1):
        learned = of.the_objective()
        examples = [example for example in home.split("train") if learned.imitates(example)]
        yield _stored(folder / f"run-{number}", home.path("data", "train.jsonl"), examples, recipe, run, chat)
    if files:
        examples = _taken(files)
        data = folder / "sources.jsonl"
        storage.write_jsonl(data, (example.to_row() for example in examples), point="retention")
        yield _stored(folder / "sources", data, examples, recipe, run, chat)


def _stored(folder: Path, data: Path, examples: Sequence[Example], recipe: Recipe, run: Run, chat: Chat) -> Units:
    from tunewright.training.stored_rows import stored

    assert recipe.train.max_tokens
    documents = bool(examples) and not examples[0].messages
    objective: Objective = catalog.build("objectives", "pretrain" if documents else "sft")

    def poll(done: int) -> None:
        run.progress("train", done=done, total=len(examples), what="encoding earlier rows")

    return stored(folder, data, examples, objective, chat, max_tokens=recipe.train.max_tokens, poll=poll)


def _taken(files: list[str]) -> list[Example]:
    from tunewright.data import sources
    from tunewright.data.intake import Taker, take

    examples: list[Example] = []
    found = sources.files(files)
    options = DataOptions(sources=files)
    taken = take(found, options, sources.names(found), Taker(keep=examples.append))
    taken.refuse_if_bad("retention.sources", options.max_bad)
    return examples
