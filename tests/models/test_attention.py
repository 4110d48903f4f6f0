"""Every way of computing attention over a forest gives what a dense mask gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tunewright.models.attention import forest_attention
from tunewright.models.attention_plan import ForestPlan
from tunewright.models.forest import Forest, Row

SHAPES = ["chains", "prompt", "labels", "deep", "twins", "mixed"]


def dense(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, forest: Forest, *, window: int | None = None,
          softcap: float | None = None, sinks: torch.Tensor | None = None) -> torch.Tensor:  # fmt: skip
    """Written out over the whole forest with one mask."""
    n = forest.num_tokens
    at = torch.arange(n)
    sees = (at[None, :] <= at[:, None]) & (at[:, None] < torch.from_numpy(forest.subtree_end)[None, :])
    if window:
        depth = torch.from_numpy(forest.depth)
        sees &= depth[:, None] - depth[None, :] < window
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.transpose(-1, -2) * 0.3
    if softcap:
        scores = torch.tanh(scores / softcap) * softcap
    scores = scores.masked_fill(~sees, float("-inf"))
    if sinks is not None:
        scores = torch.cat([scores, sinks.view(1, -1, 1, 1).expand(1, -1, n, 1)], -1)
    weights = torch.softmax(scores, -1)[..., :n]
    return (weights @ v).transpose(1, 2)


def drawn(forest: Forest, heads: int = 4, groups: int = 2) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, h, forest.num_tokens, 8, generator=draw, dtype=torch.float64) for h in (heads, groups, groups)
    ]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "options", [{}, {"window": 7}, {"softcap": 1.5}, {"sinks": True}, {"window": 5, "sinks": True}], ids=str
)
def test_equals_one_dense_mask(shape: str, options: dict[str, Any], random_rows: Any) -> None:
    forest = Forest.build(random_rows(shape, 3), min_share=1)
    q, k, v = drawn(forest)
    if options.get("sinks"):
        options = {**options, "sinks": torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64)}
    plan = ForestPlan(forest, dtype=torch.float64)
    ours = forest_attention(q, k, v, plan, scaling=0.3, **options)
    assert torch.allclose(
        ours, dense(q, k, v, forest, **options), atol=1e-6 if "sinks" in options or "softcap" in options else 1e-12
    )


def test_a_window_wider_than_any_row_costs_no_mask(random_rows: Any) -> None:
    plan = ForestPlan(Forest.build(random_rows("chains")), dtype=torch.float32)
    assert plan.blocks(4096) is plan.blocks(None)


def test_blocks_cover_the_forest_in_order(random_rows: Any) -> None:
    forest = Forest.build(random_rows("mixed"), min_share=1)
    for window in (None, 9):
        blocks = ForestPlan(forest, dtype=torch.float32).blocks(window)
        assert [block.start for block in blocks] == [0, *[block.stop for block in blocks[:-1]]]
        assert blocks[-1].stop == forest.num_tokens


def test_keys_and_values_are_kept_only_when_asked(open_tiny: Any) -> None:
    model = open_tiny("llama")
    forest = Forest.build([Row([1, 2, 3], [0.0, 1.0, 1.0], "a")])
    with torch.no_grad():
        read = model.read(forest)
    assert sorted(read.captured) == [0, 1, 2]
    assert read.captured[0][0].shape == (1, 2, 3, 8)
    assert torch.equal(read.hidden_ND, model.hidden(forest).detach())
