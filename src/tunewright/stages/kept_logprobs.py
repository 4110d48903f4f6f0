"""Log-probs that guards ask for, kept as they come: a stop loses none, and the same row is never read twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunewright.core import storage
from tunewright.core.example import Example
from tunewright.stages import perplexity

if TYPE_CHECKING:
    from tunewright.models.tunable import TunableModel

AT_ONCE = 256  # rows whose figures are kept together


def logprobs(
    path: Path,
    identity: str,
    model: Callable[[], TunableModel],
    examples: Sequence[Example],
    *,
    poll: Callable[[int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """As `perplexity.logprobs`, going on from a file where an earlier look stopped.

    identity: tells the model apart; figures of another one are dropped. model: opened when first needed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    storage.keep_rows(path, lambda row: row["model"] == identity)
    kept = {row["key"]: (row["sum"], row["tokens"]) for row in storage.read_jsonl(path)}
    keys = [storage.digest(one.model_dump(include={"messages", "tools", "text"})) for one in examples]
    waiting = {key: example for key, example in zip(keys, examples, strict=True) if key not in kept}
    names, rows = list(waiting), list(waiting.values())
    done = len(examples) - len(rows)
    for start in range(0, len(rows), AT_ONCE):
        poll(done + start)
        sums, counts = perplexity.logprobs(model(), rows[start : start + AT_ONCE], poll=lambda _: poll(done))
        for key, total, tokens in zip(names[start:], sums.tolist(), counts.tolist(), strict=False):
            kept[key] = (None if math.isnan(total) else total, tokens)
            storage.append_jsonl(path, {"key": key, "model": identity, "sum": kept[key][0], "tokens": tokens})
    found = [kept[key] for key in keys]
    return (
        np.array([math.nan if total is None else total for total, _ in found], float),
        np.array([tokens for _, tokens in found], int),
    )
