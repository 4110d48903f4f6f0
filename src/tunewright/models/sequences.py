"""What an engine works on: requests, their answers as they grow, and the parts in which prompts are read."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import torch

from tunewright.models.attention_plan import KeysValues, Past
from tunewright.models.constraints import Follower
from tunewright.models.forest import Row


@dataclass(frozen=True)
class Request:
    """A prompt and how to answer it. temperature 0 takes the likeliest token; top_k keeps so many of the likeliest (0:
    all), top_p the smallest set of that mass among them.
    """

    prompt: list[int]
    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    stop_ids: tuple[int, ...] = ()
    adapter: str = ""
    tenant: str = ""  # whose prompt it is: what is kept of it serves nobody else
    party: str = ""  # who takes turns with others
    grammar: str = ""  # what the answer is held to (models/constraints.py)
    logprobs: bool = False  # keep the log-prob of each token, before temperature and grammar
    likeliest: int = 0  # how many of the likeliest tokens to tell at each place, with `logprobs`
    scores_prompt: bool = False  # keep the log-prob of each token of the prompt too, but for the first


@dataclass(eq=False)
class Live:
    """A request being answered."""

    request: Request
    room: int  # tokens that its answer may have
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: str | None = None  # "stop", "length" or "cancelled"
    stop_id: int | None = None  # the stop token it ended with
    likeliest: list[tuple[int, float]] = field(default_factory=list)  # at the place of the newest token, with log-probs
    given: list[float] = field(default_factory=list)  # log-probs of the prompt's tokens from the second on
    likeliest_given: list[list[tuple[int, float]]] = field(default_factory=list)  # at their places
    generator: torch.Generator | None = None
    follower: Follower | None = None
    past: Past | None = None  # while it is read: what stands before the rest
    num_read: int = 0  # tokens of the prompt that are read or were kept
    cached: int = 0  # those that were kept
    root: int = 0  # learned tokens before it

    @property
    def rest(self) -> int:
        """Tokens of the prompt that are still to be read."""
        return len(self.request.prompt) - self.num_read

    def took(self, count: int, captured: KeysValues, tokens: torch.Tensor) -> None:
        """Count tokens that were read; captured and the places of its line in it become part of its past while more is
        to come.
        """
        past, self.past = self.past, None
        self.root = past.root if past else len(tokens) - count
        self.num_read += count
        if self.rest:
            made = {layer: (k.index_select(2, tokens), v.index_select(2, tokens)) for layer, (k, v) in captured.items()}
            if past:
                made = {layer: _joined(past.made[layer], new) for layer, new in made.items()}
            self.past = Past(made, size=self.num_read, root=self.root)


@dataclass(frozen=True)
class Part:
    """How many tokens of a prompt are read in one step."""

    sequence: Live
    count: int

    @property
    def group(self) -> Hashable:
        """Parts of the same group may share what they have in common."""
        request, past = self.sequence.request, self.sequence.past
        return request.tenant, request.adapter if past else "", id(past.made) if past else 0

    def goes_with(self, other: Live) -> bool:
        """Whether a prompt read beside it shares what both begin with."""
        mine, theirs = self.sequence, other
        same = mine.request.tenant == theirs.request.tenant and mine.request.adapter == theirs.request.adapter
        return same and (mine.past.made if mine.past else None) is (theirs.past.made if theirs.past else None)

    def row(self, number: int) -> Row:
        """Its tokens, to be read."""
        sequence = self.sequence
        items = sequence.request.prompt[sequence.num_read : sequence.num_read + self.count]
        return Row(items, [0.0] * len(items), str(number), sequence.request.adapter)


@dataclass(frozen=True)
class Generated:
    """A finished answer: its ids (without the stop token), why it ended, and each one's log-prob (nats), if asked."""

    ids: list[int]
    finish: str
    logprobs: list[float]


def _joined(
    first: tuple[torch.Tensor, torch.Tensor], second: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values (1GND) one behind the other."""
    return torch.cat([first[0], second[0]], 2), torch.cat([first[1], second[1]], 2)
