"""The trainings of a learning curve: on nested parts of the rows, each a child run, or a proxy that takes seconds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tunewright.core import storage
from tunewright.core.choosing import LearningCurve
from tunewright.core.errors import DataError
from tunewright.core.evaluating import EvaluateOptions
from tunewright.core.example import Example
from tunewright.core.parts import Grader
from tunewright.core.recipe import ModelOptions, Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.data.clean import prompt_text, twin_key
from tunewright.data.subsets import doubling_sizes, nested_order
from tunewright.stages import grading
from tunewright.stages.desk import desk
from tunewright.stages.grading import Sheet

GRADED_ROWS = 1000  # validation rows that every training is graded on, at most
LEAST_SIZE = 16
NEVER = 10**9  # steps between looks and saves: nothing is picked by the rows that grade
OPEN_KEYS = ("epochs", "steps", "batch", "micro_tokens", "checkpoint_layers", "store_frozen")  # follow the rows


@dataclass(frozen=True)
class Part:
    """A part of the training rows that is learned from. without: the cleaned whole set; draw: which of several."""

    rows: np.ndarray
    draw: int
    without: bool = False

    @property
    def size(self) -> int:
        """How many rows."""
        return len(self.rows)


@dataclass(frozen=True)
class Trained:
    """A training with its graded answers to the validation rows."""

    part: Part
    sheet: Sheet


@dataclass(frozen=True)
class Bench:
    """What all trainings of a curve share. graded: the validation rows."""

    run: Run
    options: LearningCurve
    given: Recipe
    filled: Recipe
    grader: Grader
    training: Sequence[Example]
    graded: list[Example]


def bench(options: LearningCurve, given: Recipe, filled: Recipe, run: Run) -> Bench:
    """Set up. Raises DataError where the rows or the recipe leave nothing to grade."""
    graders, objective = filled.the_graders(), filled.the_objective()
    if objective.figure is not None or not graders or graders[0].needs_model:
        raise DataError(
            "A learning curve needs answers that a grader can grade, and this recipe has none. Name one first in "
            "evaluate.graders, or leave choose.learning_curve out."
        )
    kept = [row for row in run.split("validation") if row.prompt and objective.imitates(row)]
    kept = [row for row in kept if grading.comparable(graders[0], row) is not None]
    if not kept:
        raise DataError(
            f"No validation row can be graded by '{graders[0].label}', so the learning curve has nothing to measure. "
            "Give data.split.validation a share, or another grader first in evaluate.graders."
        )
    stride = max(1.0, len(kept) / GRADED_ROWS)
    graded = [kept[int(place * stride)] for place in range(min(len(kept), GRADED_ROWS))]
    return Bench(run, options, given, filled, graders[0], run.split("train"), graded)


def parts(on: Bench, without: set[str] | None = None) -> list[Part]:
    """The parts to learn from, the smallest first; the cleaned sets last."""
    options, seed = on.options, on.filled.train.seed
    keys, labels, ids = [], [], []
    for example in on.training:
        keys.append(twin_key(example))
        labels.append(example.label)
        ids.append(example.id)
    sizes = doubling_sizes(len(ids), points=options.points, least=max(LEAST_SIZE, len(set(labels))))
    found = []
    orders = [nested_order(keys, labels, draw=draw, seed=seed) for draw in range(options.draws)]
    again = options.draws if without is not None and options.model == "recipe" else 1  # all rows, with other seeds
    for size in sizes:
        draws = again if size == len(ids) else options.draws
        found += [Part(np.sort(orders[draw][:size]), draw) for draw in range(draws)]
    if without is not None:
        kept = np.array([row for row, name in enumerate(ids) if name not in without], int)
        if not len(kept):
            raise DataError("choose.learning_curve.without names all training rows. Name those to leave out.")
        found += [Part(kept, draw, without=True) for draw in range(again)]
    return found


def train_all(on: Bench, todo: Sequence[Part]) -> list[Trained]:
    """Train and grade each; what was done before is kept. Raises Stopped."""
    total = sum(part.size for part in todo)
    done, found = 0, []
    for part in todo:

        def tell(share: float, before: int = done, size: int = part.size) -> None:
            at = min(total - 1, before + int(share * size))
            on.run.progress("choose", done=at, total=total, what="rows of the learning curve")

        tell(0.0)
        answers = _proxy_answers(on, part) if on.options.model == "proxy" else _child_answers(on, part, tell)
        sheet = grading.sheet(on.grader, on.graded, answers, desk(on.run, "tuned", {}, on.grader.label))
        assert sheet is not None, "the bench holds rows that can be graded"
        found.append(Trained(part, sheet))
        done += part.size
    on.run.progress("choose", done=total, total=total, what="rows of the learning curve")
    return found


# --- a proxy ---


def _proxy_answers(on: Bench, part: Part) -> list[str]:
    from tunewright.data.proxy import Proxy

    rows = [on.training[row] for row in part.rows.tolist()]
    if any(row.label is None for row in rows):
        raise DataError(
            "choose.learning_curve.model: a proxy learns labels, and these rows have none. Take model: recipe."
        )
    proxy = Proxy().learn([prompt_text(row) for row in rows], [str(row.label) for row in rows])
    return proxy.answers([prompt_text(row) for row in on.graded])


# --- a child run ---


def _child_answers(on: Bench, part: Part, tell: Callable[[float], None]) -> list[str]:
    """What the model answers that learned from the part: the child run's own stages, each done once."""
    from tunewright.stages import flow, proving, tuned

    recipe = _child_recipe(on, part)
    child = Run.begin(recipe, runs=on.run.path("children").resolve())
    child.stop = on.run.stop
    child.listeners = [lambda event: tell(event["step"] / event["total"]) if event["event"] == "step" else None]
    if child.report("evaluate") is None:
        _write_rows(on, part, child)
        with tuned.one_base(), proving.without_proofs():  # the run's own training measures them
            flow.carry_child(on.run, recipe, child, ("choose", "train", "evaluate"))
        for folder in ("checkpoints", "encoded"):  # its answers are what is kept of it
            shutil.rmtree(child.path(folder), ignore_errors=True)
    said = {row["id"]: row["answers"]["tuned"] for row in storage.read_jsonl(child.path("evaluate", "answers.jsonl"))}
    return [said[row.id] for row in on.graded]


def _write_rows(on: Bench, part: Part, child: Run) -> None:
    """The part as the child's training rows, and the rows that grade as its test rows; it has none to stop by."""
    learned = (on.training[row] for row in part.rows.tolist())
    sides: dict[str, Iterable[Example]] = {"train": learned, "validation": [], "test": on.graded}
    for name, rows in sides.items():
        if not child.path("data", f"{name}.jsonl").exists():
            storage.write_jsonl(child.path("data", f"{name}.jsonl"), (row.to_row() for row in rows), point="data")
    prepared = on.run.report("prepare")
    numbers = dict(prepared.numbers) if prepared else {}
    counts = {"read": part.size + len(on.graded), "kept": part.size + len(on.graded), "train": part.size}
    numbers["rows"] = {**counts, "validation": 0, "test": len(on.graded)}
    Report(stage="prepare", run=child.name, numbers=numbers).save(child.path("prepare"))


def _child_recipe(on: Bench, part: Part) -> Recipe:
    """The recipe with method, rate and machine as filled, and what follows the number of rows left open again."""
    from tunewright.stages import tuned

    given, filled, options = on.given, on.filled, on.options
    start: ModelOptions = tuned.start_options(filled, on.run)
    follows: dict[str, Any] = {key: getattr(given.train, key) for key in OPEN_KEYS}
    if options.epochs is not None:
        follows |= {"epochs": options.epochs, "steps": None}
    train = filled.train.model_copy(
        update={
            **follows,
            "evaluate_every": NEVER,
            "save_every": NEVER,
            "patience": 0,
            "seed": filled.train.seed + part.draw,
        }
    )
    evaluate = EvaluateOptions(
        graders=(filled.evaluate.graders or [])[:1],
        against=[],
        max_new_tokens=filled.evaluate.max_new_tokens,
        temperature=filled.evaluate.temperature,
    )
    child = filled.model_copy(
        update={"model": start, "train": train, "evaluate": evaluate, "choose": type(filled.choose)()}
    )
    values = child.to_dict()
    del values["deploy"]
    told = child.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"name", "deploy"})
    about = [told, storage.sha256(on.run.path("data", "train.jsonl")), part.rows.tolist()]  # later keys change no child
    about += [row.to_row() for row in on.graded]
    what = "cleaned" if part.without else f"{part.size:06d}"
    values["name"] = f"curve-{what}-{part.draw + 1}-{storage.digest(about)[:8]}"
    return Recipe.parse(values, folder=Path("/"))
