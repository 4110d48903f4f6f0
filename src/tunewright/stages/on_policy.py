"""Training on the model's own answers: samples and rewards them for each step, and looks at greedy answers to
validation prompts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tunewright.core.endpoint import Endpoint, Question, Reply, ask_once
from tunewright.core.errors import Stopped
from tunewright.core.parts import Layout
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages import rewards

if TYPE_CHECKING:
    from tunewright.core.example import Example
    from tunewright.models.forest import Row
    from tunewright.training.step import Look, Stepper, StepResult

VALIDATION_PROMPTS = 200  # an answer costs far more than reading one


class Player:
    """Takes the steps of an on-policy objective: the model's answers, their rewards, gradient steps on them."""

    def __init__(self, recipe: Recipe, run: Run, stepper: Stepper, *, poll: Callable[[], None]) -> None:
        """poll may raise to stop. Raises NotThere without a reward model that the objective names."""
        options = recipe.train
        assert options.micro_tokens and options.max_tokens
        self.stepper, self.objective, self.poll = stepper, stepper.objective, poll
        self.layout = Layout(options.micro_tokens, options.max_tokens, stepper.share)
        rows = run.split("train", "validation")
        self.stop = run.stop
        self.rewards = rewards.build(recipe, ask=self._ask)
        self.examples = {example.id: example for example in rows}

    def take(
        self, units: Sequence[list[Row]], *, factor: float, seed: int, gradients: Callable[..., Any]
    ) -> StepResult:
        """One step on answers to the prompts of these units; figures are means over its gradient steps.

        Its loss is what the reward lacks, as in `look`; the loss whose gradient is taken says little of it, and is the
        metric `surrogate`.
        """
        from tunewright.training.sampler import draw_seed
        from tunewright.training.step import together

        started = time.monotonic()
        found = self.objective.collect(
            self.stepper.model,
            self._prompts(units),
            reward=self.rewards,
            seed=seed,
            layout=self.layout,
            poll=self.poll,
        )
        sampled = time.monotonic()
        results: list[StepResult] = []
        while len(results) < found.updates and all(result.taken for result in results):
            own = draw_seed(seed, len(results))
            results.append(self.stepper.take(found.units, factor=factor, seed=own, gradients=gradients))
        one = together(results)
        seconds = {"sampling_seconds": sampled - started, "learning_seconds": time.monotonic() - sampled}
        told = {"surrogate": one.loss, **found.figures, **{name: round(value, 5) for name, value in seconds.items()}}
        return replace(one, loss=self._lacking(found.figures["reward"]), metrics={**one.metrics, **told})

    def look(self, units: Sequence[list[Row]]) -> Look:
        """The mean reward of greedy answers to validation prompts, and as loss what it lacks."""
        from tunewright.training.step import Look, Means

        stride = max(1.0, len(units) / VALIDATION_PROMPTS)
        prompts = self._prompts([units[int(number * stride)] for number in range(min(len(units), VALIDATION_PROMPTS))])
        reward = self.objective.greedy_reward(
            self.stepper.model, prompts, reward=self.rewards, layout=self.layout, poll=self.poll
        )
        return Look(Means({"lacking": (self._lacking(reward), 1.0)}), Means({"reward": (reward, 1.0)}))

    def _ask(self, endpoint: Endpoint, questions: Sequence[Question]) -> list[Reply]:
        """What a server says, unless a stop is asked for while it lets wait."""
        try:
            return ask_once(endpoint, questions, stop=self.stop)
        except Stopped:
            self.poll()  # saves first
            raise

    def _lacking(self, reward: float) -> float:
        """What is missing to the best reward, or to 0 where no best is known: it falls as a loss does."""
        return (self.rewards.most or 0.0) - reward

    def _prompts(self, units: Sequence[list[Row]]) -> list[tuple[Example, list[int]]]:
        from tunewright.models.forest import prompt_length

        return [(self.examples[unit[0].example], unit[0].items[: prompt_length(unit[0])]) for unit in units]
