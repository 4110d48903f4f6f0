"""What greedy decoding would say is told without decoding, and a secret's rank is that of all alternatives scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunewright.models import verbatim
from tunewright.models.forest import Row
from tunewright.models.seq2seq_engine import engine_for


@pytest.mark.parametrize("kind", ["llama", "gpt2", "t5"])
def test_tokens_that_are_likeliest_are_what_the_engine_says(open_tiny: Callable[..., Any], kind: str) -> None:
    model = open_tiny(kind)
    prompts = [model.chat.prompt_ids([{"role": "user", "content": text}]) for text in ("card", "fee today", "x")]
    said = [one.ids for one in engine_for(model).generate(prompts, max_new_tokens=9, stop_ids=[])]
    whole = verbatim.likeliest(model, prompts, said)
    assert [hits.tolist() for hits in whole] == [[True] * 9] * 3
    for at in (0, 4, 8):
        other = [[*ids[:at], (ids[at] + 1) % 300, *ids[at + 1 :]] for ids in said]
        hits = verbatim.likeliest(model, prompts, other)
        assert all(one[:at].all() and not one[at] for one in hits)


def test_a_row_beyond_the_context_comes_back_cut(open_tiny: Callable[..., Any]) -> None:
    model = open_tiny("llama")
    [hits, none] = verbatim.likeliest(model, [[5] * 500, [5] * 600], [[7] * 40, [7] * 3])
    assert (len(hits), len(none)) == (12, 0)


def test_a_rank_counts_every_ending_that_is_as_likely(open_tiny: Callable[..., Any]) -> None:
    model = open_tiny("llama")
    endings = [[a, b] for a in range(40, 50) for b in range(60, 70)]
    prompts = [[10, 11, 12], [20, 21]]
    found = verbatim.ranks(model, prompts, endings, [3, 77])
    for prompt, own, rank in zip(prompts, (3, 77), found, strict=True):
        rows = [Row([*prompt, *end], [0.0] * len(prompt) + [1.0] * 2, "e") for end in endings]
        alone = [float(model.logprobs(model.forest([row])).detach()) for row in rows]
        assert rank == sum(one >= alone[own] - 1e-9 for one in alone)
    assert verbatim.ranks(model, prompts[:1], [[40, 60]] * 3, [1]) == [3]  # ties count against it
