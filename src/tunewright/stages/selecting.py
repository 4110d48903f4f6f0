"""Chooses rows rather than adding some: scores them, takes the best, and says which were taken and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from tunewright.core import storage
from tunewright.core.choosing import NEED_MODEL, Selection
from tunewright.core.errors import DataError, NotThere, RecipeError
from tunewright.core.example import Example
from tunewright.core.parts import Grader
from tunewright.core.recipe import DataOptions, ModelOptions, Recipe
from tunewright.core.report import Finding, Report
from tunewright.core.run import Listener, Run
from tunewright.data import select_rows, select_scores
from tunewright.data.select_scores import Texts

BY_TEXT: dict[str, Callable[[Texts], np.ndarray]] = {
    "quality": select_scores.quality,
    "length": select_scores.length,
    "language": select_scores.language,
    "density": select_scores.density,
    "agreement": select_scores.agreement,
}
PREFER = {"perplexity": "middle", "density": "low"}  # all others: high
RECIPES = (".yaml", ".yml")
Poll = Callable[[int], None]


@dataclass(frozen=True)
class Scored:
    """Rows with their scores. inputs: what relevance compared with; empty for other scores."""

    texts: Texts
    scores: np.ndarray
    good: np.ndarray


@dataclass(frozen=True)
class Context:
    """What scores may need beside the rows. inputs: texts of prompts, never labels."""

    inputs: Callable[[], Sequence[str]]
    model: ModelOptions | None
    graders: Sequence[Grader]


def scored(examples: Iterable[Example], options: Selection, context: Context, poll: Poll) -> Scored:
    """Score rows. Raises DataError, RecipeError where the score needs what is not there."""
    kept = list(examples) if options.by in (*NEED_MODEL, "grader") else []
    texts = Texts.of(kept or examples)
    if not len(texts):
        raise DataError("There are no rows to choose from. Give a source that holds some.")
    scores = _scores(texts, kept, options, context, poll)
    if not np.isfinite(scores).any():
        raise DataError(f"No row has a score by {options.by}: the rows lack answers that it could judge.")
    return Scored(texts, scores, select_rows.goodness(scores, options.prefer or PREFER.get(options.by, "high")))


def chosen(found: Scored, options: Selection, poll: Poll) -> np.ndarray:
    """The numbers of the rows that are kept, ascending."""
    if options.balance and any(label is None for label in found.texts.labels):
        raise DataError("balance evens out labels, and not every row has one. Leave balance out.")
    return select_rows.chosen(
        found.good,
        options.amount(len(found.good)),
        diverse=options.diverse,
        features=lambda rows: select_scores.features([found.texts.whole[row] for row in rows.tolist()]),
        labels=found.texts.labels if options.balance else None,
        poll=poll,
    )


def _scores(texts: Texts, kept: Sequence[Example], options: Selection, context: Context, poll: Poll) -> np.ndarray:
    if options.by in BY_TEXT:
        return BY_TEXT[options.by](texts)
    if options.by == "relevance":
        return select_scores.relevance(texts, context.inputs())
    if options.by == "grader":
        return _graded(kept, context.graders)
    from tunewright.stages import perplexity

    if context.model is None:
        raise RecipeError(f"'{options.by}' asks a model, and none is named. Give --model nano, or select by quality.")
    of = perplexity.of_answers if options.by == "perplexity" else perplexity.difficulty
    return of(perplexity.opened(context.model), kept, poll=poll)


def _graded(kept: Sequence[Example], graders: Sequence[Grader]) -> np.ndarray:
    """The mean grade of each row's own answer by the graders that need nothing to compare with."""
    alone = [grader for grader in graders if not (grader.needs_expected or grader.needs_model)]
    if not alone:
        raise RecipeError(
            "'grader' grades each row's own answer, which a grader that compares with an expected answer cannot. Name "
            "one that judges alone in evaluate.graders, such as regex."
        )
    from tunewright.stages import grading

    grades = [[grading.grade(grader, row, row.answer or "") for grader in alone] for row in kept]
    return np.array([float(np.mean([one.score for one in row if one])) if any(row) else np.nan for row in grades])


# --- inside prepare ---


def kept_rows(
    recipe: Recipe, sides: dict[str, np.ndarray], examples: Callable[[np.ndarray], Iterator[Example]], run: Run
) -> tuple[np.ndarray, Finding]:
    """The training rows that `data.select` keeps, of those given by their numbers, and what to tell about it."""
    options = recipe.data.select
    assert options is not None
    train = sides["train"]
    inputs = _inputs_of(options, lambda side: examples(sides[side]), recipe.data)
    graders = recipe.the_graders() if options.by == "grader" else []

    def poll(done: int) -> None:
        run.progress("prepare", done=done, total=len(train), what=f"scoring rows by {options.by}")

    model = recipe.model if recipe.model.model_fields_set else None
    found = scored(examples(train), options, Context(inputs, model, graders), poll)
    picks = chosen(found, options, poll)
    told = Finding(
        name="selected",
        message=f"{len(picks):,} of {len(train):,} training rows are kept by data.select: {described(options)}.",
        count=len(train) - len(picks),
        remedy="Take data.select out of the recipe to learn from all of them.",
    )
    return train[picks], told


def described(options: Selection) -> str:
    """How rows are chosen, in words."""
    prefer = options.prefer or PREFER.get(options.by, "high")
    words = [f"best by {options.by} ({prefer} is good)"]
    words += [f"like the inputs of {options.like}"] if options.by == "relevance" else []
    words += [f"unlike each other (weight {options.diverse:g})"] if options.diverse else []
    return ", ".join([*words, *(["even over labels"] if options.balance else [])])


def _inputs_of(
    options: Selection, side: Callable[[str], Iterable[Example]], data: DataOptions | None
) -> Callable[[], Sequence[str]]:
    """Where relevance finds inputs: prompts alone, never labels or answers."""

    def inputs() -> Sequence[str]:
        if options.like in ("validation", "test"):
            return Texts.of(side(options.like)).prompts
        rows = _of_file(Path(options.like), data)
        return Texts.of(example for _, example in rows if example is not None).prompts

    return inputs


# --- the command ---


def options(**values: Any) -> Selection:
    """Options as a person gave them. Raises RecipeError naming all that cannot be."""
    try:
        return Selection.model_validate(values)
    except ValidationError as error:
        told = (
            f"--{one['loc'][-1]}: {one['msg'].removeprefix('Value error, ')}, found {one['input']!r}."
            for one in error.errors()
        )
        raise RecipeError(" ".join(told)) from None


def select(
    source: str | Path,
    options: Selection,
    *,
    out: Path,
    rest: Path | None = None,
    with_scores: bool = False,
    model: str | None = None,
    runs: str | Path = "runs",
    listeners: Sequence[Listener] = (),
) -> Report:
    """Choose among the rows of a data file, or the training rows of a run or recipe, and write them to `out` (and the
    others to `rest`) in their order, each as it was. Raises DataError, NotThere, RecipeError.
    """
    for path in (out, rest):
        if path is not None and path.suffix != ".jsonl":
            raise DataError(f"Chosen rows are written as JSON lines, found {path}. Give a name that ends in .jsonl.")
    rows, context, name = _rows(source, options, model, Path(runs), listeners)
    usable = [(row, example) for row, example in rows if example is not None]

    def poll(done: int) -> None:
        for listener in listeners:
            listener({"event": "progress", "stage": "select", "done": done, "total": len(usable), "what": "rows"})

    found = scored([example for _, example in usable], options, context, poll)
    picks = chosen(found, options, poll)
    taken = np.zeros(len(usable), bool)
    taken[picks] = True

    def written(which: np.ndarray) -> Iterator[dict[str, Any]]:
        for number in np.flatnonzero(which).tolist():
            row = dict(usable[number][0])
            yield row | {"scores": _told(row, options.by, float(found.scores[number]))} if with_scores else row

    storage.write_jsonl(out, written(taken))
    if rest is not None:
        storage.write_jsonl(rest, written(~taken))
    numbers = _numbers(found, picks, options, num_unusable=len(rows) - len(usable))
    numbers |= {"out": str(out)} | ({"rest": str(rest)} if rest else {})
    return Report(stage="select", run=name, numbers=numbers, findings=_findings(numbers))


def _told(row: dict[str, Any], by: str, score: float) -> dict[str, float | None]:
    """The scores of a row: those that it came with, and this one."""
    before = row.get("scores")
    return (before if isinstance(before, dict) else {}) | {by: round(score, 6) if np.isfinite(score) else None}


def _rows(
    source: str | Path, options: Selection, model: str | None, runs: Path, listeners: Sequence[Listener]
) -> tuple[list[tuple[dict[str, Any], Example | None]], Context, str]:
    """Rows as they are written, with what is scored of each; what scores may need; and a name for the report."""
    path, named = Path(source), ModelOptions(base=model) if model else None
    if path.is_file() and path.suffix.lower() not in RECIPES and not _is_recipe(path):

        def missing(side: str) -> Iterable[Example]:
            raise DataError(f"A file has no {side} rows to be relevant to. Give --like FILE, or name a run.")

        return _of_file(path, None), Context(_inputs_of(options, missing, None), named, []), path.name
    from tunewright.stages import flow

    given, home = flow.given_recipe(source, None, runs)
    run = Run(home / given.name)
    if not run.path("data", "train.jsonl").exists():
        flow.prepare(source, runs=runs, listeners=listeners)
    recipe = run.recipe() if run.path("recipe.yaml").exists() else given
    inputs = _inputs_of(options, lambda side: run.split(side), recipe.data)
    context = Context(inputs, named or recipe.model, recipe.the_graders())
    return [(example.to_row(), example) for example in run.split("train")], context, run.name


def _is_recipe(path: Path) -> bool:
    """Whether a .json file is a recipe: it says where data comes from."""
    if path.suffix.lower() != ".json":
        return False
    try:
        found = storage.read_json(path)
    except ValueError:
        return False
    return isinstance(found, dict) and isinstance(found.get("data"), dict) and "sources" in found["data"]


def _of_file(path: Path, data: DataOptions | None) -> list[tuple[dict[str, Any], Example | None]]:
    """Every readable row of a file, as it is, with what it means; None where that cannot be told."""
    from tunewright.data import formats, sources

    if not path.is_file():
        raise NotThere(f"There is no file {path}. Check the path.")
    values = [row.values for row in sources.read([str(path)]) if row.values is not None]
    fields = data.fields if data else {}
    format = data.format if data and data.format != "auto" else formats.detect(values[:50], fields) if values else ""
    found: list[tuple[dict[str, Any], Example | None]] = []
    for number, row in enumerate(values, 1):
        try:
            found.append((row, formats.to_example(format, row, fields, f"{path.stem}:{number}")))
        except DataError:
            found.append((row, None))
    return found


# --- what is told ---


def _numbers(found: Scored, picks: np.ndarray, options: Selection, *, num_unusable: int) -> dict[str, Any]:
    scores = found.scores[np.isfinite(found.scores)]
    own = found.scores[picks][np.isfinite(found.scores[picks])]
    numbers: dict[str, Any] = {
        "rows": len(found.scores) + num_unusable,
        "unusable": num_unusable,
        "unscored": int(len(found.scores) - len(scores)),
        "chosen": len(picks),
        "how": described(options),
        "median_score": round(float(np.median(scores)), 4),
        "median_score_chosen": round(float(np.median(own)), 4) if len(own) else None,
    }
    labels = Counter(label for label in found.texts.labels if label is not None)
    if labels:
        kept = Counter(label for pick in picks.tolist() if (label := found.texts.labels[pick]) is not None)
        numbers["labels"] = len(labels)
        numbers["labels_lost"] = sorted(labels.keys() - kept.keys())
    return numbers


def _findings(numbers: dict[str, Any]) -> list[Finding]:
    found = []
    if lost := numbers.get("labels_lost"):
        found.append(
            Finding(
                name="labels_lost",
                severity="warning",
                message=f"{len(lost)} of {numbers['labels']} labels have no chosen row.",
                example=", ".join(lost[:5]),
                remedy="Choose more rows, or with --balance.",
            )
        )
    if numbers["unusable"]:
        found.append(
            Finding(
                name="unusable",
                severity="warning",
                message=f"{numbers['unusable']:,} rows cannot be read as examples and were not chosen from.",
                remedy="tunewright prepare tells the reason of each.",
            )
        )
    return found
