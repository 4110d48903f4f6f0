"""Heads: what they compute, that they are kept, and that they leave the net beside them alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.errors import DataError
from tunewright.core.parts import Head
from tunewright.core.recipe import ModelOptions
from tunewright.models import heads
from tunewright.models.forest import Forest, Row
from tunewright.models.opening import open_model
from tunewright.models.tunable import TunableModel

PROMPT = [(7 * n) % 290 for n in range(20)]
ROWS = [Row([*PROMPT, *ending], [0.0] * 21 + [1.0] * (len(ending) - 1), f"e{n}")
        for n, ending in enumerate(([1, 2, 3], [1, 4], [5, 6, 7, 8]))]  # fmt: skip


@pytest.fixture
def model(open_tiny: Callable[..., TunableModel]) -> TunableModel:
    return open_tiny("llama")


def plain_hidden(model: TunableModel, items: list[int]) -> torch.Tensor:
    """Hidden states of one row by the library's own forward pass."""
    net: Any = model.net
    return net.model(input_ids=torch.tensor([items]), use_cache=False).last_hidden_state[0]


@pytest.mark.parametrize("pool", ["last", "first", "mean", "tokens"])
def test_outputs_are_the_layer_over_the_pooled_hidden_states(model: TunableModel, pool: str) -> None:
    layer = heads.attach_head(model.net, Head(3, "classify", pool=pool), seed=4)
    assert layer is not None and layer.bias is not None
    layer.bias.data += torch.tensor([0.1, -0.2, 0.3])
    forest = Forest.build(ROWS)
    assert forest.num_tokens < forest.num_row_tokens  # the prompt is shared
    found = model.outputs(forest)
    rows = [plain_hidden(model, row.items) for row in ROWS]
    pooled = {
        "last": torch.stack([hidden[-1] for hidden in rows]),
        "first": torch.stack([hidden[0] for hidden in rows]),
        "mean": torch.stack([hidden.mean(0) for hidden in rows]),
        "tokens": torch.cat([hidden[21:] for hidden in rows]),
    }[pool]
    assert torch.allclose(found, pooled @ layer.weight.T + layer.bias, atol=1e-5)


def test_a_seed_draws_the_same_head_again(open_tiny: Callable[..., TunableModel]) -> None:
    first, again, other = (
        heads.attach_head(open_tiny("llama").net, Head(2, "reward", bias=False), seed=seed) for seed in (1, 1, 2)
    )
    assert first is not None and again is not None and other is not None and first.bias is None
    assert torch.equal(first.weight, again.weight) and not torch.equal(first.weight, other.weight)


@pytest.mark.parametrize("method", catalog.kinds("methods"))
def test_every_method_keeps_a_head_trainable_and_out_of_what_it_saves(
    model: TunableModel,
    method: str,
    tmp_path: Path,
    open_tiny: Callable[..., TunableModel],
    part_options: dict[str, dict[str, Any]],
) -> None:
    part = catalog.build("methods", {"kind": method, **part_options.get(method, {})})
    part.attach(model.net, seed=1)
    layer = heads.attach_head(model.net, Head(2, "classify"), seed=1)
    assert layer is not None
    grouped = {id(p) for group in part.groups(model.net, 1e-3) for p in group["params"]}
    assert {id(p) for p in layer.parameters()} <= grouped
    part.save(model.net, tmp_path)
    heads.save_head(model.net, tmp_path)
    again = open_tiny("llama")
    part.attach(again.net, seed=2)
    part.load(again.net, tmp_path)
    heads.load_head(again.net, tmp_path)
    forest = Forest.build(ROWS)
    assert torch.equal(again.outputs(forest), model.outputs(forest))


def test_a_saved_net_is_the_librarys_own_and_opens_with_its_head(model: TunableModel, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    heads.attach_head(model.net, Head(4, "classify"), seed=3)
    model.save(tmp_path)
    assert not [name for name in load_file(tmp_path / "model.safetensors") if "head" in name and "lm_head" not in name]
    again = open_model(ModelOptions(base=str(tmp_path)))
    forest = Forest.build(ROWS)
    assert torch.equal(again.outputs(forest), model.outputs(forest))


def test_several_heads_hang_on_one_net(model: TunableModel) -> None:
    heads.attach_head(model.net, Head(2, "classify"), seed=1, name="one:001")
    heads.attach_head(model.net, Head(5, "classify"), seed=1, name="two.x:001")
    forest = Forest.build(ROWS)
    assert model.outputs(forest, adapter="one:001").shape == (3, 2)
    assert model.outputs(forest, adapter="two.x:001").shape == (3, 5)
    heads.drop_head(model.net, "one:001")
    with pytest.raises(DataError, match=r"no head 'one:001' \(it has: two\.x:001\)"):
        model.outputs(forest, adapter="one:001")


def test_a_head_of_the_same_kind_is_gone_on_with_and_another_is_not(model: TunableModel) -> None:
    first = heads.attach_head(model.net, Head(2, "classify"), seed=1)
    assert heads.attach_head(model.net, Head(2, "classify"), seed=9) is first
    assert heads.attach_head(model.net, Head(1, "value"), seed=9) is not first


def test_a_head_of_another_kind_is_not_loaded(model: TunableModel, tmp_path: Path) -> None:
    heads.attach_head(model.net, Head(2, "classify"), seed=1)
    heads.save_head(model.net, tmp_path)
    heads.attach_head(model.net, Head(3, "classify"), seed=1)
    with pytest.raises(DataError, match="Train again"):
        heads.load_head(model.net, tmp_path)


def test_an_adapter_whose_head_is_broken_leaves_nothing(
    model: TunableModel, open_tiny: Callable[..., TunableModel], tmp_path: Path
) -> None:
    part = catalog.build("methods", {"kind": "lora", "rank": 2})
    part.attach(model.net, seed=1)
    layer = heads.attach_head(model.net, Head(3, "classify"), seed=4)
    assert layer is not None
    part.save(model.net, tmp_path)
    for weight in (float("nan"), 1.0):
        layer.weight.data[0, 0] = weight
        heads.save_head(model.net, tmp_path)
        fresh = open_tiny("llama")
        before = [name for name, _ in fresh.net.named_modules()]
        if weight == 1:
            fresh.load_adapter("mine", tmp_path)
            assert list(heads.heads(fresh.net)) == ["mine"]
            continue
        with pytest.raises(DataError, match="not finite"):
            fresh.load_adapter("mine", tmp_path)
        assert [name for name, _ in fresh.net.named_modules()] == before and not fresh.adapters
