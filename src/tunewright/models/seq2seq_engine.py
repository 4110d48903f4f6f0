"""The engine of encoder-decoders: the same requests and answers as models/engine.py, over the library's own cache.

Prompts that wait together are read and answered together: a cohort, whose answers are all equally long. New prompts
make new cohorts, beside those that are being answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from tunewright.models.engine import READ_TOKENS, Engine
from tunewright.models.seq2seq import Seq2Seq, States
from tunewright.models.sequences import Live
from tunewright.models.tunable import TunableModel


def engine_for(model: TunableModel, *, max_live: int = 64, keep: int = 0, pause: float | None = None) -> Engine:
    """The engine that answers with this model. keep, pause: see `Engine`; an encoder reads prompts whole."""
    if isinstance(model, Seq2Seq):
        return Seq2SeqEngine(model, max_live=max_live)
    return Engine(model, max_live=max_live, keep=keep, pause=pause)


@dataclass
class Cohort:
    """Answers of one adapter, all equally long so far."""

    sequences: list[Live]
    states: States
    cache: Any

    def keep_open(self) -> None:
        """Drop the sequences that are over."""
        kept = [place for place, sequence in enumerate(self.sequences) if sequence.finish is None]
        if len(kept) == len(self.sequences):
            return
        self.sequences = [self.sequences[place] for place in kept]
        if kept:
            states_BTD, mask_BT = self.states
            index = torch.tensor(kept, device=states_BTD.device)
            self.states = states_BTD[index], None if mask_BT is None else mask_BT[index]
            self.cache.batch_select_indices(index)


class Seq2SeqEngine(Engine):
    """Answers requests over one encoder-decoder. Not thread-safe: one thread drives it."""

    def __init__(self, model: Seq2Seq, *, max_live: int = 64) -> None:
        super().__init__(model, max_live=max_live, plain=True)
        self.paired = model
        self.cohorts: list[Cohort] = []

    @torch.inference_mode()
    def step(self) -> list[tuple[Live, int]]:
        """One new token for each live sequence, new ones admitted first. Stop tokens are not reported."""
        self.model.net.eval()
        told: list[tuple[Live, int]] = []
        for cohort in self.cohorts:
            cohort.keep_open()
        self.cohorts = [cohort for cohort in self.cohorts if cohort.sequences]
        for cohort in self.cohorts:
            told += self._said(cohort, [sequence.ids[-1] for sequence in cohort.sequences])
        if self.waiting and len(self.live) < self.max_live:
            cohort = self._read_together(self._next())
            told += self._said(cohort, [self.paired.start_id] * len(cohort.sequences), first=True)
        return told

    def _next(self) -> list[Live]:
        """The first of the waiting sequences that ask the same adapter."""
        adapter = self.waiting.first().request.adapter
        chosen: list[Live] = []
        longest = 0
        while self.waiting and len(self.live) + len(chosen) < self.max_live:
            request = self.waiting.first().request
            longest = max(longest, len(request.prompt))
            if request.adapter != adapter or (chosen and longest * (len(chosen) + 1) > READ_TOKENS):
                break
            chosen.append(self.waiting.take())
        return chosen

    def _read_together(self, fresh: list[Live]) -> Cohort:
        from transformers import DynamicCache, EncoderDecoderCache

        states = self.paired.waiting_states([s.request.prompt for s in fresh], fresh[0].request.adapter)
        cohort = Cohort(list(fresh), states, EncoderDecoderCache(DynamicCache(), DynamicCache()))
        self.live += fresh
        self.cohorts.append(cohort)
        return cohort

    def _said(self, cohort: Cohort, ids: list[int], *, first: bool = False) -> list[tuple[Live, int]]:
        adapter = cohort.sequences[0].request.adapter
        logits_BV = self.paired.next_logits(ids, cohort.states, cohort.cache, adapter)
        settings: Any = self.model.net.generation_config
        if first and settings.forced_bos_token_id is not None:  # some of BART's kin are made to begin with <s>
            free = [place for place, sequence in enumerate(cohort.sequences) if sequence.follower is None]
            logits_BV[free] = float("-inf")
            logits_BV[free, settings.forced_bos_token_id] = 0.0
        return self._take(list(cohort.sequences), logits_BV)

    def _retire(self, sequence: Live) -> None:
        self.live.remove(sequence)  # its cohort drops it at the next step
