"""What traffic is compared with: the run's rows, what its evaluation measured, or earlier traffic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import storage
from tunewright.core.errors import NotThere
from tunewright.core.example import Example
from tunewright.core.monitoring import MonitorScene, Turn, turn_of, turn_of_row
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.core.traffic import Exchanged

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix

MOST_TRAINING = 5_000  # training questions that novelty is told by, evenly from all
Clean = Callable[[str], str]


def scene(
    recipe: Recipe,
    run: Run,
    release: Path,
    traffic: Sequence[Exchanged],
    *,
    first: Sequence[Exchanged] | None = None,
    clean: Clean | None = None,
) -> MonitorScene:
    """The scene of one look. first: the release's first traffic, where that is the reference. clean: what was done to
    texts of the traffic before they were kept, so that the rows look alike. Raises NotThere.
    """
    tested = [_cleaned(turn, clean) for turn in tested_rows(run)]
    training = [turn for row in _evenly(run.split("train"), MOST_TRAINING) if (turn := turn_of_row(row)).question]
    training = [_cleaned(turn, clean) for turn in training]
    outputs = tested if first is None else [turn_of(one) for one in first]
    judged = run.report("evaluate")
    escalation = (judged.numbers.get("escalation") if judged else None) or {}
    return MonitorScene(
        traffic=traffic,
        inputs=training if recipe.monitor.reference == "train" else outputs,
        held_out=outputs,
        outputs=[turn for turn in outputs if turn.answer is not None],
        tested=[turn for turn in tested if turn.answer is not None],
        training=[turn.question for turn in training if turn.question],
        labels=storage.read_json(release / "manifest.json").get("decode", {}).get("labels") or [],
        figures=judged.contestants.get("tuned", {}) if judged else {},
        budget=recipe.evaluate.budget,
        schema=_schema(recipe),
        temperature=escalation.get("temperature"),
        level=recipe.monitor.level,
        shift=recipe.monitor.shift,
        vectors=vectors,
        seed=recipe.train.seed,
    )


def tested_rows(run: Run) -> list[Turn]:
    """The test rows; where they were evaluated, with what the tuned model answered and how that was graded."""
    judged = run.report("evaluate")
    grader = judged.numbers.get("grader") if judged else None
    table = {row["id"]: row for row in storage.read_jsonl(run.path("evaluate", "answers.jsonl"))}
    kept: dict[str, dict[str, Any]] = {}
    for answer in storage.read_jsonl(run.path("evaluate", "answers.tuned.jsonl")):
        kept.setdefault(answer["id"], answer)  # of several answers the first
    found = []
    for example in run.split("test"):
        turn, row = turn_of_row(example), table.get(example.id)
        if row is not None:
            costs = kept.get(example.id, {})
            turn = replace(
                turn,
                answer=row["answers"].get("tuned"),
                confidence=(row.get("confidences") or {}).get("tuned"),
                right=(row["grades"].get("tuned") or {}).get(grader),
                completion_tokens=costs.get("completion_tokens"),
                finish=costs.get("finish"),
            )
        found.append(turn)
    return found


def vectors(texts: Sequence[str], encoder: str | None) -> np.ndarray | csr_matrix:
    """Texts as vectors of length 1: by an encoder, or by their words."""
    if encoder is not None:
        from tunewright.models.text_vectors import text_vectors

        return text_vectors(encoder, texts)
    from tunewright.data.features import tfidf

    return tfidf(texts)


def _schema(recipe: Recipe) -> dict[str, Any] | None:
    """What a grader holds whole answers to."""
    for grader in recipe.the_graders():
        options = grader.model_dump()
        if grader.kind != "json_schema" or options.get("field"):
            continue
        if options["inline"] is not None:
            return dict(options["inline"])
        if not Path(options["file"]).is_file():
            raise NotThere(f"The schema {options['file']} of grader '{grader.label}' is gone. Bring it back.")
        return dict(storage.read_json(Path(options["file"])))
    return None


def _cleaned(turn: Turn, clean: Clean | None) -> Turn:
    if clean is None:
        return turn
    return replace(
        turn,
        question=clean(turn.question) if turn.question else None,
        answer=clean(turn.answer) if turn.answer else None,
    )


def _evenly(rows: Sequence[Example], most: int) -> list[Example]:
    places = range(len(rows)) if len(rows) <= most else (at * len(rows) // most for at in range(most))
    return [rows[place] for place in places]
