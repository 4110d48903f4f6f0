"""Carries out the guards of a recipe: hands each a scene in which to ask the base and the tuned model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import canaries
from tunewright.core.endpoint import Endpoint
from tunewright.core.example import Example
from tunewright.core.guarding import EditChoice, Guard, GuardScene, Who
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding, GuardResult
from tunewright.core.run import Run
from tunewright.stages import rewriting
from tunewright.stages.guard_questions import Questions
from tunewright.stages.lineup import Entrant, Model

if TYPE_CHECKING:
    import numpy as np

    from tunewright.models.tunable import TunableModel

Grades = Callable[[Sequence[Example], Sequence[str]], list[float | None]]


def guard(
    recipe: Recipe, run: Run, own: Mapping[Who, Model], entrants: Mapping[str, Entrant], grade: Grades
) -> list[GuardResult]:
    """What each guard of the recipe found. grade: by the deciding grader. Raises Stopped."""
    labels, named = own["base"].decode.labels, recipe.evaluate.guards is not None
    parts = [part for part in recipe.the_guards() if named or part.fits(labels)]
    return [_measured(part, _scene(recipe, run, part.kind, own, entrants, grade)) for part in parts]


def _measured(guard: Guard, scene: GuardScene) -> GuardResult:
    """What a guard found, with the bounds that nothing could be held to; one that found nothing to measure says so."""
    found = guard.measure(scene)
    findings = found.findings
    if not found.measures and not findings:
        message = f"The guard {found.guard} found nothing to measure in these rows."
        findings = [Finding(name="nothing measured", message=message)]
    return found.model_copy(update={"findings": findings, "unmeasured": guard.unmeasured(found.measures)})


def escalation(guards: Sequence[GuardResult]) -> dict[str, Any] | None:
    """From which confidence on an answer may go out without a person, for a release; None where nobody measured it."""
    figures = next((one.figures for one in guards if one.guard == "confidence" and one.figures), None)
    return figures and {key: figures[key] for key in ("threshold", "temperature", "at")}


def _scene(
    recipe: Recipe, run: Run, kind: str, own: Mapping[Who, Model], entrants: Mapping[str, Entrant], grade: Grades
) -> GuardScene:
    folder = run.path("evaluate", "guards", kind)
    questions = Questions(run, kind, own, folder)

    def edited(
        examples: Sequence[Example], edit: EditChoice, *, copy: int = 0, endpoint: Endpoint | None = None
    ) -> list[Example | None]:
        return rewriting.edited(run, kind, examples, edit, seed=recipe.train.seed, copy=copy, endpoint=endpoint)

    def opened(who: Who) -> TunableModel:
        return own[who].engine().model

    def poll(what: str, done: int, total: int) -> None:
        run.stop_if_asked()
        run.progress("evaluate", done=done, total=total, what=f"{kind}: {what}")

    return GuardScene(
        splits=_splits(recipe, run),
        labels=own["base"].decode.labels,
        answers={name: entrant.answered.texts for name, entrant in entrants.items()},
        confidences={name: entrant.answered.confidences for name, entrant in entrants.items()},
        grade=grade,
        ask=questions.ask,
        logprobs=partial(_logprobs, folder, own, poll),
        open=opened,
        folder=folder,
        sure=questions.sure,
        edited=edited,
        seed=recipe.train.seed,
        poll=poll,
    )


def _logprobs(
    folder: Path, own: Mapping[Who, Model], poll: Callable[[str, int, int], None], who: Who, examples: Sequence[Example]
) -> tuple[np.ndarray, np.ndarray]:
    from tunewright.stages import kept_logprobs

    return kept_logprobs.logprobs(
        folder / f"logprobs.{who}.jsonl",
        own[who].identity,
        lambda: own[who].engine().model,
        examples,
        poll=lambda done: poll("rows read", done, len(examples)),
    )


def _splits(recipe: Recipe, run: Run) -> dict[str, list[Example]]:
    """The rows of each side that ask something and whose answer is one to give; planted ones stand apart."""
    objective = recipe.the_objective()
    sides = {
        side: [one for one in run.split(side) if one.prompt and objective.imitates(one)]
        for side in ("train", "validation", "test")
    }
    sides["train"] = canaries.left_out(sides["train"])
    return sides | {canaries.SIDE: canaries.read(run.path("data"))}
