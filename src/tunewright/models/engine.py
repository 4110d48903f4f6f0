"""The one engine that answers: for evaluation, batch inference, chat and the server. Continuous batching over one base.

Prompts are read as a forest (a beginning shared by many is read once); then every live sequence gets one token a step,
whatever adapter it speaks for. An answer does not depend on its neighbours in the batch beyond float rounding.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from pathlib import Path

import torch

from tunewright.core.errors import DataError
from tunewright.models import given, roots
from tunewright.models.cache import Cache, CacheStep
from tunewright.models.constraints import Grammars
from tunewright.models.fair_queue import FairQueue
from tunewright.models.forest import MIN_SHARE, Forest, common_length, segments
from tunewright.models.prefix_cache import WORTH, Owner, PrefixCache
from tunewright.models.sequences import Generated, Live, Part, Request
from tunewright.models.tunable import TunableModel
from tunewright.models.written_step import WrittenStep

READ_TOKENS = 4096  # forest tokens read at once
LEAST_TOKENS = 64  # read at once at least, however slow reading is
HELD_BYTES = 2**31  # of what waiting prompts share, where nothing is kept beyond that
HELD_TOKENS = 64  # a beginning of this length that a waiting prompt shares is kept for it, and waited for
GUESSED_SPEED = 5000.0  # tokens read a second, before any were
ANSWER_COST = 2.0  # of a token of an answer, in tokens of a prompt, where turns are fair (arXiv 2401.00588, section 5)


class Engine:
    """Answers requests over one model. Not thread-safe: one thread drives it."""

    def __init__(
        self,
        model: TunableModel,
        *,
        max_live: int = 64,
        plain: bool = False,
        keep: int = 0,
        pause: float | None = None,
    ) -> None:
        """plain: only the library's own forward pass, also for nets whose decoding step is written out.

        keep: bytes of keys and values of earlier prompts and answers that are kept for those that begin alike, also
        while nothing is asked; the weights under an adapter's name must then stay as they are. With 0 only what prompts
        that wait share is kept. pause: seconds that live answers may wait while prompts are read; None: reading is not
        parted.
        """
        self.model = model
        self.written = None if plain or model.is_encoder else WrittenStep.of(model, stays=keep > 0)
        self.max_live = max_live
        self.cache = Cache()
        self.live: list[Live] = []
        self.reading: list[Live] = []  # whose prompts are read in part; each has a place
        self.waiting: FairQueue[Live] = FairQueue()
        self.keep = keep
        self.pause = pause
        self.speed = GUESSED_SPEED  # tokens read a second, of late
        self.prefixes = PrefixCache(keep or HELD_BYTES)
        self._loads: dict[str, tuple[Path | None, int]] = {}  # of adapters that were asked: which load of theirs
        self._count = itertools.count()

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
        sequence = Live(request, room=min(request.max_new_tokens, longest - len(request.prompt)))
        if request.grammar:
            sequence.follower = self.grammars.follow(request.grammar, request.stop_ids)
        if request.temperature > 0:
            sequence.generator = torch.Generator().manual_seed(request.seed)
        self.waiting.put(sequence, party=request.party, cost=len(request.prompt))
        return sequence

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.live or self.reading or self.waiting)

    @torch.inference_mode()
    def cancel(self, sequence: Live) -> None:
        """Stop working on a sequence."""
        if sequence in self.live:
            self._retire(sequence)
        elif sequence in self.reading:
            self.reading.remove(sequence)
        else:
            self.waiting.remove(sequence)
        sequence.finish = sequence.finish or "cancelled"
        if self.is_idle:
            self._forget()

    @torch.inference_mode()
    def step(self) -> list[tuple[Live, int]]:
        """One new token for each live sequence, then some tokens of new prompts. Stop tokens are not reported."""
        told: list[tuple[Live, int]] = []
        if self.live:
            cache_step = CacheStep(self.cache, self.model.device)
            adapters = [sequence.request.adapter for sequence in self.live]
            step = self.written.logits if self.written else self.model.step
            logits_BV = step([sequence.ids[-1] for sequence in self.live], cache_step, adapters)
            told += self._take(list(self.live), logits_BV)
        if self.reading or self.waiting:
            told += self._read(self._parts())
        return told

    # --- reading prompts ---

    def _parts(self) -> list[Part]:
        """What is read next: some of every prompt that is being read, then whole prompts as they wait, as far as
        `pause` allows; the last of them may be begun only.
        """
        self.forget_dropped()
        most = READ_TOKENS if self.pause is None else min(READ_TOKENS, max(LEAST_TOKENS, int(self.speed * self.pause)))
        parts = self._further(most // 2 if self.waiting else most)
        begun = len(parts)
        left = most - sum(part.count for part in parts)
        while self.waiting and left > 0 and self._has_place(sequence := self.waiting.first()):
            known = self._known(sequence, parts)
            if known is None:
                break
            fits = sequence.rest - known <= left
            if parts and not fits and (self.pause is None or left < LEAST_TOKENS):
                break
            self.reading.append(self.waiting.take())
            whole = fits or self.pause is None
            parts.append(Part(sequence, sequence.rest if whole else known + left))
            left -= parts[-1].count - known
        return parts if len(parts) > begun else self._further(most)

    def _has_place(self, sequence: Live) -> bool:
        """Whether a sequence may begin: while there is room; and beyond that the first of a party that has no place, so
        that long answers to one do not lock the others out.
        """
        busy = len(self.live) + len(self.reading)
        if busy < self.max_live:
            return True
        party = sequence.request.party
        return busy < 2 * self.max_live and all(s.request.party != party for s in (*self.live, *self.reading))

    def _further(self, left: int) -> list[Part]:
        """More of the prompts that are being read. Each gets a share, and of many the shortest rests the largest, so
        that the first is soon done.
        """
        parts = []
        for place, sequence in enumerate(sorted(self.reading, key=lambda sequence: sequence.rest)):
            count = min(sequence.rest, left // min(4, len(self.reading) - place))
            if count:
                parts.append(Part(sequence, count))
                left -= count
        return parts

    def _known(self, sequence: Live, parts: list[Part]) -> int | None:
        """How many tokens of a prompt will be computed for the one read before it; None: it is better read later, when
        one that begins alike is read to its end. What is kept of earlier prompts becomes its past.
        """
        owner, prompt = self._owner(sequence.request), sequence.request.prompt
        # of what is kept there are keys and values, but no hidden states that say what follows
        sequence.past = None if sequence.request.scores_prompt else self.prefixes.find(owner, prompt)
        sequence.num_read = sequence.cached = sequence.past.size if sequence.past else 0
        whole = {part.sequence for part in parts if part.count == part.sequence.rest}
        for other in self.reading:
            if other in whole or self._owner(other.request) != owner:
                continue
            if common_length(other.request.prompt, prompt) - sequence.num_read >= HELD_TOKENS:
                return None
        if not parts or not parts[-1].goes_with(sequence):
            return 0
        shared = common_length(parts[-1].sequence.request.prompt, prompt) - sequence.num_read
        return max(0, min(shared, parts[-1].count, sequence.rest - 1))

    def _read(self, parts: list[Part]) -> list[tuple[Live, int]]:
        if not parts:
            return []
        began = time.perf_counter()
        self.model.net.eval()  # here alone: walking through all modules costs a step of one sequence a twentieth
        groups: dict[Hashable, list[Part]] = {}
        for part in parts:
            groups.setdefault(part.group, []).append(part)
        parts = [part for group in groups.values() for part in group]
        forest = self._forest(list(groups.values()))
        read = self.model.read(forest, before=[part.sequence.past for part in parts])
        tokens_of = [torch.from_numpy(tokens).to(self.model.device) for tokens in forest.lines]
        done = [n for n, part in enumerate(parts) if part.count == part.sequence.rest]
        told: list[tuple[Live, int]] = []
        if done:
            last_BD = read.hidden_ND.index_select(0, forest.last_tokens()[done])
            fresh = [parts[n].sequence for n in done]
            logits_BV = self.model.logits(last_BD, segments((s.request.adapter, 1) for s in fresh))
            lines = [tokens_of[n] for n in done]
            self.cache.add(read.captured, lines, [s.room for s in fresh], [s.past for s in fresh])
        for part, tokens, own in zip(parts, tokens_of, forest.row_tokens, strict=True):
            if part.sequence.request.scores_prompt:
                given.score(self.model, part, read.hidden_ND, own)
            part.sequence.took(part.count, read.captured, tokens)
        if done:
            self.live += fresh
            self.reading = [sequence for sequence in self.reading if sequence not in fresh]
            self._hold(fresh)
            told = self._take(fresh, logits_BV)
        self.speed += 0.2 * (forest.num_tokens / (time.perf_counter() - began) - self.speed)
        return told

    def _forest(self, groups: list[list[Part]]) -> Forest:
        """What is read together; only what stands behind the same, for one owner, is merged."""
        number = itertools.count()
        rows = [[part.row(next(number)) for part in group] for group in groups]
        if len(groups) == 1 and groups[0][0].sequence.past is None:
            return self.model.forest(rows[0])
        names = [part.sequence.request.adapter for group in groups for part in group]
        sizes = roots.sizes(self.model.net, names)
        laid_out = [{} if group[0].sequence.past else sizes for group in groups]  # a root was read with what is kept
        return Forest.of_groups(rows, device=self.model.device, min_share=MIN_SHARE, roots=laid_out)

    def _owner(self, request: Request) -> Owner:
        name = request.adapter
        folder = self.model.adapters.get(name)
        if name not in self._loads or self._loads[name][0] is not folder:  # each load makes a path of its own
            self._loads[name] = (folder, next(self._count))
        return (request.tenant, name, self._loads[name][1])

    def forget_dropped(self) -> None:
        """Drop what is kept of adapters that are gone, or were loaded anew."""
        gone = {name for name, (folder, _) in self._loads.items() if self.model.adapters.get(name) is not folder}
        if gone:
            self.prefixes.drop(lambda owner: owner[1] in gone)
            for name in gone:
                del self._loads[name]

    def _hold(self, fresh: list[Live]) -> None:
        """Keep what was just read: all of it; or, where nothing is kept for long, what the next prompt shares."""
        first = len(self.live) - len(fresh)
        if self.keep:
            for slot in range(first, len(self.live)):
                self._remember(slot)
            return
        if not self.waiting:
            return
        last, following = fresh[-1], self.waiting.first().request
        shared = min(common_length(last.request.prompt, following.prompt), len(following.prompt) - 1)
        if self._owner(following) == self._owner(last.request) and shared >= max(HELD_TOKENS, last.cached + WORTH):
            self.prefixes.clear()
            self._remember(len(self.live) - 1, shared)
        elif self.prefixes.find(self._owner(following), following.prompt) is None:
            self.prefixes.clear()

    def _remember(self, slot: int, size: int | None = None) -> None:
        """Keep the beginning of a live sequence, or all of it that was read or said."""
        sequence = self.live[slot]
        request = sequence.request
        ids = request.prompt + sequence.ids
        size = self.cache.lengths[slot] - sequence.root if size is None else size
        upto = sequence.root + size
        made = {layer: (key[:, :, :upto], value[:, :, :upto]) for layer, (key, value) in self.cache.of(slot).items()}
        self.prefixes.put(self._owner(request), ids[:size], made)

    def _take(self, sequences: list[Live], logits_BV: torch.Tensor) -> list[tuple[Live, int]]:
        logp_BV = torch.log_softmax(logits_BV, -1) if any(s.request.logprobs for s in sequences) else None
        for number, sequence in enumerate(sequences):
            if sequence.follower:
                sequence.follower.hold(logits_BV[number])
        best = logits_BV.argmax(-1).tolist()
        told = []
        for number, sequence in enumerate(sequences):
            request = sequence.request
            if not sequence.room:
                sequence.finish = "length"
                continue
            token = (
                best[number] if request.temperature <= 0 else _sample(logits_BV[number], request, sequence.generator)
            )
            sequence.finish = sequence.follower.take(token) if sequence.follower else None
            if token in request.stop_ids:
                sequence.finish = sequence.finish or "stop"
                sequence.stop_id = token
                continue
            sequence.ids.append(token)
            self.waiting.charge(request.party, ANSWER_COST)
            if request.logprobs and logp_BV is not None:
                sequence.logprobs.append(float(logp_BV[number, token]))
                top = logp_BV[number].topk(request.likeliest)
                sequence.likeliest = list(zip(top.indices.tolist(), top.values.tolist(), strict=True))
            told.append((sequence, token))
            if len(sequence.ids) >= sequence.room:
                sequence.finish = sequence.finish or "length"
        for sequence in sequences:
            if sequence.finish:
                self._retire(sequence)
        return told

    def _retire(self, sequence: Live) -> None:
        slot = self.live.index(sequence)
        if self.keep:
            self._remember(slot)
        last = self.cache.drop(slot)
        self.live[slot] = self.live[last]
        self.live.pop()
        if not self.live:
            self._forget()

    def _forget(self) -> None:
        """Drop what was made from weights: they may change now."""
        if self.written:
            self.written.forget()
        if self.is_idle:
            self.waiting.forget()
            if not self.keep:
                self.prefixes.clear()

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
        while not self.is_idle:
            self.step()
            done = sum(sequence.finish is not None for sequence in all_.values())
            if progress and done > told:
                told = done
                progress(done)
        return [Generated(all_[i].ids, all_[i].finish or "stop", all_[i].logprobs) for i in range(len(prompts))]


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
