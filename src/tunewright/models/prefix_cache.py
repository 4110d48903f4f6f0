"""Keys and values of beginnings of prompts, kept so that the next prompt that begins alike is not read again.

A radix tree for each owner, as in RadixAttention (Zheng et al. 2024, arXiv 2312.07104, section 3): a run of tokens
without a branch is a node, and those used least lately go first, leaves before what they stand on. Owners never share:
another tenant's prompt, or the same one under another adapter, finds nothing. Shape letters: see attention_plan.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from tunewright.models.attention_plan import KeysValues, Past
from tunewright.models.forest import common_length

WORTH = 16  # a shared beginning shorter than this is not worth looking up
Owner = tuple[str, str, int]  # tenant, adapter, and which load of it


@dataclass(eq=False)
class Run:
    """Tokens and what was made of them. The top of an owner's tree has no tokens, but perhaps a learned root."""

    ids: list[int]
    made: KeysValues
    above: Run | None = None
    below: dict[int, Run] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Memory of its keys and values."""
        return sum(part.numel() * part.element_size() for pair in self.made.values() for part in pair)


class PrefixCache:
    """At most `max_bytes` of keys and values."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._tops: dict[Owner, Run] = {}
        self._last: tuple[Run, int, Past] | None = None  # what was found last: neighbours find the same
        self._used: dict[Run, Owner] = {}  # least lately used first; what a run stands on comes after it

    def find(self, owner: Owner, prompt: list[int]) -> Past | None:
        """What is known of the longest beginning of a prompt, its last token apart."""
        top = self._tops.get(owner)
        if top is None:
            return None
        path, size = self._walk(top, prompt[:-1])
        rest = size - sum(len(run.ids) for run in path[:-1])
        if rest < len(path[-1].ids):  # inside a run only every so many tokens count, so that many prompts share a past
            rest -= size % WORTH
            if rest <= 0:
                path, rest = path[:-1], len(path[-2].ids)
        size = sum(len(run.ids) for run in path[:-1]) + rest
        if size < WORTH:
            return None
        self._touch(path)
        if self._last is None or self._last[:2] != (path[-1], rest):
            pieces = [run.made for run in path[:-1] if run.made]
            whole = rest == len(path[-1].ids)
            pieces.append(path[-1].made if whole else _part(path[-1].made, 0, rest))
            self._last = path[-1], rest, Past(_together(pieces), size=size, root=_length(top.made))
        return self._last[2]

    def put(self, owner: Owner, ids: list[int], made: KeysValues) -> None:
        """Keep what was made of tokens, and of the learned root before them. Copies what is not there yet."""
        self._last = None
        root = _length(made) - len(ids)
        if owner not in self._tops:
            self._tops[owner] = self._added(owner, Run([], _copied(made, 0, root) if root else {}))
        path, size = self._walk(self._tops[owner], ids)
        last = path[-1]
        inside = size - sum(len(run.ids) for run in path[:-1])
        if inside < len(last.ids) and size < len(ids):
            path[-1] = last = self._split(owner, last, inside)
        if size < len(ids):
            run = Run(ids[size:], _copied(made, root + size, root + len(ids)), above=last)
            last.below[ids[size]] = self._added(owner, run)
            path.append(run)
        self._touch(path)
        while self.bytes > self.max_bytes:
            self._remove(next(iter(self._used)))

    def drop(self, is_over: Callable[[Owner], bool]) -> None:
        """Forget all of some owners."""
        self._last = None
        for run in [run for run, owner in self._used.items() if is_over(owner)]:
            self._remove(run)

    def clear(self) -> None:
        """Forget everything."""
        self._tops, self._used, self._last, self.bytes = {}, {}, None, 0

    def _walk(self, top: Run, ids: list[int]) -> tuple[list[Run], int]:
        """The runs that a beginning of the ids goes through, and how many tokens that is; the last may be part only."""
        path, size = [top], 0
        while size < len(ids) and (run := path[-1].below.get(ids[size])) is not None:
            path.append(run)
            size += common_length(run.ids, ids[size : size + len(run.ids)])
            if size < sum(len(run.ids) for run in path):
                break
        return path, size

    def _split(self, owner: Owner, run: Run, at: int) -> Run:
        """Part a run in two; the upper one."""
        assert run.above is not None
        total = len(run.ids)
        upper = Run(run.ids[:at], _copied(run.made, 0, at), above=run.above)
        run.above.below[run.ids[0]] = upper
        self.bytes -= run.bytes
        run.ids, run.made, run.above = run.ids[at:], _copied(run.made, at, total), upper
        self.bytes += run.bytes
        upper.below[run.ids[0]] = run
        return self._added(owner, upper)

    def _added(self, owner: Owner, run: Run) -> Run:
        self.bytes += run.bytes
        self._used[run] = owner
        return run

    def _touch(self, path: list[Run]) -> None:
        for run in reversed(path):
            self._used[run] = self._used.pop(run)

    def _remove(self, run: Run) -> None:
        owner = self._used.pop(run)
        self.bytes -= run.bytes
        if run.above is None:
            del self._tops[owner]
        else:
            del run.above.below[run.ids[0]]


def _length(made: KeysValues) -> int:
    return made[next(iter(made))][0].shape[2] if made else 0


def _part(made: KeysValues, start: int, stop: int) -> KeysValues:
    return {layer: (key[:, :, start:stop], value[:, :, start:stop]) for layer, (key, value) in made.items()}


def _copied(made: KeysValues, start: int, stop: int) -> KeysValues:
    """Tokens start..stop-1 in memory of their own."""

    def copied(part: torch.Tensor) -> torch.Tensor:
        return part.clone(memory_format=torch.contiguous_format)

    return {layer: (copied(key), copied(value)) for layer, (key, value) in _part(made, start, stop).items()}


def _together(pieces: list[KeysValues]) -> KeysValues:
    if len(pieces) == 1:
        return pieces[0]
    return {
        layer: (torch.cat([p[layer][0] for p in pieces], 2), torch.cat([p[layer][1] for p in pieces], 2))
        for layer in pieces[0]
    }
