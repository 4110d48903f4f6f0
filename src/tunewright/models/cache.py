"""Keys and values of live sequences: one slot each, kept compact, so that a decoding step is one call per layer.

Shape letters: B live sequences, G key/value heads, H heads, T capacity in tokens, D head size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa

from tunewright.models.attention import written_out
from tunewright.models.attention_plan import KeysValues, Past


class Cache:
    """Grows in both directions as needed; slot i of every layer belongs to live sequence i."""

    def __init__(self) -> None:
        self.keys: dict[int, torch.Tensor] = {}  # layer -> BTGD
        self.values: dict[int, torch.Tensor] = {}
        self.lengths: list[int] = []

    def add(
        self, captured: KeysValues, tokens_of: list[torch.Tensor], room: list[int], pasts: Sequence[Past | None]
    ) -> None:
        """Take over the keys and values (each 1GND) of a forest for new sequences.

        tokens_of: for each new sequence its positions in the forest. room: how many tokens each may still grow by.
        pasts: what stands before it.
        """
        first = len(self.lengths)
        known = [past.length if past else 0 for past in pasts]
        lengths = [before + len(tokens) for before, tokens in zip(known, tokens_of, strict=True)]
        self.lengths += lengths
        need = max(length + more for length, more in zip(lengths, room, strict=True))
        for layer, (key, value) in captured.items():
            for side, (store, new) in enumerate(((self.keys, key), (self.values, value))):
                new_NGD = new[0].transpose(0, 1).contiguous()
                held = self._grown(store.get(layer), new_NGD, len(self.lengths), need)
                for number, (tokens, past) in enumerate(zip(tokens_of, pasts, strict=True)):
                    slot, before, length = first + number, known[number], lengths[number]
                    if past:
                        held[slot, :before] = past.made[layer][side][0].transpose(0, 1)
                    torch.index_select(new_NGD, 0, tokens, out=held[slot, before:length])
                    held[slot, length:].zero_()  # what a mask hides must be numbers
                store[layer] = held

    @staticmethod
    def _grown(held: torch.Tensor | None, like: torch.Tensor, slots: int, tokens: int) -> torch.Tensor:
        if held is not None and held.shape[0] >= slots and held.shape[1] >= tokens:
            return held
        old_slots, old_tokens = held.shape[:2] if held is not None else (0, 0)
        slots = slots if slots <= old_slots else max(slots, 2 * old_slots)
        tokens = max(old_tokens, -(-tokens // 64) * 64)
        grown = like.new_empty(max(slots, old_slots), tokens, *like.shape[1:])
        if held is not None:
            grown[:old_slots, :old_tokens] = held
            grown[:old_slots, old_tokens:].zero_()
        return grown

    def of(self, slot: int) -> KeysValues:
        """The keys and values of a sequence, 1GND, in the cache's own memory."""
        length = self.lengths[slot]
        return {
            layer: (held[slot, :length].transpose(0, 1)[None], self.values[layer][slot, :length].transpose(0, 1)[None])
            for layer, held in self.keys.items()
        }

    def drop(self, slot: int) -> int:
        """Free a slot: the last sequence moves into it. Returns the slot that moved."""
        last = len(self.lengths) - 1
        if slot != last:
            length = self.lengths[last]
            for store in (self.keys, self.values):
                for held in store.values():
                    held[slot, :length] = held[last, :length]
            self.lengths[slot] = self.lengths[last]
        self.lengths.pop()
        if not self.lengths:
            self.keys.clear()
            self.values.clear()
        return last


class CacheStep:
    """One decoding step: the newest token of every live sequence."""

    def __init__(self, cache: Cache, device: torch.device) -> None:
        self.cache = cache
        self.at_B = torch.tensor(cache.lengths, device=device)
        self.longest = max(cache.lengths) + 1
        self._places_B: torch.Tensor | None = None
        self._masks: dict[int | None, torch.Tensor | None] = {}

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scaling: float | None,
        window: int | None,
        softcap: float | None,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        """query 1HBD, key and value 1GBD, as the library hands them over; returns 1BHD."""
        q_BHD, k_BGD, v_BGD = (part[0].transpose(0, 1) for part in (query, key, value))
        return self.attend_rows(
            layer, q_BHD, k_BGD, v_BGD, scaling=scaling, window=window, softcap=softcap, sinks=sinks
        )[None]

    def attend_rows(
        self,
        layer: int,
        q_BHD: torch.Tensor,
        k_BGD: torch.Tensor,
        v_BGD: torch.Tensor,
        *,
        scaling: float | None,
        window: int | None,
        softcap: float | None = None,
        sinks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """BHD. Keys and values are written into the cache."""
        batch, heads, size = q_BHD.shape
        groups = k_BGD.shape[1]
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        for held, new in ((keys, k_BGD), (values, v_BGD)):
            held.view(-1, groups, size).index_copy_(0, self._places(held), new)
        keys, values = (held[:batch, : self.longest].transpose(1, 2) for held in (keys, values))
        mask = self._mask(window, q_BHD.dtype)
        if softcap is not None or sinks is not None:
            return written_out(q_BHD[:, :, None], keys, values, mask, scaling, softcap, sinks, dropout=0.0).view(
                q_BHD.shape
            )
        grouped = q_BHD.reshape(batch, groups, heads // groups, size)  # query heads of a group as queries
        return sdpa(grouped, keys, values, attn_mask=mask, scale=scaling).reshape(q_BHD.shape)

    def _places(self, held: torch.Tensor) -> torch.Tensor:
        """Where the new tokens stand, slots and tokens counted through; the same in every layer."""
        if self._places_B is None:
            self._places_B = self.at_B + torch.arange(len(self.at_B), device=held.device) * held.shape[1]
        return self._places_B

    def _mask(self, window: int | None, dtype: torch.dtype) -> torch.Tensor | None:
        if window is not None and window >= self.longest:
            window = None
        if window not in self._masks:
            k = torch.arange(self.longest, device=self.at_B.device)[None, :]
            sees = k <= self.at_B[:, None]
            if window is not None:
                sees &= k > self.at_B[:, None] - window
            mask = torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill_(~sees, float("-inf"))
            even = window is None and min(self.cache.lengths) + 1 == self.longest
            self._masks[window] = None if even else mask[:, None, None, :]
        return self._masks[window]

    def finish(self) -> None:
        """Count the new tokens, after the last layer."""
        self.cache.lengths = [length + 1 for length in self.cache.lengths]
