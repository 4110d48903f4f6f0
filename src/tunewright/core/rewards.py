"""The reward that a recipe names: graders and reward models, each with a weight. Read here, computed by the stages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.core import catalog
from tunewright.core.errors import NotThere, RecipeError
from tunewright.core.parts import Grader
from tunewright.core.phases import PROMISED

RewardChoice = str | dict[str, Any] | list[str | dict[str, Any]]


@dataclass(frozen=True)
class RewardPart:
    """One part of a reward: a grader, or the run of a reward model; the reward is the weighted sum of all parts."""

    weight: float
    grader: Grader | None = None
    run: str | None = None

    @property
    def label(self) -> str:
        """What logs call it."""
        return self.grader.label if self.grader else Path(self.run or "").name


def parts(choice: RewardChoice) -> list[RewardPart]:
    """The parts of `reward: exact`, of `{kind: regex, pattern: ..., weight: 0.5}`, of `{run: runs/my-reward}`, or of a
    list of these. Raises RecipeError with every problem.
    """
    found, problems = [], []
    for one in choice if isinstance(choice, list) else [choice]:
        try:
            found.append(_part(one))
        except RecipeError as error:
            problems += [f"objective.reward: {problem}" for problem in error.problems]
    if not found and not problems:
        problems.append("objective.reward: the list is empty. Name a grader, such as exact, or {run: runs/my-reward}.")
    names = [part.label for part in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"objective.reward: two parts are called '{twice[0]}'. Give one of them another 'name:'.")
    if problems:
        raise RecipeError(problems)
    return found


def _part(choice: str | dict[str, Any]) -> RewardPart:
    options = {"kind": choice} if isinstance(choice, str) else dict(choice)
    weight = options.pop("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or weight == 0:
        raise RecipeError(f"weight: must be a number other than 0, found {weight!r}.")
    if "run" not in options:
        grader: Grader = catalog.build("graders", options)
        if grader.needs_model:
            raise RecipeError(
                f"'{grader.kind}' grades what a model finds likely, not what it says, so it rewards no answer. Name "
                "another grader."
            )
        return RewardPart(float(weight), grader=grader)
    run = options.pop("run")
    if options:
        raise RecipeError(f"run: takes only a weight beside it, found {', '.join(map(str, options))}.")
    if str(run).startswith(PROMISED):  # of a phase that comes first
        return RewardPart(float(weight), run=str(run))
    if not (Path(str(run)) / "run.json").exists():
        raise RecipeError(f"run: there is no run {run}. Train a reward model first, with objective: reward.")
    from tunewright.core.run import Run  # it knows of recipes, which know of rewards

    try:
        trained = Run(Path(str(run))).recipe().objective
    except NotThere:
        raise RecipeError(f"run: {run} holds no recipe.yaml, so no training of it has begun. Train it first.") from None
    kind = trained if isinstance(trained, str) else trained.get("kind")
    if kind != "reward":
        raise RecipeError(f"run: {run} was trained with objective '{kind}', not with 'reward'. Name another run.")
    return RewardPart(float(weight), run=str(run))


def with_absolute_paths(objective: str | dict[str, Any], folder: Path) -> str | dict[str, Any]:
    """The objective of a recipe, the runs and files that its reward names taken from the recipe's folder."""
    if isinstance(objective, str) or "reward" not in objective:
        return objective
    reward = objective["reward"]
    if isinstance(reward, list):
        return {**objective, "reward": [_absolute(one, folder) for one in reward]}
    return {**objective, "reward": _absolute(reward, folder)}


def _absolute(choice: Any, folder: Path) -> Any:
    if not isinstance(choice, dict):
        return choice
    if not isinstance(choice.get("run"), str):
        return catalog.located("graders", choice, folder)
    if choice["run"].startswith(PROMISED):
        return choice
    return {**choice, "run": str((folder / Path(choice["run"]).expanduser()).resolve())}
