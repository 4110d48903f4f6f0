"""Labels after prompts score like rows alone, and the best one is found without computing them all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tunewright.core import catalog
from tunewright.models import lora_layers, scoring
from tunewright.models.engine import Engine
from tunewright.models.forest import Row

SYSTEM = [(11 * n) % 290 for n in range(40)]
PROMPTS = [[(13 * n + k) % 290 for n in range(size)] for k, size in enumerate((5, 31, 12, 40, 7, 31))]
PROMPTS += [[*SYSTEM, *rest] for rest in ([1, 2], [1, 9], [77], [1, 2], [])]
ENDINGS = [[5, 6, 2], [5, 7, 2], [5, 6, 8, 9, 2], [100, 2], [2], [5, 7, 2], [5, 6]]
ARCHITECTURES = ["llama", "gpt2", "qwen2", "qwen3", "mistral", "gemma2", "gpt_oss"]


def alone(row_by_row: Any, net: Any, prompts: Any, endings: Any) -> torch.Tensor:
    """Prompts x endings, each computed as a row of its own by the transformers library."""
    rows = [
        Row([*prompt, *ending], [0.0] * len(prompt) + [1.0] * len(ending), "a")
        for prompt in prompts
        for ending in endings
    ]
    with torch.no_grad():
        return row_by_row(net, rows).view(len(prompts), len(endings)).double()


def labels(seed: int, count: int, *, letters: int) -> list[list[int]]:
    draw = np.random.default_rng(seed)
    return [[*draw.integers(3, 3 + letters, int(draw.integers(4, 7))).tolist(), 2] for _ in range(count)]


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_scores_are_those_of_rows_alone(kind: str, open_tiny: Any, open_plain: Any, row_by_row: Any) -> None:
    told: list[int] = []
    found = scoring.scores(open_tiny(kind), PROMPTS, ENDINGS, progress=told.append)
    truth = alone(row_by_row, open_plain(kind), PROMPTS, ENDINGS)
    assert torch.allclose(torch.tensor(found, dtype=torch.float64), truth, rtol=1e-6, atol=1e-5)
    assert told[-1] == len(PROMPTS)


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("letters", [2, 40])
def test_the_best_label_is_the_first_with_the_highest_score(kind: str, letters: int, open_tiny: Any) -> None:
    model, endings = open_tiny(kind), labels(letters, 60, letters=letters)
    truth = [row.index(max(row)) for row in scoring.scores(model, PROMPTS, endings)]
    assert scoring.best(model, PROMPTS, endings) == truth
    assert len(set(truth)) > 1


@pytest.mark.parametrize("read_tokens", [50, 300])
def test_chunks_change_no_answer(read_tokens: int, open_tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, endings = open_tiny("llama"), labels(0, 30, letters=9)
    whole, best = scoring.scores(model, PROMPTS, endings), scoring.best(model, PROMPTS, endings)
    monkeypatch.setattr(scoring, "READ_TOKENS", read_tokens)
    monkeypatch.setattr(scoring, "LOOK_AHEAD", 1)
    monkeypatch.setattr(scoring, "FEW", 1)
    assert np.allclose(scoring.scores(model, PROMPTS, endings), whole, atol=1e-5)
    assert scoring.best(model, PROMPTS, endings) == best


def test_a_sure_model_computes_only_the_label_that_it_would_say(
    open_tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_tiny("llama")
    model.net.get_output_embeddings().weight.data.mul_(50)
    [said] = Engine(model).generate(PROMPTS[:1], max_new_tokens=5, stop_ids=[])
    endings = [*labels(1, 60, letters=30), said.ids]
    computed: list[int] = []
    compute = scoring.Search.compute

    def counted(search: Any, of_N: Any, node_N: Any) -> None:
        computed.append(len(node_N))
        compute(search, of_N, node_N)

    monkeypatch.setattr(scoring.Search, "compute", counted)
    monkeypatch.setattr(scoring, "LOOK_AHEAD", 1)
    monkeypatch.setattr(scoring, "FEW", 1)
    assert scoring.best(model, PROMPTS[:1], endings) == [60]
    assert computed == [1, 1, 1, 1]
    [scores] = scoring.scores(model, PROMPTS[:1], endings)
    assert scores.index(max(scores)) == 60 and computed[-1] > 200


def test_an_adapter_scores_as_it_does_alone(open_tiny: Any, tmp_path: Path) -> None:
    made = open_tiny("llama")
    method = catalog.build("methods", {"kind": "lora", "rank": 4})
    method.attach(made.net)
    with torch.no_grad():
        for _, layer in lora_layers.layers(made.net):
            layer.B["default"].normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    method.save(made.net, tmp_path / "a")
    model, merged = open_tiny("llama"), open_tiny("llama")
    bare = scoring.scores(model, PROMPTS, ENDINGS)
    model.load_adapter("a", tmp_path / "a")
    merged.load_adapter("a", tmp_path / "a")
    lora_layers.merge_adapter(merged.net, "a")
    with_adapter = scoring.scores(model, PROMPTS, ENDINGS, adapter="a")
    assert np.allclose(with_adapter, scoring.scores(merged, PROMPTS, ENDINGS), atol=1e-4)
    assert scoring.best(model, PROMPTS, ENDINGS, adapter="a") == scoring.best(merged, PROMPTS, ENDINGS)
    assert np.allclose(scoring.scores(model, PROMPTS, ENDINGS), bare, atol=1e-6)
    assert not np.allclose(with_adapter, bare, atol=0.1)


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("letters", [2, 40])
@pytest.mark.parametrize("sharpness", [1, 20])
def test_shares_are_those_of_all_labels_within_what_was_left_aside(
    kind: str, letters: int, sharpness: int, open_tiny: Any
) -> None:
    model, endings = open_tiny(kind), labels(letters, 60, letters=letters)
    model.net.get_output_embeddings().weight.data.mul_(sharpness)
    truth = torch.tensor(scoring.scores(model, PROMPTS, endings), dtype=torch.float64).softmax(1).numpy()
    found = scoring.likely(model, PROMPTS, endings, most=60)
    assert [next(iter(one.shares)) for one in found] == scoring.best(model, PROMPTS, endings)
    for one, shares in zip(found, truth, strict=True):
        assert one.near <= scoring.NEAR
        assert np.abs([shares[number] - share for number, share in one.shares.items()]).max() <= one.near + 2e-5


def test_labels_that_begin_others_are_weighed_one_by_one(open_tiny: Any) -> None:
    model = open_tiny("llama")
    truth = torch.tensor(scoring.scores(model, PROMPTS, ENDINGS), dtype=torch.float64).softmax(1).numpy()
    for one, shares in zip(scoring.likely(model, PROMPTS, ENDINGS), truth, strict=True):
        assert len(one.shares) == 4
        assert all(abs(shares[number] - share) <= one.near + 1e-6 for number, share in one.shares.items())
    assert scoring.Trie(ENDINGS).log_most[0] == pytest.approx(np.log(len(ENDINGS)))


def test_a_sure_model_need_not_weigh_every_label(open_tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, computed = open_tiny("llama"), []
    model.net.get_output_embeddings().weight.data.mul_(50)
    compute = scoring.Search.compute

    def counted(search: Any, of_N: Any, node_N: Any) -> None:
        computed.append(len(node_N))
        compute(search, of_N, node_N)

    monkeypatch.setattr(scoring.Search, "compute", counted)
    [said] = Engine(model).generate(PROMPTS[:1], max_new_tokens=5, stop_ids=[])
    [found] = scoring.likely(model, PROMPTS[:1], [*labels(1, 200, letters=30), said.ids])
    assert next(iter(found.shares)) == 200
    assert sum(computed) < 100
