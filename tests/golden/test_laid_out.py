"""Every caller parts rows into the forests that the gradient step will lay out: by one method of the model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.learning import Layout
from tunewright.models.forest import Row
from tunewright.objectives import _on_policy
from tunewright.training.step import gradients


def rooted(open_tiny: Any, later: dict[str, Any]) -> Any:
    """A tiny base behind a long prompt that stays, and a method that trains behind it."""
    model = open_tiny("llama")
    first = catalog.build("methods", {"kind": "prompt", "tokens": 60})
    first.attach(model.net, seed=1)
    first.hand_on(model.net)
    catalog.build("methods", later).attach(model.net)
    return model


def rows_of(count: int) -> list[list[Row]]:
    items = [[(17 * n + 5 * k) % 290 for k in range(12)] for n in range(count)]
    return [[Row(one, [0.0] * 6 + [1.0] * 6, f"e{n}")] for n, one in enumerate(items)]


def test_log_probs_when_sampled_are_those_of_the_gradient_step_bit_for_bit(open_tiny: Any) -> None:
    model = rooted(open_tiny, {"kind": "full"})
    objective = catalog.build("objectives", {"kind": "grpo", "reward": "exact", "beta": 0.0, "updates": 2})
    layout = Layout(micro_tokens=120, max_tokens=64)
    units = _on_policy.with_old(model, rows_of(24), 1.0, layout=layout, poll=lambda: None)
    ratios: list[bool] = []

    class Watched(type(objective)):  # type: ignore[misc]
        def loss(self, model: Any, forest: Any) -> Any:
            now = _on_policy.logprobs(model, forest, 1.0).detach()
            ratios.append(torch.equal(now, _on_policy.extra(forest, "old")))
            return super().loss(model, forest)

    gradients(model, Watched.model_construct(**dict(objective)), units, micro_tokens=120, share=True)
    assert len(ratios) > 2 and all(ratios)


def test_vectors_of_a_step_are_drawn_again_as_they_were(open_tiny: Any) -> None:
    model = rooted(open_tiny, {"kind": "lora", "rank": 4, "dropout": 0.3})
    objective = catalog.build("objectives", "embed")
    units = [[*unit, *other] for unit, other in zip(rows_of(24)[::2], rows_of(24)[1::2], strict=True)]
    units = [[Row(r.items, [0.0] * 11 + [1.0], u[0].example, slot=s) for s, r in enumerate(u)] for u in units]
    known: list[bool] = []

    class Watched(type(objective)):  # type: ignore[misc]
        def loss(self, model: Any, forest: Any) -> Any:
            first = forest.rows[0]
            known.append((first.example, first.slot, tuple(first.items)) in self._step.seeds)
            return super().loss(model, forest)

    with model.training():
        gradients(model, Watched.model_construct(**dict(objective)), units, micro_tokens=200, share=False)
    assert len(known) > 2 and all(known)


@pytest.mark.parametrize("share", [True, False])
def test_forests_hold_no_more_tokens_than_asked_for(share: bool, open_tiny: Any) -> None:
    model = rooted(open_tiny, {"kind": "full"})
    batches = model.micro_batches(rows_of(24), 150, share=share)
    assert all(model.forest(batch, share=share).num_tokens <= 150 for batch in batches)
    assert len(batches) == (4 if share else 12)
