"""Carries out the guards of a recipe: hands each a scene in which to ask the base and the tuned model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tunewright.core import storage
from tunewright.core.example import Example
from tunewright.core.guarding import Conversation, GuardScene, Who
from tunewright.core.recipe import Recipe
from tunewright.core.report import GuardResult
from tunewright.core.run import Run
from tunewright.stages.asking import Question, ask
from tunewright.stages.lineup import Entrant, Model

if TYPE_CHECKING:
    import numpy as np

    from tunewright.models.tunable import TunableModel

Grades = Callable[[Sequence[Example], Sequence[str]], list[float | None]]


def guard(
    recipe: Recipe, run: Run, own: Mapping[Who, Model], entrants: Mapping[str, Entrant], grade: Grades
) -> list[GuardResult]:
    """What each guard of the recipe found. grade: by the deciding grader. Raises Stopped."""
    return [part.measure(_scene(recipe, run, part.kind, own, entrants, grade)) for part in recipe.the_guards()]


def _scene(
    recipe: Recipe, run: Run, kind: str, own: Mapping[Who, Model], entrants: Mapping[str, Entrant], grade: Grades
) -> GuardScene:
    folder = run.path("evaluate", "guards", kind)

    def asks(
        who: Who, conversations: Sequence[Conversation], *, name: str, free: bool = False, most: int | None = None
    ) -> list[str]:
        model = own[who]
        decode = model.decode
        if free and decode.kind == "choices":
            decode = decode.model_copy(update={"kind": "generate", "labels": [], "system": None})
        elif free:
            decode = decode.model_copy(update={"system": None})
        if most is not None:
            decode = decode.model_copy(update={"max_new_tokens": most})
        questions = []
        for said in conversations:
            messages = [dict(message) for message in said]
            plain = sum(message["role"] not in ("system", "developer") for message in messages)
            questions.append(Question(storage.digest(messages), messages, plain))
        unique = list({question.id: question for question in questions}.values())
        answered = ask(
            run,
            f"{kind}.{name}.{who}",
            unique,
            decode=decode,
            identity=model.identity,
            engine=model.engine,
            folder=folder,
        )
        by_id = {question.id: text for question, text in zip(unique, answered.texts, strict=True)}
        return [by_id[question.id] for question in questions]

    def logprobs(who: Who, examples: Sequence[Example]) -> tuple[np.ndarray, np.ndarray]:
        from tunewright.stages import perplexity

        return perplexity.logprobs(opened(who), examples, poll=lambda done: poll("rows read", done, len(examples)))

    def opened(who: Who) -> TunableModel:
        return own[who].engine().model

    def poll(what: str, done: int, total: int) -> None:
        run.stop_if_asked()
        run.progress("evaluate", done=done, total=total, what=f"{kind}: {what}")

    return GuardScene(
        splits={side: [one for one in run.split(side) if one.prompt] for side in ("train", "validation", "test")},
        labels=own["base"].decode.labels,
        answers={name: entrant.answered.texts for name, entrant in entrants.items()},
        confidences={name: entrant.answered.confidences for name, entrant in entrants.items()},
        grade=grade,
        ask=asks,
        logprobs=logprobs,
        open=opened,
        folder=folder,
        seed=recipe.train.seed,
        poll=poll,
    )
