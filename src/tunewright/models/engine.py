"""The one engine that answers: for evaluation, batch inference, chat and the server. Continuous batching over one base.

Prompts are read as a forest (a beginning shared by many is read once); then every live sequence gets one token a step,
whatever adapter it speaks for. An answer does not depend on its neighbours in the batch beyond float rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from tunewright.core.errors import DataError
from tunewright.models.attention_plan import KeysValues
from tunewright.models.cache import Cache, CacheStep
from tunewright.models.constraints import Follower, Grammars
from tunewright.models.forest import Forest, Row, common_length, segments
from tunewright.models.tunable import TunableModel
from tunewright.models.written_step import WrittenStep

READ_TOKENS = 4096  # forest tokens read at once
HELD_TOKENS = 64  # a beginning of this length that waiting prompts share is kept for them


@dataclass(frozen=True)
class Beginning:
    """What was made of tokens that more prompts begin with."""

    ids: list[int]
    adapter: str
    made: KeysValues

    def of(self, request: Request) -> bool:
        """Whether a prompt begins with it, and goes on."""
        size = len(self.ids)
        return request.adapter == self.adapter and len(request.prompt) > size and request.prompt[:size] == self.ids


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
    grammar: str = ""  # what the answer is held to (models/constraints.py)
    logprobs: bool = False  # keep the log-prob of each token, before temperature and grammar
    likeliest: int = 0  # how many of the likeliest tokens to tell at each place, with `logprobs`


@dataclass(eq=False)
class Live:
    """A request being answered."""

    request: Request
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: str | None = None  # "stop", "length" or "cancelled"
    stop_id: int | None = None  # the stop token it ended with
    likeliest: list[tuple[int, float]] = field(default_factory=list)  # at the place of the newest token, with log-probs
    generator: torch.Generator | None = None
    follower: Follower | None = None


@dataclass(frozen=True)
class Generated:
    """A finished answer: its ids (without the stop token), why it ended, and each one's log-prob (nats), if asked."""

    ids: list[int]
    finish: str
    logprobs: list[float]


class Engine:
    """Answers requests over one model. Not thread-safe: one thread drives it."""

    def __init__(self, model: TunableModel, *, max_live: int = 64, plain: bool = False) -> None:
        """plain: only the library's own forward pass, also for nets whose decoding step is written out."""
        self.model = model
        self.written = None if plain or model.is_encoder else WrittenStep.of(model)
        self.max_live = max_live
        self.cache = Cache()
        self.live: list[Live] = []
        self.waiting: list[Live] = []
        self.held: Beginning | None = None

    @cached_property
    def grammars(self) -> Grammars:
        """What holds answers to a grammar."""
        return Grammars(self.model.chat, self.model.net.get_output_embeddings().weight.shape[0])

    # --- continuous batching ---

    def admit(self, request: Request) -> Live:
        """Queue a request; `step` works on it. Raises DataError when prompt and answer exceed the model's context."""
        longest = self.model.longest(request.adapter)
        if len(request.prompt) >= longest:
            raise DataError(
                f"The prompt has {len(request.prompt)} tokens; the model reads at most {longest - 1}. Shorten it."
            )
        if not request.prompt:
            raise DataError("The prompt is empty. Send at least one message.")
        sequence = Live(request)
        if request.grammar:
            sequence.follower = self.grammars.follow(request.grammar, request.stop_ids)
        if request.temperature > 0:
            sequence.generator = torch.Generator().manual_seed(request.seed)
        self.waiting.append(sequence)
        return sequence

    @torch.inference_mode()
    def cancel(self, sequence: Live) -> None:
        """Stop working on a sequence."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        elif sequence in self.live:
            self._retire(sequence)
        sequence.finish = sequence.finish or "cancelled"

    @torch.inference_mode()
    def step(self) -> list[tuple[Live, int]]:
        """One new token for each live sequence, new ones admitted first. Stop tokens are not reported."""
        told: list[tuple[Live, int]] = []
        if self.live:
            cache_step = CacheStep(self.cache, self.model.device)
            adapters = [sequence.request.adapter for sequence in self.live]
            step = self.written.logits if self.written else self.model.step
            logits_BV = step([sequence.ids[-1] for sequence in self.live], cache_step, adapters)
            told += self._take(list(self.live), logits_BV)
        if self.waiting and len(self.live) < self.max_live:
            told += self._read(self._next())
        return told

    def _next(self) -> list[Live]:
        """Waiting sequences to be read together: all behind the beginning that is held, or none."""
        chosen: list[Live] = []
        tokens = 0
        if self.held and not any(self.held.of(s.request) for s in self.waiting):
            self.held = None
        behind = self._is_behind(self.waiting[0])
        while self.waiting and len(self.live) + len(chosen) < self.max_live:
            first = self.waiting[0]
            prompt = first.request.prompt
            known = common_length(chosen[-1].request.prompt, prompt) if chosen else len(self._past) * behind
            tokens += len(prompt) - known
            if chosen and (tokens > READ_TOKENS or self._is_behind(first) != behind):
                break
            chosen.append(self.waiting.pop(0))
        return chosen

    @property
    def _past(self) -> list[int]:
        return self.held.ids if self.held else []

    def _is_behind(self, sequence: Live) -> bool:
        return self.held is not None and self.held.of(sequence.request)

    def _read(self, fresh: list[Live]) -> list[tuple[Live, int]]:
        self.model.net.eval()  # here alone: walking through all modules costs a step of one sequence a twentieth
        held = self.held if self._is_behind(fresh[0]) else None
        past = len(held.ids) if held else 0
        rests = [(s.request.prompt[past:], s.request.adapter) for s in fresh]
        rows = [Row(rest, [0.0] * len(rest), str(i), adapter) for i, (rest, adapter) in enumerate(rests)]
        # a root was read with what is held
        forest = Forest.build(rows, device=self.model.device) if held else self.model.forest(rows)
        read = self.model.read(forest, before=held.made if held else None)
        last_BD = read.hidden_ND.index_select(0, forest.last_tokens())
        logits_BV = self.model.logits(last_BD, segments((s.request.adapter, 1) for s in fresh))
        tokens_of = [torch.from_numpy(tokens).to(self.model.device) for tokens in forest.lines]
        made = read.captured
        if held:
            known = held.made[0][0].shape[2]
            first = torch.arange(known, device=self.model.device)
            tokens_of = [torch.cat([first, tokens + known]) for tokens in tokens_of]
            made = {layer: _joined(held.made[layer], new) for layer, new in made.items()}
        elif self.waiting:
            self._hold(fresh, made, tokens_of)
        self.cache.add(made, tokens_of, [self._room(s.request) for s in fresh])
        self.live += fresh
        return self._take(fresh, logits_BV)

    def _hold(self, fresh: list[Live], made: KeysValues, tokens_of: list[torch.Tensor]) -> None:
        """Keep what the prompts just read share with the next one, if it is long enough to be worth it."""
        following, last = self.waiting[0].request, fresh[-1].request
        shared = min(common_length(last.prompt, following.prompt), len(following.prompt) - 1)
        if following.adapter == last.adapter and shared >= HELD_TOKENS:
            kept = tokens_of[-1][: len(tokens_of[-1]) - len(last.prompt) + shared]  # with the root
            parts = {layer: (k.index_select(2, kept), v.index_select(2, kept)) for layer, (k, v) in made.items()}
            self.held = Beginning(last.prompt[:shared], last.adapter, parts)

    def _room(self, request: Request) -> int:
        return max(1, min(request.max_new_tokens, self.model.longest(request.adapter) - len(request.prompt)))

    def _take(self, sequences: list[Live], logits_BV: torch.Tensor) -> list[tuple[Live, int]]:
        logp_BV = torch.log_softmax(logits_BV, -1) if any(s.request.logprobs for s in sequences) else None
        for number, sequence in enumerate(sequences):
            if sequence.follower:
                sequence.follower.hold(logits_BV[number])
        best = logits_BV.argmax(-1).tolist()
        told = []
        for number, sequence in enumerate(sequences):
            request = sequence.request
            token = (
                best[number] if request.temperature <= 0 else _sample(logits_BV[number], request, sequence.generator)
            )
            sequence.finish = sequence.follower.take(token) if sequence.follower else None
            if token in request.stop_ids:
                sequence.finish = sequence.finish or "stop"
                sequence.stop_id = token
                continue
            sequence.ids.append(token)
            if request.logprobs and logp_BV is not None:
                sequence.logprobs.append(float(logp_BV[number, token]))
                top = logp_BV[number].topk(request.likeliest)
                sequence.likeliest = list(zip(top.indices.tolist(), top.values.tolist(), strict=True))
            told.append((sequence, token))
            if len(sequence.ids) >= self._room(request):
                sequence.finish = sequence.finish or "length"
        for sequence in sequences:
            if sequence.finish:
                self._retire(sequence)
        return told

    def _retire(self, sequence: Live) -> None:
        slot = self.live.index(sequence)
        last = self.cache.drop(slot)
        self.live[slot] = self.live[last]
        self.live.pop()
        if not self.live:
            self._forget()

    def _forget(self) -> None:
        """Drop what was made from weights: they may change now."""
        if self.written:
            self.written.forget()
        if not self.waiting:
            self.held = None

    # --- whole answers ---

    def generate(
        self,
        prompts: Sequence[list[int]],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
        stop_ids: Sequence[int] | None = None,
        adapters: Sequence[str] | None = None,
        grammar: str = "",
        logprobs: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> list[Generated]:
        """Answer every prompt; order is kept. progress is told how many are done, and may raise to stop.

        seeds: of each prompt, where temperature draws; left out, they go up from `seed`.
        """
        stops = tuple(self.model.chat.stop_ids if stop_ids is None else stop_ids)
        names = adapters or [""] * len(prompts)
        # neighbours with the same beginning are read together, which costs their beginning once
        order = sorted(range(len(prompts)), key=lambda i: (names[i], prompts[i]))
        all_: dict[int, Live] = {}
        for i in order:
            all_[i] = self.admit(
                Request(
                    list(prompts[i]),
                    max_new_tokens,
                    temperature=temperature,
                    top_p=top_p,
                    top_k=top_k,
                    seed=seeds[i] if seeds else seed + i,
                    stop_ids=stops,
                    adapter=names[i],
                    grammar=grammar,
                    logprobs=logprobs,
                )
            )
        told = 0
        while self.live or self.waiting:
            self.step()
            done = sum(sequence.finish is not None for sequence in all_.values())
            if progress and done > told:
                told = done
                progress(done)
        return [Generated(all_[i].ids, all_[i].finish or "stop", all_[i].logprobs) for i in range(len(prompts))]


def _joined(
    first: tuple[torch.Tensor, torch.Tensor], second: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values (1GND) one behind the other."""
    return torch.cat([first[0], second[0]], 2), torch.cat([first[1], second[1]], 2)


def _sample(logits_V: torch.Tensor, request: Request, generator: torch.Generator | None) -> int:
    """Draw a token: temperature, the top_k likeliest, nucleus sampling (Holtzman et al. 2019, section 3.1)."""
    logits_V = logits_V.double().cpu()
    if 0 < request.top_k < len(logits_V):
        values, index = logits_V.topk(request.top_k)
        logits_V = torch.full_like(logits_V, float("-inf")).index_copy_(0, index, values)
    # the best logit is moved to 0, so that a temperature next to 0 divides no large number
    probs = torch.softmax((logits_V - logits_V.max()) / max(request.temperature, 1e-6), -1)
    if request.top_p < 1:
        ordered, index = probs.sort(descending=True)
        keep = ordered.cumsum(-1) - ordered < request.top_p
        probs = torch.zeros_like(probs).index_copy_(0, index, ordered * keep)
    return int(torch.multinomial(probs, 1, generator=generator))
