"""Builds the reward that an objective names: graders and reward models, called on whole batches of answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunewright.core import rewards
from tunewright.core.endpoint import Endpoint, Question, Reply, ask_once
from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.parts import Desk, Grader
from tunewright.core.recipe import Recipe
from tunewright.core.rewards import RewardPart
from tunewright.core.run import Run
from tunewright.stages.grading import comparable, grade, grades

Worth = Callable[[Sequence[Example], Sequence[str]], list[float]]
Ask = Callable[[Endpoint, Sequence[Question]], list[Reply]]


@dataclass(frozen=True)
class Rewards:
    """The weighted sum of parts. most: the best that graders alone can give, None where a reward model has a part."""

    parts: list[tuple[RewardPart, Worth]]
    most: float | None

    def __call__(self, examples: Sequence[Example], answers: Sequence[str]) -> list[float]:
        """The reward of each answer."""
        total = [0.0] * len(answers)
        for part, worth in self.parts:
            for place, one in enumerate(worth(examples, answers)):
                total[place] += part.weight * one
        return total


def build(recipe: Recipe, *, ask: Ask = ask_once) -> Rewards:
    """The reward of an on-policy objective. ask: puts graders' questions to a server. Raises RecipeError, and NotThere
    for a reward model that is not trained.
    """
    found = rewards.parts(recipe.the_objective().model_dump()["reward"])
    graders_only = all(part.grader for part in found)
    return Rewards(
        [(part, _graded(part, ask) if part.grader else _modelled(part)) for part in found],
        sum(max(0.0, part.weight) for part in found) if graders_only else None,
    )


def refuse_without_answers(recipe: Recipe, examples: Sequence[Example]) -> None:
    """Raise DataError where a grader compares with an expected answer that a row lacks."""
    for part in rewards.parts(recipe.the_objective().model_dump()["reward"]):
        grader = part.grader
        lacking = [example.id for example in examples if grader and comparable(grader, example) is None]
        if grader and lacking:
            what = f"the field '{grader.field}' of an expected answer" if grader.field else "an expected answer"
            raise DataError(
                f"The reward '{part.label}' compares with {what}; {len(lacking)} of {len(examples)} rows have none. "
                f"First: {lacking[0]}. Add the answers, or reward with a grader that needs none, such as regex."
            )


def _graded(part: RewardPart, ask: Ask) -> Worth:
    grader = part.grader
    assert grader is not None

    def worth(examples: Sequence[Example], answers: Sequence[str]) -> list[float]:
        if not grader.asks and type(grader).grade_all is Grader.grade_all:
            found = [grade(grader, example, answer) for example, answer in zip(examples, answers, strict=True)]
            return [one.score if one is not None else 0.0 for one in found]
        asked = [one.score if one is not None else None for one in grades(grader, examples, answers, Desk(ask=ask))]
        known = [score for score in asked if score is not None]
        neutral = sum(known) / len(known) if known else 0.0  # neither praise nor blame where nobody could judge
        return [neutral if score is None else score for score in asked]

    return worth


def _modelled(part: RewardPart) -> Worth:
    """What a reward model says of the whole conversation, exactly as its release would."""
    from tunewright.models.decode import answer
    from tunewright.models.engine import Engine
    from tunewright.stages import tuned

    assert part.run is not None
    run = Run(Path(part.run))
    recipe = run.recipe()
    engine, decode = Engine(tuned.open_tuned(recipe, run)), tuned.decode_of(recipe, run)

    def worth(examples: Sequence[Example], answers: Sequence[str]) -> list[float]:
        asked = [
            [*(message.for_template() for message in example.prompt), {"role": "assistant", "content": said}]
            for example, said in zip(examples, answers, strict=True)
        ]
        told = answer(engine, decode, asked, tools=[example.tools for example in examples])
        return [float(one.text) for one in told]

    return worth
