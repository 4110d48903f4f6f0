"""What a sequence of tasks does to each other: every phase's model on every phase's test rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from tunewright.core import phases, storage
from tunewright.core.example import Example
from tunewright.core.parts import Grader
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.stages import evaluate as judging
from tunewright.stages import grading, tuned
from tunewright.stages.asking import Question, ask
from tunewright.stages.desk import desk

if TYPE_CHECKING:
    from tunewright.models.engine import Engine


@dataclass(frozen=True)
class Task:
    """A phase whose test rows can be graded."""

    name: str
    run: Run
    recipe: Recipe
    test: list[Example]
    grader: Grader


@dataclass(frozen=True)
class Transfer:
    """Lopez-Paz & Ranzato 2017 (arXiv 1706.08840, eq. 2 to 4) over R[i][j], the value after task i on task j."""

    average: float  # ACC: the mean over tasks after the last
    backward: float  # BWT: below zero, later tasks made earlier ones worse (forgetting)
    forward: float  # FWT: above zero, earlier tasks helped those not learned yet


def evaluate(recipe: Recipe, run: Run) -> Report:
    """Judge the last phase's model on the outer test rows; where phases are a sequence of tasks, add their matrix."""
    report = judging.evaluate(recipe, run)
    found = tasks(recipe, run)
    if len(found) < 2:
        return report
    return report.model_copy(update={"numbers": report.numbers | {"continual": matrix(recipe, run, found)}})


def transfer(before: Sequence[float], values: Sequence[Sequence[float]]) -> Transfer:
    """before: each task's value before any was learned. values: R, a row after each task in the order of the tasks."""
    last, count = values[-1], len(values)
    backward = sum(last[j] - values[j][j] for j in range(count - 1)) / (count - 1)
    forward = sum(values[j - 1][j] - before[j] for j in range(1, count)) / (count - 1)
    return Transfer(sum(last) / count, backward, forward)


def tasks(recipe: Recipe, run: Run) -> list[Task]:
    """The phases to compare, all of them where `evaluate.matrix` says so.

    Where it is left out: each that learns from other sources than those before it, if all of these have one objective.
    """
    if recipe.evaluate.matrix is False:
        return []
    named = zip(recipe.phases, phases.folder_names(recipe), strict=True)
    found = [(str(values["name"]), Run(run.path("children", folder))) for values, folder in named]
    if recipe.evaluate.matrix is None:
        apart: dict[tuple[str, ...], tuple[str, Run]] = {}
        for name, child in found:
            apart.setdefault(tuple(child.recipe().data.sources), (name, child))
        found = list(apart.values())
        if len({child.recipe().the_objective().kind for _, child in found}) > 1:
            return []
    made = (_task(name, child, run) for name, child in found)
    return [task for task in made if task is not None]


def _task(name: str, child: Run, run: Run) -> Task | None:
    child.stop, child.listeners = run.stop, run.listeners
    recipe = child.recipe()
    test = [example for example in child.split("test") if example.prompt and example.answer is not None]
    graders = recipe.the_graders()
    said = [grader for grader in graders if not grader.needs_model]
    return Task(name, child, recipe, test, said[0]) if test and said else None


def matrix(recipe: Recipe, run: Run, found: Sequence[Task]) -> dict[str, Any]:
    """The untouched base and each phase's model on each task's test rows, by the task's own first grader."""
    from tunewright.models.engine import Engine

    def row(name: str, identity: Any, engine: Callable[[], Engine]) -> list[float]:
        opened = cache(engine)
        return [_value(task, name, storage.digest(identity), opened) for task in found]

    start = [recipe.model.model_dump(), recipe.train.dtype]
    before = row("before", start, lambda: Engine(tuned.open_base(tuned.untouched(recipe), run)))
    values = []
    for task in found:
        trained = task.run.report("train")
        assert trained is not None
        values.append(
            row(
                f"after-{task.run.name}",
                [task.run.name, trained.model_dump(exclude={"seconds"})],
                lambda task=task: Engine(tuned.open_tuned(task.recipe, task.run)),  # type: ignore[misc]
            )
        )
    return {
        "tasks": [task.name for task in found],
        "graders": [task.grader.label for task in found],
        "rows": [len(task.test) for task in found],
        "before": before,
        "matrix": values,
        **{key: round(value, 6) for key, value in asdict(transfer(before, values)).items()},
    }


def _value(task: Task, name: str, identity: str, engine: Callable[[], Engine]) -> float:
    decode = tuned.decode_of(task.recipe, task.run)
    questions = []
    for example in task.test:
        own = sum(message.role not in ("system", "developer") for message in example.prompt)
        questions.append(Question(example.id, [m.for_template() for m in example.prompt], own, example.tools))
    given = ask(task.run, name, questions, decode=decode, identity=identity, engine=engine)
    sheet = grading.sheet(task.grader, task.test, given.texts, desk(task.run, name, {}, task.grader.label))
    measured = grading.measure(sheet) if sheet is not None else None
    return round(measured.value, 6) if measured is not None else 0.0
