"""The head never holds full logits, and applies what the architecture does to them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tunewright.models import head
from tunewright.models.forest import Forest, Row


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(("count", "vocabulary"), [(0, 10), (1, 10), (1000, 32000), (7, 10**8)])
def test_chunks_cover_every_token_once_within_the_budget(count: int, vocabulary: int, device: str) -> None:
    found = head.chunks(count, vocabulary, torch.device(device))
    assert [n for at in found for n in range(at.start, at.stop)] == list(range(count))
    assert all((at.stop - at.start) * vocabulary <= max(head.CHUNK_ELEMENTS[device], vocabulary) for at in found)


def test_loss_and_logprobs_agree(open_tiny: Any, random_rows: Any) -> None:
    forest = Forest.build(random_rows("mixed", 8)[::4])
    for kind in ("llama", "gemma2"):
        model = open_tiny(kind)
        with torch.no_grad():
            assert model.loss_sum(forest).item() == pytest.approx(-model.logprobs(forest).sum().item(), rel=1e-5)
            logp = model.token_logprobs(forest)
            assert model.loss_sum(forest).item() == pytest.approx(-(logp * forest.weight_K).sum().item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_right_tokens_are_those_that_no_other_is_likelier_than(open_tiny: Any, random_rows: Any, kind: str) -> None:
    model, rows = open_tiny(kind), random_rows("mixed", 8)
    for row in rows[:2]:  # some tokens that the model would say
        with torch.no_grad():
            said = model.logits(model.hidden(Forest.build([row]))).argmax(-1)
        row.items[1:] = said[:-1].tolist()
    forest, right, learned = Forest.build(rows), 0.0, 0.0
    for row in rows:
        with torch.no_grad():
            said = model.logits(model.hidden(Forest.build([row]))).argmax(-1).tolist()
        for place in range(1, len(row.items)):
            learned += row.weights[place]
            right += row.weights[place] * (row.items[place] == said[place - 1])
    with torch.no_grad():
        _, found = model.loss_and_right(forest)
    assert float(forest.weight_K.sum()) == pytest.approx(learned)
    assert float(found) == pytest.approx(right) and 0 < right < learned


def test_final_soft_cap_bounds_logits(open_tiny: Any) -> None:
    model = open_tiny("gemma2")
    with torch.no_grad():
        logits = model.logits(100 * model.hidden(Forest.build([Row([1, 2, 3], [0.0, 1.0, 1.0], "a")])))
    assert 2.9 < logits.abs().max() <= 3.0


def test_looking_at_a_loss_makes_no_gradients(open_tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    real = head.WeightedNLL.forward

    def watched(ctx: Any, *given: Any) -> torch.Tensor:
        asked.extend(ctx.needs_input_grad)
        return real(ctx, *given)

    monkeypatch.setattr(head.WeightedNLL, "forward", staticmethod(watched))
    model = open_tiny("llama")
    forest = Forest.build([Row([1, 2, 3], [0.0, 1.0, 1.0], "a")])
    with torch.no_grad():
        model.loss_sum(forest)
    assert asked and not any(asked)
    model.loss_sum(forest)
    assert any(asked)


def test_a_frozen_head_gets_no_gradient(open_tiny: Any) -> None:
    model = open_tiny("llama")
    layer = model.net.get_output_embeddings()
    layer.requires_grad_(False)
    model.loss_sum(Forest.build([Row([1, 2, 3], [0.0, 1.0, 1.0], "a")])).backward()
    assert layer.weight.grad is None
    assert model.net.get_input_embeddings().weight.grad is not None
