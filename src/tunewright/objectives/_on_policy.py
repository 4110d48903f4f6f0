"""What objectives that learn from the model's own answers share: sampling, rows, and log-probs when sampled.

Shape letters: K learned tokens of a forest, E (row, learned token) entries, R rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from tunewright.core import rewards
from tunewright.core.example import Example, Message
from tunewright.core.parts import Collected, Layout, Objective, Reward

if TYPE_CHECKING:
    import torch

    from tunewright.models.chat import Chat
    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel

STAND_IN = "?"  # for an answer that nobody knows
Prompts = Sequence[tuple[Example, list[int]]]


@dataclass(frozen=True)
class Answer:
    """A sampled answer. ids: its stop token among them, where it ended by itself."""

    example: Example
    prompt: list[int]
    ids: list[int]
    ended: bool
    reward: float

    def row(self, slot: int, **extra: tuple[float, ...] | float) -> Row:
        """The row that learns the answer."""
        from tunewright.models.forest import Row

        weights = [0.0] * len(self.prompt) + [1.0] * len(self.ids)
        return Row([*self.prompt, *self.ids], weights, self.example.id, slot=slot, cut=not self.ended, extra=extra)


class OnPolicy(Objective):
    """Samples answers from the model as it is, rewards them, and learns from the comparison."""

    needs: ClassVar[tuple[str, ...]] = ("messages",)
    uses_reference: ClassVar[bool] = True
    on_policy: ClassVar[bool] = True
    after_sft: ClassVar[bool] = True
    rate_share: ClassVar[float] = 0.2

    reward: rewards.RewardChoice | None = Field(
        None,
        validate_default=True,
        description="what is worth how much: a grader, {run: a reward model's run}, or a list, each with a weight",
    )
    group: int = Field(2, ge=1, description="answers to each prompt")
    temperature: float = Field(
        1.0, gt=0, description="of sampling; higher tries more, lower stays with what is likely already"
    )
    max_new_tokens: int = Field(
        128, ge=1, description="longest sampled answer; longer ones are cut there and rewarded as they are"
    )
    updates: int = Field(
        1, ge=1, description="gradient steps on what was sampled; more save sampling, and stray from the policy"
    )

    @field_validator("reward")
    @classmethod
    def _named(cls, reward: rewards.RewardChoice | None) -> rewards.RewardChoice:
        if reward is None:
            raise ValueError("is missing: name a grader, such as 'exact', or a reward model's run, {run: runs/NAME}")
        return reward

    @property
    def repeats(self) -> int:
        """The answers of a group, each learned `updates` times."""
        return self.group * self.updates

    def the_reward(self) -> list[rewards.RewardPart]:
        """The parts of the reward."""
        assert self.reward is not None
        return rewards.parts(self.reward)

    def with_answer(self, example: Example) -> Example:
        """With the expected answer, or a stand-in where none is known."""
        if example.num_answer_messages != 0:
            return example
        said = Message(role="assistant", content=example.expected or STAND_IN)
        return example.model_copy(update={"messages": [*example.messages, said], "num_answer_messages": 1})

    def encode(self, example: Example, chat: Chat, *, max_tokens: int) -> list[Row]:
        """The prompt with the expected answer, in the shape that a sampled answer will have: it is never learned, but
        the prompt is taken from it, and the proofs look at it. A prompt that fills `max_tokens` is left out.
        """
        from tunewright.models.forest import Row

        example = self.with_answer(example)
        turns = chat.chosen_turns(example)
        if not turns or example.messages[len(example.prompt)].weight == 0:
            return []
        turn = turns[0]
        items = [*turn.prompt, *turn.answer][:max_tokens]
        if len(items) <= len(turn.prompt):
            return []
        cut = len(items) < len(turn.prompt) + len(turn.answer)
        weights = [0.0] * len(turn.prompt) + [1.0] * (len(items) - len(turn.prompt))
        return [Row(items, weights, example.id, cut=cut)]

    def longest(self, row: Row) -> int:
        """The tokens that a row may come to have: its prompt, and the longest answer."""
        from tunewright.models.forest import prompt_length

        return prompt_length(row) + self.max_new_tokens

    def collect(
        self,
        model: TunableModel,
        prompts: Prompts,
        *,
        reward: Reward,
        seed: int,
        layout: Layout,
        poll: Callable[[], None],
    ) -> Collected:
        """A group of rewarded answers to each prompt, as units that `learned` makes of them."""
        groups = self.sample(model, prompts, group=self.group, reward=reward, seed=seed, layout=layout, poll=poll)
        units, told = self.learned(model, groups, layout=layout, poll=poll)
        return Collected(units, self.updates, figures(groups) | told)

    def learned(
        self, model: TunableModel, groups: Sequence[Sequence[Answer]], **options: Any
    ) -> tuple[list[list[Row]], dict[str, float]]:
        """The units to learn from, and figures to log. options: those of `with_extra`."""
        raise NotImplementedError

    def sample(
        self,
        model: TunableModel,
        prompts: Prompts,
        *,
        group: int,
        reward: Reward,
        seed: int,
        layout: Layout,
        poll: Callable[[], None],
        greedy: bool = False,
    ) -> list[list[Answer]]:
        """A group of rewarded answers to each prompt. The draws depend on the seed, the prompt's place and the
        answer's. greedy: the likeliest tokens instead.
        """
        from tunewright.models.engine import Engine
        from tunewright.models.sequences import Request

        chat, engine = model.chat, Engine(model)
        places = [(place, number) for place in range(len(prompts)) for number in range(group)]
        live = {}
        # equal beginnings are read together, once
        for place, number in sorted(places, key=lambda at: (prompts[at[0]][1], at)):
            prompt = prompts[place][1]
            live[place, number] = engine.admit(
                Request(
                    prompt,
                    max(1, min(self.max_new_tokens, layout.max_tokens - len(prompt))),
                    temperature=0.0 if greedy else self.temperature,
                    seed=(seed + place * group + number) % 2**63,
                    stop_ids=tuple(chat.stop_ids),
                )
            )
        while not engine.is_idle:
            poll()
            engine.step()
        texts = [chat.answer_text(live[at].ids) for at in places]
        worth = iter(reward([prompts[place][0] for place, _ in places], texts))
        answers: list[list[Answer]] = [[] for _ in prompts]
        for at in places:
            (example, prompt), one = prompts[at[0]], live[at]
            ending = [one.stop_id] if one.stop_id is not None else []
            answers[at[0]].append(Answer(example, prompt, [*one.ids, *ending], bool(ending), next(worth)))
        return answers

    def greedy_reward(
        self, model: TunableModel, prompts: Prompts, *, reward: Reward, layout: Layout, poll: Callable[[], None]
    ) -> float:
        """The mean reward of one greedy answer to each prompt."""
        found = self.sample(model, prompts, group=1, reward=reward, seed=0, layout=layout, poll=poll, greedy=True)
        return sum(group[0].reward for group in found) / len(found)


def figures(answers: Sequence[Sequence[Answer]]) -> dict[str, float]:
    """What to log of a step's answers."""
    import numpy as np

    worth = np.array([answer.reward for group in answers for answer in group])
    flat = [answer for group in answers for answer in group]
    return {
        "reward": float(worth.mean()),
        "reward_std": float(worth.std()),
        "answer_tokens": float(np.mean([len(answer.ids) for answer in flat])),
        "ended": float(np.mean([answer.ended for answer in flat])),
    }


def with_extra(
    model: TunableModel,
    units: Sequence[Sequence[Row]],
    compute: Callable[[Forest], dict[str, torch.Tensor]],
    *,
    layout: Layout,
    poll: Callable[[], None],
) -> list[list[Row]]:
    """The same rows knowing more of each learned token: what `compute` makes of the forests (E each, by name) that a
    gradient step will lay them out as, so that the same code on the same weights gives the same numbers.
    """
    import torch

    known: dict[int, dict[str, tuple[float, ...]]] = {id(row): {} for unit in units for row in unit}
    with torch.no_grad():
        for rows in model.micro_batches(units, layout.micro_tokens, share=layout.share):
            poll()
            forest = model.forest(rows, share=layout.share)
            for name, values_E in compute(forest).items():
                for row, values in zip(rows, values_E.split(lengths(forest)), strict=True):
                    known[id(row)][name] = tuple(values.tolist())
    return [[replace(row, extra={**(row.extra or {}), **known[id(row)]}) for row in unit] for unit in units]


def with_old(
    model: TunableModel, units: Sequence[Sequence[Row]], temperature: float, **options: Any
) -> list[list[Row]]:
    """The same rows knowing the log-prob of each learned token when it was sampled: `old`."""
    return with_extra(model, units, lambda forest: {"old": logprobs(model, forest, temperature)}, **options)


def with_reference(
    model: TunableModel, units: Sequence[Sequence[Row]], temperature: float, **options: Any
) -> list[list[Row]]:
    """The same rows knowing the log-prob of each learned token under the model as this phase started: `reference`."""
    assert model.reference is not None, "a session puts the reference on the model"
    with model.reference.frozen() as frozen:
        return with_extra(frozen, units, lambda forest: {"reference": logprobs(frozen, forest, temperature)}, **options)


def lengths(forest: Forest) -> list[int]:
    """How many learned tokens each row of a forest has."""
    return forest.entry_row_E.bincount(minlength=len(forest.rows)).tolist()


def extra(forest: Forest, name: str) -> torch.Tensor | None:
    """What the rows of a forest know by this name, at each entry (E); None where they do not know it."""
    import torch

    known = [row.extra.get(name) if row.extra else None for row in forest.rows]
    if None in known:
        return None
    values: list[float] = []
    for one, length in zip(known, lengths(forest), strict=True):
        values += one if isinstance(one, tuple) else [one] * length  # type: ignore[list-item]
    return torch.tensor(values, device=forest.device, dtype=torch.float32)


def logprobs(model: TunableModel, forest: Forest, temperature: float) -> torch.Tensor:
    """The log-prob of each entry under the policy that samples at this temperature, E."""
    return model.token_logprobs(forest, temperature=temperature).index_select(0, forest.entry_K)
