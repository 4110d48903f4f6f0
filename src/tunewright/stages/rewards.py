"""Builds the reward that an objective names: graders and reward models, called on whole batches of answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunewright.core import rewards
from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.recipe import Recipe
from tunewright.core.rewards import RewardPart
from tunewright.core.run import Run
from tunewright.stages.grading import comparable, grade

if TYPE_CHECKING:
    from tunewright.models.tunable import TunableModel

Worth = Callable[[Sequence[Example], Sequence[str]], list[float]]


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


def build(recipe: Recipe) -> Rewards:
    """The reward of an on-policy objective. Raises RecipeError, and NotThere for a reward model that is not trained."""
    found = rewards.parts(recipe.the_objective().model_dump()["reward"])
    graders_only = all(part.grader for part in found)
    return Rewards(
        [(part, _graded(part) if part.grader else _modelled(part, recipe)) for part in found],
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


def _graded(part: RewardPart) -> Worth:
    grader = part.grader
    assert grader is not None

    def worth(examples: Sequence[Example], answers: Sequence[str]) -> list[float]:
        found = [grade(grader, example, answer) for example, answer in zip(examples, answers, strict=True)]
        return [one.score if one is not None else 0.0 for one in found]

    return worth


def _modelled(part: RewardPart, recipe: Recipe) -> Worth:
    """The scalar of a reward model's head, at the end of the whole conversation."""
    from tunewright.models.forest import Forest, micro_batches
    from tunewright.stages import tuned

    assert part.run is not None
    run = Run(part.run)
    theirs = run.recipe()
    model: TunableModel = tuned.open_tuned(theirs, run)
    objective = theirs.the_objective()
    max_tokens, micro_tokens = theirs.train.max_tokens, recipe.train.micro_tokens or 2048
    assert max_tokens is not None

    def worth(examples: Sequence[Example], answers: Sequence[str]) -> list[float]:
        raise NotImplementedError

    return worth
