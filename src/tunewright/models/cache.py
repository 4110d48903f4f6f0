"""Keys and values of live sequences: one slot each, kept compact, so that a decoding step is one call per layer.

Shape letters: B live sequences, G key/value heads, H heads, T capacity in tokens, D head size.
"""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa

from tunewright.models.attention import written_out


class Cache:
    """Grows in both directions as needed; slot i of every layer belongs to live sequence i."""

    def __init__(self) -> None:
        self.keys: dict[int, torch.Tensor] = {}  # layer -> BGTD
        self.values: dict[int, torch.Tensor] = {}
        self.lengths: list[int] = []

    def add(
        self, captured: dict[int, tuple[torch.Tensor, torch.Tensor]], tokens_of: list[torch.Tensor], room: list[int]
    ) -> None:
        """Take over the keys and values (each 1GND) of a forest for new sequences.

        tokens_of: for each new sequence its positions in the forest. room: how many tokens each may still grow by.
        """
        first = len(self.lengths)
        self.lengths += [len(tokens) for tokens in tokens_of]
        need = max(len(tokens) + more for tokens, more in zip(tokens_of, room, strict=True))
        for layer, (key, value) in captured.items():
            for store, new in ((self.keys, key), (self.values, value)):
                held = self._grown(store.get(layer), new, len(self.lengths), need)
                for slot, tokens in enumerate(tokens_of, first):
                    held[slot, :, : len(tokens)] = new[0].index_select(1, tokens)
                store[layer] = held

    @staticmethod
    def _grown(held: torch.Tensor | None, like: torch.Tensor, slots: int, tokens: int) -> torch.Tensor:
        _, heads, _, size = like.shape
        if held is not None and held.shape[0] >= slots and held.shape[2] >= tokens:
            return held
        old_slots, old_tokens = (held.shape[0], held.shape[2]) if held is not None else (0, 0)
        slots = slots if slots <= old_slots else max(slots, 2 * old_slots)
        tokens = max(old_tokens, -(-tokens // 64) * 64)
        grown = like.new_zeros(max(slots, old_slots), heads, tokens, size)
        if held is not None:
            grown[:old_slots, :, :old_tokens] = held
        return grown

    def drop(self, slot: int) -> int:
        """Free a slot: the last sequence moves into it. Returns the slot that moved."""
        last = len(self.lengths) - 1
        if slot != last:
            length = self.lengths[last]
            for store in (self.keys, self.values):
                for held in store.values():
                    held[slot, :, :length] = held[last, :, :length]
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
        self.slots_B = torch.arange(len(cache.lengths), device=device)
        self.longest = max(cache.lengths) + 1
        self._masks: dict[int | None, torch.Tensor] = {}

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
        """query 1HBD, key and value 1GBD; returns 1BHD. Keys and values are written into the cache."""
        heads, batch, size = query.shape[1:]
        groups = key.shape[1]
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        keys[self.slots_B, :, self.at_B] = key[0].transpose(0, 1)
        values[self.slots_B, :, self.at_B] = value[0].transpose(0, 1)
        keys, values = keys[:batch, :, : self.longest], values[:batch, :, : self.longest]
        q, mask = query[0].transpose(0, 1), self._mask(window, query.dtype)
        if softcap is not None or sinks is not None:
            out = written_out(q[:, :, None], keys, values, mask, scaling, softcap, sinks, dropout=0.0)
        else:
            grouped = q.reshape(batch, groups, heads // groups, size)  # query heads of a group as queries
            out = sdpa(grouped, keys, values, attn_mask=mask, scale=scaling)
        return out.reshape(1, batch, heads, size)

    def _mask(self, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        if window not in self._masks:
            k = torch.arange(self.longest, device=self.at_B.device)[None, :]
            sees = k <= self.at_B[:, None]
            if window is not None:
                sees &= k > self.at_B[:, None] - window
            mask = torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill_(~sees, float("-inf"))
            self._masks[window] = mask[:, None, None, :]
        return self._masks[window]

    def finish(self) -> None:
        """Count the new tokens, after the last layer."""
        self.cache.lengths = [length + 1 for length in self.cache.lengths]
