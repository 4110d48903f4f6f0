"""Rows of new tokens with every method: they alone change in the vocabulary, and come back as they were saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tunewright.core import catalog
from tunewright.core.errors import CannotMerge, DataError, RecipeError
from tunewright.core.example import Example, Message
from tunewright.core.parts import Method
from tunewright.core.recipe import ModelOptions, TrainOptions
from tunewright.models import adapters, estimate, new_rows, new_tokens
from tunewright.models.engine import Engine
from tunewright.models.forest import Row
from tunewright.models.opening import open_chat, open_model
from tunewright.models.own_weights import digests
from tunewright.models.tunable import TunableModel
from tunewright.training.encoding import encode
from tunewright.training.step import Stepper

TOKENS = ("<order>", "</order>")
SAID = [("where is my card", "<order>card</order>"), ("and the parcel?", "<order>parcel</order> today")]
KINDS = ("llama", "qwen2", "gpt2", "gemma2")  # untied; tied; tied with other names; with changed logits
WHOLE = ("full", "gradual")  # train the base's own rows too, in the end
CELLS = [(kind, "llama") for kind in catalog.kinds("methods")]
CELLS += [(kind, base) for kind in ("lora", "full", "gradual", "last_layers", "prompt") for base in KINDS[1:]]


def grown(tiny: Callable[[str], Path], base: str) -> TunableModel:
    return open_model(ModelOptions(base=str(tiny(base)), new_tokens=TOKENS))


def attached(model: TunableModel, method: Method) -> TunableModel:
    method.attach(model.net, seed=1)
    new_rows.attach(model.net, thaws=method.thaws)
    return model


def probe(model: TunableModel) -> torch.Tensor:
    """Log-probs of a row with both new tokens in it, read and said."""
    first = model.chat.new.first  # type: ignore[union-attr]
    ids = [(13 * n) % 290 for n in range(20)]
    row = Row([*ids[:5], first, *ids[5:12], first + 1, first, *ids[12:]], [0.0] + [1.0] * 22, "probe")
    with torch.no_grad():
        return model.token_logprobs(model.forest([row]))


@dataclass
class Trained:
    """One method on one base after a few steps."""

    method: Method
    base: str
    model: TunableModel
    before: torch.Tensor
    frozen: dict[str, str]
    rows_before: dict[str, torch.Tensor]


def rows_of(model: TunableModel) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.net.named_parameters() if new_rows.is_of_rows(name)}


@pytest.fixture(scope="module", params=CELLS, ids=["-".join(cell) for cell in CELLS])
def trained(
    request: pytest.FixtureRequest, tiny: Callable[[str], Path], part_options: dict[str, dict[str, Any]]
) -> Trained:
    kind, base = request.param
    method = catalog.build("methods", {"kind": kind, **part_options.get(kind, {})})
    model = grown(tiny, base)
    method.quantise(model.net)
    before = probe(model)
    attached(model, method)
    frozen, rows_before = digests(model.net), rows_of(model)
    objective = catalog.build("objectives", "sft")
    examples = [
        Example(id=str(n), messages=[Message(role="user", content=q), Message(role="assistant", content=a)])
        for n, (q, a) in enumerate(SAID)
    ]
    units = encode(examples, objective, model.chat, max_tokens=128).units
    stepper = Stepper(model, method, objective, TrainOptions(lr=1e-2, micro_tokens=60))
    for step in range(5):
        method.at(model.net, step=step + 1, total=5, per_epoch=1)
        assert stepper.take(units, factor=1.0, seed=step).taken
    return Trained(method, base, model, before, frozen, rows_before)


def test_new_rows_train_and_no_other_row_of_a_frozen_base_does(trained: Trained) -> None:
    model, rows = trained.model, rows_of(trained.model)
    now = digests(model.net, set(trained.frozen))
    assert {name: now[name] for name in trained.frozen} == trained.frozen
    matrices = dict(new_tokens.matrices(model.net))
    expected = 0 if trained.method.kind == "full" else len(matrices)
    assert len(rows) == expected
    for name, value in rows.items():
        assert value.shape == (2, 32)
        assert (value != trained.rows_before[name]).any(1).all(), "each token is read and said"
    if trained.method.kind not in WHOLE:
        assert not any(matrix.weight.requires_grad for matrix in matrices.values())


def test_what_is_saved_comes_back_and_holds_rows_alone(
    trained: Trained, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    method, model = trained.method, trained.model
    method.save(model.net, tmp_path)
    new_rows.save(model.net, tmp_path)
    found = {key: t for file in tmp_path.glob("*.safetensors") for key, t in load_file(file).items()}
    rows = [t for key, t in found.items() if key.endswith(".trainable_tokens_delta")]
    assert [tuple(t.shape) for t in rows] == [(2, 32)] * len(rows_of(model))
    if method.kind not in WHOLE:
        assert not any(len(t) > 300 and t.dim() == 2 for t in found.values()), "no whole vocabulary is saved"
    again = grown(tiny, trained.base)
    method.quantise(again.net)
    method.load(attached(again, method).net, tmp_path)
    new_rows.load(again.net, tmp_path)
    torch.testing.assert_close(probe(again), probe(model), atol=1e-5, rtol=0)


def test_merged_it_is_a_plain_model_with_the_same_words(trained: Trained, tiny: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    method = trained.method
    if method.quantised:
        pytest.skip("merged into the base as it was before: held by the merge proof")
    method.save(trained.model.net, tmp_path / "saved")
    new_rows.save(trained.model.net, tmp_path / "saved")
    again = attached(grown(tiny, trained.base), method)
    method.load(again.net, tmp_path / "saved")
    new_rows.load(again.net, tmp_path / "saved")
    if not method.mergeable:
        with pytest.raises(CannotMerge):
            method.merge(again.net)
        return
    method.merge(again.net)
    new_rows.merge(again.net)
    again.save(tmp_path / "merged")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    ids = tokenizer.encode("pay <order>card</order>", add_special_tokens=False)
    assert {*again.chat.new.ids} <= {*ids} and tokenizer.decode(ids, skip_special_tokens=True) == "pay <order>card</order>"
    row = Row([1, *ids, 2], [0.0] + [1.0] * (len(ids) + 1), "one")
    with torch.no_grad():
        logp = torch.log_softmax(plain(torch.tensor([row.items])).logits[0, :-1], -1)
        ours = trained.model.token_logprobs(trained.model.forest([row]))
    theirs = logp.gather(1, torch.tensor(row.items[1:])[:, None])[:, 0]
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)


def test_switched_off_it_is_the_base_with_new_tokens_at_their_start(trained: Trained) -> None:
    try:
        with trained.method.off(trained.model.net):
            torch.testing.assert_close(probe(trained.model), trained.before, atol=1e-5, rtol=0)
    except CannotMerge:
        assert not trained.method.has_adapter
    else:
        assert not torch.equal(probe(trained.model), trained.before)


def test_the_estimate_counts_what_trains(trained: Trained, tiny: Callable[[str], Path]) -> None:
    new = trained.model.chat.new
    facts = estimate.facts(str(tiny(trained.base)), new_tokens=new.ids)
    plain = estimate.facts(str(tiny(trained.base)))
    matrices = 1 if trained.base != "llama" else 2
    assert facts.parameters - plain.parameters == 2 * 32 * matrices
    counted = estimate.work(facts, trained.method).trainable
    if trained.method.kind != "gradual":  # whose matrices train beside, later
        assert counted == sum(p.numel() for p in trained.model.net.parameters() if p.requires_grad)
        assert counted - estimate.work(plain, trained.method).trainable == 2 * 32 * matrices
