"""What frozen layers made of a row once is as good as computing it again: the same loss, the same gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.models.upper import StoredHidden
from tunewright.training import frozen
from tunewright.training.step import gradients

ARCHITECTURES = ["llama", "gpt2", "qwen2", "qwen3", "mistral", "gemma2", "gpt_oss"]
METHODS = {"last_layers": {"kind": "last_layers", "layers": 1}, "lora": {"kind": "lora", "rank": 4, "layers": 1}}


def nudged(net: Any) -> None:
    """Move what trains a little, so that LoRA's B is not zero and no gradient vanishes."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)


def stored_for(model: Any, units: Any, folder: Path) -> StoredHidden:
    found = frozen.store(model, [units[::2], units[1::2]], micro_tokens=150, folder=folder, poll=lambda done: None)
    assert found is not None
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_loss_and_gradient_with_stored_layers(
    kind: str, method: str, open_tiny: Any, random_rows: Any, gradients_of: Any, gap: Any, tmp_path: Path
) -> None:
    """Stored in forests of 150 tokens, learned in others; the frozen layers' weights are NaN by then."""
    objective, model = catalog.build("objectives", "sft"), open_tiny(kind)
    catalog.build("methods", METHODS[method]).attach(model.net, seed=0)
    nudged(model.net)
    units = [[row] for row in random_rows("mixed", 6)[::3]]

    def step(rows: list[Any], share: bool) -> tuple[float, dict[str, torch.Tensor]]:
        loss = gradients(model, objective, rows, micro_tokens=400, share=share)[0]
        return loss, {name: g for name, g in gradients_of(model.net).items() if g.any()}

    chosen = [units[1::2], units[::3]]
    plain = [step(rows, share) for rows in chosen for share in (True, False)]
    model.stored = stored_for(model, units, tmp_path)
    assert model.stored.below >= 1 and not list(tmp_path.iterdir())
    with torch.no_grad():
        for layer in model.stored.layers[: model.stored.below]:
            for parameter in layer.parameters():
                parameter.fill_(float("nan"))
    fast = [step(rows, share) for rows in chosen for share in (True, False)]
    for (loss, gradient), (truth, true_gradient) in zip(fast, plain, strict=True):
        assert loss == pytest.approx(truth, rel=1e-6)
        assert gap(gradient, true_gradient) <= 1e-5


def test_stored_layers_equal_the_plain_library(
    open_tiny: Any, open_plain: Any, random_rows: Any, row_by_row: Any, gradients_of: Any, gap: Any, tmp_path: Path
) -> None:
    units = [[row] for row in random_rows("mixed", 7)[::3]]
    rows = [row for unit in units for row in unit]
    method = catalog.build("methods", METHODS["last_layers"])
    model, plain = open_tiny("llama"), method.attach(open_plain("llama"))
    method.attach(model.net)
    model.stored = stored_for(model, units, tmp_path)
    truth = -row_by_row(plain, rows).sum() / sum(sum(row.weights) for row in rows)
    truth.backward()
    objective = catalog.build("objectives", "sft")
    loss, *_ = gradients(model, objective, units, micro_tokens=300, share=True)
    assert loss == pytest.approx(truth.item(), rel=1e-6)
    assert gap(gradients_of(model.net), gradients_of(plain)) <= 1e-5


def test_rows_that_are_not_known_are_computed(open_tiny: Any, random_rows: Any, tmp_path: Path) -> None:
    objective, model = catalog.build("objectives", "sft"), open_tiny("llama")
    catalog.build("methods", METHODS["lora"]).attach(model.net, seed=0)
    known, unknown = ([[row] for row in random_rows("chains", seed)] for seed in (1, 2))
    truth = gradients(model, objective, unknown, micro_tokens=300, share=True)[0]
    model.stored = stored_for(model, known, tmp_path)
    assert gradients(model, objective, unknown, micro_tokens=300, share=True)[0] == truth


def test_nothing_is_stored_where_something_below_learns(open_tiny: Any, random_rows: Any, tmp_path: Path) -> None:
    model = open_tiny("llama")
    catalog.build("methods", METHODS["last_layers"]).attach(model.net)
    scale = torch.ones((), requires_grad=True)  # learned below, and no parameter tells of it
    model.net.get_input_embeddings().register_forward_hook(lambda module, given, out: out * scale)
    units: list[Any] = [[row] for row in random_rows("chains", 1)]
    poll: Callable[[int], None] = lambda done: None  # noqa: E731
    assert frozen.store(model, [units], micro_tokens=150, folder=tmp_path, poll=poll) is None
