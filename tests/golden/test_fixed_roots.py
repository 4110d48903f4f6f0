"""A base's own root, which an earlier training learned: fixed before every row, whatever trains behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.errors import DataError
from tunewright.core.recipe import ModelOptions
from tunewright.models import own_weights, roots
from tunewright.models.bases import weights_digest
from tunewright.models.forest import Row
from tunewright.models.opening import open_model

ROOTS: list[dict[str, Any]] = [
    {"kind": "prompt", "tokens": 5},
    {"kind": "prefix", "tokens": 5},
    {"kind": "prefix", "tokens": 5, "reparametrise": True, "hidden": 6},
]
IDS = ["prompt", "prefix", "network"]
LATER: list[dict[str, Any]] = [
    {"kind": "full"},
    {"kind": "lora", "rank": 4},
    {"kind": "last_layers", "layers": 1},
    {"kind": "bitfit", "norms": True},
    {"kind": "gradual"},
    {"kind": "ia3"},
    {"kind": "bottleneck", "reduction": 2},
    {"kind": "peft", "tuner": "LOHA", "options": {"r": 4, "target_modules": "all-linear"}},
    {"kind": "peft", "tuner": "TRAINABLE_TOKENS", "options": {"token_indices": [3, 5, 7, 30, 31, 90]}},
]


@pytest.fixture(scope="module")
def rooted(open_tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """rooted(options, kind): the folder of a tiny base with a root of its own, away from where it began."""
    made: dict[str, Path] = {}

    def folder(options: dict[str, Any], kind: str = "llama") -> Path:
        key = f"{kind}{options}"
        if key not in made:
            model = open_tiny(kind)
            method = catalog.build("methods", options)
            method.attach(model.net, seed=3)
            draw = torch.Generator().manual_seed(3)
            with torch.no_grad():
                for parameter in roots.find(model.net, "default").parameters():
                    parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.3)
            method.hand_on(model.net)
            made[key] = tmp_path_factory.mktemp("rooted")
            model.save(made[key])
        return made[key]

    return folder


def opened(folder: Path) -> Any:
    return open_model(ModelOptions(base=str(folder)))


def their_logprobs(net: Any, rows: Sequence[Row]) -> torch.Tensor:
    """Each row alone, through PEFT's model of plain weights and the root beside them; R, differentiable."""
    out = []
    for row in rows:
        logits = net(input_ids=torch.tensor([row.items])).logits[0, -len(row.items) : -1]
        logp = torch.log_softmax(logits, -1).gather(1, torch.tensor(row.items)[1:, None])[:, 0]
        out.append((logp * torch.tensor(row.weights[1:], dtype=logp.dtype)).sum())
    return torch.stack(out)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2", "gemma2"])
def test_loss_and_gradient_of_full_tuning_are_those_of_rows_behind_the_embeddings(
    kind: str, rooted: Any, open_plain: Any, random_rows: Any, gap: Any, gradients_of: Any
) -> None:
    rows = random_rows("mixed", 1)[::3]
    folder = rooted(ROOTS[0], kind)
    model, net = opened(folder), open_plain(kind)
    catalog.build("methods", "full").attach(model.net)
    table = roots.fixed(model.net).table
    total = torch.zeros(())
    for row in rows:  # one at a time through the library's own forward pass
        words = net.get_input_embeddings()(torch.tensor(row.items))
        logits = net(inputs_embeds=torch.cat([table, words])[None], use_cache=False).logits[0, len(table) : -1]
        logp = torch.log_softmax(logits, -1).gather(1, torch.tensor(row.items)[1:, None])[:, 0]
        total = total - (logp * torch.tensor(row.weights[1:])).sum()
    loss = model.loss_sum(model.forest(rows))
    assert float(loss.detach()) == pytest.approx(float(total.detach()), rel=1e-6)
    loss.backward()
    total.backward()
    assert gap(gradients_of(model.net), gradients_of(net)) <= 1e-5
    assert table.grad is None and not table.requires_grad


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("options", ROOTS, ids=IDS)
def test_plain_weights_and_the_root_beside_them_open_with_peft(
    options: dict[str, Any], kind: str, rooted: Any, random_rows: Any
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    rows = random_rows("deep", 1)[::3]
    folder = rooted(options, kind)
    net = AutoModelForCausalLM.from_pretrained(folder).eval()
    model = opened(folder)
    with torch.no_grad():
        bare = their_logprobs(net, rows)
        theirs = their_logprobs(PeftModel.from_pretrained(net, folder / "root").eval(), rows)
        ours = model.logprobs(model.forest(rows))
        roots.leave_out(model.net, "bare")
        named = [Row(row.items, row.weights, row.example, adapter="bare") for row in rows]
        off = model.logprobs(model.forest(named))
        both = model.logprobs(model.forest([*named, *rows]))
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-4)
    assert torch.allclose(off, bare, rtol=1e-5, atol=1e-4)
    assert torch.allclose(both, torch.cat([off, ours]), rtol=1e-5, atol=1e-4)
    assert not torch.allclose(off, ours, atol=1e-2)


@pytest.mark.parametrize("later", LATER, ids=[one.get("tuner", one["kind"]) for one in LATER])
@pytest.mark.parametrize("options", ROOTS[:2], ids=IDS[:2])
def test_a_later_training_moves_weights_and_no_bit_of_the_root(
    options: dict[str, Any], later: dict[str, Any], rooted: Any, random_rows: Any, tmp_path: Path
) -> None:
    rows = random_rows("mixed", 1)[::3]
    model = opened(rooted(options))
    before = own_weights.digests(model.net, {roots.FIXED})
    method = catalog.build("methods", later)
    method.attach(model.net)
    trained = [parameter for group in method.groups(model.net, 0.05) for parameter in group["params"]]
    table = roots.fixed(model.net).table
    assert all(parameter is not table for parameter in model.net.parameters())
    optimizer = torch.optim.AdamW(trained, lr=0.05)
    losses = []
    for _ in range(4):
        loss = model.loss_sum(model.forest(rows))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert own_weights.digests(model.net, {roots.FIXED}) == before and len(before) == 1
    method.save(model.net, tmp_path / "saved")
    again = opened(rooted(options))
    method.attach(again.net)
    method.load(again.net, tmp_path / "saved")
    with torch.no_grad():
        said = model.logprobs(model.forest(rows))
        assert torch.equal(again.logprobs(again.forest(rows)), said)
        if not method.mergeable:
            return
        method.merge(again.net)
        again.save(tmp_path / "merged")
        merged = opened(tmp_path / "merged")
        assert torch.allclose(merged.logprobs(merged.forest(rows)), said, rtol=1e-5, atol=1e-4)
    assert own_weights.digests(merged.net, {roots.FIXED}) == before


@pytest.mark.parametrize("options", ROOTS[:2], ids=IDS[:2])
def test_a_forest_behind_a_fixed_root_is_its_rows_alone(
    options: dict[str, Any], rooted: Any, random_rows: Any, gap: Any, gradients_of: Any
) -> None:
    rows = random_rows("mixed", 2)[::2]
    model = opened(rooted(options))
    model.net.double()
    catalog.build("methods", "full").attach(model.net)
    together = model.loss_sum(model.forest(rows))
    together.backward()
    gradient = gradients_of(model.net)
    total = 0.0
    for row in rows:
        loss = model.loss_sum(model.forest([row]))
        loss.backward()
        total += float(loss.detach())
    assert float(together.detach()) == pytest.approx(total, rel=1e-9)
    assert gap(gradient, gradients_of(model.net)) <= 1e-6


def test_the_model_as_a_phase_started_has_the_root(rooted: Any, random_rows: Any) -> None:
    rows = random_rows("mixed", 1)[::3]
    model = opened(rooted(ROOTS[0]))
    with torch.no_grad():
        base = model.logprobs(model.forest(rows))
        method = catalog.build("methods", {"kind": "lora", "rank": 4})
        method.attach(model.net)
        for name, parameter in model.net.named_parameters():
            if ".B." in name:
                parameter.add_(0.1)
        forest = model.forest(rows)
        assert not torch.allclose(model.logprobs(forest), base, atol=1e-2)
        with method.off(model.net):
            assert torch.equal(model.logprobs(forest), base)
        beside = model.beside()
        assert beside.longest() == 512 - 5 and roots.fixed(beside.net).table is roots.fixed(model.net).table


def test_a_root_is_part_of_what_an_adapter_was_trained_on(rooted: Any, tiny: Any, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(rooted(ROOTS[0]), tmp_path / "without")
    shutil.rmtree(tmp_path / "without" / "root")
    assert weights_digest(str(tmp_path / "without")) == weights_digest(str(tiny("llama")))
    assert weights_digest(str(rooted(ROOTS[0]))) != weights_digest(str(tiny("llama")))


def test_no_second_root_of_a_base(rooted: Any, tmp_path: Path) -> None:
    model = opened(rooted(ROOTS[0]))
    method = catalog.build("methods", ROOTS[1])
    method.attach(model.net)
    with pytest.raises(DataError, match="no second one"):
        method.hand_on(model.net)
